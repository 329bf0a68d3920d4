"""Searches inside a Parsl workflow of the user's own."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import parsl
import pytest
from parsl import Config, bash_app, join_app, python_app
from parsl.executors import ThreadPoolExecutor

from dhflow import Categorical, Float, SearchSpace, TrialStatus, search, search_app
from dhflow.errors import SearchError, SiteError
from dhflow.result import Result

SPACE = SearchSpace({"x": Float(-2.0, 2.0)})


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[object]:
    """A workflow's own kernel with two executors, which must outlive every search."""
    executors = [ThreadPoolExecutor(label="wide", max_threads=4), ThreadPoolExecutor(label="narrow", max_threads=1)]
    config = Config(executors=executors, run_dir=str(tmp_path / "runinfo"), initialize_logging=False)
    with parsl.load(config) as dfk:
        yield dfk
        assert not dfk.cleanup_called
        assert python_app(lambda: 42)().result() == 42


def square(config: dict) -> float:
    return config["x"] ** 2


def test_search_app_returns_a_future_that_other_apps_take(kernel: object) -> None:
    @python_app
    def report(result: Result) -> str:
        return f"{len(result)} trials, best {result.best.objective:.3f}"

    future = search_app(square, SPACE, searcher="random", seed=1, max_trials=8)
    assert report(future).result().startswith("8 trials, best ")


def test_its_inputs_may_be_futures(kernel: object) -> None:
    @python_app
    def make_space() -> SearchSpace:
        return SearchSpace({"x": Float(0.0, 1.0)})

    @python_app
    def make_data() -> list[float]:
        return [1.0, 2.0, 3.0]

    @python_app
    def how_many() -> int:
        return 5

    def objective(config: dict, data: list[float]) -> float:
        return config["x"] * sum(data)

    result = search_app(
        objective, make_space(), arguments={"data": make_data()}, searcher="random", seed=1, max_trials=how_many()
    ).result()
    assert len(result) == 5
    assert result.trials[0].objective == pytest.approx(6.0 * result.trials[0].config["x"])


def test_a_join_app_may_return_a_search(kernel: object) -> None:
    @join_app
    def outer(n: int) -> object:
        return search_app(square, SPACE, searcher="random", seed=1, max_trials=n)

    assert len(outer(4).result()) == 4


def test_two_searches_share_a_kernel(kernel: object) -> None:
    first = search_app(square, SPACE, searcher="random", seed=1, max_trials=20)
    second = search_app(square, SPACE, searcher="random", seed=2, max_trials=20, executors=["narrow"])
    assert len(first.result()) == len(second.result()) == 20
    assert second.result().record.sessions[0][0].info["n_slots"] == 1
    assert {each.attempts[0].worker.split("-", 1)[1] for each in second.result()} == {"ThreadPoolExecutor-narrow_0"}


def test_an_unknown_label_is_an_error(kernel: object) -> None:
    with pytest.raises(SiteError, match="no executor 'wider'"):
        search_app(square, SPACE, max_trials=1, executors=["wider"]).result()


def test_an_existing_python_app_is_the_objective(kernel: object) -> None:
    @python_app
    def app(x: float, scale: float = 1.0) -> dict:
        return {"objective": scale * x, "square": x**2}

    result = search(app, SPACE, site=kernel, searcher="random", seed=1, max_trials=5, arguments={"scale": 10.0})
    assert [each.objective for each in result] == [pytest.approx(10 * each.config["x"]) for each in result]
    assert all(each.metrics["square"] == pytest.approx(each.config["x"] ** 2) for each in result)


def test_what_an_app_returns_is_held_against_constraints(kernel: object) -> None:
    @python_app
    def app(x: float) -> dict:
        return {"objective": x, "square": x**2} if x > 0 else {"objective": x}

    future = search_app(app, SPACE, constraints=["square <= 1"], searcher="random", seed=1, max_trials=12,
                        abort_after=None)  # fmt: skip
    result = future.result()
    assert result.n_failed == sum(each.config["x"] <= 0 for each in result) > 0
    assert result.n_infeasible == sum(each.config["x"] > 1.0 for each in result) > 0
    assert 0.0 < result.best.config["x"] <= 1.0


def test_an_app_runs_on_its_own_kernel_and_executors(kernel: object) -> None:
    @python_app(executors=["narrow"])
    def app(x: float) -> float:
        return x

    result = search(app, SPACE, searcher="random", seed=1, max_trials=3)
    info = result.record.sessions[0][0].info
    assert (info["site"], info["n_slots"]) == ("the loaded Parsl kernel", 1)
    with pytest.raises(SearchError, match="leave the site out"):
        search(app, SPACE, site="laptop", site_set={"workers": 2}, max_trials=1)


def test_an_app_that_raises_is_a_failed_trial(kernel: object) -> None:
    @python_app
    def app(x: float) -> float:
        if x < 0:
            raise ValueError("negative")
        return x

    result = search(app, SPACE, site=kernel, searcher="random", seed=1, max_trials=10, abort_after=None)
    for trial in result:
        assert (trial.status is TrialStatus.FAILED) == (trial.config["x"] < 0)
    assert any(each.failure.kind == "ValueError" for each in result if each.failure)


def test_a_bash_app_is_refused_with_the_better_way(kernel: object) -> None:
    @bash_app
    def app(x: float) -> str:
        return f"echo {x}"

    with pytest.raises(SearchError, match="pass the command itself"):
        search(app, SPACE, site=kernel, max_trials=2)


def test_without_a_kernel_search_app_says_what_to_do() -> None:
    with pytest.raises(SearchError, match=r"parsl\.load"):
        search_app(square, SPACE, max_trials=2)


def test_search_app_raises_what_the_search_raises(kernel: object) -> None:
    def objective(config: dict) -> float:
        raise RuntimeError("always")

    with pytest.raises(SearchError, match="always"):
        search_app(objective, SPACE, searcher="random", max_trials=10).result()


def test_a_command_is_the_objective(kernel: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import argparse, json, os
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float)
            parser.add_argument("--optimizer")
            parser.add_argument("--momentum", type=float, default=None)
            a = parser.parse_args()
            print("training with", a.optimizer)
            if a.momentum is None:
                print(a.lr * 2)                       # the last line of the output is the result
            else:
                with open(os.environ["DHFLOW_RESULT"], "w") as file:
                    json.dump({"objective": a.lr + a.momentum, "momentum_was": a.momentum}, file)
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    space = SearchSpace(
        {
            "lr": Float(0.1, 1.0),
            "optimizer": Categorical(["sgd", "it's adam"]),
            "momentum": Float(0.0, 0.9, when={"optimizer": "sgd"}),
        }
    )
    python = shlex.quote(sys.executable)  # not every machine has a `python`
    command = python + " train.py --lr {lr} --optimizer {optimizer} [--momentum {momentum}]"
    result = search(command, space, site=kernel, searcher="random", seed=2, max_trials=8, history=tmp_path / "h.h5")
    for trial in result:
        config = trial.config
        expected = config["lr"] + config["momentum"] if config["optimizer"] == "sgd" else 2 * config["lr"]
        assert trial.objective == pytest.approx(expected)
    assert {each.config["optimizer"] for each in result} == {"sgd", "it's adam"}
    log = tmp_path / "h.h5.run" / "trials" / "0" / "1" / "output.log"
    assert "training with" in log.read_text()
    assert json.dumps(result.record.sessions[0][0].info)
