"""Counting and listing the configs of spaces that have finitely many."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.errors import SpaceError
from dhflow.space import Categorical, Constant, Float, Integer, Ordinal, SearchSpace


def listed(space: SearchSpace) -> list[dict[str, Any]]:
    """Every valid config, by trying all combinations of present and absent values."""
    options = [[("absent", None), *(("is", value) for value in _values(each))] for each in space.parameters.values()]
    configs = []
    for combination in itertools.product(*options):
        given_values = zip(space.names, combination, strict=True)
        config = {name: value for name, (state, value) in given_values if state == "is"}
        if config in space:
            configs.append(config)
    return configs


def _values(parameter: Any) -> Any:
    return range(parameter.low, parameter.high + 1) if isinstance(parameter, Integer) else parameter.listed


@st.composite
def small_spaces(draw: st.DrawFn, /) -> SearchSpace:
    made: dict[str, Any] = {}
    for i in range(draw(st.integers(1, 5))):
        when: dict[str, Any] | None = None
        is_conditional = draw(st.booleans())
        if made and is_conditional:
            parents = draw(st.lists(st.sampled_from(list(made)), min_size=1, max_size=2, unique=True))
            when = {name: draw(st.sampled_from(list(_values(made[name])))) for name in parents}
        size = draw(st.integers(1, 3))
        kind = draw(st.sampled_from([lambda n: Categorical(list("abc"[:n])), lambda n: Integer(0, n)]))
        made[f"p{i}"] = replace(kind(size), when=when)
    clauses = []
    for _ in range(draw(st.integers(0, 2))):
        names = draw(st.lists(st.sampled_from(list(made)), min_size=1, max_size=2, unique=True))
        clauses.append({name: draw(st.sampled_from(list(_values(made[name])))) for name in names})
    try:
        return SearchSpace(made, forbidden=clauses)
    except SpaceError:  # the default config is forbidden
        return SearchSpace(made)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(small_spaces())
def test_count_and_list_agree_with_trying_everything(space: SearchSpace) -> None:
    expected = listed(space)
    assert space.n_configs == len(expected)
    X = space.all_encoded()
    assert X is not None
    found = space.decode(X)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_a_float_makes_it_infinite() -> None:
    space = SearchSpace({"a": Integer(1, 3), "x": Float(0, 1, when={"a": 2})})
    assert space.n_configs == math.inf
    assert space.all_encoded() is None


def test_large_spaces_are_counted_without_being_listed() -> None:
    space = SearchSpace(
        {
            **{f"i{k}": Integer(0, 999) for k in range(6)},
            "flag": Categorical([False, True]),
            "o": Ordinal([1, 2, 3], when={"flag": True}),
        }
    )
    assert space.n_configs == 1000.0**6 * 4
    assert space.all_encoded() is None


def test_too_many_parents_give_an_upper_bound() -> None:
    flags = {f"f{k}": Categorical([False, True]) for k in range(20)}
    space = SearchSpace({**flags, "o": Ordinal([1, 2, 3], when=dict.fromkeys(flags, True))})
    assert space.n_configs == 3 * 2.0**20


def test_many_constants_are_one_config() -> None:
    space = SearchSpace({f"c{k}": Constant(k) for k in range(80)})
    assert space.n_configs == 1
    X = space.all_encoded()
    assert X is not None
    assert len(X) == 1


def test_listing_obeys_constraints_and_the_limit() -> None:
    space = SearchSpace({"i": Integer(0, 99), "c": Categorical(["a", "b"])}, constraints=[lambda c: c["i"] % 10 == 9])
    with pytest.raises(SpaceError, match="refuses"):
        SearchSpace({"i": Integer(0, 99)}, constraints=[lambda c: c["i"] == 3])
    assert space.n_configs == 200
    X = space.all_encoded(200)
    assert X is not None
    assert len(set(space.keys(X))) == len(X) == 20
    assert space.all_encoded(199) is None
    np.testing.assert_array_equal(space.snap(X), X)
