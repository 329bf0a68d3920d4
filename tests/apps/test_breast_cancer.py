"""The breast-cancer problem: its space, its budget of folds, and a short search."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from dhflow import TrialStatus, search
from dhflow.train import load_file_module

PROBLEM = Path(__file__).parents[2] / "apps" / "breast_cancer" / "problem.py"


@dataclass
class Handle:
    """The part of a trial's handle that the objective uses; keeps what is reported."""

    prepared: object
    budget: float | None = None
    seed: int = 7
    stop_after: int = 99
    reports: list[tuple[int, float]] = field(default_factory=list)

    def report(self, step: int, *, log_loss: float, accuracy: float) -> None:
        assert 0 <= accuracy <= 1
        self.reports.append((step, log_loss))

    def should_stop(self) -> bool:
        return len(self.reports) >= self.stop_after


@pytest.fixture(scope="module")
def cancer():
    return load_file_module(PROBLEM)


@pytest.fixture(scope="module")
def data(cancer):
    return cancer.load_data()


def small(config: dict[str, object]) -> dict[str, object]:
    return {**config, "max_iter": 16}


def test_a_growth_rule_brings_its_own_limit(cancer):
    for config in cancer.space.sample(50, np.random.default_rng(1)):
        assert ("max_leaf_nodes" in config) == (config["growth"] == "leaves")
        assert ("max_depth" in config) == (config["growth"] == "depth")
        cancer.make_model(config, seed=1)


def test_the_split_keeps_the_test_set_apart(data):
    rows = {row.tobytes() for row in data.X}
    assert not rows & {row.tobytes() for row in data.X_test}
    assert len(data.y) + len(data.y_test) == 569


def test_a_budget_counts_folds(cancer, data):
    config = small(cancer.default)
    one = cancer.objective(config, Handle(data, budget=1))
    assert set(one) == {"log_loss"}
    trial = Handle(data)
    full = cancer.objective(config, trial)
    assert set(full) == {"log_loss", "test_log_loss", "test_accuracy"}
    steps, losses = zip(*trial.reports, strict=True)
    assert steps == (1, 2, 3, 4, 5)
    assert full["log_loss"] == pytest.approx(sum(losses) / 5)
    assert one["log_loss"] == losses[0]


def test_a_trial_that_is_told_to_stop_returns_what_it_has(cancer, data):
    trial = Handle(data, stop_after=2)
    value = cancer.objective(small(cancer.default), trial)
    assert value == {"log_loss": pytest.approx(sum(loss for _, loss in trial.reports) / 2)}


def test_the_same_seed_gives_the_same_value(cancer, data):
    config = {**small(cancer.default), "max_features": 0.3}
    first, again, other = (cancer.objective(config, Handle(data, budget=1, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.slow
def test_a_short_search(cancer):
    with ThreadPoolExecutor(1) as pool:
        result = search(cancer.problem, site=pool, searcher="random", seed=1, max_trials=3)
    assert [each.status for each in result] == [TrialStatus.COMPLETED] * 3
    assert result.default.config == cancer.default
    assert result.best.metrics["test_accuracy"] > 0.9
