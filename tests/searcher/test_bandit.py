from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from dhflow import Budget, Problem, Study
from dhflow.errors import SearchError
from dhflow.searcher import make_searcher
from dhflow.searcher.bracket import hyperband_brackets, n_halvings
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import Trial, TrialStatus

SPACE = SearchSpace({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0), "n": Integer(1, 20)})
NAMES = ("successive_halving", "hyperband", "asha", "async_hyperband", "median_stopping", "bohb")


def loss(config: dict[str, Any], budget: float | None) -> float:
    """Return a loss whose small budgets tell roughly which configs are good."""
    spent = 81.0 if budget is None else budget
    final = (config["x"] - 2) ** 2 + (config["y"] - 5) ** 2 + 0.1 * (config["n"] - 7) ** 2
    return float(final + 20 / spent * np.sin(3 * config["x"] + config["y"]) + 30 / spent)


def study_of(name: str, seed: int = 0, high: float = 81, **options: Any) -> SimulatedStudy:
    return SimulatedStudy(make_searcher(name, SPACE, seed=seed, budget_range=(1, high), **options))


def run(study: SimulatedStudy, n_trials: int, n_workers: int, seed: int = 0, fail: float = 0.0) -> list[int]:
    """Finish `n_trials` on workers that finish in random order; return the numbers of idle workers met."""
    rng = np.random.default_rng(seed)
    idle = []
    for _ in range(n_trials):
        while len(study.pending) < n_workers:
            if not study.ask(1):
                idle.append(n_workers - len(study.pending))
                break
        trial = study.pending[int(rng.integers(len(study.pending)))]
        study.tell(trial, None if rng.random() < fail else loss(dict(trial.config), trial.budget))
    return idle


def test_the_slides_table() -> None:
    brackets = hyperband_brackets(1, 81, 3)
    assert [[(each.n, each.budget) for each in bracket] for bracket in brackets] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(27, 3), (9, 9), (3, 27), (1, 81)],
        [(9, 9), (3, 27), (1, 81)],
        [(6, 27), (2, 81)],
        [(5, 81)],
    ]


def test_the_papers_ceiling_form() -> None:
    # Li et al. 2018, table 1.
    brackets = hyperband_brackets(1, 81, 3, "ceiling")
    assert [bracket[0].n for bracket in brackets] == [81, 34, 15, 8, 5]
    assert [each.n for each in brackets[1]] == [34, 11, 3, 1]


@pytest.mark.parametrize(
    ("low", "high", "eta", "expected"), [(1, 81, 3, 4), (1, 80, 3, 3), (5, 5, 3, 0), (1, 1000, 10, 3)]
)
def test_halvings_survive_rounding(low: float, high: float, eta: float, expected: int) -> None:
    assert n_halvings(low, high, eta) == expected
    assert hyperband_brackets(low, high, eta)[0][-1].budget == pytest.approx(high)


@pytest.mark.parametrize("wrong", [{"low": 0}, {"high": 0.5}, {"eta": 1}, {"eta": float("nan")}])
def test_impossible_budgets_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SearchError):
        hyperband_brackets(**{"low": 1, "high": 81, "eta": 3, **wrong})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_workers", [1, 8, 64])
def test_no_worker_waits_and_no_trial_goes_on_twice(name: str, n_workers: int) -> None:
    study = study_of(name)
    assert run(study, 500, n_workers) == []
    parents = [each.parent_id for each in study.trials.values() if each.parent_id is not None]
    assert parents
    assert len(parents) == len(set(parents))
    for trial in study.trials.values():
        if trial.parent_id is not None:
            parent = study.trials[trial.parent_id]
            assert trial.config == parent.config
            assert trial.priority < 0
            assert parent.budget is not None
            assert (81 if trial.budget is None else trial.budget) == pytest.approx(3 * parent.budget)


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_a_rung_is_complete_before_its_best_go_on(name: str) -> None:
    study = study_of(name)
    run(study, 400, 8)
    for bracket in {each.meta["bracket"] for each in study.trials.values()}:
        for rung in range(4):
            inside = [each for each in study.trials.values() if each.meta == {"bracket": bracket, "rung": rung}]
            gone_on = [
                each.parent_id for each in study.trials.values() if each.meta == {"bracket": bracket, "rung": rung + 1}
            ]
            if gone_on:
                best = sorted(inside, key=lambda each: (each.losses, each.trial_id))[: len(gone_on)]
                assert {each.trial_id for each in best} == set(gone_on)


def test_asha_promotes_the_best_third_of_what_is_there() -> None:
    study = study_of("asha", high=9)
    trials = study.ask(6)
    for trial, value in zip(trials, (5.0, 3.0, 4.0), strict=False):
        study.tell(trial, value)
    (promotion,) = study.ask(1)
    assert (promotion.parent_id, promotion.budget) == (trials[1].trial_id, 3.0)
    (fresh,) = study.ask(1)
    assert (fresh.parent_id, fresh.budget) == (None, 1.0)


