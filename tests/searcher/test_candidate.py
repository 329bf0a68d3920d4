from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dhflow.searcher.candidate import Candidates
from dhflow.space import Integer, Ordinal, SearchSpace
from dhflow.testing.searcher import example_spaces


@pytest.mark.parametrize("name", list(example_spaces()))
def test_neighbours_are_configs_of_the_space(name: str) -> None:
    space, rng = example_spaces()[name], np.random.default_rng(0)
    X = space.sample_encoded(7, rng)
    found = Candidates(space).neighbours(X, 200, rng)
    assert len(found) <= 200
    np.testing.assert_array_equal(found, space.snap(found))
    assert all(space.validate(each) for each in space.decode(found))


def test_neighbours_are_near_and_nearly_all_new() -> None:
    space, rng = example_spaces()["mixed"], np.random.default_rng(0)
    X = space.sample_encoded(1, rng)
    found = Candidates(space).neighbours(X, 400, rng)
    assert (found != X).any(axis=1).mean() > 0.75  # the constant may be the one that was chosen
    assert np.median((found != X).sum(axis=1)) <= 3
    numeric = ~space.is_categorical & np.isinf(space.n_values)
    steps = np.abs(found - X)[:, numeric]
    steps = steps[steps > 0]
    assert (steps < 0.02).any()
    assert (steps > 0.2).any()


def test_origins_take_turns() -> None:
    space, rng = example_spaces()["mixed"], np.random.default_rng(0)
    X = space.sample_encoded(4, rng)
    found = Candidates(space).neighbours(X, 40, rng)
    near = np.abs(found[:, None, :] - X[None]).sum(axis=2).argmin(axis=1)
    assert np.bincount(near, minlength=4).min() >= 8


def test_what_comes_to_life_starts_anywhere() -> None:
    space, rng = example_spaces()["conditional"], np.random.default_rng(0)
    without: dict[str, Any] = {"x": 0.5, "rate": 1e-3, "k": 4, "c": "b"}
    found = space.decode(Candidates(space).neighbours(space.encode([without]), 600, rng))
    momenta = [each["momentum"] for each in found if "momentum" in each]
    assert len(momenta) > 50
    assert np.std(momenta) > 0.2


def test_forbidden_neighbours_are_dropped() -> None:
    space = SearchSpace({"i": Integer(1, 16, default=1), "o": Ordinal([1, 10, 100])}, constraints=[_is_small])
    rng = np.random.default_rng(0)
    found = space.decode(Candidates(space).neighbours(space.sample_encoded(5, rng), 300, rng))
    assert 0 < len(found) < 300
    assert all(_is_small(each) for each in found)


def _is_small(config: dict[str, Any]) -> bool:
    return bool(config["i"] <= 4)
