"""Rules over curves: where they fire, where they are silent, and that their thresholds can be set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.monitor.context import Context, Sibling
from dhflow.monitor.finding import Light, Severity
from dhflow.monitor.record import DataFacts, MachineRecord, NetworkFacts, Reading, Records, TensorRecord
from dhflow.monitor.rules import RULES, judge, with_thresholds
from dhflow.space import Float, Integer, SearchSpace

T = np.arange(1.0, 31.0)
FULL = Context(full_budget=60.0)


def siblings(values, n=60, metric_sign=1.0):
    steps = np.arange(1.0, n + 1)
    return tuple(Sibling(i, steps, metric_sign * (end + 1.0 / steps), is_finished=True) for i, end in enumerate(values))


def test_every_rule_is_named_sourced_and_once(rule_names):
    assert len(set(rule_names)) == len(rule_names) >= 24
    assert all(each.source and each.family for each in RULES)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 3, 8, 15, 30, 60])
def test_a_healthy_run_is_green_at_any_time(run_of, healthy, seed, k):
    loss, valid = healthy(60, seed=seed)
    steps = np.arange(1.0, 61.0)
    alike = tuple(Sibling(i, steps, healthy(60, floor=0.18 + 0.05 * i, seed=9 + i)[1]) for i in range(6))
    context = Context(full_budget=60.0, siblings=alike, time_left_s=1e4, now=110.0 + 10 * k)
    found = judge(run_of(loss[:k], valid[:k]), context)
    assert found.light is Light.GREEN, found.findings


def test_nothing_recorded_is_green():
    assert judge(Records()).findings == ()


def test_unknown_rules_and_thresholds_are_named():
    with pytest.raises(SearchError, match="no rule 'nothing'"):
        with_thresholds({"nothing": {}})
    with pytest.raises(SearchError, match=r"'divergence' has no threshold 'size'; it has: n_readings"):
        with_thresholds({"divergence": {"size": 1}})


# Overflow


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_overflow_of_the_loss(run_of, finding, value):
    space = SearchSpace({"learning_rate": Float(1e-5, 1e-1, log=True), "clip_gradients": Float(0.0, 1.0)})
    context = Context({"learning_rate": 1e-3, "clip_gradients": 0.0}, space)
    found = finding("overflow", run_of([0.9, 0.8, value]), context)
    assert found.severity is Severity.CRITICAL
    assert [each.name for each in found.suggestions] == ["clip_gradients", "lower_learning_rate", "stop"]
    assert found.suggestions[0].changes == {"clip_gradients": 0.1}
    assert found.step == found.evidence["first_step"] == 3


def test_overflow_of_weights_though_the_loss_is_fine(run_of, finding):
    weights = [TensorRecord(2, "conv1", "weight", "kernel", 100, 1.0, n_nonfinite=7)]
    found = finding("overflow", run_of([0.9, 0.8], more=weights))
    assert "7 weights of conv1/kernel" in found.text
    assert judge(run_of([0.9, 0.8], more=weights)).light is Light.RED


def test_one_gradient_that_overflows_is_a_loss_scaler_s(run_of, finding):
    rows = [TensorRecord(i, "a", "gradient", "kernel", 10, 1.0, n_nonfinite=1) for i in (1, 2)]
    assert finding("overflow", run_of([0.9, 0.8], more=rows[:1])) is None
    assert finding("overflow", run_of([0.9, 0.8], more=rows)).evidence["gradients"] == ["a/kernel"]
    assert finding("overflow", run_of([0.9, 0.8], more=rows[:1]), n_gradient_records=1) is not None


def test_overflow_hides_what_it_explains(run_of):
    loss = [*(0.5 * 2.0 ** np.arange(12)), math.nan]
    assert [each.rule for each in judge(run_of(loss)).findings] == ["overflow"]


# Divergence and oscillation


def test_divergence(run_of, finding):
    loss = 0.5 * np.exp(0.4 * np.arange(20))
    found = finding("divergence", run_of(loss), FULL)
    assert found.severity is Severity.CRITICAL
    assert found.advises_stop
    assert found.suggestions[0].name == "lower_learning_rate"
    assert found.probability > 0.9
    assert finding("divergence", run_of(loss[:5]), FULL).severity is Severity.WARNING
    assert finding("divergence", run_of(loss[:5]), FULL, factor=100.0) is None


def test_a_warm_up_that_comes_back_is_no_divergence(run_of, finding):
    loss = np.concatenate([[0.41, 4.5, 15.0, 5.3, 5.2, 4.0, 2.4, 1.1, 0.6], 0.13 + 0.3 * T**-1.0])
    severities = {
        found.severity
        for k in range(4, len(loss))
        if (found := finding("divergence", run_of(loss[:k]), FULL)) is not None
    }
    assert Severity.CRITICAL not in severities


def test_oscillation(run_of, finding, healthy):
    loss = 1.0 + 0.5 * (-1.0) ** np.arange(20)
    found = finding("oscillation", run_of(loss))
    assert found.evidence["turns"] == 1.0
    assert finding("oscillation", run_of(loss), swing=2.0) is None
    assert finding("oscillation", run_of(healthy()[0])) is None


# Convergence


def test_converged_good_and_early(run_of, finding):
    loss = 0.1 + np.exp(-T)
    found = finding("converged", run_of(loss, loss + 0.01), FULL)
    assert found.severity is Severity.NOTE
    assert found.advises_stop
    assert found.evidence["epochs_left"] == 30
    assert finding("converged", run_of(loss, loss + 0.01), FULL, p_improving=0.0).suggestions == ()
    assert finding("converged", run_of(loss, loss + 0.01)).suggestions == ()  # nobody said how long it is


def test_still_improving(run_of, finding):
    loss = 1.0 - 0.02 * T
    found = finding("still_improving", run_of(loss, loss + 0.1), FULL)
    assert found.suggestions == ()
    assert found.evidence["p_improving"] > 0.6
    assert finding("still_improving", run_of(loss, loss + 0.1), FULL, probability=0.99) is None


def test_stuck_at_the_start(run_of, finding, healthy):
    rng = np.random.default_rng(0)
    loss = 2.303 * np.exp(rng.normal(0, 5e-4, 12))
    found = finding("stuck_at_start", run_of(loss), FULL)
    assert found.suggestions[0].name == "raise_learning_rate"
    assert finding("stuck_at_start", run_of(loss[:5]), FULL) is None  # a tenth of the budget is more
    assert finding("stuck_at_start", run_of(loss), FULL, gained=1e-5) is None
    assert finding("stuck_at_start", run_of(healthy()[0]), FULL) is None


# Underfitting


FLAT = 1.8 + 0.5 * np.exp(-T)


def test_underfitting_is_converged_and_worse_than_siblings(run_of, finding):
    run = run_of(FLAT, FLAT + 0.02)
    context = Context(
        {"n_layers": 2},
        SearchSpace({"n_layers": Integer(1, 5)}),
        full_budget=60.0,
        siblings=siblings([0.5, 0.6, 0.7, 0.9]),
    )
    found = finding("underfitting", run, context)
    assert found.severity is Severity.CRITICAL
    assert found.suggestions[0].changes == {"n_layers": 3}
    assert found.advises_stop
    assert "automl" in [each.name for each in found.suggestions]
    alike = Context(full_budget=60.0, siblings=siblings([1.75, 1.8, 1.85, 1.9]), baseline=2.303)
    assert finding("underfitting", run, alike) is None
    assert finding("underfitting", run, context, n_siblings=9) is None


def test_underfitting_without_siblings_needs_a_target_or_a_baseline(run_of, finding):
    run = run_of(FLAT, FLAT + 0.02)
    assert finding("underfitting", run, FULL) is None
    assert finding("underfitting", run, Context(full_budget=60.0, target=0.5)) is not None
    assert finding("underfitting", run, Context(full_budget=60.0, target=1.79)) is None
    assert finding("underfitting", run, Context(full_budget=60.0, baseline=2.303)) is not None
    assert finding("underfitting", run, Context(full_budget=60.0, baseline=2.303), way_from_chance=0.1) is None


def test_underfitting_by_chance_of_the_classes(finding):
    accuracy = 0.31 - 0.2 * np.exp(-T)
    readings = [
        Reading(i + 1, {"loss": FLAT[i], "val_loss": FLAT[i], "accuracy": a, "val_accuracy": a - 0.01})
        for i, a in enumerate(accuracy)
    ]
    facts = [DataFacts(class_counts=(500,) * 10), NetworkFacts(loss="sparse_categorical_crossentropy")]
    found = finding("underfitting", Records.of([*readings, *facts]), FULL)
    assert found.evidence["baseline"] == 0.1


def test_a_run_that_still_improves_does_not_underfit(run_of, finding):
    loss = 2.3 - 0.02 * T
    assert finding("underfitting", run_of(loss, loss), Context(full_budget=100.0, baseline=2.303)) is None


# Overfitting


def test_overfitting(run_of, finding, healthy):
    train = 1.0 * np.exp(-0.1 * T)
    valid = 0.8 + 0.02 * (T - 10) ** 2 / 10
    found = finding("overfitting", run_of(train, valid), FULL)
    assert found.severity is Severity.WARNING
    assert found.evidence["best_step"] == 10
    assert [each.name for each in found.suggestions][:3] == ["more_dropout", "more_weight_decay", "more_data"]
    assert finding("overfitting", run_of(train, valid), FULL, rise=5.0) is None
    assert finding("overfitting", run_of(*healthy()), FULL) is None
    assert finding("overfitting", run_of(valid, valid), FULL) is None  # both rise: not overfitting


def test_splits_that_differ(finding):
    found = finding("unstable_splits", Records(), Context(repeats=(0.9, 0.6, 0.8)))
    assert found.suggestions[0].name == "augment"
    assert finding("unstable_splits", Records(), Context(repeats=(0.90, 0.91, 0.89))) is None
    assert finding("unstable_splits", Records(), Context(repeats=(0.9, 0.6))) is None


# Siblings


def test_dominated(run_of, finding):
    loss = 1.5 + 0.5 * np.exp(-T / 2)
    others = siblings([0.3, 0.4, 0.5, 0.6, 0.7])
    context = Context(full_budget=60.0, siblings=others)
    found = finding("dominated", run_of(loss, loss), context)
    assert found.severity is Severity.CRITICAL
    assert found.evidence["p_beats_best"] < 0.05
    assert finding("dominated", run_of(loss, loss), context, n_siblings=6) is None
    good = 0.2 + 0.5 * np.exp(-T / 2)
    assert finding("dominated", run_of(good, good), context) is None
    assert finding("dominated", run_of(loss, loss), FULL) is None


def test_dominated_with_a_metric_that_is_maximised(finding):
    others = siblings([-0.9, -0.85, -0.8, -0.8, -0.7], metric_sign=-1.0)
    context = Context(metric="val_accuracy", full_budget=60.0, siblings=others)

    def run(end):
        return Records(tuple(Reading(i + 1, {"val_accuracy": end - 0.3 * math.exp(-i)}) for i in range(30)))

    assert finding("dominated", run(0.5), context).evidence["best_sibling"] == pytest.approx(0.8833, abs=1e-3)
    assert finding("dominated", run(0.95), context) is None


def test_siblings_that_had_not_come_so_far_are_left_out():
    short = Sibling(0, np.arange(1.0, 6.0), np.ones(5))
    lost = Sibling(1, np.arange(1.0, 61.0), np.full(60, np.nan))
    context = Context(siblings=(short, lost, *siblings([0.5])))
    assert context.sibling_losses(20.0).tolist() == [math.inf, 0.55]


# The machine


def waits(share, n=5):
    return [
        MachineRecord(i + 1, 100.0 + i, step_time_s=0.1, input_wait_s=0.1 * share, epoch_time_s=10.0) for i in range(n)
    ]


def test_bound_by_data_loading(run_of, finding):
    assert finding("loading_bound", run_of([1.0], more=waits(0.6))).evidence["wait_share"] == 0.6
    assert finding("loading_bound", run_of([1.0], more=waits(0.1))) is None
    assert finding("loading_bound", run_of([1.0], more=waits(0.1)), wait_share=0.05) is not None
    assert finding("loading_bound", run_of([1.0], more=waits(0.6, 2))) is None


def test_stalled(run_of, finding):
    run = run_of(1.0 / T)  # a reading each 10 s, the last one at 390
    assert finding("stalled", run, Context(now=430.0)) is None
    assert finding("stalled", run, Context(now=460.0)).severity is Severity.WARNING
    assert finding("stalled", run, Context(now=600.0)).severity is Severity.CRITICAL
    assert finding("stalled", run, Context(now=460.0), least_s=100.0) is None
    assert finding("stalled", run) is None


def test_out_of_time(run_of, finding):
    run = run_of(1.0 / T)
    found = finding("out_of_time", run, Context(full_budget=60.0, time_left_s=100.0))
    assert found.evidence["reaches"] == 40
    assert finding("out_of_time", run, Context(full_budget=60.0, time_left_s=500.0)) is None
    assert finding("out_of_time", run, Context(full_budget=60.0, time_left_s=290.0), margin=0.5) is not None
    assert (
        finding("out_of_time", run_of(1.0 / T, more=waits(0.0)), Context(full_budget=60.0, time_left_s=10.0))
        is not None
    )
