from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow import Budget, Categorical, Float, Integer, Problem, SearchSpace, compare, load
from dhflow.cli.compare import table_lines
from dhflow.comparison import Comparison, Run, SearcherSpec, draw_comparison, parse_searcher, parse_searchers
from dhflow.errors import SearchError
from dhflow.objective import Objective

SPACE = SearchSpace({"x": Float(-1.0, 1.0), "y": Float(-1.0, 1.0)})
THREADS: dict[str, Any] = {"site": "laptop", "site_set": {"executor": "threads", "workers": 1}}


def bowl(config: dict[str, Any]) -> float:
    return float(config["x"] ** 2 + config["y"] ** 2)


def split_bowl(split: int, config: dict[str, Any]) -> float:
    return bowl(config) + 10.0 * split


def make_problem(split: int = 0) -> Problem:
    return Problem(SPACE, partial(split_bowl, split), name="bowl", resample=make_problem)


def run(label: str, repeat: int, values: list[float | None], *, best: list[float | None] | None = None) -> Run:
    return Run(
        label,
        repeat,
        repeat,
        None,
        tuple(values),
        tuple(best or values),
        tuple(float(i) for i in range(1, len(values) + 1)),
    )


def made(finals: dict[str, list[float | None]], **options: Any) -> Comparison:
    runs = [run(label, k, [each]) for label, column in finals.items() for k, each in enumerate(column)]
    specs = tuple(SearcherSpec("random", label=label) for label in finals)
    return Comparison("made", Objective("loss", "minimize"), specs, tuple(runs), **options)


# What is said of a searcher ----------------------------------------------------------------------