def test_failures_never_go_on_and_do_not_stop_the_others() -> None:
    for name in NAMES:
        study = study_of(name)
        assert run(study, 300, 8, fail=0.7) == []
        by_id = study.trials
        parents = [by_id[each.parent_id] for each in by_id.values() if each.parent_id is not None]
        assert all(each.status is TrialStatus.COMPLETED for each in parents)


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_where_few_of_a_rung_succeed_they_go_on_and_the_rungs_after_are_smaller(name: str) -> None:
    study = study_of(name)
    rng = np.random.default_rng(0)
    while len(study.trials) < 500:
        while len(study.pending) < 4:
            assert study.ask(1)
        trial = study.pending[int(rng.integers(4))]
        study.tell(trial, None if trial.config["y"] > 3.75 else loss(dict(trial.config), trial.budget))
    first = [each for each in study.trials.values() if each.meta["bracket"] == 0]
    counts = Counter(each.meta["rung"] for each in first)
    survivors = [each for each in first if each.meta["rung"] == 0 and each.status is TrialStatus.COMPLETED]
    assert 9 < len(survivors) < 27
    assert [counts[rung] for rung in range(5)] == [81, len(survivors), 9, 3, 1]
    assert sum(each.budget is None for each in study.trials.values() if each.is_finished) >= 3


def test_a_bracket_without_survivors_is_over_and_the_next_one_goes_on() -> None:
    study = study_of("successive_halving", high=9)
    for trial in study.ask(9):
        study.tell(trial, None)
    for _ in range(13):
        (trial,) = study.ask(1)
        study.tell(trial, loss(dict(trial.config), trial.budget))
    counts = Counter((each.meta["bracket"], each.meta["rung"]) for each in study.trials.values())
    assert counts == {(0, 0): 9, (1, 0): 9, (1, 1): 3, (1, 2): 1}


