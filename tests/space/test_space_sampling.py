"""Drawing: the distributions, whatever the rules leave, and what happens when they leave nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dhflow.errors import SpaceError, SpaceExhaustedError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, Parameter, SearchSpace


def drawn(parameter: Parameter, n: int = 20_000) -> list[Any]:
    return [config["x"] for config in SearchSpace({"x": parameter}).sample(n, np.random.default_rng(0))]


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        (Float(-1, 3), stats.uniform(-1, 4)),
        (Float(1e-20, 1, log=True), stats.loguniform(1e-20, 1)),
        (Float(0, 10, prior=Normal(2, 1)), stats.truncnorm(-2, 8, 2, 1)),
        (Float(0, 1, prior=Normal(1, 0.05)), stats.truncnorm(-20, 0, 1, 0.05)),
    ],
)
def test_floats_follow_their_prior(parameter: Parameter, distribution: Any) -> None:
    # 0.01 for the uniform share of a normal prior, and the 99.9 % point of 20,000 draws.
    assert stats.kstest(drawn(parameter), distribution.cdf).statistic < 0.01 + 1.95 / math.sqrt(20_000)


def test_floats_with_a_logarithmic_normal_prior() -> None:
    logs = np.log(drawn(Float(1e-6, 1, log=True, prior=Normal(math.log(1e-3), 1.0))))
    assert np.mean(logs) == pytest.approx(math.log(1e-3), abs=0.05)
    assert np.std(logs) == pytest.approx(1.0, abs=0.1)


def test_logarithmic_integers_own_half_a_step_to_both_sides() -> None:
    counts = np.bincount(drawn(Integer(1, 8, log=True)), minlength=9)[1:]
    edges = np.log(np.arange(0.5, 9))
    expected = np.diff(edges) / (edges[-1] - edges[0])
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.015)


@pytest.mark.parametrize("parameter", [Integer(3, 7), Ordinal([3, 4, 5, 6, 7]), Categorical([3, 4, 5, 6, 7])])
def test_countable_values_are_equally_likely(parameter: Parameter) -> None:
    counts = np.bincount(drawn(parameter), minlength=8)[3:]
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.015)


def test_tails_of_a_normal_prior_are_reached() -> None:
    space = SearchSpace({"x": Float(0, 1000, prior=Normal(500, 1))})
    configs = [{"x": each} for each in (0.0, 0.125, 499.0, 999.5, 1000.0)]
    again = space.decode(space.encode(configs))
    assert [each["x"] for each in again] == pytest.approx([each["x"] for each in configs], abs=1e-6)
    assert len(set(space.keys(space.encode(configs)))) == 5


def test_an_even_grid_of_codes_is_a_sample() -> None:
    space = SearchSpace({"a": Ordinal([1, 2, 3, 4]), "b": Float(0, 1)})
    X = (np.arange(8) + 0.5)[:, None] / 8 * np.ones(2)
    assert [each["a"] for each in space.decode(X)] == [1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(space.snap(X)[:, 0], [0.125, 0.125, 0.375, 0.375, 0.625, 0.625, 0.875, 0.875])


def test_the_same_generator_gives_the_same_configs() -> None:
    space = SearchSpace(
        {"a": Float(0, 1), "b": Integer(0, 9)}, constraints=[lambda config: config["a"] * config["b"] < 2.5]
    )
    first = space.sample(50, np.random.default_rng(7))
    assert space.sample(50, np.random.default_rng(7)) == first
    assert space.decode(space.sample_encoded(50, np.random.default_rng(7))) == first
    assert len(set(map(str, first))) > 40


def test_draws_obey_forbidden_combinations_and_constraints() -> None:
    space = _ruled()
    configs = space.sample(500, np.random.default_rng(0))
    assert len(configs) == 500
    assert all(space.validate(each) == each for each in configs)
    assert {(each["a"], each["b"]) for each in configs} == {
        *(("x", b) for b in (4, 6, 8)),
        *(("y", b) for b in (0, 2, 4, 6, 8)),
    }


def _ruled() -> SearchSpace:
    return SearchSpace(
        {"a": Categorical(["x", "y"]), "b": Integer(0, 9, default=4), "c": Float(0, 1, when={"a": "x"})},
        forbidden=[{"a": "x", "b": [0, 1, 2, 3]}],
        constraints=[lambda config: config["b"] % 2 == 0],
    )


def test_allowed_agrees_with_validate() -> None:
    space = _ruled()
    X = np.random.default_rng(0).random((200, 3))
    allowed = space.allowed(X)
    assert 0 < allowed.sum() < 200
    assert allowed.tolist() == [config in space for config in space.decode(X)]


def test_a_rare_config_is_found() -> None:
    space = SearchSpace({"i": Integer(0, 999, default=7)}, constraints=[lambda config: config["i"] == 7])
    assert space.sample(3, np.random.default_rng(0)) == [{"i": 7}] * 3


def test_an_almost_empty_space_ends_in_a_clear_error() -> None:
    def tiny(config: dict[str, Any]) -> Any:
        return config["x"] == 0.5

    def even(config: dict[str, Any]) -> Any:
        return config["i"] % 2 == 0

    space = SearchSpace(
        {"x": Float(0, 1), "i": Integer(0, 9), "flag": Categorical([False, True])},
        constraints=[even, tiny],
        forbidden=[{"flag": True}],
    )
    with pytest.raises(SpaceExhaustedError, match=r"only 0 of \d+ draws were allowed") as caught:
        space.sample(1, np.random.default_rng(0))
    text = str(caught.value)
    assert "constraint 'tiny' refused" in text
    assert "constraint 'even' refused" in text
    assert "forbidden[0] refused" in text
    assert "check" in text


@pytest.mark.parametrize("with_rule", [True, False])
def test_nothing_is_drawn_when_nothing_is_asked(with_rule: Any) -> None:
    space = SearchSpace({"x": Float(0, 1)}, constraints=[lambda _: True] if with_rule else [])
    assert space.sample(0, np.random.default_rng(0)) == []
    assert space.sample_encoded(0, np.random.default_rng(0)).shape == (0, 1)
    assert space.encode([]).shape == (0, 1)
    assert space.decode(np.empty((0, 1))) == []
    assert space.keys(np.empty((0, 1))) == []
    assert space.allowed(np.empty((0, 1))).shape == (0,)
    assert space.mutate(np.empty((0, 1)), np.random.default_rng(0)).shape == (0, 1)


def test_a_space_of_one_point() -> None:
    space = SearchSpace({"x": Constant("only")})
    X = space.sample_encoded(3, np.random.default_rng(0))
    assert space.decode(X) == [{"x": "only"}] * 3
    assert len(set(space.keys(X))) == 1
    np.testing.assert_array_equal(space.mutate(X, np.random.default_rng(0)), X)


def test_a_constraint_that_raises_names_itself_and_the_config() -> None:
    def fragile(config: dict[str, Any]) -> Any:
        return config["missing"] > 0

    with pytest.raises(SpaceError, match=r"'fragile' raised KeyError: 'missing', for \{'x': 0.5\}") as caught:
        SearchSpace({"x": Float(0, 1)}, constraints=[fragile])
    assert caught.value.path == "constraints"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_constraint_that_returns_nothing_is_refused() -> None:
    nothing: Any = print
    with pytest.raises(SpaceError, match="returned None, not True or False"):
        SearchSpace({"x": Float(0, 1)}, constraints=[nothing])


@pytest.mark.parametrize("shape", [(3,), (3, 2), (1, 3, 1)])
def test_arrays_of_another_shape_are_refused(shape: Any) -> None:
    with pytest.raises(SpaceError, match=r"shape \(n, 1\)"):
        SearchSpace({"x": Float(0, 1)}).decode(np.zeros(shape))