def test_a_searcher_is_named_with_its_options() -> None:
    spec = parse_searcher("ambs:kappa=1.5:liar=mean:n-initial=none")
    assert spec.name == "ambs"
    assert spec.options == {"kappa": 1.5, "liar": "mean", "n_initial": None}
    assert spec.label == "ambs:kappa=1.5:liar=mean:n_initial=none"
    assert [each.label for each in parse_searchers("random, ambs")] == ["random", "ambs"]
    assert parse_searchers({"bold": "ambs:kappa=3"})[0] == SearcherSpec("ambs", {"kappa": 3}, "bold")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ambsy", "did you mean 'ambs'"),
        ("ambs:kapa=1", "no option 'kapa'; its options are: n_initial"),
        ("ambs:kappa", "name:option=value"),
        ("random,random", "named twice"),
    ],
)
def test_what_is_wrong_with_a_searcher_is_said(text: str, complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        parse_searchers(text)
    with pytest.raises(SearchError, match="at least one"):
        parse_searchers([])


def test_only_searchers_that_begin_at_random_share_their_beginning() -> None:
    shared = {text: parse_searcher(text).n_shared for text in ("random", "ambs", "ambs:initial_design=sobol", "sobol")}
    assert shared == {"random": 10, "ambs": 10, "ambs:initial_design=sobol": 0, "sobol": 0}
    assert parse_searcher("ambs:n_initial=4").n_shared == 4


# Running -----------------------------------------------------------------------------------------


def test_runs_are_real_searches_that_share_seeds_and_beginnings(tmp_path: Path) -> None:
    found = compare(
        bowl, SPACE, searchers=["random", "sobol", "ambs"], repeats=2, seed=5, folder=tmp_path, max_trials=12, **THREADS
    )
    assert [(each.searcher, each.repeat, each.seed) for each in found.runs] == [
        *(("random", 0, 5), ("sobol", 0, 5), ("ambs", 0, 5)),
        *(("random", 1, 6), ("sobol", 1, 6), ("ambs", 1, 6)),
    ]
    histories = {each.searcher: load(each.history) for each in found.runs if each.repeat == 1}
    first = {name: [dict(each.config) for each in history.trials[:3]] for name, history in histories.items()}
    assert first["random"] == first["ambs"] != first["sobol"]
    assert [dict(each.config) for each in load(tmp_path / "random" / "000.h5").trials[:3]] != first["random"]
    for each in found.runs:
        assert len(each.values) == 12
        assert each.final == min(each.values, key=lambda value: math.inf if value is None else value)
        assert [*each.times_s] == sorted(each.times_s)
        assert each.n_workers == 1
        assert each.reason == "max_trials was reached"
    assert found.settings["n_shared"] == 3


def test_a_finished_run_is_not_repeated_and_more_can_be_added(tmp_path: Path) -> None:
    calls: list[float] = []

    def counted(config: dict[str, Any]) -> float:
        calls.append(config["x"])
        return bowl(config)

    again = partial(compare, counted, SPACE, folder=tmp_path, max_trials=5, shared_start=False, **THREADS)
    first = again(searchers=["random"], repeats=1)
    second = again(searchers=["random", "lhs"], repeats=2)
    assert len(calls) == 5 + 15
    assert second.runs_of("random")[0] == first.runs[0]
    with pytest.raises(SearchError, match="another max_trials: choose another folder"):
        again(searchers=["random"], repeats=1, max_trials=6)
    with pytest.raises(SearchError, match="another seed"):
        again(searchers=["random"], repeats=1, seed=9)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    def stopped(config: dict[str, Any]) -> float:
        raise KeyboardInterrupt

    alone = compare(bowl, SPACE, searchers=["random"], repeats=1, max_trials=8, **THREADS)
    partly = partial(compare, bowl, SPACE, searchers=["random"], repeats=1, folder=tmp_path, **THREADS)
    partly(max_trials=4)
    (tmp_path / "random" / "000.json").unlink()  # as a killed comparison leaves it: a history, no result
    found = partly(max_trials=8)
    assert found.runs[0].values == alone.runs[0].values
    assert [*found.runs[0].times_s] == sorted(found.runs[0].times_s)
    assert len(load(tmp_path / "random" / "000.h5").record.sessions) == 2


def test_a_run_whose_trials_all_fail_has_no_value_and_the_rest_goes_on() -> None:
    def hard(config: dict[str, Any]) -> float:
        raise ValueError("no")

    found = compare(hard, SPACE, searchers=["random", "lhs"], repeats=2, max_trials=5, **THREADS)
    assert not np.isfinite(found.losses).any()
    assert found.ranks.tolist() == [[1.5, 1.5]] * 2
    rows = found.summary()
    assert [each["n_without"] for each in rows] == [2, 2]
    assert rows[0]["failed"] == sum(len(each.values) for each in found.runs_of("random")) >= 6
    assert rows[0]["final_mean"] is None
    assert "failed in the same way" in found.runs[0].reason
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(SearchError, match="no run has a value"):
        draw_comparison(found, "unused")


def test_each_repeat_has_a_split_of_its_own(tmp_path: Path) -> None:
    found = compare(
        make_problem(),
        searchers="random,lhs",
        repeats=3,
        seed=2,
        resample_split=True,
        folder=tmp_path,
        max_trials=4,
        **THREADS,
    )
    assert [each.split for each in found.runs_of("lhs")] == [2, 3, 4]
    assert [math.floor(each.final / 10) for each in found.runs_of("lhs") if each.final is not None] == [2, 3, 4]
    spread = found.split_spread()
    assert spread is not None
    assert spread["repeats"] == pytest.approx(10.0, abs=1.5)
    assert spread["rest"] is not None
    assert spread["rest"] < 1.5
    assert found.to_json()["split_spread"] == spread


def test_a_problem_that_cannot_be_split_anew_says_so() -> None:
    with pytest.raises(SearchError, match="does not say how its data are split anew"):
        compare(bowl, SPACE, searchers="random", resample_split=True, max_trials=2, **THREADS)
    other = SearchSpace({"x": Float(0.0, 1.0)})
    bad = Problem(SPACE, bowl, resample=lambda _: Problem(other, bowl))
    with pytest.raises(SearchError, match="another space, direction or constraints"):
        bad.resampled(1)
    nothing: Callable[[int], Any] = lambda _: None  # noqa: E731
    with pytest.raises(SearchError, match="must return a Problem"):
        Problem(SPACE, bowl, resample=nothing).resampled(1)


def test_wall_time_can_be_the_limit(tmp_path: Path) -> None:
    def slow(config: dict[str, Any]) -> float:
        time.sleep(0.2)
        return bowl(config)

    # Its start is part of a run, and takes a second where other processes need the cores too.
    found = compare(slow, SPACE, searchers="random", repeats=1, folder=tmp_path, wall_time_s=4.0, **THREADS)
    assert "time" in found.runs[0].reason
    assert len(found.runs[0].values) > 1


def test_trials_over_budgets_are_counted_in_full_trainings(tmp_path: Path) -> None:
    problem = Problem(SPACE, bowl, budget=Budget("epochs", 1, 9))
    found = compare(problem, searchers="random,hyperband", repeats=1, folder=tmp_path, max_trials=13, **THREADS)
    assert [each.full_trainings for each in found.runs] == [13.0, 9 / 9 + 3 * 3 / 9 + 1]
    assert [each["full_trainings"] for each in found.to_json()["summary"]] == [13.0, 3.0]
    lines = table_lines(found)
    assert lines[1].endswith("full trainings")
    assert [line.split()[-1] for line in lines[2:4]] == ["13.0", "3.0"]
    assert any("full trainings: what a run's budgets come to" in line for line in lines)


def test_without_budgets_nothing_is_said_of_full_trainings() -> None:
    found = compare(bowl, SPACE, searchers="random", repeats=1, max_trials=4, **THREADS)
    assert found.summary()[0]["full_trainings"] == 4.0
    assert "full trainings" not in "\n".join(table_lines(found))


def test_a_small_space_is_exhausted() -> None:
    space = SearchSpace({"a": Integer(0, 2), "b": Categorical(["p", "q"])})
    found = compare(
        lambda config: config["a"],
        space,
        searchers="random,lhs",
        repeats=1,
        max_trials=40,
        direction="maximize",
        **THREADS,
    )
    assert found.losses.tolist() == [[-2.0, -2.0]]
    assert {len(each.values) for each in found.runs} == {6}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"baseline": "ambs"}, "none of: first, best, random"),
        ({"max_trails": 3}, "did you mean 'max_trials'"),
        ({"max_trials": None}, "never end"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        compare(bowl, SPACE, searchers="random", **{"max_trials": 2, **THREADS, **options})
    with pytest.raises(SearchError, match="the search space is missing"):
        compare(bowl)
    with pytest.raises(SearchError, match="leave them out"):
        compare(make_problem(), SPACE)


@pytest.mark.parametrize(
    ("searchers", "complaint"),
    [
        ("random,ambs:multipoint=naiv", "searcher ambs:multipoint=naiv: multipoint is 'naiv': it must be one of"),
        ("random,agebo", "searcher agebo: .* must know which parameters decide the architecture"),
        ("random,hyperband:eta=1", "searcher hyperband:eta=1: eta is 1: it must be a number above 1"),
    ],
)
def test_what_a_searcher_refuses_is_known_before_another_has_run(searchers: str, complaint: str) -> None:
    calls: list[float] = []

    def counted(config: dict[str, Any]) -> float:
        calls.append(config["x"])
        return bowl(config)

    with pytest.raises(SearchError, match=complaint):
        compare(counted, SPACE, searchers=searchers, repeats=1, max_trials=2, **THREADS)
    assert not calls


# Figures -----------------------------------------------------------------------------------------


def test_pairs_are_tested_against_the_baseline() -> None:
    finals: dict[str, list[float | None]] = {"a": [5.0, 6, 7, 8, 9], "b": [1.0, 2, 3, 4, 5], "c": [5.0, 6, 7, 9, None]}
    found = made(finals, optimum=0.0)
    assert found.base == "a"
    b, c = found.pairs()
    assert (b["wins"], b["ties"], b["losses"], b["p"]) == (5, 0, 0, 2 / 2**5)
    assert (c["wins"], c["ties"], c["losses"], c["p"]) == (0, 3, 2, 0.5)
    assert b["p_holm"] == 2 * b["p"]
    assert b["error_ratio"]["value"] == pytest.approx(15 / 35)
    assert c["error_ratio"]["value"] == pytest.approx((5 + 6 + 7 + 9 + 9) / 35)  # without a value: as the worst
    assert made(finals, baseline="best").base == "b"
    assert [each["searcher"] for each in made(finals, baseline="c").pairs()] == ["a", "b"]
    assert found.summary()[1]["mean_rank"] == 1.0
    assert repr(found) == "Comparison('made', 5 repeats, mean ranks: a 2.30, b 1.00, c 2.70)"


def test_errors_count_from_the_best_value_seen_unless_the_optimum_is_known() -> None:
    finals: dict[str, list[float | None]] = {"a": [5.0, 6.0], "b": [1.0, None]}
    assert made(finals).errors.tolist() == [[4.0, 0.0], [5.0, math.inf]]
    assert made(finals, optimum=0.5).errors.tolist() == [[4.5, 0.5], [5.5, math.inf]]


def test_only_repeats_that_all_have_are_paired() -> None:
    runs = (run("a", 0, [1.0]), run("a", 1, [2.0]), run("b", 1, [3.0]))
    specs = (SearcherSpec("random", label="a"), SearcherSpec("random", label="b"))
    found = Comparison("p", Objective("loss", "minimize"), specs, runs)
    assert found.repeats == [1]
    assert found.losses.tolist() == [[2.0, 3.0]]
    assert Comparison("p", Objective("loss", "minimize"), specs, runs[:2]).pairs() == []


def test_figures_of_a_run() -> None:
    one = run("a", 0, [0.5, None, 0.9, 0.7])
    assert one.per_hour == 3600.0
    assert one.share_of(0.7, Objective("accuracy", "maximize")) == 0.5
    assert one.share_of(0.7, Objective("loss", "minimize")) == 0.5
    assert math.isnan(run("a", 0, []).per_hour)
    assert run("a", 0, []).final is None
    assert Run.from_json(json.loads(json.dumps({**vars(one), "from_later": 1}))) == one


def test_all_is_drawn(tmp_path: Path) -> None:
    found = compare(bowl, SPACE, searchers="random,lhs,sobol", repeats=2, max_trials=6, **THREADS)
    paths = draw_comparison(found, tmp_path / "figures")
    assert [each.name for each in paths] == ["best_over_trials.png", "best_over_time.png", "errors.png", "ranks.png"]
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in paths)


def test_unequal_lengths_and_failures_are_drawn(tmp_path: Path) -> None:
    runs = (
        run("a", 0, [None, 3.0, 2.0], best=[None, 3.0, 2.0]),
        run("a", 1, [5.0]),
        run("b", 0, []),
        run("b", 1, [None, None]),
    )
    specs = (SearcherSpec("random", label="a"), SearcherSpec("random", label="b"))
    found = Comparison("p", Objective("loss", "minimize"), specs, runs)
    assert len(draw_comparison(found, tmp_path)) == 4
    json.dumps(found.to_json(), allow_nan=False)
