"""The benchmark of faults: that a training is as its config says, and how its verdicts are counted."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from monitor_faults import Row, followed, look_at
from monitor_trainings import BASE, DONE_BY_HAND, FAULTS, HEALTHY, config_of, make_data, train

from dhflow.monitor import Light, Suggestion

needs_keras = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def fault(name):
    return next(each for each in FAULTS if each.name == name)


def test_there_are_enough_kinds_and_as_many_healthy_ones():
    assert len(FAULTS) >= 12
    assert len(HEALTHY) >= len(FAULTS)
    known = set(BASE)
    assert all(set(each.config) <= known for each in FAULTS)
    assert all(set(each) <= known for each in (*HEALTHY.values(), *DONE_BY_HAND.values()))


def test_data_have_the_fault_in_training_alone():
    clean, shuffled = (make_data(config_of({"labels": each}), 3) for each in ("true", "shuffled"))
    assert np.array_equal(clean.validation[1], shuffled.validation[1])
    assert (clean.train[1] != shuffled.train[1]).mean() > 0.8
    few = np.bincount(make_data(config_of({"labels": "imbalanced"}), 3).train[1])
    assert few[:5].min() > 5 * few[5:].max()
    assert np.isnan(make_data(config_of({"inputs": "nan"}), 3).train[0]).any()
    assert np.array_equal(make_data(config_of({}), 3).train[0], clean.train[0])


def test_the_first_suggestion_that_can_be_carried_out_is():
    words = Suggestion("tell_apart", "advice", "look")
    by_hand = Suggestion("clean_inputs", "advice", "clean")
    change = Suggestion("lower", "change", "lower", changes={"learning_rate": 1.0})
    assert followed([words, change], BASE) == ("lower", {**BASE, "learning_rate": 1.0})
    config = config_of({"inputs": "nan"})
    assert followed([by_hand, change], config) == ("clean_inputs", {**BASE, "inputs": "scaled"})
    assert followed([by_hand, change], BASE)[0] == "lower"  # they are clean already
    assert followed([words], BASE) is None


@pytest.mark.slow
@needs_keras
@pytest.mark.parametrize("name", ["zero initialisation", "missing softmax", "inputs with NaN"])
def test_a_fault_is_found_and_named(name):
    trained = train(config_of(fault(name).config), 10, epochs=4)
    row = Row(fault(name), 10, look_at(trained), trained.score)
    assert row.seen.is_alarmed
    assert row.is_named
    assert not row.is_mended


@pytest.mark.slow
@needs_keras
def test_a_healthy_training_is_left_alone():
    trained = train(config_of(HEALTHY["relu, Adam"]), 10, epochs=8)
    seen = look_at(trained)
    assert trained.score > 0.9
    assert not seen.is_alarmed
    assert seen.judgement.light is Light.GREEN
