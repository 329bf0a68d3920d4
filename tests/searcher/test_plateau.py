"""Where results repeat, a model-based search explores; where they do not, it is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dhflow.searcher import make_searcher
from dhflow.searcher.plateau import N_RECENT, Plateaus
from dhflow.space import Float, SearchSpace
from dhflow.testing.simulated import run_simulated

SQUARE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})


def test_the_share_of_repeats_is_that_of_the_latest_results() -> None:
    plateaus = Plateaus()
    plateaus.tell([(1.0,), (2.0,), (1.0,)])
    assert plateaus.share == 1 / N_RECENT
    plateaus.tell([(2.0,)] * N_RECENT)
    assert plateaus.share == 1.0
    plateaus.tell((float(each),) for each in range(10, 10 + N_RECENT))
    assert plateaus.share == 0.0


def last_configs(objective: Callable[[dict[str, Any]], float], **options: Any) -> np.ndarray:
    searcher = make_searcher("ambs", SQUARE, seed=3, **options)
    trials = list(run_simulated(searcher, objective, n_trials=60).trials.values())
    return np.array([[each.config["x"], each.config["y"]] for each in trials[-25:]])


def distance_from_best(configs: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(configs - [0.3, 0.7], axis=1)))


@pytest.mark.parametrize("options", [{}, {"surrogate": "gaussian_process"}, {"failed": "infeasible"}])
def test_steps_of_an_objective_are_left_and_its_slopes_are_not(options: dict[str, Any]) -> None:
    def slope(config: dict[str, Any]) -> float:
        return float((config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2)

    def stairs(config: dict[str, Any]) -> float:
        return float(np.floor(4 * slope(config)))

    assert distance_from_best(last_configs(slope, **options)) < 0.1
    assert distance_from_best(last_configs(stairs, **options)) > 0.2
