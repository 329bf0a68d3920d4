"""The full factorial of a space, by number."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, SearchSpace
from dhflow.space.grid import Grid

TREE = SearchSpace(
    {
        "leaf": Ordinal([1, 2, 3], when={"a": "u", "flag": True}),
        "a": Categorical(["u", "v"]),
        "flag": Categorical([True, False], when={"a": "u"}),
        "k": Integer(1, 4, when={"a": "v"}),
        "other": Integer(1, 2),
        "below": Float(0.0, 1.0, when={"other": 2}),
    }
)


def configs(space: SearchSpace, **options: int) -> list[dict[str, object]]:
    grid = Grid(space, **{"resolution": 3, **options})  # type: ignore[arg-type]
    return space.decode(grid.rows(range(grid.n_points)))


def test_a_plain_grid_counts_with_the_last_parameter_first() -> None:
    space = SearchSpace({"i": Integer(1, 3), "c": Categorical(["a", "b"]), "fixed": Constant(7)})
    expected = [{"i": i, "c": c, "fixed": 7} for i, c in itertools.product([1, 2, 3], "ab")]
    assert configs(space) == expected


def test_floats_are_evenly_spaced_on_their_scale() -> None:
    space = SearchSpace({"x": Float(-1.0, 1.0), "rate": Float(1e-4, 1.0, log=True)})
    found = configs(space)
    assert sorted({each["x"] for each in found}) == [-1.0, 0.0, 1.0]  # type: ignore[type-var]
    np.testing.assert_allclose(sorted({each["rate"] for each in found}), [1e-4, 1e-2, 1.0])  # type: ignore[type-var]
    assert configs(SearchSpace({"x": Float(0.0, 1.0)}), resolution=1) == [{"x": 0.5}]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Integer(1, 100), [1, 50, 100]),
        (Integer(1, 10_000, log=True), [1, 100, 10_000]),
        (Integer(1, 3), [1, 2, 3]),
        (Integer(0, 8, prior=Normal(4, 1)), [0, 4, 8]),
    ],
)
def test_integers_may_be_thinned_out(parameter: Integer, expected: list[int]) -> None:
    found = configs(SearchSpace({"k": parameter}), integer_resolution=3)
    assert [each["k"] for each in found] == pytest.approx(expected, abs=1)


def test_all_values_of_an_uneven_integer() -> None:
    assert [each["k"] for each in configs(SearchSpace({"k": Integer(1, 30, log=True)}))] == list(range(1, 31))


def test_each_config_of_a_tree_comes_once() -> None:
    found = {json.dumps(each, sort_keys=True) for each in configs(TREE)}
    # a=u: flag true with 3 leaves, or false; a=v: 4; other: 1, or 2 with 3 values.
    assert len(found) == len(configs(TREE)) == (3 + 1 + 4) * (1 + 3)


def test_a_huge_grid_is_not_made() -> None:
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(300)})
    grid = Grid(space, resolution=10)
    assert grid.n_points == 10**300
    (config,) = space.decode(grid.rows([10**300 - 1]))
    assert set(config.values()) == {1.0}


def test_many_independent_conditions() -> None:
    flags = {f"f{i}": Categorical([False, True]) for i in range(40)}
    space = SearchSpace({**flags, **{f"x{i}": Integer(1, 2, when={f"f{i}": True}) for i in range(40)}})
    assert Grid(space, resolution=2).n_points == 3**40


def test_too_many_connected_conditions_are_refused() -> None:
    flags = {f"f{i}": Categorical([False, True]) for i in range(17)}
    space = SearchSpace({**flags, "x": Float(0.0, 1.0, when=dict.fromkeys(flags, True))})
    with pytest.raises(SearchError, match="f0, f1"):
        Grid(space, resolution=2)
