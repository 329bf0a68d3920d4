"""Parameters: what they accept, what they refuse and where they say so."""

from __future__ import annotations

import json
import math
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, Parameter

# Of wrong types, which a checker would find.
TEXT: Any = "0"
ONE: Any = 1
HALF: Any = 0.5
MAPPING: Any = {"a": 1}
NUMBERED: Any = {3: "x"}


@pytest.mark.parametrize(
    ("make", "path", "says"),
    [
        (lambda: Float(1.0, 1.0), "low", "Constant"),
        (lambda: Float(2, 1), "low", "below"),
        (lambda: Float(TEXT, 1), "low", "number"),
        (lambda: Float(0, math.inf), "high", "finite"),
        (lambda: Float(math.nan, 1), "low", "finite"),
        (lambda: Float(False, 1), "low", "number"),
        (lambda: Float(0, 10**400), "high", "large"),
        (lambda: Float(-1e308, 1e308), "high", "within"),
        (lambda: Float(0, 1e-310), "low", "narrow"),
        (lambda: Float(1.0, 1.0 + 1e-15), "low", "hardly any"),
        (lambda: Float(1e20, 1.0000000000000002e20, log=True), "low", "narrow"),
        (lambda: Float(0, 1, log=True), "low", "positive"),
        (lambda: Float(5e-324, 1, log=True), "low", "at least"),
        (lambda: Float(0, 1, log=ONE), "log", "True nor False"),
        (lambda: Float(0, 1, default=1.1), "default", "in [0.0, 1.0]"),
        (lambda: Float(0, 1, default=True), "default", "number"),
        (lambda: Float(0, 1, prior=TEXT), "prior", "Normal"),
        (lambda: Float(0, 1, prior=Normal(2, 1)), "prior.mean", "must lie in [0, 1]"),
        (lambda: Float(1e-5, 1, log=True, prior=Normal(1e-3, 1)), "prior.mean", "natural logarithm"),
        (lambda: Float(0, 1, prior=Normal(0.5, 1e-9)), "prior.std", "millionth"),
        (lambda: Normal(0, 0), "prior.std", "positive"),
        (lambda: Normal(TEXT, 1), "prior.mean", "number"),
        (lambda: Integer(True, 3), "low", "whole"),
        (lambda: Integer(HALF, 3), "low", "whole"),
        (lambda: Integer(3, 3), "low", "Constant"),
        (lambda: Integer(0, 8, log=True), "low", "positive"),
        (lambda: Integer(0, 2**60), "high", "below"),
        (lambda: Integer(1, 2**41, log=True), "high", "below"),
        (lambda: Integer(1, 5, default=6), "default", "whole number in [1, 5]"),
        (lambda: Ordinal([]), "values", "empty"),
        (lambda: Ordinal([1, 3, 2]), "values", "rise or fall"),
        (lambda: Ordinal([1, 2, 1.0]), "values", "twice"),
        (lambda: Ordinal("abc"), "values", "list"),
        (lambda: Ordinal.geometric(8, 500, 2), "values", "do not meet 500"),
        (lambda: Ordinal.geometric(0, 8, 2), "values", "low"),
        (lambda: Ordinal.geometric(8, 16, 1), "values", "factor"),
        (lambda: Ordinal.arithmetic(0, 1, 0.3), "values", "do not meet 1"),
        (lambda: Ordinal.arithmetic(0, 1, -1), "values", "step"),
        (lambda: Categorical(["a", "a"]), "choices", "twice"),
        (lambda: Categorical([[1], [2]]), "choices", "string"),
        (lambda: Categorical([1.0, math.inf]), "choices", "finite"),
        (lambda: Categorical(MAPPING), "choices", "list"),
        (lambda: Categorical(["a"], default="b"), "default", "not one of ['a']"),
        (lambda: Categorical(["a"], when={}), "when", "mapping"),
        (lambda: Categorical(["a"], when=TEXT), "when", "mapping"),
        (lambda: Categorical(["a"], when={"b": []}), "when", "empty"),
        (lambda: Categorical(["a"], when=NUMBERED), "when", "name"),
        (lambda: Categorical(["a"], group=""), "group", "name"),
        (lambda: Constant((1, 2)), "value", "string"),
    ],
)
def test_refuses(make: Any, path: str | None, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        make()
    assert caught.value.path == path
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "given", "expected"),
    [
        (Float(0, 2), 1, 1.0),
        (Float(0, 2), np.float32(0.5), 0.5),
        (Float(0, 2), np.array(1.5), 1.5),
        (Integer(0, 9), np.int16(3), 3),
        (Integer(0, 9), 4.0, 4),
        (Ordinal([1, 2, 4]), np.float64(2.0), 2),
        (Categorical([True, False]), np.bool_(True), True),
        (Categorical(["a", "b"]), np.str_("b"), "b"),
        (Categorical([1, True]), True, True),
        (Categorical([1, True]), 1, 1),
        (Categorical([None, 0]), None, None),
        (Constant("x"), "x", "x"),
    ],
)
def test_value_comes_back_in_plain_python(parameter: Parameter, given: Any, expected: Any) -> None:
    value = parameter.check(given)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Float(0, 2), True),
        (Float(0, 2), "1"),
        (Float(0, 2), math.nan),
        (Float(0, 2), 2.0000001),
        (Integer(0, 2), True),
        (Integer(0, 2), 0.5),
        (Integer(0, 2), 3),
        (Integer(0, 2), None),
        (Categorical([True, False]), 1),
        (Categorical([0, 1]), False),
        (Categorical(["a"]), ["a"]),
        (Ordinal([1, 2]), "1"),
    ],
)
def test_value_outside_is_refused(parameter: Parameter, value: Any) -> None:
    with pytest.raises(ConfigNotInSpaceError, match="is not"):
        parameter.check(value)


