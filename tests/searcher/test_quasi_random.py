from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

from dhflow.searcher import make_searcher
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated

SQUARE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})


def points(study: SimulatedStudy) -> np.ndarray:
    return np.array([[each.config["x"], each.config["y"]] for each in study.trials.values()])


@pytest.mark.parametrize("name", ["lhs", "sobol", "halton"])
@pytest.mark.parametrize("sizes", [[64], [1] * 64, [3, 60, 1]])
def test_how_many_are_asked_for_at_once_makes_no_difference(name: str, sizes: list[int]) -> None:
    study = SimulatedStudy(make_searcher(name, SQUARE, seed=2))
    for size in sizes:
        study.ask(size)
    whole = SimulatedStudy(make_searcher(name, SQUARE, seed=2))
    whole.ask(64)
    np.testing.assert_array_equal(points(study), points(whole))


@pytest.mark.parametrize("name", ["lhs", "sobol", "halton"])
def test_they_are_more_even_than_random_search(name: str) -> None:
    def discrepancy(searcher: str, seed: int) -> float:
        study = SimulatedStudy(make_searcher(searcher, SQUARE, seed=seed))
        study.ask(64)
        return float(qmc.discrepancy(points(study)))

    mean = {each: np.mean([discrepancy(each, seed) for seed in range(8)]) for each in (name, "random")}
    assert mean[name] < 0.6 * mean["random"]


def test_each_block_of_lhs_has_one_point_in_every_slice() -> None:
    study = SimulatedStudy(make_searcher("lhs", SQUARE, block_size=10))
    study.ask(25)
    for block in (points(study)[:10], points(study)[10:20]):
        np.testing.assert_array_equal(np.sort(np.floor(block * 10), axis=0), np.tile(np.arange(10)[:, None], 2))


@pytest.mark.parametrize("name", ["lhs", "sobol", "halton"])
def test_the_sequence_goes_on_after_a_resume(name: str) -> None:
    study = SimulatedStudy(make_searcher(name, SQUARE, seed=2))
    study.ask(20)
    for trial in study.pending[:12]:
        study.tell(trial, 0.0)
    resumed = make_searcher(name, SQUARE, seed=2)
    resumed.tell([each for each in study.trials.values() if each.is_finished])
    resumed.replayed(0, 20)
    assert resumed.ask(7, study.pending) == study.searcher.ask(7, study.pending)


@pytest.mark.parametrize("name", ["lhs", "sobol", "halton"])
def test_forbidden_points_are_skipped_even_where_few_are_allowed(name: str) -> None:
    space = SearchSpace(
        {"x": Float(0.0, 1.0, default=0.01), "c": Categorical(["a", "b"])},
        forbidden=[{"c": "b"}],
        constraints=[_in_a_corner],
    )
    study = SimulatedStudy(make_searcher(name, space))
    found = [*study.ask(1), *study.ask(10)]
    assert len(found) == 11
    assert all(_in_a_corner(dict(each.config)) and each.config["c"] == "a" for each in found)


@pytest.mark.parametrize("name", ["lhs", "sobol", "halton"])
def test_priors_and_grids_are_followed(name: str) -> None:
    space = SearchSpace({"rate": Float(1e-4, 1.0, log=True), "n": Integer(1, 4)})
    study = run_simulated(make_searcher(name, space), lambda _: 0.0, n_trials=64)
    rates = [each.config["rate"] for each in study.trials.values()]
    assert np.mean(np.array(rates) < 1e-2) == pytest.approx(0.5, abs=0.05)
    counts = np.bincount([each.config["n"] for each in study.trials.values()], minlength=5)
    assert counts[1:].min() >= 12


def _in_a_corner(config: dict[str, Any]) -> bool:
    return bool(config["x"] < 0.05)
