"""Searches of two objectives, stepped and run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, Integer, Problem, SearchSpace, Study, TrialStatus, load, search
from dhflow.errors import SearchError
from dhflow.history import History
from dhflow.searcher import make_searcher

SPACE = SearchSpace({"width": Float(0.0, 1.0), "depth": Integer(1, 8)})
TWO = {"accuracy": "maximize", "latency_ms": "minimize"}


def measure(config: dict[str, Any]) -> dict[str, float]:
    """Wide and deep networks are accurate and slow."""
    size = config["width"] * config["depth"]
    return {"accuracy": size / (1.0 + size), "latency_ms": 1.0 + size + config["width"], "size": size}


def told(*values: tuple[float, float]) -> Study:
    study = Study(SPACE, direction=TWO, searcher="random", seed=1)
    for accuracy, latency_ms in values:
        study.tell(study.ask(), {"accuracy": accuracy, "latency_ms": latency_ms})
    return study


def test_the_pareto_set_is_in_the_order_of_the_first_objective() -> None:
    study = told((0.5, 10.0), (0.9, 30.0), (0.4, 20.0), (0.7, 15.0), (0.7, 15.0))
    failed = study.tell(study.ask(), {"accuracy": 1.0})
    assert failed.status is TrialStatus.FAILED
    assert [each.trial_id for each in study.result.pareto] == [1, 3, 4, 0]
    assert dict(study.result.pareto[0].values) == {"accuracy": 0.9, "latency_ms": 30.0}
    assert study.result.summary()["pareto"] == [1, 3, 4, 0]
    assert study.result.summary()["best"] is None


def test_the_volume_is_counted_from_a_reference_in_the_users_sign() -> None:
    result = told((0.5, 10.0), (0.75, 20.0)).result
    assert result.hypervolume({"latency_ms": 30.0, "accuracy": 0.0}) == pytest.approx(0.5 * 20.0 + 0.25 * 10.0)
    assert result.hypervolume() == 0.0, "each is the worst in one objective"
    assert told((0.5, 10.0), (0.75, 20.0), (0.25, 30.0)).result.hypervolume() == pytest.approx(0.25 * 20 + 0.25 * 10)
    for wrong in ({"accuracy": 0.0}, {"accuracy": 0.0, "latency_ms": 1.0, "size": 1.0}):
        with pytest.raises(SearchError, match=r"each objective \(accuracy, latency_ms\)"):
            result.hypervolume(wrong)
    with pytest.raises(SearchError, match="finite"):
        result.hypervolume({"accuracy": 0.0, "latency_ms": float("inf")})


def test_without_a_completed_trial_the_set_is_empty() -> None:
    result = told().result
    assert result.pareto == []
    assert result.hypervolume() == result.hypervolume({"accuracy": 0.0, "latency_ms": 9.0}) == 0.0


def test_no_trial_is_the_best_by_several_objectives() -> None:
    with pytest.raises(SearchError, match=r"\(accuracy, latency_ms\): look at result\.pareto"):
        _ = told((0.5, 10.0)).best


def test_one_objective_has_a_set_of_its_best() -> None:
    study = Study(SPACE, direction="maximize", searcher="random", seed=1)
    for value in (1.0, 3.0, 3.0, 2.0):
        study.tell(study.ask(), value)
    assert [each.trial_id for each in study.result.pareto] == [1, 2]
    assert study.result.hypervolume() == 2.0
    assert study.result.hypervolume({"objective": -1.0}) == 4.0


def test_one_number_is_not_enough() -> None:
    study = told()
    failed = study.tell(study.ask(), 0.5)
    assert failed.failure is not None
    assert "return a mapping with 'accuracy', 'latency_ms'" in failed.failure.message


@pytest.mark.parametrize("searcher", ["tpe", make_searcher("tpe", SPACE)])
def test_a_searcher_of_one_objective_is_refused_and_leaves_no_history(searcher: Any, tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with pytest.raises(SearchError, match=r"'tpe' takes 1 objective, not 2; any number: auto, .*"):
        Study(SPACE, direction=TWO, searcher=searcher, history=history)
    assert not History.exists(history)
    Study(SPACE, direction=TWO, searcher="random", history=history).close()


def test_a_target_is_refused() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(SearchError, match="target is a value of one objective"):
        search(measure, SPACE, direction=TWO, searcher="random", site=pool, target=0.9)


def test_a_plateau_ends_a_search_when_nothing_joins_the_set() -> None:
    with ThreadPoolExecutor(1) as pool:
        result = search(lambda _: {"accuracy": 0.5, "latency_ms": 1.0}, SPACE, direction=TWO, searcher="random",
                        site=pool, workers=1, plateau=5)  # fmt: skip
    assert result.reason == "nothing new joined the Pareto set in 5 trials"
    assert len(result) == 6
    assert len(result.pareto) == 6


def test_a_search_on_threads_can_be_resumed_and_loaded(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    problem = Problem(SPACE, measure, direction=TWO)
    options: Any = {"searcher": "random", "seed": 4, "history": history}
    with ThreadPoolExecutor(2) as pool:
        first = search(problem, site=pool, max_trials=10, **options)
        result = search(problem, site=pool, max_trials=25, resume=True, **options)
    assert (len(first), len(result)) == (10, 25)
    assert result.pareto
    for each in result.pareto:
        better = [o for o in result if o.values["accuracy"] >= each.values["accuracy"]]
        assert min(o.values["latency_ms"] for o in better) == each.values["latency_ms"]
    loaded = load(history)
    assert [each.name for each in loaded.objectives] == ["accuracy", "latency_ms"]
    assert [each.trial_id for each in loaded.pareto] == [each.trial_id for each in result.pareto]
    assert loaded.hypervolume() == result.hypervolume() > 0.0
    assert {"value.accuracy", "value.latency_ms", "metric.size"} <= set(loaded.to_pandas().columns)


def test_a_resumed_study_goes_on_as_one_that_was_never_closed(tmp_path: Path) -> None:
    def step(study: Study, n: int) -> list[Any]:
        configs = []
        for _ in range(n):
            trial = study.ask()
            configs.append(dict(trial.config))
            study.tell(trial, measure(trial.config) if trial.trial_id % 7 else None)
        return configs

    options: Any = {"direction": TWO, "searcher": "nsga2", "seed": 8, "searcher_options": {"n_initial": 5}}
    with Study(SPACE, history=tmp_path / "h.h5", **options) as study:
        begun = step(study, 20)
        study.ask()
    with Study(SPACE, history=tmp_path / "h.h5", resume=True, **options) as study:
        rest = step(study, 20)
    whole = Study(SPACE, **options)
    assert step(whole, 20) == begun
    whole.ask()
    assert step(whole, 20) == rest


def test_nsga2_finds_more_volume_than_random_search_on_threads() -> None:
    with ThreadPoolExecutor(2) as pool:
        volumes = [
            search(trade_off, SPACE, direction=TWO, searcher=name, seed=2, site=pool, max_trials=80).hypervolume(
                {"accuracy": 0.0, "latency_ms": 10.0}
            )
            for name in ("nsga2", "random")
        ]
    assert volumes[0] > volumes[1]


def trade_off(config: dict[str, Any]) -> dict[str, float]:
    """Only at a depth of 5 is nothing lost."""
    lost = abs(config["depth"] - 5) / 5
    return {"accuracy": config["width"] * (1.0 - lost), "latency_ms": 10.0 * config["width"] ** 2 + lost}
