"""Stoppers, the policy, and the context that a study gives a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dhflow.monitor.context import Context, Sibling
from dhflow.monitor.finding import Finding, Severity, Suggestion
from dhflow.monitor.policy import Policy
from dhflow.monitor.record import Reading, Records
from dhflow.monitor.rules import judge
from dhflow.monitor.stopper import (
    ExtrapolationStopper,
    MedianStopper,
    NanStopper,
    Stopper,
    TimeStopper,
    first_stop,
)
from dhflow.monitor.surroundings import context_of, directions_of, metric_of
from dhflow.objective import Objective


def run(values: Sequence[float], name: str = "loss", epoch_s: float = 1.0) -> Records:
    return Records.of(Reading(step, {name: value}, 100.0 + epoch_s * step) for step, value in enumerate(values, 1))


def sibling(number: int, values: Sequence[float], *, is_finished: bool = True) -> Sibling:
    return Sibling(number, np.arange(1.0, len(values) + 1), np.array(values), is_finished)


def falling(end: float, n: int = 40) -> list[float]:
    return [end + math.exp(-0.3 * step) for step in range(n)]


def around(*siblings: Sibling, **known: Any) -> Context:
    return Context(metric="loss", siblings=siblings, full_budget=40.0, **known)


def test_nan_stops_at_once_or_after_several() -> None:
    bad = run([1.0, math.inf, math.nan])
    found = NanStopper().check(bad, around())
    assert found is not None
    assert (found.rule, found.severity, found.step, found.advises_stop) == ("stopper:nan", Severity.CRITICAL, 3, True)
    assert NanStopper(3).check(bad, around()) is None
    assert NanStopper(2).check(bad, around()) is not None
    assert NanStopper().check(run([math.nan, 1.0]), around()) is None
    assert NanStopper().check(Records(), around()) is None


def test_the_median_counts_those_that_came_as_far() -> None:
    others = [sibling(n, falling(0.1 * n)) for n in range(1, 6)]
    behind, ahead = run(falling(0.45)[:20]), run(falling(0.25)[:20])
    found = MedianStopper().check(behind, around(*others))
    assert found is not None
    assert found.evidence["n_siblings"] == 5
    assert MedianStopper().check(ahead, around(*others)) is None
    assert MedianStopper().check(behind, around(*others[:4])) is None
    assert MedianStopper(least_share=0.6).check(behind, around(*others)) is None
    short = [sibling(n, falling(0.1 * n)[:10], is_finished=False) for n in range(1, 6)]
    assert MedianStopper().check(behind, around(*short)) is None


def test_the_median_of_an_accuracy_is_the_other_way_round() -> None:
    others = [sibling(n, [0.1 * n] * 40) for n in range(1, 6)]
    context = Context(metric="accuracy", directions={"accuracy": "maximize"}, siblings=tuple(others), full_budget=40.0)
    assert MedianStopper().check(run([0.2] * 20, "accuracy"), context) is not None
    assert MedianStopper().check(run([0.4] * 20, "accuracy"), context) is None


def test_extrapolation_stops_what_will_not_beat_the_best() -> None:
    best = sibling(0, falling(0.1))
    hopeless, hopeful = run(falling(0.8)[:20]), run(falling(0.0)[:9])
    found = ExtrapolationStopper().check(hopeless, around(best))
    assert found is not None
    assert found.evidence["p_beats_best"] < 0.05
    assert found.probability > 0.95
    assert ExtrapolationStopper().check(hopeful, around(best)) is None
    assert ExtrapolationStopper().check(hopeless, around()) is None
    assert ExtrapolationStopper(least_share=0.9).check(hopeless, around(best)) is None
    better_already = run(falling(0.05)[:30])
    assert ExtrapolationStopper().check(better_already, around(best)) is None


def test_time_stops_what_will_not_be_done() -> None:
    slow = run([1.0] * 10, epoch_s=10.0)
    assert TimeStopper().check(slow, around(time_left_s=100.0)) is not None
    assert TimeStopper().check(slow, around(time_left_s=400.0)) is None
    assert TimeStopper().check(slow, around()) is None


def test_the_first_stopper_gives_the_reason() -> None:
    stoppers: tuple[Stopper, ...] = (MedianStopper(), NanStopper())
    found = first_stop(stoppers, run([math.nan]), around())
    assert found is not None
    assert found.rule == "stopper:nan"
    assert first_stop((), run([math.nan]), around()) is None


def test_a_policy_stops_red_runs_only_if_it_may() -> None:
    records, context = run([1.0, math.nan]), around()
    judgement = judge(records, context)
    assert Policy().reason_to_stop(judgement, records, context) is None
    for adapt in ("stop", "auto"):
        reason = Policy(adapt).reason_to_stop(judgement, records, context)  # type: ignore[arg-type]
        assert reason is not None
        assert reason.rule == "overflow"
    stopped = Policy(stoppers=(NanStopper(),)).reason_to_stop(judgement, records, context)
    assert stopped is not None
    assert stopped.rule == "stopper:nan"
    fine = run([1.0, 0.9])
    assert Policy("stop").reason_to_stop(judge(fine, context), fine, context) is None


def test_auto_tries_changes_of_grave_findings_alone() -> None:
    change = Suggestion("lower", "change", "lower it", changes={"lr": 0.1})
    words = Suggestion("look", "advice", "look")
    red = Finding("a", Severity.CRITICAL, "a", suggestions=(words, change))
    amber = Finding("b", Severity.WARNING, "b", suggestions=(change,))
    note = Finding("c", Severity.NOTE, "c", suggestions=(change,))
    auto = Policy("auto")
    assert auto.change_to_try([note, amber, red], is_over=False) == (red, change)
    assert auto.change_to_try([note, amber], is_over=False) is None
    assert auto.change_to_try([note, amber], is_over=True) == (amber, change)
    assert Policy("stop").change_to_try([red], is_over=True) is None


@pytest.mark.parametrize(
    ("names", "objective", "metric"),
    [
        (("loss", "accuracy"), Objective("accuracy", "maximize"), "accuracy"),
        (("loss", "val_loss"), Objective(), "val_loss"),
        (("loss", "mine"), Objective(), "loss"),
        (("mine", "learning_rate"), Objective("objective", "maximize"), "mine"),
        (("a", "b"), Objective("c"), "c"),
        (("accuracy", "val_accuracy"), Objective("objective", "maximize"), "val_accuracy"),
        (("loss", "accuracy", "val_accuracy"), Objective("objective", "maximize"), "val_accuracy"),
        (("val_accuracy", "val_loss"), Objective("objective", "maximize"), "val_loss"),
        (("val_accuracy", "val_f1", "val_hinge_loss"), Objective("f1", "maximize"), "val_f1"),
        (("val_a", "val_hinge_loss"), Objective(), "val_hinge_loss"),
        (("val_time", "val_accuracy"), Objective("objective", "maximize"), "val_accuracy"),
        (("train/error", "eval/error"), Objective(), "eval/error"),
        (("seconds", "accuracy", "learning_rate"), Objective("objective", "maximize"), "accuracy"),
        (("interval", "value"), Objective(), "objective"),
    ],
)
def test_the_objectives_metric_is_found(names: tuple[str, ...], objective: Objective, metric: str) -> None:
    assert metric_of(names, objective) == metric


def test_what_stands_for_the_objective_has_its_direction() -> None:
    objective = Objective("objective", "maximize")
    assert directions_of("mine", [objective])["mine"] == "maximize"
    assert "val_loss" not in directions_of("val_loss", [objective])
    assert "val_error" not in directions_of("val_error", [objective])
    context = context_of(run([0.5, 0.6], "mine"), [objective], full_budget=9.0)
    assert (context.metric, context.direction("mine"), context.full_budget) == ("mine", "maximize", 9.0)


@pytest.mark.parametrize(
    ("reported", "objective", "known"),
    [
        ("accuracy", "accuracy", 0.9),
        ("val_accuracy", "accuracy", 0.9),
        ("val_loss", "accuracy", None),
        ("f1", "f", None),
    ],
)
def test_a_target_is_of_the_objective_s_own_metric(reported: str, objective: str, known: float | None) -> None:
    context = context_of(run([0.5, 0.6], reported), [Objective(objective, "maximize")], target=0.9)
    assert (context.metric, context.target) == (reported, known)
