"""Several objectives, constraints, failures, cost and noise: what the model-based searchers do about them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dhflow import Study
from dhflow.constraint import Constraint
from dhflow.errors import SearchError
from dhflow.pareto import hypervolume
from dhflow.searcher import make_searcher
from dhflow.searcher.ambs import MAX_REPEATS
from dhflow.searcher.joint import Calibration, JointRule
from dhflow.space import Categorical, Float, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import Attempt, TrialStatus

SQUARE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
MODEL_BASED = ("ambs", "gp", "auto")


def front(config: dict[str, Any]) -> tuple[float, float]:
    """Return ZDT1 (Zitzler, Deb and Thiele 2000) in six dimensions."""
    first, *rest = (config[f"x{i}"] for i in range(6))
    g = 1 + 9 * sum(rest) / 5
    return first, g * (1 - math.sqrt(first / g))


@pytest.mark.parametrize("name", MODEL_BASED)
def test_several_objectives_are_traded_off(name: str) -> None:
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(6)})

    def volume(searcher: str, seed: int) -> float:
        made = make_searcher(searcher, space, seed=seed, n_objectives=2)
        study = run_simulated(made, front, n_trials=50, n_workers=4, seed=seed)
        losses = np.array([each.losses for each in study.trials.values() if each.losses])
        return hypervolume(losses, np.array([1.1, 6.0]))

    by_chance = np.mean([volume("random", seed) for seed in range(3)])
    assert np.mean([volume(name, seed) for seed in range(2)]) > 1.15 * by_chance


def told(study: SimulatedStudy, losses: Sequence[float], seconds: float = 1.0, **metrics: float) -> None:
    """Finish the oldest pending trial."""
    trial = study.pending[0]
    status = TrialStatus.COMPLETED if losses else TrialStatus.FAILED
    attempt = Attempt(1, status, 0.0, 0.0, seconds, seconds)
    ended = replace(study.finish(trial, tuple(losses) or None), metrics=metrics, attempts=(attempt,))
    study.trials[trial.trial_id] = ended
    study.searcher.tell([ended])


@pytest.mark.parametrize("name", MODEL_BASED)
def test_constraints_are_learned(name: str) -> None:
    # The best config of all, (0, 0), is not allowed; the best allowed ones lie on a line.
    searcher = make_searcher(name, SQUARE, seed=1, constraints=(Constraint("sum", ">=", 1.0),))
    study = SimulatedStudy(searcher)
    for _ in range(50):
        (trial,) = study.ask(1)
        x, y = trial.config["x"], trial.config["y"]
        told(study, [x + 2 * y], sum=x + y)
    allowed = [each.losses[0] for each in study.trials.values() if each.metrics["sum"] >= 1]
    assert min(allowed) < 1.1  # (1, 0)
    assert len(allowed) > 15


@pytest.mark.parametrize("name", ["gp", "auto"])
def test_a_bound_far_beyond_what_is_usual_is_learned_in_a_conditional_space_too(name: str) -> None:
    space = SearchSpace(
        {
            "model": Categorical(["a", "b"]),
            "x": Float(0.0, 1.0, when={"model": "a"}),
            "y": Float(0.0, 1.0, when={"model": "b"}),
        }
    )
    study = SimulatedStudy(make_searcher(name, space, seed=1, constraints=(Constraint("memory", "<=", 400.0),)))
    for _ in range(40):
        (trial,) = study.ask(1)
        x = trial.config.get("x", 0.0)
        told(study, [-x], memory=math.exp(10.0 * x))
    allowed = [each.config.get("x", 0.0) for each in study.trials.values() if each.metrics["memory"] <= 400.0]
    assert len(allowed) > 20
    assert max(allowed) > 0.99 * math.log(400.0) / 10.0


@pytest.mark.parametrize("name", ["gp", "auto"])
def test_without_an_allowed_trial_constraints_alone_lead(name: str) -> None:
    searcher = make_searcher(name, SQUARE, seed=1, constraints=(Constraint("far", "<=", 0.02),))
    study = SimulatedStudy(searcher)
    for _ in range(40):
        (trial,) = study.ask(1)
        far = (trial.config["x"] - 0.9) ** 2 + (trial.config["y"] - 0.9) ** 2
        told(study, [0.0], far=far)
    assert sum(each.metrics["far"] <= 0.02 for each in study.trials.values()) >= 5


def test_failures_are_an_infeasible_region() -> None:
    study = SimulatedStudy(make_searcher("ambs", SQUARE, seed=2, failed="infeasible"))
    for _ in range(60):
        (trial,) = study.ask(1)
        # It becomes better towards where it fails.
        told(study, [] if trial.config["x"] > 0.5 else [-trial.config["x"]])
    latest = [each for each in study.trials.values() if each.trial_id >= 30]
    assert sum(each.status is TrialStatus.FAILED for each in latest) < 12
    assert min(each.losses[0] for each in study.trials.values() if each.losses) < -0.47


@pytest.mark.parametrize("failed", ["worst", "mean", "leave_out", "infeasible"])
def test_a_thousand_failures_in_a_row_neither_slow_nor_skew_the_search(failed: str) -> None:
    study = SimulatedStudy(make_searcher("ambs", SQUARE, seed=2, failed=failed))

    def spend(n: int) -> float:
        began = time.process_time()
        for _ in range(n):
            (trial,) = study.ask(1)
            told(study, [(trial.config["x"] - 0.3) ** 2 + (trial.config["y"] - 0.6) ** 2])
        return (time.process_time() - began) / n

    before = spend(30)
    rng = np.random.default_rng(0)
    for config in SQUARE.sample(1000, rng):
        study.add(config, 0.0)
        latest = max(study.trials)
        study.trials[latest] = replace(study.trials[latest], status=TrialStatus.FAILED, losses=(), values={})
    after = spend(30)
    # Costs are those of many told trials, not of failures.
    assert after < 20 * before + 0.05
    best = min(study.trials.values(), key=lambda each: each.losses[0] if each.losses else math.inf)
    assert best.losses[0] < 2e-3


def test_seconds_count_when_asked_to() -> None:
    def mean_seconds(*, cost_aware: bool) -> float:
        study = SimulatedStudy(make_searcher("gp", SQUARE, seed=0, cost_aware=cost_aware))
        for _ in range(40):
            (trial,) = study.ask(1)
            seconds = 10 ** (2 * trial.config["x"])
            told(study, [(trial.config["y"] - 0.5) ** 2], seconds)
        return float(np.mean([each.duration_s for each in study.trials.values() if each.trial_id >= 10]))

    assert mean_seconds(cost_aware=True) < 0.5 * mean_seconds(cost_aware=False)


def test_a_noisy_objective_is_measured_again_where_it_seems_best() -> None:
    study = SimulatedStudy(make_searcher("gp", SQUARE, seed=0, repeat_share=0.5))
    rng = np.random.default_rng(0)
    for _ in range(60):
        (trial,) = study.ask(1)
        told(study, [(trial.config["x"] - 0.4) ** 2 + 0.05 * rng.standard_normal()])
    repeats = [each for each in study.trials.values() if each.meta.get("is_repeat")]
    counts = Counter(tuple(each.config.values()) for each in study.trials.values())
    assert len(repeats) > 15
    assert max(counts.values()) <= MAX_REPEATS
    assert sum(each - 1 for each in counts.values()) == len(repeats)
    again = make_searcher("gp", SQUARE, seed=0, repeat_share=0.5)
    study.tell_again(again)
    assert again.ask(3) == study.searcher.ask(3)


def test_what_is_recommended_is_not_the_luckiest() -> None:
    def true(config: Mapping[str, Any]) -> float:
        return float((config["x"] - 0.4) ** 2 + (config["y"] - 0.4) ** 2)

    regrets = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        study = Study(SQUARE, searcher="random", seed=1)
        configs = SQUARE.sample(80, rng)
        study.add_trials(configs, [true(each) + 0.2 * rng.standard_normal() for each in configs])
        regrets.append((true(study.result.recommended.config), true(study.result.best.config)))
    recommended, luckiest = np.mean(regrets, axis=0)
    assert recommended < 0.5 * luckiest


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"acquisition": "lcb", "cost_aware": True}, "lcb"),
        ({"acquisition": "hedge", "failed": "infeasible"}, "hedge"),
        ({"n_objectives": 2, "acquisition": "pi"}, "pi"),
        ({"constraints": (Constraint("x", "<", 1.0),), "acquisition": "lcb"}, "lcb"),
        ({"n_objectives": 2, "repeat_share": 0.1}, "repeat_share"),
        ({"repeat_share": 1.5}, "from 0 to 1"),
        ({"failed": "never"}, "failed"),
        ({"failed": "leave_out", "cost_aware": True}, "failed='leave_out' has no effect with cost_aware=True"),
        ({"liar": "min", "multipoint": "penalised"}, "liar='min' has no effect with multipoint=\"penalised\""),
        ({"liar": "max", "surrogate": "gradient_boosting"}, 'no effect with surrogate="gradient_boosting"'),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SearchError, match=says):
        make_searcher("ambs", SQUARE, **options)


def test_the_scalarised_target() -> None:
    rule = JointRule(np.array([0.25, 0.75]), np.array([-1.0, -2.0]), 0.0, np.zeros((1, 2)), np.zeros(0))
    # max(0.25 * 2, 0.75 * 3) + 0.05 * (0.5 + 2.25)
    assert rule.scalarised(np.array([1.0, 1.0])) == pytest.approx(2.25 + 0.05 * 2.75)


def test_a_calibration_reads_between_the_told_values() -> None:
    known = Calibration(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 8.0]))
    assert known.of(np.array([-5.0, -0.5, 0.5, 9.0])).tolist() == [1.0, 1.5, 5.0, 8.0]