def test_numpy_scalars_are_kept_as_plain_python() -> None:
    parameter = Float(np.float64(0), np.int64(1), default=np.float32(0.5))
    assert [type(each) for each in (parameter.low, parameter.high, parameter.default)] == [float] * 3
    array: Any = np.array([1, 2, 3])
    values = Ordinal(array).values
    assert [type(each) for each in values] == [int] * 3
    when = Categorical(["a"], when={"x": np.array([1, 2])}).when
    assert when is not None
    assert json.dumps({name: list(values) for name, values in when.items()}) == '{"x": [1, 2]}'


def test_geometric_and_arithmetic() -> None:
    assert Ordinal.geometric(8, 512, 2).values == (8, 16, 32, 64, 128, 256, 512)
    assert all(type(each) is int for each in Ordinal.geometric(8, 512, 2).values)
    assert Ordinal.geometric(1e-5, 1e-1, 10).values == (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    assert Ordinal.geometric(1, 10, 10**0.5).values == (1.0, 10**0.5, 10.0)
    assert Ordinal.arithmetic(0.1, 0.5, 0.1).values == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert Ordinal.arithmetic(16, 64, 16, default=32).values == (16, 32, 48, 64)
    assert Ordinal.arithmetic(16, 64, 16, default=32).default == 32


@pytest.mark.parametrize(
    ("parameter", "default"),
    [
        (Float(0, 2), 1.0),
        (Float(1e-5, 1e-1, log=True), 1e-3),
        (Float(1e-20, 1, log=True), 1e-10),
        (Float(0, 2, prior=Normal(0.3, 1)), 0.3),
        (Float(1e-4, 1, log=True, prior=Normal(math.log(0.01), 1)), 0.01),
        (Integer(1, 10), 5),
        (Integer(1, 100, log=True), 10),
        (Integer(1, 100, log=True, prior=Normal(math.log(20), 1)), 20),
        (Ordinal([1, 2, 3, 4]), 2),
        (Categorical([False, True]), False),
        (Constant(7), 7),
    ],
)
def test_default_of_a_parameter_without_one(parameter: Parameter, default: Any) -> None:
    assert parameter.default == default
    assert type(parameter.default) is type(default)


def test_extreme_bounds_are_accepted() -> None:
    assert Float(1e-20, 1, log=True).n_values == math.inf
    assert Float(0, 1 - 1e-8).high == 0.99999999
    assert Float(sys.float_info.min, 1e300, log=True).low == sys.float_info.min
    assert Integer(2 - 2**49, 2**49).n_values == 2.0**50 - 1


def test_equality_keeps_booleans_and_numbers_apart() -> None:
    assert Categorical([True, False]) != Categorical([1, 0])
    assert Categorical(["a"]) != Ordinal(["a"])
    assert Categorical(["a"], when={"b": "x"}) == Categorical(("a",), when={"b": ["x"]})
    assert Float(0, 1) == Float(0.0, 1.0, default=0.5)
    assert len({Float(0, 1), Float(0, 1), Float(0, 2)}) == 2
    assert Float(0, 1) != Float(0, 1, group="architecture")


@pytest.mark.parametrize(
    "parameter",
    [
        Float(1e-5, 0.1, log=True, default=0.01, when={"a": ["x", True]}, group="architecture"),
        Integer(1, 10, prior=Normal(2.0, 3.0)),
        Ordinal(["low", "high"], default="high"),
        Categorical([None, 1, "b"], default="b"),
        Constant(False),
    ],
)
def test_text_and_pickle_are_complete(parameter: Parameter) -> None:
    rebuilt = eval(repr(parameter))
    assert rebuilt == parameter
    assert pickle.loads(pickle.dumps(parameter)) == parameter
