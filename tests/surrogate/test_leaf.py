"""Leaf statistics against loops over trees, leaves and points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import SurrogateError
from dhflow.surrogate.belief import Places
from dhflow.surrogate.leaf import LeafStatistics

N_TREES, N_LEAVES = 5, 7


def at(ids: np.ndarray) -> Places:
    return Places(np.zeros((ids.shape[1], 1)), ids)


def brute_force(
    ids: np.ndarray, y: np.ndarray, prior: tuple[np.ndarray, np.ndarray], point: np.ndarray, variance: str
) -> tuple[float, float]:
    """Return mean and standard deviation at a point whose leaves are `point` (T,), tree by tree."""
    means, variances = [], []
    for tree, leaf in enumerate(point):
        inside = [value for value, at in zip(y, ids[tree], strict=True) if at == leaf]
        means.append(np.mean(inside) if inside else prior[0][tree, leaf])
        variances.append(np.var(inside) if inside else prior[1][tree, leaf])
    mean = np.mean(means)
    between = np.mean([(each - mean) ** 2 for each in means])
    within = np.mean(variances) if variance == "total" else 0.0
    return float(mean), float(np.sqrt(within + between))


@st.composite
def leaves_and_targets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, N_LEAVES, (N_TREES, n)), rng.normal(size=n)


@pytest.mark.parametrize("variance", ["total", "between"])
@given(told=leaves_and_targets(), lies=leaves_and_targets(), at_once=st.booleans())
def test_moments_are_those_of_the_points_in_each_leaf(
    variance: str, told: tuple[np.ndarray, np.ndarray], lies: tuple[np.ndarray, np.ndarray], at_once: bool
) -> None:
    rng = np.random.default_rng(0)
    prior = rng.normal(size=(N_TREES, N_LEAVES)), rng.random((N_TREES, N_LEAVES))
    statistics = LeafStatistics(*prior, variance=variance)
    statistics.add(at(told[0]), told[1])
    if at_once:
        statistics.add(at(lies[0]), lies[1])
    else:
        for i in range(lies[1].size):
            statistics.add(at(lies[0][:, i : i + 1]), lies[1][i : i + 1])
    ids, y = np.hstack([told[0], lies[0]]), np.concatenate([told[1], lies[1]])
    points = rng.integers(0, N_LEAVES, (N_TREES, 12))
    mean, std = statistics.moments(at(points))
    expected = [brute_force(ids, y, prior, points[:, k], variance) for k in range(12)]
    np.testing.assert_allclose(np.column_stack([mean, std]), expected, atol=1e-9)
    np.testing.assert_array_equal(statistics.mean(at(points)), mean)


def test_a_believers_lie_keeps_the_mean_and_lowers_the_uncertainty() -> None:
    here = at(np.zeros((N_TREES, 1), np.intp))
    statistics = LeafStatistics(np.zeros((N_TREES, 1)), np.ones((N_TREES, 1)))
    statistics.add(at(np.zeros((N_TREES, 3), np.intp)), np.array([1.0, 2.0, 6.0]))
    mean, std = statistics.moments(here)
    statistics.add(here, statistics.mean(here))
    new_mean, new_std = statistics.moments(here)
    assert new_mean == pytest.approx(mean)
    assert new_std < std


def test_priors_are_not_changed() -> None:
    prior = np.zeros((N_TREES, N_LEAVES))
    statistics = LeafStatistics(prior, prior)
    statistics.add(at(np.zeros((N_TREES, 1), np.intp)), np.array([5.0]))
    assert not prior.any()


def test_what_does_not_fit_is_refused() -> None:
    prior = np.zeros((N_TREES, N_LEAVES))
    with pytest.raises(SurrogateError, match="variance"):
        LeafStatistics(prior, prior, variance="none")
    statistics = LeafStatistics(prior, prior)
    with pytest.raises(SurrogateError, match="shape"):
        statistics.add(at(np.zeros((N_TREES, 2), np.intp)), np.zeros(3))
    with pytest.raises(SurrogateError, match="finite"):
        statistics.add(at(np.zeros((N_TREES, 1), np.intp)), np.array([np.nan]))
    with pytest.raises(SurrogateError, match="not looked up"):
        statistics.mean(Places(np.zeros((1, 1))))
