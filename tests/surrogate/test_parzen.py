from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import truncnorm

from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace
from dhflow.surrogate.parzen import Columns, ParzenEstimator

REAL = Columns(np.array([np.inf]), np.array([False]))


def estimator_of(space: SearchSpace, n: int, seed: int = 0) -> ParzenEstimator:
    rng = np.random.default_rng(seed)
    C = space.sample_encoded(n, rng)
    columns = Columns(space.n_values, space.is_categorical)
    return ParzenEstimator(columns, C, space.active(C), rng.uniform(0.5, 2.0, n))


def density(estimator: ParzenEstimator, space: SearchSpace, X: np.ndarray) -> np.ndarray:
    return np.exp(estimator.log_mass(X, space.active(X))) / estimator.total


def test_a_smooth_kernel_is_a_truncated_normal() -> None:
    estimator = ParzenEstimator(REAL, np.array([[0.1]]), np.ones((1, 1), np.bool_), np.array([3.0]), prior_weight=2.0)
    (h,) = estimator.kernel.bandwidth
    x = np.linspace(0.0, 1.0, 11)
    truncated = truncnorm(-0.1 / h, 0.9 / h, loc=0.1, scale=h).pdf(x)
    found = np.exp(estimator.log_mass(x[:, None], np.ones((11, 1), np.bool_)))
    np.testing.assert_allclose(found, 3.0 * truncated + 2.0)
    assert estimator.total == 5.0


def test_silvermans_rule_with_the_middle_as_one_more_centre() -> None:
    C = np.array([[0.2], [0.4], [0.9]])
    weights = np.array([1.0, 2.0, 0.5])
    kernel = REAL.kernel(C, np.ones((3, 1), np.bool_), weights, factor=0.9)
    points, w = np.append(C[:, 0], 0.5), np.append(weights, 1.0)
    mean = np.average(points, weights=w)
    std = np.sqrt(np.average((points - mean) ** 2, weights=w))
    assert kernel.bandwidth[0] == pytest.approx(0.9 * std * 4.5**-0.2)


def test_bandwidths_have_a_lower_limit() -> None:
    columns = Columns(np.array([np.inf, 4.0]), np.zeros(2, np.bool_))
    C = np.full((1000, 2), 0.5)
    kernel = columns.kernel(C, np.ones(C.shape, np.bool_), np.ones(1000), factor=0.9)
    np.testing.assert_allclose(kernel.bandwidth, [0.03, 0.125])


def test_a_categorical_kernel_narrows_as_centres_are_added() -> None:
    columns = Columns(np.array([3.0]), np.array([True]))
    C = np.full((7, 1), 0.5)
    estimator = ParzenEstimator(columns, C, np.ones(C.shape, np.bool_), np.ones(7))
    assert estimator.kernel.leave[0] == pytest.approx(2 / 10)
    X = np.array([[1 / 6], [0.5], [5 / 6]])
    kernel = np.exp(estimator.log_kernels(X, np.ones(X.shape, np.bool_), C[:1], np.ones((1, 1), np.bool_)))[:, 0]
    np.testing.assert_allclose(kernel / 3, [0.1, 0.8, 0.1])


TREE = SearchSpace(
    {
        "a": Categorical(["u", "v", "w"]),
        "i": Integer(1, 5, when={"a": ["u", "v"]}),
        "o": Ordinal([1, 2, 4], when={"i": [2, 3]}),
        "b": Categorical([False, True], when={"a": "w"}),
        "k": Integer(1, 40, when={"b": True}),
    }
)


def test_it_is_a_density_over_a_tree_of_configs() -> None:
    X = TREE.all_encoded()
    assert X is not None
    active = TREE.active(X)
    prior = np.where(active, 1.0 / TREE.n_values, 1.0).prod(axis=1)
    assert prior.sum() == pytest.approx(1.0)
    estimator = estimator_of(TREE, 12)
    # 40 values are taken for a continuum: the sum over them is a quadrature.
    assert (density(estimator, TREE, X) * prior).sum() == pytest.approx(1.0, abs=2e-3)


def test_draws_follow_the_density() -> None:
    X = TREE.all_encoded()
    assert X is not None
    estimator = estimator_of(TREE, 6)
    prior = np.where(TREE.active(X), 1.0 / TREE.n_values, 1.0).prod(axis=1)
    expected = dict(zip(TREE.keys(X), density(estimator, TREE, X) * prior, strict=True))
    n = 20_000
    counts = dict.fromkeys(expected, 0)
    for key in TREE.keys(estimator.sample(n, np.random.default_rng(1))):
        counts[key] += 1
    for key, share in expected.items():
        assert counts[key] / n == pytest.approx(share, abs=5 * np.sqrt(share / n) + 1e-3)


def test_a_mixed_density_integrates_to_one() -> None:
    space = SearchSpace(
        {"x": Float(0, 1), "y": Float(1e-3, 1, log=True), "c": Categorical([*"abc"]), "n": Integer(1, 9)}
    )
    X = space.sample_encoded(40_000, np.random.default_rng(3))
    assert density(estimator_of(space, 9), space, X).mean() == pytest.approx(1.0, abs=0.05)


def test_without_centres_it_is_the_prior() -> None:
    estimator = estimator_of(TREE, 0)
    X = TREE.sample_encoded(50, np.random.default_rng(0))
    np.testing.assert_allclose(density(estimator, TREE, X), 1.0)
    assert estimator.sample(3, np.random.default_rng(0)).shape == (3, len(TREE))


def test_uneven_cells() -> None:
    edges = np.array([0.0, 0.7, 1.0])
    columns = Columns(np.array([2.0]), np.array([False]), {0: edges})
    X = np.array([[0.35], [0.85]])
    np.testing.assert_array_equal(columns.cells(X, 0), [0, 1])
    estimator = ParzenEstimator(columns, X[:1], np.ones((1, 1), np.bool_), np.ones(1))
    kernel = np.exp(estimator.log_kernels(X, np.ones((2, 1), np.bool_), X[:1], np.ones((1, 1), np.bool_)))[:, 0]
    assert kernel @ np.diff(edges) == pytest.approx(1.0)
