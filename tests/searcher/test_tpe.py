from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dhflow.searcher import make_searcher
from dhflow.searcher.tpe import Observed, Tpe
from dhflow.space import Categorical, Float, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import TrialStatus

CUBE = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(4)})
TREE = SearchSpace(
    {
        "kind": Categorical(["near", "far"]),
        "x": Float(0.0, 1.0, when={"kind": "near"}),
        "y": Float(0.0, 1.0, when={"kind": "near"}),
        "z": Float(0.0, 1.0, when={"kind": "far"}),
    }
)


def bowl(config: dict[str, Any]) -> float:
    return float(sum((value - 0.3) ** 2 for value in config.values()))


def best(name: str, n_workers: int, seed: int, **options: Any) -> float:
    study = run_simulated(make_searcher(name, CUBE, seed=seed, **options), bowl, n_trials=60, n_workers=n_workers)
    return min(study.losses())


@pytest.mark.parametrize("options", [{}, {"together": "none"}, {"together": "groups", "weights": "uniform"}])
@pytest.mark.parametrize("n_workers", [1, 8])
def test_it_finds_far_better_configs_than_random_search(n_workers: int, options: dict[str, Any]) -> None:
    ratios = [best("tpe", n_workers, seed, **options) / best("random", n_workers, seed) for seed in range(4)]
    assert np.exp(np.mean(np.log(ratios))) < 0.7


def test_the_parts_of_a_small_history() -> None:
    observed = Observed(1, seed=0)
    X = np.linspace(0, 1, 6)[:, None]
    observed.append(X, np.ones(X.shape, np.bool_), np.array([3.0, 1.0, np.inf, 0.0, 2.0, np.inf]))
    split = observed.split(2, 100)
    assert observed.n_completed == 4
    assert split.good.tolist() == [3, 1]
    assert sorted(split.bad.tolist()) == [0, 2, 4, 5]
    np.testing.assert_allclose(split.improvements, np.array([2.0, 1.0]) / 1.5)
    np.testing.assert_array_equal(split.bad_weights, 1.0)


def test_of_a_long_history_the_bad_part_is_a_weighted_sample() -> None:
    observed = Observed(1, seed=0)
    rng = np.random.default_rng(0)
    loss = rng.permutation(5_000).astype(float)
    for part in np.split(np.arange(5_000), 50):
        observed.append(loss[part, None], np.ones((len(part), 1), np.bool_), loss[part])
    split = observed.split(25, 600)
    assert sorted(loss[split.good]) == list(range(25))
    assert len(split.bad) == len(set(split.bad)) == 600
    assert set(range(25, 325)) <= set(loss[split.bad])
    assert split.bad_weights.sum() == pytest.approx(4_975)
    # The weighted sample keeps the mean of all bad ones.
    assert np.average(loss[split.bad], weights=split.bad_weights) == pytest.approx(loss[loss >= 25].mean(), rel=0.1)


@pytest.mark.parametrize("losses", [[1.0, 1.0, 1.0], [-1.7e308, 1.7e308, 0.0], [5.0]])
def test_improvements_are_finite(losses: list[float]) -> None:
    observed = Observed(1, seed=0)
    observed.append(np.zeros((len(losses), 1)), np.ones((len(losses), 1), np.bool_), np.array(losses))
    split = observed.split(1, 10)
    assert np.isfinite(split.improvements).all()
    assert split.improvements.sum() == pytest.approx(1.0)


def test_failed_trials_repel() -> None:
    study = SimulatedStudy(make_searcher("tpe", CUBE, seed=1))
    rng = np.random.default_rng(0)
    for config in CUBE.sample(60, rng):
        study.add(config, None if config["x0"] > 0.5 else bowl(config) - config["x0"])
    found = [each.config["x0"] for each in study.ask(64)]
    assert np.mean(np.array(found) > 0.55) < 0.1


def test_only_failures_leave_it_at_random() -> None:
    study = run_simulated(make_searcher("tpe", CUBE, seed=1), lambda _: math.nan, n_trials=30)
    assert len(study.trials) == 30
    searcher = study.searcher
    assert isinstance(searcher, Tpe)
    assert searcher._observed.n_completed == 0


def test_pending_trials_repel() -> None:
    def spread(pending: str) -> float:
        study = SimulatedStudy(make_searcher("tpe", CUBE, seed=2, pending=pending))
        for config in CUBE.sample(40, np.random.default_rng(0)):
            study.add(config, bowl(config))
        X = np.array([list(each.config.values()) for each in study.ask(32)])
        return float(X.std(axis=0).mean())

    assert spread("bad") > 1.2 * spread("leave_out")


@pytest.mark.parametrize("together", ["all", "groups"])
def test_it_learns_which_branch_is_better(together: str) -> None:
    def loss(config: dict[str, Any]) -> float:
        return 1.0 if config["kind"] == "far" else (config["x"] - 0.8) ** 2 + (config["y"] - 0.2) ** 2

    study = run_simulated(make_searcher("tpe", TREE, seed=0, together=together), loss, n_trials=60)
    late = list(study.trials.values())[30:]
    assert np.mean([each.config["kind"] == "near" for each in late]) > 0.8
    assert min(study.losses()) < 0.02


def test_groups_have_the_same_condition() -> None:
    searcher = make_searcher("tpe", TREE, together="groups")
    assert isinstance(searcher, Tpe)
    np.testing.assert_array_equal(searcher._blocks, [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])


def test_a_higher_budget_replaces_what_was_learned() -> None:
    study = SimulatedStudy(make_searcher("tpe", CUBE))
    for config in CUBE.sample(20, np.random.default_rng(0)):
        trial = study._create(_suggestion(config, 1.0), 0)
        study.tell(trial, bowl(config))
    study.ask()
    searcher = study.searcher
    assert isinstance(searcher, Tpe)
    assert searcher._observed.n_completed == 20
    study.add(CUBE.default_config(), 0.5)
    study.tell(study.pending[0], 1.0, TrialStatus.STOPPED)
    study.ask()
    assert searcher._observed.n_completed == 1


def _suggestion(config: dict[str, Any], budget: float) -> Any:
    from dhflow.trial import Suggestion

    return Suggestion(config, budget=budget)