def test_a_rung_that_is_smaller_than_planned_is_waited_for() -> None:
    study = study_of("successive_halving", high=9)
    for trial, value in zip(study.ask(9), [1.0, 2.0, *[None] * 7], strict=True):
        study.tell(trial, value)
    promoted = study.ask(2)
    assert [each.parent_id for each in promoted] == [0, 1]
    study.tell(promoted[0], 1.0)
    assert [each.parent_id for each in study.ask(1)] == [None]  # the other one has not ended
    study.tell(promoted[1], 0.5)
    (last,) = study.ask(1)
    assert (last.parent_id, last.budget) == (promoted[1].trial_id, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_space_is_searched_up_to_the_full_budget(name: str) -> None:
    space = SearchSpace({"c": Categorical(list("abcdefghij"))})
    problem = Problem(space, lambda config, trial: float(ord(config["c"])), budget=Budget("epochs", 1, 81))
    with ThreadPoolExecutor(2) as pool:
        result = Study(problem, searcher=name, seed=0).run(site=pool, max_trials=100)
    assert "nothing left to suggest" in result.reason
    full = [each for each in result.trials if each.budget is None]
    assert full
    if name != "async_hyperband":  # which starts some at the full budget
        assert full[0].config == {"c": "a"}


@pytest.mark.parametrize("name", NAMES)
def test_where_the_only_one_that_went_on_failed_the_next_best_of_a_small_space_does(name: str) -> None:
    study = SimulatedStudy(make_searcher(name, SearchSpace({"i": Integer(1, 10)}), budget_range=(1, 81)))
    while study.ask(4) or study.pending:
        trial = study.pending[0]
        fails = trial.config["i"] <= 2 and trial.budget != 1.0
        study.tell(trial, None if fails else float(trial.config["i"]))
    full = [each for each in study.trials.values() if each.budget is None and each.losses]
    assert full
    if name != "async_hyperband":
        assert full[0].config["i"] == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_search_asks_as_the_one_that_lived(name: str) -> None:
    study = study_of(name)
    run(study, 150, 8)
    resumed = study_of(name).searcher
    study.tell_again(resumed)
    assert resumed.ask(4, study.pending) == study.searcher.ask(4, study.pending)


def test_ten_thousand_trials_stay_cheap() -> None:
    study = study_of("async_hyperband")
    costs = []
    for size in (1_000, 5_000):
        run(study, size, 16)
        began = time.process_time()
        for _ in range(50):
            study.searcher.ask(1, study.pending)
        costs.append(time.process_time() - began)
    assert costs[1] < 10 * costs[0] + 0.1  # not with the square of the history's length


@pytest.mark.parametrize("name", ["asha", "async_hyperband", "bohb", "hyperband"])
def test_with_the_same_budget_more_is_found_than_by_full_trainings(name: str) -> None:
    def best(searcher: str, seed: int) -> float:
        study = study_of(searcher, seed)
        spent = 0.0
        rng = np.random.default_rng(seed)
        while spent < 20 * 81:
            while len(study.pending) < 4:
                study.ask(1)
            trial = study.pending[int(rng.integers(4))]
            budget = 81.0 if trial.budget is None else trial.budget
            spent += budget
            study.tell(trial, loss(dict(trial.config), trial.budget))
        # What its best config would reach in the end.
        done = [each for each in study.trials.values() if each.status is TrialStatus.COMPLETED]
        top = min(done, key=lambda each: (-(81.0 if each.budget is None else each.budget), each.losses))
        return loss(dict(top.config), None)

    def by_chance(seed: int) -> float:
        study = SimulatedStudy(make_searcher("random", SPACE, seed=seed))
        return min(loss(dict(each.config), None) for each in study.ask(20))

    assert np.median([best(name, seed) for seed in range(5)]) < np.median([by_chance(seed) for seed in range(9)])


def test_a_problem_without_a_budget_gets_abstract_units() -> None:
    with pytest.warns(UserWarning, match="declare budget=Budget"):
        study = Study(SPACE, searcher="asha", seed=0)
    seen = []

    def objective(config: dict[str, Any], trial: Any) -> float:
        seen.append(trial.budget)
        return float(config["x"] ** 2)

    with ThreadPoolExecutor(2) as pool:
        study.run(objective, site=pool, max_trials=40)
    assert set(seen) <= {1, 3, 9, 27, 81}
    assert max(seen) > 3


def test_budgets_of_whole_numbers_are_whole() -> None:
    study = study_of("asha", high=52)
    run(study, 200, 4)
    assert {each.budget for each in study.trials.values()} == {2.0, 6.0, 17.0, None}


def test_the_problem_declares_its_budget() -> None:
    problem = Problem(SPACE, lambda config, trial: 0.0, budget=Budget("epochs", 1, 27))
    study = Study(problem, searcher="asha", searcher_options={"eta": 3})
    assert study.ask().budget == 1.0
    with pytest.raises(SearchError, match="no option 'budget_range'"):
        Study(problem, searcher="asha", searcher_options={"budget_range": (1, 2)})


def test_users_trials_are_no_part_of_a_rung() -> None:
    study = study_of("bohb")
    for config in SPACE.sample(20, np.random.default_rng(0)):
        study.add(config, loss(config, None))
    (trial,) = study.ask(1)
    assert trial.parent_id is None
    assert isinstance(
        study.searcher.ask(2, [*study.pending, Trial(999, SPACE.sample(1, np.random.default_rng(1))[0])]), list
    )


def test_numbers_of_trials_by_rung_follow_the_plan() -> None:
    study = study_of("hyperband", high=9)
    run_simulated(study.searcher, lambda config: loss(config, 1.0), n_trials=1)  # the harness takes it too
    study = study_of("hyperband", high=9)
    run(study, 60, 1)
    rungs = [(each.meta["bracket"], each.meta["rung"]) for each in study.trials.values()]
    counts = {key: len(list(group)) for key, group in itertools.groupby(sorted(rungs))}
    assert [counts[0, rung] for rung in range(3)] == [9, 3, 1]
    assert [counts[1, rung] for rung in range(2)] == [3, 1]
    assert counts[2, 0] == 3


def test_bohb_starts_random_configs_at_the_smallest_budget_and_the_models_one_rung_higher() -> None:
    study = study_of("bohb", seed=1, random_share=0.5)
    run(study, 80, 4)
    fresh = [each for each in study.trials.values() if each.parent_id is None]
    assert {each.budget for each in fresh[:8]} == {1.0}  # no model yet
    starts = Counter((each.meta["bracket"], each.meta["rung"], each.budget) for each in fresh[8:])
    assert set(starts) == {(0, 0, 1.0), (1, 0, 3.0)}
    assert 0.25 < starts[1, 0, 3.0] / starts.total() < 0.75
    promoted = [each for each in study.trials.values() if each.parent_id is not None]
    for each in promoted:
        parent = study.trials[each.parent_id]
        assert (each.config, each.meta["bracket"]) == (parent.config, parent.meta["bracket"])
        assert (each.budget or 81.0) == 3 * parent.budget


def test_bohbs_model_knows_at_which_budget_a_result_was_reached() -> None:
    # Small budgets prefer x = -5, large ones x = 10: what is proposed must follow the large ones.
    study = study_of("bohb", seed=0, random_share=0.4, n_initial=5)
    rng = np.random.default_rng(0)
    for _ in range(250):
        while len(study.pending) < 4:
            study.ask(1)
        trial = study.pending[int(rng.integers(4))]
        level = math.log(81.0 if trial.budget is None else trial.budget) / math.log(81.0)
        x = (trial.config["x"] + 5) / 15
        study.tell(trial, (1 - level) * (0.3 * x + 1) + level * (1 - x) ** 2)
    modelled = [each for each in study.trials.values() if each.meta["bracket"] == 1 and each.parent_id is None]
    assert np.mean([each.config["x"] > 5 for each in modelled[-20:]]) > 0.6


def test_median_stopping_lets_half_of_a_rung_go_on() -> None:
    study = study_of("median_stopping", seed=0)
    for _ in range(4):
        (trial,) = study.ask(1)
        study.tell(trial, float(trial.trial_id))
    assert all(each.parent_id is None for each in study.trials.values())  # too few to judge by
    (fifth,) = study.ask(1)
    study.tell(fifth, 10.0)
    promoted = study.ask(2)
    assert [each.parent_id for each in promoted] == [0, 1]
