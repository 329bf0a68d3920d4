"""Causes before symptoms, and advice that says how far: what faults put in on purpose have taught."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dhflow.monitor.advice import lower_learning_rate, raise_learning_rate
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Light, Severity
from dhflow.monitor.record import DataFacts, Layer, NetworkFacts, Reading, Records, TensorRecord
from dhflow.monitor.rules import judge

NETWORK = NetworkFacts(
    (Layer("dense", "Dense", "relu", 32, 1000), Layer("out", "Dense", "softmax", 10, 100)),
    loss="sparse_categorical_crossentropy",
    last_activation="softmax",
    last_units=10,
    learning_rate=1.0,
)
DATA = DataFacts(1000, 256, 0.0, 1.0, 4.0, 2.0, class_counts=(100,) * 10)


def tensor(step, kind, norm, layer="dense", name="kernel", **more):
    return TensorRecord(step, layer, kind, name, 100, norm, 0.0, norm / 10, norm, 0.0, **more)


def flat(accuracy, loss=2.0, n=20):
    values = {"loss": loss, "accuracy": accuracy, "val_loss": loss, "val_accuracy": accuracy}
    return [Reading(step, {**values, "loss": loss * 0.9999**step}) for step in range(1, n + 1)]


def judged(*records, network=NETWORK, data=DATA, config=None):
    context = Context(config=config or {}, metric="val_accuracy", full_budget=20)
    return judge(Records.of([network, data, *records]), context)


def rules(found):
    return [each.rule for each in found.findings]


@pytest.mark.parametrize(
    ("ratio", "growth", "factor"), [(0.01, 1.0, 3), (0.3, 1.0, 27), (0.01, 80.0, 81), (1e9, 1, 729)]
)
def test_the_learning_rate_is_lowered_as_far_as_updates_and_weights_show(ratio, growth, factor):
    weights = [tensor(0, "weight", 1.0), tensor(1, "weight", growth)]
    records = Records.of([NETWORK, *weights, tensor(1, "update", ratio * growth)])
    found = lower_learning_rate(Context(config={"learning_rate": 1.0}), records, "why")
    assert found.changes == {"learning_rate": pytest.approx(1 / factor, rel=0.01)}
    assert f"divide the learning rate by {factor}" in found.text


def test_without_updates_one_step_is_advised():
    config = Context(config={"learning_rate": 0.001})
    assert lower_learning_rate(config, Records(), "why").changes == {"learning_rate": 0.000333}
    assert raise_learning_rate(config, Records(), "why").changes == {"learning_rate": 0.003}


def test_the_learning_rate_is_raised_as_far_as_updates_show():
    records = Records.of([tensor(1, "weight", 1.0), tensor(1, "update", 1e-6)])
    found = raise_learning_rate(Context(config={"learning_rate": 1e-6}), records, "why")
    assert found.changes["learning_rate"] == pytest.approx(243e-6)  # 3e-4 over 1e-6 is nearest to 3 to the fifth


def test_what_was_dead_before_the_first_step_asks_for_other_weights():
    def dead(*steps):
        return [TensorRecord(each, "dense", "activation", dead_share=1.0) for each in steps]

    config = {"learning_rate": 0.1, "kernel_initializer": "zeros"}
    at_start = judged(*dead(0, 1), config=config)
    assert at_start.suggestions[0].changes == {"kernel_initializer": "he_normal"}
    later = judged(TensorRecord(0, "dense", "activation", dead_share=0.1), *dead(1), config=config)
    assert later.suggestions[0].name == "lower_learning_rate"


def test_what_overflows_before_the_first_step_is_not_clipped():
    config = {"global_clipnorm": None, "activation": "exponential"}
    lost = Reading(1, {"loss": math.nan})
    assert judged(lost, config=config).suggestions[0].name == "clip_gradients"
    huge = judged(lost, tensor(0, "gradient", 1e30), config=config)
    assert huge.suggestions[0].changes == {"activation": "relu"}
    assert huge.findings[0].evidence["huge_at_start"]


def test_a_cause_is_as_grave_as_what_it_explains():
    symptoms = judged(*flat(0.1))
    assert rules(symptoms) == ["underfitting"]
    assert symptoms.light is Light.RED
    gradients = [
        tensor(step, "gradient", norm, layer) for step in (1, 2) for layer, norm in (("dense", 1e-9), ("out", 1.0))
    ]
    found = judged(*flat(0.1), *gradients)
    assert rules(found) == ["vanishing_gradients"]
    assert found.findings[0].severity is Severity.CRITICAL
    assert found.suggestions[0].name == "other_activation"
    assert found.advises_stop


def test_inputs_that_are_not_finite_explain_an_overflow_and_others_do_not():
    lost = Reading(1, {"loss": math.nan})
    assert rules(judged(lost, data=DataFacts(n_probed=256, n_nonfinite_inputs=3))) == ["bad_inputs"]
    assert rules(judged(lost, data=DataFacts(n_probed=256, n_nonfinite_targets=3))) == ["bad_inputs"]
    uneven = DataFacts(n_probed=256, input_mean=0.0, input_std=100.0)
    assert rules(judged(lost, data=uneven)) == ["overflow", "bad_inputs"]


def test_weights_that_shrink_while_nothing_is_learnt():
    def shrinking(accuracy, to):
        weights = [tensor(step, "weight", norm) for step, norm in ((0, 1.0), (5, 0.6), (10, to))]
        return judged(*flat(accuracy, n=10), *weights, config={"l2": 1.0})

    found = shrinking(0.1, 0.05)
    assert rules(found)[0] == "over_regularised"
    assert found.suggestions[0].changes == {"l2": pytest.approx(0.1)}
    assert "over_regularised" not in rules(shrinking(0.95, 0.05))
    assert "over_regularised" not in rules(shrinking(0.1, 0.9))


def test_a_layer_narrower_than_the_outputs_is_widened_before_layers_are_added():
    narrow = replace(NETWORK, layers=(Layer("dense", "Dense", "relu", 2, 10), *NETWORK.layers[1:]))
    config = {"n_layers": 1, "units": 2}
    assert judged(*flat(0.1), config=config).suggestions[0].name == "more_layers"
    assert judged(*flat(0.1), config=config, network=narrow).suggestions[0].name == "more_units"


def test_a_parameter_of_the_exact_name_comes_before_one_that_ends_so():
    from dhflow.monitor.advice import parameter_of

    context = Context(config={"last_activation": "softmax", "activation": "tanh"})
    assert parameter_of("activation", context) == "activation"
    assert parameter_of("activation", Context(config={"block_activation": "tanh"})) == "block_activation"
