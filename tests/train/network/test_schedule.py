"""Learning rates over epochs, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.train import Schedule


def factors(schedule: Schedule, epochs: float, at: list[float]) -> list[float]:
    return [float(schedule.factor(each, epochs)) for each in at]


def test_a_fixed_rate():
    assert factors(Schedule(), 10, [0, 3.5, 10]) == [1.0, 1.0, 1.0]
    assert Schedule().is_constant
    assert not Schedule(warm_up_epochs=1).is_constant


def test_steps():
    found = factors(Schedule("step", rate=0.5, at_epochs=(2, 4)), 6, [0, 1.9, 2, 3.9, 4, 6])
    assert found == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_exponential_and_its_staircase():
    smooth = Schedule("exponential", rate=0.9, every_epochs=2)
    assert factors(smooth, 10, [0, 1, 2, 5]) == pytest.approx([1.0, 0.9**0.5, 0.9, 0.9**2.5])
    stairs = Schedule("exponential", rate=0.9, every_epochs=2, staircase=True)
    assert factors(stairs, 10, [0, 1.99, 2, 5]) == pytest.approx([1.0, 1.0, 0.9, 0.81])


def test_cosine_after_a_warm_up():
    plain = Schedule("cosine", floor=0.1)
    assert factors(plain, 8, [0, 4, 8, 9]) == pytest.approx([1.0, 0.55, 0.1, 0.1])
    warm = Schedule("cosine", warm_up_epochs=2)
    assert factors(warm, 10, [0, 1, 2, 6, 10]) == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_a_warm_up_begins_where_it_is_told():
    schedule = Schedule(warm_up_epochs=5, warm_up_from=0.25)
    assert factors(schedule, 20, [0, 2.5, 5, 20]) == pytest.approx([0.25, 0.625, 1.0, 1.0])


def test_a_floor_holds_for_every_kind():
    assert factors(Schedule("exponential", rate=0.1, floor=0.05), 9, [1, 5]) == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "linear"}, "no schedule 'linear'"),
        ({"kind": "step"}, "needs at_epochs"),
        ({"rate": 0.0}, "rate lies above 0"),
        ({"every_epochs": 0}, "every_epochs is positive"),
        ({"floor": 2.0}, "shares from 0 to 1"),
        ({"warm_up_epochs": -1}, "warm_up_epochs is 0 or more"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(SearchError, match=message):
        Schedule(**arguments)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("step", at_epochs=(1, 3)),
        Schedule("exponential", rate=0.7, staircase=True, warm_up_epochs=1),
        Schedule("cosine", warm_up_epochs=1, floor=0.2),
        Schedule(warm_up_epochs=2),
    ],
    ids=lambda each: each.kind,
)
def test_keras_sees_the_same_rates(keras, schedule):
    from dhflow.train.network.custom import ScheduledRate

    rate = ScheduledRate(schedule, peak=0.5, steps_per_epoch=4, epochs=4)
    again = ScheduledRate.from_config(rate.get_config())
    for step in range(17):
        expected = 0.5 * float(schedule.factor(np.float64(step / 4), 4))
        assert math.isclose(float(np.asarray(rate(step))), expected, rel_tol=1e-5, abs_tol=1e-7)
        assert float(np.asarray(again(step))) == float(np.asarray(rate(step)))
