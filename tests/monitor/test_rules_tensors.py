"""Rules over tensors, facts and classes: where they fire, where they are silent, and that thresholds can be set."""

from __future__ import annotations

import math

import pytest

from dhflow.monitor.context import Context
from dhflow.monitor.finding import Light, Severity
from dhflow.monitor.record import (
    ClassRecord,
    DataFacts,
    Layer,
    NetworkFacts,
    Reading,
    Records,
    TensorRecord,
)
from dhflow.monitor.rules import judge
from dhflow.space import Categorical, SearchSpace

NAMES = ("dense", "dense_1", "dense_2", "out")
NETWORK = NetworkFacts(
    (*(Layer(each, "Dense", "relu", 32, 1000) for each in NAMES[:-1]), Layer("out", "Dense", "softmax", 10, 100)),
    loss="sparse_categorical_crossentropy",
    last_activation="softmax",
    last_units=10,
)


def tensors(kind, values, field="norm", steps=(1, 2), name="kernel", **more):
    """One record of each layer at each step, in which one field has the given values."""
    base = {"size": 100, "norm": 1.0, "mean": 0.01, "std": 0.1, "max_abs": 0.3, "zero_share": 0.0, **more}
    return [
        TensorRecord(step, layer, kind, name, **{**base, field: value})
        for step in steps
        for layer, value in zip(NAMES, values, strict=True)
    ]


def run(*parts, network=NETWORK, data=None):
    records = [each for part in parts for each in part]
    return Records.of([*records, network, *([data] if data else [])])


def losses(values):
    return [Reading(i, {"loss": value}) for i, value in enumerate(values, 1)]


GOOD = [
    *tensors("weight", (10.0, 10.1, 9.8, 8.0), steps=(1,)),
    *tensors("weight", (10.2, 10.3, 9.9, 8.2), steps=(2,)),
    *tensors("gradient", (0.1, 0.12, 0.15, 0.2)),
    *tensors("update", (0.01, 0.01, 0.012, 0.02)),
    *tensors("activation", (0.05, 0.1, 0.0, math.nan), "dead_share", name="", saturated_share=0.05),
]
GOOD_DATA = DataFacts(1000, 256, 0.0, 1.0, 4.0, 2.0, class_counts=(100,) * 10)


def test_a_healthy_network_is_green():
    found = judge(run(GOOD, [ClassRecord(2, ((9, 1), (1, 9)))], data=GOOD_DATA))
    assert found.findings == ()
    assert found.light is Light.GREEN


def test_vanishing_gradients(finding):
    record = run(tensors("gradient", (1e-6, 1e-4, 1e-2, 0.5)))
    found = finding("vanishing_gradients", record)
    assert found.evidence["ratio"] == pytest.approx(2e-6)
    assert found.evidence["layers"] == list(NAMES)
    assert finding("vanishing_gradients", record, ratio=1e-7, absolute=1e-12) is None
    assert finding("vanishing_gradients", run(tensors("gradient", (1e-6, 1e-4, 1e-2, 0.5), steps=(1,)))) is None
    assert finding("vanishing_gradients", run(tensors("gradient", (1e-6, 0.1, 0.1, 0.1), name="bias"))) is None


def test_exploding_gradients(finding):
    assert finding("exploding_gradients", run(tensors("gradient", (5e3, 10.0, 10.0, 10.0)))) is not None
    calm = tensors("gradient", (0.1,) * 4, steps=(1, 2, 3, 4))
    jump = tensors("gradient", (30.0,) * 4, steps=(5,))
    found = finding("exploding_gradients", run(calm, jump))
    assert found.evidence["growth"] == 300.0
    assert found.suggestions[0].name == "clip_gradients"
    assert finding("exploding_gradients", run(calm, jump), growth=1e3) is None
    assert finding("exploding_gradients", run(calm)) is None


def test_dead_units(finding):
    def record(*shares):
        return run(tensors("activation", shares, "dead_share", name=""))

    found = finding("dead_units", record(0.1, 0.7, 0.2, 0.0))
    assert (found.severity, found.evidence["layers"]) == (Severity.WARNING, ["dense_1"])
    assert finding("dead_units", record(0.1, 1.0, 0.2, 0.0)).advises_stop
    assert finding("dead_units", record(0.1, 0.2, 0.2, 1.0)) is None  # the output may be zero
    assert finding("dead_units", record(0.1, 0.2, 0.2, 0.0), dead_share=0.15) is not None


def test_saturated_units(finding):
    record = run(tensors("activation", (0.8, 0.1, 0.1, 0.99), "saturated_share", name=""))
    assert finding("saturated_units", record).evidence["layers"] == ["dense"]
    assert finding("saturated_units", record, saturated_share=0.9) is None


