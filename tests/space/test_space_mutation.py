"""Mutation beyond what holds in every space: how far, which parameters, what comes to life."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dhflow.errors import SpaceError
from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace
from dhflow.space.scale import FloatArray


def changed(
    space: SearchSpace, X: FloatArray, rng: np.random.Generator, **options: Any
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    before, after = space.decode(X), space.decode(space.mutate(X, rng, **options))
    return [(a, b) for a, b in zip(before, after, strict=True)]


def test_every_parameter_gets_its_turn() -> None:
    space = SearchSpace({"a": Float(0, 1), "b": Integer(0, 9), "c": Categorical(["u", "v"]), "d": Ordinal([1, 2])})
    rng = np.random.default_rng(0)
    pairs = changed(space, space.sample_encoded(2000, rng), rng)
    counts = {name: sum(a[name] != b[name] for a, b in pairs) for name in space.names}
    assert sum(counts.values()) == 2000
    assert all(400 < each < 600 for each in counts.values())


def test_among_restricts_what_changes() -> None:
    space = SearchSpace({"a": Float(0, 1), "b": Integer(0, 9), "c": Categorical(["u", "v"])})
    rng = np.random.default_rng(0)
    for before, after in changed(space, space.sample_encoded(100, rng), rng, among=["b"]):
        assert before["b"] != after["b"]
        assert (before["a"], before["c"]) == (after["a"], after["c"])
    with pytest.raises(SpaceError, match="no parameter 'z'"):
        space.mutate(np.zeros((1, 3)), rng, among=["z"])


def test_steps_are_local_unless_resampled() -> None:
    space = SearchSpace({"a": Float(0, 1), "b": Integer(1, 10**6, log=True)})
    rng = np.random.default_rng(0)
    X = space.sample_encoded(3000, rng)
    local = np.abs(space.mutate(X, rng, step=0.01, resample=0.0) - X).max(axis=1)
    assert local.max() < 0.3  # one step from 1 to 2 is wide on the logarithmic scale
    assert np.median(local) < 0.02
    far = np.abs(space.mutate(X, rng, step=0.01, resample=1.0) - X).max(axis=1)
    assert np.median(far) > 0.2


def test_neighbours_are_reached_when_a_step_is_smaller_than_a_cell() -> None:
    space = SearchSpace({"o": Ordinal([1, 2, 3])})
    rng = np.random.default_rng(0)
    for value, neighbours in ((1, {2}), (2, {1, 3}), (3, {2})):
        X = np.repeat(space.encode([{"o": value}]), 200, axis=0)
        assert {b["o"] for _, b in changed(space, X, rng, step=1e-6, resample=0.0)} == neighbours


def test_categories_change_evenly() -> None:
    space = SearchSpace({"c": Categorical(["u", "v", "w", "x"])})
    X = np.repeat(space.encode([{"c": "v"}]), 3000, axis=0)
    found = [b["c"] for _, b in changed(space, X, np.random.default_rng(0))]
    assert set(found) == {"u", "w", "x"}
    assert all(850 < found.count(each) < 1150 for each in "uwx")


def test_what_becomes_active_is_drawn_anew() -> None:
    space = SearchSpace({"flag": Categorical([False, True]), "x": Float(0, 1, when={"flag": True})})
    X = np.repeat(space.encode([{"flag": False}]), 200, axis=0)
    values = [b["x"] for _, b in changed(space, X, np.random.default_rng(0))]
    assert len(set(values)) == 200
    assert min(values) < 0.1 < 0.9 < max(values)


def test_the_given_rows_are_left_alone() -> None:
    space = SearchSpace({"flag": Categorical([False, True]), "x": Float(0, 1, when={"flag": True})})
    X = space.sample_encoded(50, np.random.default_rng(0))
    kept = X.copy()
    first = space.mutate(X, np.random.default_rng(1))
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_array_equal(space.mutate(X, np.random.default_rng(1)), first)
