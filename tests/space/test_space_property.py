"""What holds in every space: properties checked on random spaces, rows and configs."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, Parameter, SearchSpace
from dhflow.space.scale import FloatArray

checked = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
checked_often = settings(checked, max_examples=300)

CHOICES = st.one_of(
    st.text("ab é1", max_size=3), st.booleans(), st.none(), st.integers(-3, 3), st.sampled_from([0.5, 2.5])
)


def number_key(value: Any) -> tuple[bool, Any]:
    return type(value) is bool, value


@st.composite
def floats(draw: st.DrawFn, /, **options: Any) -> Float:
    log = draw(st.booleans())
    low, high = sorted([draw(st.floats(1e-20, 1e6)), draw(st.floats(1e-20, 1e6))])
    if not log and draw(st.booleans()):
        low = -low
    prior = None
    if draw(st.booleans()):
        start, stop = (math.log(low), math.log(high)) if log else (low, high)
        mean = start + draw(st.floats(0, 1)) * (stop - start)
        prior = Normal(mean, draw(st.floats(1e-3, 2)) * (stop - start) or 1.0)
    try:
        return Float(low, high, log=log, prior=prior, **options)
    except SpaceError:
        return Float(0.5, 2.0, log=log, **options)


@st.composite
def integers(draw: st.DrawFn, /, **options: Any) -> Integer:
    log = draw(st.booleans())
    low = draw(st.integers(1, 50)) if log else draw(st.integers(-50, 50))
    high = low + draw(st.integers(1, 10 ** draw(st.integers(1, 9))))
    prior = None
    if draw(st.booleans()):
        start, stop = (math.log(low), math.log(high)) if log else (low, high)
        prior = Normal(start + draw(st.floats(0, 1)) * (stop - start), draw(st.floats(1e-3, 2)) * (stop - start))
    return Integer(low, high, log=log, prior=prior, **options)


@st.composite
def parameters(draw: st.DrawFn, /, **options: Any) -> Parameter:
    kind = draw(st.sampled_from(["float", "integer", "ordinal", "categorical", "constant"]))
    if kind == "float":
        return draw(floats(**options))
    if kind == "integer":
        return draw(integers(**options))
    if kind == "ordinal":
        return Ordinal(sorted(draw(st.sets(st.integers(-9, 9), min_size=1, max_size=5))), **options)
    if kind == "categorical":
        return Categorical(draw(st.lists(CHOICES, min_size=1, max_size=4, unique_by=number_key)), **options)
    return Constant(draw(CHOICES), **options)


@st.composite
def spaces(draw: st.DrawFn, /) -> SearchSpace:
    made: dict[str, Parameter] = {}
    for i in range(draw(st.integers(1, 7))):
        countable = [name for name, each in made.items() if not isinstance(each, Float)]
        when: dict[str, Any] | None = None
        is_conditional = draw(st.booleans())
        if countable and is_conditional:
            parents = draw(st.lists(st.sampled_from(countable), min_size=1, max_size=2, unique=True))
            when = {name: draw(some_values(made[name])) for name in parents}
        made[f"p{i}"] = draw(parameters(when=when))
    # Columns need not come after their parents'.
    names = draw(st.permutations(list(made)))
    return SearchSpace({name: made[name] for name in names})


def some_values(parameter: Any) -> st.SearchStrategy[list[Any]]:
    if isinstance(parameter, Integer):
        values = st.integers(parameter.low, min(parameter.high, parameter.low + 3))
    else:
        values = st.sampled_from(parameter.listed)
    return st.lists(values, min_size=1, max_size=3, unique_by=number_key)


def rows_of(space: SearchSpace, seed: int, n: int = 20) -> FloatArray:
    X = np.random.default_rng(seed).random((n, len(space)))
    X[0], X[1] = 0.0, 1.0
    return X


SEEDS = st.integers(0, 2**32 - 1)


@checked
@given(spaces(), SEEDS)
def test_decoding_and_encoding_undo_each_other_exactly(space: SearchSpace, seed: int) -> None:
    X = rows_of(space, seed)
    configs = space.decode(X)
    snapped = space.snap(X)
    np.testing.assert_array_equal(space.encode(configs), snapped)
    np.testing.assert_array_equal(space.snap(snapped), snapped)
    assert space.decode(snapped) == configs
    assert space.decode(space.encode(configs)) == configs
    assert ((snapped >= 0) & (snapped <= 1)).all()


@checked
@given(spaces(), SEEDS)
def test_what_is_decoded_is_valid_and_plain(space: SearchSpace, seed: int) -> None:
    for config in space.decode(rows_of(space, seed)):
        valid = space.validate(config)
        assert valid == config
        assert list(valid) == [name for name in space.names if name in config]
        assert [type(valid[name]) for name in config] == [type(each) for each in config.values()]
        assert json.loads(json.dumps(config)) == config


@checked
@given(spaces(), SEEDS)
def test_activity_is_what_the_conditions_say(space: SearchSpace, seed: int) -> None:
    X = rows_of(space, seed)
    active = space.active(X)
    for row, config in zip(active, space.decode(X), strict=True):
        assert [name for name, is_active in zip(space.names, row, strict=True) if is_active] == list(config)
        for name, parameter in space.parameters.items():
            expected = all(
                parent in config and number_key(config[parent]) in [number_key(value) for value in values]
                for parent, values in (parameter.when or {}).items()
            )
            assert (name in config) == expected


@checked
@given(spaces(), SEEDS)
def test_inactive_columns_hold_the_default(space: SearchSpace, seed: int) -> None:
    X = rows_of(space, seed)
    snapped, active = space.snap(X), space.active(X)
    names = list(space.names)
    for j, parameter in enumerate(space.parameters.values()):
        alone = SearchSpace({"alone": replace(parameter, when=None)})
        np.testing.assert_array_equal(
            snapped[~active[:, j], j], np.full((~active[:, j]).sum(), alone.encode([alone.default_config()])[0, 0])
        )
        assert names[j] in space


@checked
@given(spaces(), SEEDS)
def test_keys_are_equal_just_for_equal_configs(space: SearchSpace, seed: int) -> None:
    X = rows_of(space, seed)
    X[2:5] = X[5:8]
    keys = space.keys(X)
    texts = [json.dumps(config) for config in space.decode(X)]
    for i in range(len(X)):
        for j in range(len(X)):
            assert (keys[i] == keys[j]) == (texts[i] == texts[j])
    assert space.keys(space.encode(space.decode(X))) == keys
    assert pickle.loads(pickle.dumps(space)).keys(X) == keys


@checked
@given(spaces(), SEEDS)
def test_mutation_changes_one_active_parameter(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = space.sample_encoded(20, rng)
    mutants = space.mutate(X, rng)
    np.testing.assert_array_equal(space.snap(mutants), mutants)
    for before, after, is_same in zip(
        space.decode(X),
        space.decode(mutants),
        [a == b for a, b in zip(space.keys(X), space.keys(mutants), strict=True)],
        strict=True,
    ):
        can_change = [name for name in before if space.parameters[name].n_values > 1]
        assert is_same == (not can_change)
        assert space.validate(after) == after
        changed = [name for name in before if name in after and number_key(before[name]) != number_key(after[name])]
        assert len(changed) == (1 if can_change else 0)


@checked
@given(spaces())
def test_json_brings_the_same_space_back(space: SearchSpace) -> None:
    text = json.dumps(space.to_json())
    again = SearchSpace.from_json(json.loads(text))
    assert again == space
    assert json.dumps(again.to_json()) == text
    assert repr(again) == repr(space)
    assert pickle.loads(pickle.dumps(space)) == space


@checked
@given(spaces())
def test_default_config_is_its_own_code(space: SearchSpace) -> None:
    default = space.default_config()
    assert space.validate(default) == default
    [again] = space.decode(space.encode([default]))
    assert list(again) == list(default)
    assert space.encode([again]).tolist() == space.encode([default]).tolist()


@checked_often
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.data())
def test_any_float_range_keeps_its_promises(low: Any, high: Any, data: Any) -> None:
    log = data.draw(st.booleans())
    try:
        parameter = Float(low, high, log=log)
    except SpaceError:
        assume(False)
    space = SearchSpace({"x": parameter})
    units = np.array([0.0, 1.0, *data.draw(st.lists(st.floats(0, 1), max_size=20))])[:, None]
    values = [config["x"] for config in space.decode(units)]
    assert values[:2] == [parameter.low, parameter.high]
    assert all(parameter.low <= each <= parameter.high for each in values)
    configs = [{"x": each} for each in values]
    assert space.decode(space.encode(configs)) == configs
    assert space.keys(space.encode(configs)) == space.keys(units)


@checked_often
@given(st.data())
def test_a_float_of_the_users_comes_back_within_a_cell(data: Any) -> None:
    log = data.draw(st.booleans())
    low, high = data.draw(st.sampled_from([(1e-20, 1.0), (1e-6, 1.0), (0.5, 0.75), (1.0, 1e5)]))
    parameter = Float(low, high, log=log)
    space = SearchSpace({"x": parameter})
    value = data.draw(st.floats(low, high))
    [config] = space.decode(space.encode([{"x": value}]))
    assert low <= config["x"] <= high
    cell = 1.0 / parameter.scale().n_cells
    assert cell <= 2.0**-45
    if log:
        assert math.log(config["x"]) == pytest.approx(math.log(value), abs=cell * math.log(high / low), rel=0)
    else:
        assert config["x"] == pytest.approx(value, abs=cell * (high - low), rel=0)
    assert space.decode(space.encode([config])) == [config]


@checked
@given(integers(), SEEDS)
def test_every_integer_is_found_again(parameter: Integer, seed: int) -> None:
    space = SearchSpace({"i": parameter})
    rng = np.random.default_rng(seed)
    values = {parameter.low, parameter.high, *rng.integers(parameter.low, parameter.high + 1, 50).tolist()}
    configs = [{"i": each} for each in values]
    assert space.decode(space.encode(configs)) == configs


@pytest.mark.parametrize(
    "parameter",
    [
        Integer(1, 2**40 - 1, log=True),
        Integer(0, 2**40 - 1, prior=Normal(1000, 2**21)),
        Integer(2 - 2**49, 2**49),
        Integer(1, 2**40 - 1, log=True, prior=Normal(3, 0.001)),
    ],
)
def test_the_widest_integers_are_found_again(parameter: Integer) -> None:
    space = SearchSpace({"i": parameter})
    rng = np.random.default_rng(0)
    values = [parameter.low, parameter.low + 1, parameter.high - 1, parameter.high]
    values += rng.integers(parameter.low, parameter.high, 500).tolist()
    configs = [{"i": each} for each in values]
    assert space.decode(space.encode(configs)) == configs


@checked
@given(spaces(), spaces(), SEEDS)
def test_encode_refuses_configs_of_another_space(space: SearchSpace, other: SearchSpace, seed: int) -> None:
    [config] = other.sample(1, np.random.default_rng(seed))
    try:
        expected = space.validate(config)
    except ConfigNotInSpaceError:
        with pytest.raises(ConfigNotInSpaceError):
            space.encode([config])
    else:
        assert space.encode([config]).tolist() == space.encode([expected]).tolist()