def test_update_ratio(finding):
    weights = tensors("weight", (10.0,) * 4)
    high = finding("bad_update_ratio", run(weights, tensors("update", (0.01, 5.0, 0.01, 0.01))))
    assert (high.evidence["tensors"], high.suggestions[0].name) == (["dense_1/kernel"], "lower_learning_rate")
    low = finding("bad_update_ratio", run(weights, tensors("update", (1e-7, 0.01, 0.01, 0.01))))
    assert low.suggestions[0].name == "raise_learning_rate"
    good = run(weights, tensors("update", (0.01,) * 4))
    assert finding("bad_update_ratio", good) is None
    assert finding("bad_update_ratio", good, high=1e-4) is not None
    once = run(tensors("weight", (10.0,) * 4, steps=(1,)), tensors("update", (5.0,) * 4, steps=(1,)))
    assert finding("bad_update_ratio", once) is None  # Adam's first steps are large


def test_unchanged_tensors(finding):
    still = run(tensors("weight", (10.0,) * 4, steps=(1,)), tensors("weight", (10.0, 10.1, 10.2, 10.3), steps=(2,)))
    assert finding("unchanged_tensors", still).evidence["tensors"] == ["dense/kernel"]
    assert finding("unchanged_tensors", still, n_records=3) is None
    declared = NetworkFacts((NETWORK.layers[0]._replace(is_trainable=False), *NETWORK.layers[1:]))
    assert (
        finding("unchanged_tensors", run(tensors("weight", (10.0, 1.0, 1.0, 1.0), steps=(1,)), network=declared))
        is None
    )
    frozen = NetworkFacts((*(each._replace(is_trainable=False) for each in NETWORK.layers[:-1]), NETWORK.layers[-1]))
    assert finding("unchanged_tensors", run(network=frozen)).evidence["frozen_share"] == pytest.approx(
        3000 / 3100, 1e-3
    )
    assert finding("unchanged_tensors", run(network=frozen), frozen_share=0.99) is None


def test_zero_tensors(finding):
    zero = run(tensors("weight", (0.0, 1.0, 1.0, 1.0), steps=(2,)))
    assert finding("zero_tensors", zero).evidence["weights"] == ["dense/kernel"]
    bias = run(tensors("weight", (0.0,) * 4, name="bias"))
    assert finding("zero_tensors", bias) is None
    assert finding("zero_tensors", run(tensors("gradient", (0.0, 1.0, 1.0, 1.0)))).evidence["gradients"] == [
        "dense/kernel"
    ]
    sparse = run(tensors("weight", (0.95,) * 4, "zero_share"))
    assert finding("zero_tensors", sparse) is None
    assert finding("zero_tensors", sparse, zero_share=0.9) is not None


def test_poor_initialisation(finding):
    def start(loss, stds=(1.0, 1.0, 1.0, 1.0)):
        first = [Reading(1, {"loss": loss}, per="batch")]
        return run(first, tensors("activation", stds, "std", steps=(1,), name=""), data=GOOD_DATA)

    found = finding("poor_initialisation", start(40.0))
    assert found.evidence["chance"] == pytest.approx(math.log(10), 1e-3)
    assert finding("poor_initialisation", start(2.5)) is None
    assert finding("poor_initialisation", start(2.5), loss_factor=1.0) is not None
    assert finding("poor_initialisation", start(2.5, (1.0, 30.0, 900.0, 1.0))).evidence["signal_ratio"] == 900.0
    assert finding("poor_initialisation", start(2.5, (1.0, 0.05, 0.001, 1.0))) is not None


def test_class_imbalance(finding):
    assert finding("class_imbalance", run(data=DataFacts(class_counts=(900, 100)))) is None
    assert finding("class_imbalance", run(data=DataFacts(class_counts=(950, 50)))).severity is Severity.NOTE
    assert finding("class_imbalance", run(data=DataFacts(class_counts=(980, 20)))).severity is Severity.WARNING
    # Of sixty samples of ten classes chance makes such counts.
    few = DataFacts(class_counts=(11, 6, 5, 7, 1, 6, 8, 5, 6, 5))
    assert finding("class_imbalance", run(data=few)) is None
    data = DataFacts(class_counts=(950, 50))
    missed = run([ClassRecord(1, ((95, 0), (4, 1)))], data=data)
    assert finding("class_imbalance", missed).severity is Severity.WARNING
    seen = run([ClassRecord(1, ((95, 0), (0, 5)))], data=DataFacts(class_counts=(980, 20)))
    assert finding("class_imbalance", seen).severity is Severity.NOTE
    assert finding("class_imbalance", run(data=GOOD_DATA), ratio=0.5) is not None


def test_class_confusion(finding):
    def tested(counts, *steps):
        return run([ClassRecord(step, counts) for step in steps], losses([1.0] * 10))

    pair = ((50, 0, 0), (0, 20, 30), (2, 1, 47))
    found = finding("class_confusion", tested(pair, 9, 10))
    assert (found.evidence["true"], found.evidence["taken"]) == (1, 2)
    assert finding("class_confusion", tested(pair, 9, 10), pair_share=0.7) is None
    assert finding("class_confusion", tested(pair, 10)) is None  # once is no habit
    assert finding("class_confusion", tested(pair, 1, 2)) is None  # a beginner knows some classes only
    one = ((0, 30, 0), (0, 30, 0), (0, 30, 0))
    assert "one class for all" in finding("class_confusion", tested(one, 9, 10)).text
    assert finding("class_confusion", tested(((20, 15, 15), (15, 20, 15), (15, 15, 20)), 9, 10)) is None


