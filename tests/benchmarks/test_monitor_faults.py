"""The benchmark of faults: that a training is as its config says, and how its verdicts are counted."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from monitor_faults import Row, context_of, followed, look_at
from monitor_trainings import (
    BASE,
    DONE_BY_HAND,
    FAULTS,
    HEALTHY,
    UNSEEN_BY_HAND,
    UNSEEN_FAULTS,
    UNSEEN_HEALTHY,
    config_of,
    make_data,
    make_network,
    train,
)

from dhflow.monitor import Light, Records, Suggestion, judge
from dhflow.monitor.keeper import Keeper

needs_keras = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def fault(name):
    return next(each for each in (*FAULTS, *UNSEEN_FAULTS) if each.name == name)


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


def test_unseen_kinds_are_others():
    assert len(UNSEEN_FAULTS) >= 6
    assert all(set(each.config) <= set(BASE) for each in UNSEEN_FAULTS)
    assert all(set(each) <= set(BASE) for each in (*UNSEEN_BY_HAND.values(), *UNSEEN_HEALTHY.values()))
    assert not any(dict(each) in map(dict, HEALTHY.values()) for each in UNSEEN_HEALTHY.values())
    known = [dict(each.config) for each in FAULTS]
    assert not any(dict(each.config) in known for each in UNSEEN_FAULTS)


def data_of(name):
    return make_data(config_of(fault(name).config), 3)


def test_data_of_unseen_kinds_have_their_fault():
    clean = make_data(config_of({}), 3)
    assert np.array_equal(data_of("labels shifted by one row").train[1][1:], clean.train[1][:-1])
    column = data_of("one column scaled by 1e6")
    assert np.sum(column.train[0].std(axis=0) > 1e3) == np.sum(column.validation[0].std(axis=0) > 1e3) == 1
    few = data_of("fifty samples, twenty times each")
    assert (len(few.train[0]), len(np.unique(few.train[0], axis=0))) == (1000, 50)
    assert np.array_equal(few.validation[0], clean.validation[0])
    targets = data_of("NaN in 1 % of the targets")
    assert 0 < np.isnan(targets.train[1]).mean() < 0.03
    assert np.isfinite(targets.validation[1]).all()
    zeros = data_of("inputs that are all zero")
    assert not zeros.train[0].any()
    assert zeros.validation[0].any()


def test_the_first_suggestion_that_can_be_carried_out_is():
    words = Suggestion("tell_apart", "advice", "look")
    by_hand = Suggestion("clean_inputs", "advice", "clean")
    change = Suggestion("lower", "change", "lower", changes={"learning_rate": 1.0})
    assert followed([words, change], BASE) == ("lower", {**BASE, "learning_rate": 1.0})
    config = config_of({"inputs": "nan"})
    assert followed([by_hand, change], config) == ("clean_inputs", {**BASE, "inputs": "scaled"})
    assert followed([by_hand, change], BASE)[0] == "lower"  # they are clean already
    assert followed([words], BASE) is None


def as_kept(records):
    """Return a run as a history has it, with the detail of few of its epochs."""
    curve = [each for each in records.readings if each.per == "epoch"]
    keeper = Keeper()
    rest = [each for each in records.readings if each.per == "batch"]
    keeper.add([records.network, records.data, *rest, *records.tensors, *records.machine, *records.classes])
    n_per_step = len(records.tensors) // len({each.step for each in records.tensors})
    return Records.of([*curve, *keeper.brief(3 * n_per_step)])


def rules_of(records, trained):
    return [each.rule for each in judge(records, context_of(trained)).findings]


@pytest.mark.slow
@needs_keras
@pytest.mark.parametrize("name", ["zero initialisation", "missing softmax", "inputs with NaN"])
def test_a_fault_is_found_and_named(name):
    trained = train(config_of(fault(name).config), 10, epochs=4)
    row = Row(fault(name), 10, look_at(trained), trained.score)
    assert row.seen.is_alarmed
    assert row.is_named
    assert not row.is_mended
    assert rules_of(as_kept(trained.records), trained) == rules_of(trained.records, trained)


@pytest.mark.slow
@needs_keras
def test_networks_of_unseen_kinds_have_their_fault():
    frozen = config_of(fault("first layer frozen at a bad start").config)
    layers = make_network(frozen, make_data(frozen, 3)).layers
    assert [each.trainable for each in layers] == [False, True, True, True]
    assert float(np.std(layers[0].get_weights()[0])) > 3 * float(np.std(layers[1].get_weights()[0]))
    strong = config_of(fault("L1 far too strong").config)
    assert float(make_network(strong, make_data(strong, 3)).layers[0].kernel_regularizer.l1) == pytest.approx(0.3)
    heavy = config_of(fault("momentum of 0.999").config)
    assert make_network(heavy, make_data(heavy, 3)).optimizer.momentum == 0.999


@pytest.mark.slow
@needs_keras
def test_a_healthy_training_is_left_alone():
    trained = train(config_of(HEALTHY["relu, Adam"]), 10, epochs=8)
    seen = look_at(trained)
    assert trained.score > 0.9
    assert not seen.is_alarmed
    assert seen.judgement.light is Light.GREEN
