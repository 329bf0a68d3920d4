"""Searches under constraints on what the objective returns, stepped and run, with every part that shows them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, Problem, SearchSpace, Study, TrialStatus, compare, load, search
from dhflow.constraint import Constraint
from dhflow.errors import HistoryFormatError, SearchError
from dhflow.history import History, export_history, load_record
from dhflow.history.export import column_names, trial_rows
from dhflow.searcher import make_searcher

SPACE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
SMALL = "memory_gb <= 12"
THREADS: dict[str, Any] = {"site": "laptop", "site_set": {"executor": "threads", "workers": 1}}


def measure(config: dict[str, Any]) -> dict[str, float]:
    """The larger x, the more accurate and the larger."""
    return {"objective": config["x"] - config["y"] ** 2, "memory_gb": 20.0 * config["x"]}


def told(*returned: Any, constraints: Any = SMALL, **options: Any) -> Study:
    study = Study(SPACE, direction="maximize", searcher="random", seed=1, constraints=constraints, **options)
    for each in returned:
        study.tell(study.ask(), each)
    return study


def gb(objective: float, memory_gb: float) -> dict[str, float]:
    return {"objective": objective, "memory_gb": memory_gb}


# Stepped -------------------------------------------------------------------------------------------


def test_the_best_meets_the_constraints() -> None:
    study = told(gb(0.5, 10.0), gb(0.9, 13.0), gb(0.7, 12.0), gb(0.95, 40.0))
    assert study.best.trial_id == 2
    assert [each.trial_id for each in study.result.pareto] == [2]
    assert (study.result.n_infeasible, study.result.n_failed) == (2, 0)
    assert [study.result.is_feasible(each) for each in study.trials] == [True, False, True, False]
    summary = study.result.summary()
    assert (summary["completed"], summary["infeasible"], summary["best_trial"]) == (4, 2, 2)


def test_without_a_feasible_trial_the_nearest_is_named() -> None:
    study = told(gb(0.5, 30.0), gb(0.9, 13.5), gb(0.7, 60.0))
    with pytest.raises(
        SearchError, match=r"none of 3 completed trials meets .*\(memory_gb <= 12\); trial 1 .* memory_gb = 13\.5"
    ):
        _ = study.best
    assert study.result.pareto == []
    with pytest.raises(SearchError, match="none of 0 trials has completed"):
        _ = told().best


def test_a_missing_number_makes_a_trial_fail_and_says_what_needs_it() -> None:
    study = told(0.5, {"objective": 0.5}, gb(0.5, float("nan")), gb(0.5, 1.0))
    assert [each.status for each in study.trials] == [*[TrialStatus.FAILED] * 3, TrialStatus.COMPLETED]
    failures = [each.failure for each in study.trials[:3]]
    assert all(each and each.kind == "ObjectiveError" and f"'{SMALL}'" in each.message for each in failures)


def test_an_objective_may_be_constrained_from_both_sides() -> None:
    study = told(0.2, 0.7, 0.9, constraints=["objective < 0.9", "objective >= 0.5"])
    assert study.best.trial_id == 1


def test_of_several_objectives_the_pareto_set_is_of_feasible_trials() -> None:
    two = {"accuracy": "maximize", "latency_ms": "minimize"}
    study = Study(SPACE, direction=two, searcher="nsga2", seed=1, constraints=["latency_ms < 5", "accuracy >= 0.5"])
    for accuracy, latency_ms in ((0.9, 9.0), (0.8, 4.0), (0.6, 3.0), (0.4, 1.0)):
        study.tell(study.ask(), {"accuracy": accuracy, "latency_ms": latency_ms})
    assert [each.trial_id for each in study.result.pareto] == [1, 2]
    assert study.result.n_infeasible == 2
    assert study.result.hypervolume() == 0.0, "the reference is of feasible trials too"


def test_loaded_trials_are_held_against_the_constraints() -> None:
    study = told()
    study.add_trials([{"x": 0.1, "y": 0.0}, {"x": 0.9, "y": 0.0}], [gb(0.1, 2.0), gb(0.9, 18.0)])
    assert study.best.trial_id == 0


def test_a_problems_constraints_are_added_to() -> None:
    problem = Problem(SPACE, measure, "maximize", constraints=SMALL)
    study = Study(problem, constraints=["memory_gb >= 2", "memory_gb <= 12.0"])
    assert [each.text for each in study.constraints] == [SMALL, "memory_gb >= 2"]
    with pytest.raises(SearchError, match="no value meets both"):
        Study(problem, constraints="memory_gb > 12")
    with pytest.raises(SearchError, match="no relation"):
        Problem(SPACE, measure, constraints=["memory_gb"])
    other = Problem(SPACE, measure, constraints=SMALL, resample=lambda _: Problem(SPACE, measure))
    with pytest.raises(SearchError, match="another space, direction or constraints"):
        other.resampled(1)


def test_a_searcher_knows_them_named_or_ready_made() -> None:
    expected = (Constraint("memory_gb", "<=", 12.0),)
    ready = make_searcher("random", SPACE)
    assert ready.constraints == ()
    assert Study(SPACE, searcher=ready, constraints=SMALL).searcher.constraints == expected
    assert make_searcher(ready, SPACE, constraints=()).constraints == ()
    assert Study(SPACE, searcher="tpe", constraints=SMALL).searcher.constraints == expected


@pytest.mark.parametrize("models", [False, True])
def test_only_a_searcher_that_models_them_is_told_of_infeasible_values(models: bool) -> None:
    searcher: Any = make_searcher("random", SPACE)
    folded: list[Any] = []
    searcher._fold = folded.extend
    type(searcher).models_constraints, before = models, type(searcher).models_constraints
    try:
        study = Study(SPACE, searcher=searcher, constraints=SMALL)
        for each in (gb(0.5, 10.0), gb(0.9, 13.0), None):
            study.tell(study.ask(), each)
        study.ask()
    finally:
        type(searcher).models_constraints = before
    completed, failed = TrialStatus.COMPLETED, TrialStatus.FAILED
    assert [each.status for each in folded] == [completed, completed if models else failed, failed]
    assert folded[1].losses == ((0.9,) if models else ())
    assert study.trials[1].status is completed, "the study keeps it as it was"


# Run ----------------------------------------------------------------------------------------------


def test_a_search_on_threads_keeps_away_from_what_is_infeasible(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    result = search(measure, SPACE, direction="maximize", constraints=[SMALL], searcher="tpe", seed=1,
                    history=history, max_trials=60, **THREADS)  # fmt: skip
    assert len(result) == 60
    assert result.n_failed == 0
    assert result.best.metrics["memory_gb"] <= 12.0
    assert max(result, key=lambda each: each.objective or 0.0).metrics["memory_gb"] > 12.0
    late = result.trials[30:]
    assert sum(result.is_feasible(each) for each in late) > 0.6 * len(late), "of the space 60 % are feasible"
    loaded = load(history)
    assert [each.text for each in loaded.constraints] == [SMALL]
    assert loaded.best == result.best


def test_workers_in_processes_know_what_is_needed() -> None:
    with pytest.raises(SearchError, match="the constraint 'memory_gb <= 12' needs 'memory_gb'"):
        search(bare, SPACE, constraints=SMALL, searcher="random", max_trials=4, site="laptop", workers=1)


def bare(config: dict[str, Any]) -> float:
    return float(config["x"])


def test_a_target_counts_once_it_is_met_within_the_constraints() -> None:
    with ThreadPoolExecutor(1) as pool:
        result = search(measure, SPACE, direction="maximize", constraints=SMALL, searcher="random", seed=3,
                        site=pool, workers=1, target=0.4, max_trials=200)  # fmt: skip
    assert result.reason == "the target was reached"
    assert result.best is result.trials[-1] or result.best.trial_id == len(result) - 1
    assert result.best.metrics["memory_gb"] <= 12.0
    assert any((each.objective or 0.0) >= 0.4 for each in result.trials[:-1]), "an infeasible one did not end it"


# Kept ---------------------------------------------------------------------------------------------


def test_a_history_holds_them_in_both_its_forms(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with told(gb(0.5, 10.0), constraints=[SMALL, "memory_gb > 1"], history=history):
        record = load_record(history)
        assert record.header is not None
        assert record.header.constraints == (SMALL, "memory_gb > 1"), "in the journal"
    record = load_record(history)
    assert record.header is not None
    assert record.header.constraints == (SMALL, "memory_gb > 1"), "in the HDF5 file"


def test_a_history_of_before_has_none(tmp_path: Path) -> None:
    archive = Path(__file__).parents[1] / "archives" / "v1.h5"
    assert load(archive).constraints == ()
    assert load(archive).n_infeasible == 0
    assert "feasible" not in column_names(load_record(archive))


def test_a_study_goes_on_with_the_same_constraints_only(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    both = [SMALL, "objective > 0"]
    told(gb(0.5, 10.0), gb(0.9, 13.0), constraints=both, history=history).close()
    with pytest.raises(HistoryFormatError, match=r"constraint 'objective > 0' was removed"):
        told(constraints=SMALL, history=history, resume=True)
    with pytest.raises(HistoryFormatError, match=r"constraint 'memory_gb <= 12' was removed; constraint .* was added"):
        told(constraints=["memory_gb <= 14", both[1]], history=history, resume=True)
    with told(gb(0.8, 11.0), constraints=reversed(both), history=history, resume=True) as study:
        assert [each.text for each in study.constraints] == both, "in the order of before"
        assert study.searcher.constraints == study.constraints
        assert study.best.trial_id == 2
    assert History.exists(history)


def test_a_resumed_study_goes_on_as_one_that_was_never_closed(tmp_path: Path) -> None:
    def step(study: Study, n: int) -> list[Any]:
        configs = []
        for _ in range(n):
            trial = study.ask()
            configs.append(dict(trial.config))
            study.tell(trial, measure(dict(trial.config)))
        return configs

    options: Any = {"direction": "maximize", "searcher": "tpe", "seed": 8, "constraints": SMALL}
    with Study(SPACE, history=tmp_path / "h.h5", **options) as study:
        begun = step(study, 20)
    with Study(SPACE, history=tmp_path / "h.h5", resume=True, **options) as study:
        rest = step(study, 10)
    assert step(Study(SPACE, **options), 30) == [*begun, *rest]


def test_a_table_says_which_trials_are_feasible(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with told(gb(0.5, 10.0), gb(0.9, 13.0), None, history=history) as study:
        study.ask()
        rows = trial_rows(study.record)
        assert [row["feasible"] for row in rows] == [True, False, None, None]
        assert str(study.result.to_pandas()["feasible"].dtype) == "boolean"
    export_history(history, tmp_path / "h.csv")
    head, *lines = (tmp_path / "h.csv").read_text().splitlines()
    at = head.split(",").index("feasible")
    assert [re.split(",", line)[at] for line in lines[:2]] == ["True", "False"]
    assert "feasible" not in column_names(told(0.5, constraints=()).record)


# Compared -----------------------------------------------------------------------------------------


def test_a_comparison_is_by_feasible_trials(tmp_path: Path) -> None:
    problem = Problem(SPACE, measure, "maximize", constraints=SMALL)
    found = compare(problem, searchers=["random", "tpe"], repeats=1, max_trials=12, folder=tmp_path, **THREADS)
    for run in found.runs:
        history = load(tmp_path / run.searcher / f"{run.repeat:03d}.h5")
        assert run.final == history.best.objective
        assert run.n_infeasible == history.n_infeasible > 0
        assert sum(each is None for each in run.values) == run.n_infeasible
    assert found.best_loss == -max(each.final or 0.0 for each in found.runs)
    assert [each["infeasible"] for each in found.summary()] == [each.n_infeasible for each in found.runs]
    looser = Problem(SPACE, measure, "maximize", constraints="memory_gb <= 15")
    with pytest.raises(SearchError, match="another constraints"):
        compare(looser, searchers=["random", "tpe"], repeats=1, max_trials=12, folder=tmp_path, **THREADS)