def test_a_confused_pair_may_wait_while_the_run_improves(finding):
    pair = ((50, 0, 0), (0, 20, 30), (2, 1, 47))
    loss = [2.0 * 0.8**i for i in range(10)]
    records = run([ClassRecord(9, pair), ClassRecord(10, pair)], losses(loss))
    assert finding("class_confusion", records, Context(full_budget=30)) is None
    assert finding("class_confusion", records, Context(full_budget=30), p_improving=1.0) is not None


def test_inputs(finding):
    found = finding("bad_inputs", run(data=DataFacts(input_mean=0.1, input_std=1.0, n_nonfinite_inputs=3, n_probed=10)))
    assert found.severity is Severity.CRITICAL
    pixels = DataFacts(input_mean=120.0, input_std=64.0)
    assert finding("bad_inputs", run(data=pixels)).suggestions[0].name == "normalise_inputs"
    assert finding("bad_inputs", run(data=pixels), std_high=100.0) is None
    scaled = NetworkFacts((Layer("in", "InputLayer"), Layer("scale", "Rescaling"), *NETWORK.layers))
    assert finding("bad_inputs", run(data=pixels, network=scaled)) is None
    uneven = DataFacts(input_mean=0.0, input_std=2.0, feature_std_ratio=1e4)
    assert finding("bad_inputs", run(data=uneven)) is not None
    assert finding("bad_inputs", run(data=GOOD_DATA)) is None


def test_targets_that_are_not_finite_matter_where_the_loss_is_not_either(finding):
    bad = DataFacts(input_mean=0.0, input_std=1.0, n_nonfinite_targets=7, n_probed=600)
    found = finding("bad_inputs", run(losses([math.nan, math.nan]), data=bad))
    assert (found.severity, found.suggestions[0].name) == (Severity.CRITICAL, "clean_targets")
    assert found.evidence == {"n_nonfinite": 7, "n_probed": 600}
    assert finding("bad_inputs", run(losses([1.0, 0.5]), data=bad)) is None  # the loss leaves them out
    assert finding("bad_inputs", run(data=bad)) is None


def facts(loss, activation="", units=10, *, from_logits=False):
    return NetworkFacts((Layer("out", "Dense", activation, units),), loss, from_logits, activation, units)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (facts("sparse_categorical_crossentropy"), "no activation"),
        (facts("categorical_crossentropy", "relu"), "activation 'relu'"),
        (facts("SparseCategoricalCrossentropy", "softmax", from_logits=True), "softmax to a softmax"),
        (facts("categorical_crossentropy", "softmax", 1), "always zero"),
        (facts("sparse_categorical_crossentropy", "softmax", 9), "9 outputs for 10 classes"),
        (facts("binary_crossentropy", "linear", 1), "no activation"),
        (facts("binary_crossentropy", "softmax", 1), "always 1"),
        (facts("BinaryCrossentropy", "sigmoid", 1, from_logits=True), "sigmoid to a sigmoid"),
        (facts("mean_squared_error", "softmax"), "mean_squared_error on classes"),
    ],
)
def test_wrong_last_layer(finding, network, says):
    assert says in finding("wrong_last_layer", run(network=network, data=GOOD_DATA)).text


@pytest.mark.parametrize(
    "network",
    [
        facts("sparse_categorical_crossentropy", "softmax"),
        facts("categorical_crossentropy", from_logits=True),
        facts("my_loss", "tanh"),
        facts(""),
    ],
)
def test_a_last_layer_that_fits(finding, network):
    assert finding("wrong_last_layer", run(network=network, data=GOOD_DATA)) is None


def test_targets_outside_the_range_of_the_last_activation(finding):
    house = DataFacts(target_mean=22.0, target_std=9.0)
    assert (
        "outside the range of sigmoid"
        in finding("wrong_last_layer", run(network=facts("mse", "sigmoid", 1), data=house)).text
    )
    assert finding("wrong_last_layer", run(network=facts("mse", "", 1), data=house)) is None
    share = DataFacts(target_mean=0.5, target_std=0.2)
    assert finding("wrong_last_layer", run(network=facts("mse", "sigmoid", 1), data=share)) is None
    assert finding("wrong_last_layer", run(network=facts("mse", "sigmoid", 1), data=share), n_std=3.0) is not None


def test_a_change_of_activation_is_a_diff():
    space = SearchSpace({"activation": Categorical(["sigmoid", "relu"])})
    found = judge(run(tensors("gradient", (1e-6, 1e-4, 1e-2, 0.5))), Context({"activation": "sigmoid"}, space))
    assert found.suggestions[0].changes == {"activation": "relu"}
    assert found.light is Light.AMBER
