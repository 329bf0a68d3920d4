"""The Gaussian process against scikit-learn's, finite differences and refits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from dhflow.surrogate.gaussian_process import GaussianProcess, negative_log_posterior, negative_log_posterior_warped
from dhflow.surrogate.kernel import FeatureKinds, matern, plain_kinds, square_differences
from dhflow.surrogate.target import MAX_QUARTILES, power_scores, standard_scores
from dhflow.surrogate.training import TrainingSet
from dhflow.surrogate.warping import warp


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).random((n, 3))
    return X, np.sin(6 * X[:, 0]) + (X[:, 1] - 0.4) ** 2


def made(n: int, batches: tuple[int, ...] = (), losses: np.ndarray | None = None) -> GaussianProcess:
    X, loss = data(n)
    loss = loss if losses is None else losses
    process = GaussianProcess(TrainingSet(3, seed=1), seed=4)
    begin = 0
    for size in (*batches, n - sum(batches)):
        process.training.append(X[begin : begin + size], loss[begin : begin + size])
        begin += size
        process.sync()
    return process


def test_the_posterior_is_scikit_learns_for_the_same_kernel() -> None:
    process = made(40)
    points = data(30, seed=7)[0].astype(np.float32)
    lengths = np.exp(-0.5 * process.theta[:-2])
    kernel = ConstantKernel(process.scale) * Matern(lengths, nu=2.5) + WhiteKernel(process.noise)
    reference = GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(process.training.X, process.targets)
    mean, std = reference.predict(points, return_std=True)
    found_mean, found_std = process.belief().moments(process.place(points))
    np.testing.assert_allclose(found_mean, mean, atol=1e-6)
    np.testing.assert_allclose(found_std**2, std**2 - process.noise, atol=1e-6)  # ours is of the noise-free objective


def test_the_gradient_is_exact() -> None:
    rng = np.random.default_rng(0)
    X, y = data(25)
    kinds = FeatureKinds(np.array([False, True]), np.array([-1, 2]))
    features = np.column_stack([X[:, 0], np.floor(X[:, 1] * 3) / 3, X[:, 2] > 0.4])
    squares = square_differences(features, features, kinds)
    for _ in range(5):
        theta = rng.normal(0, 0.7, 4)
        value, gradient = negative_log_posterior(theta, squares, y)
        numeric = approx_fprime(theta, lambda t: negative_log_posterior(t, squares, y)[0], 1e-6)
        assert np.isfinite(value)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_the_gradient_by_the_shapes_is_exact_too() -> None:
    rng = np.random.default_rng(0)
    X, y = data(25)
    kinds = FeatureKinds(np.array([False, True, False]), np.array([-1, -1, 3]))
    features = np.column_stack([X[:, 0], np.floor(X[:, 1] * 3) / 3, X[:, 2], X[:, 2] > 0.4])
    columns = np.array([0, 2])

    def value_of(both: np.ndarray) -> float:
        return negative_log_posterior_warped(both, features, y, kinds, columns)[0]

    for _ in range(5):
        both = rng.normal(0, 0.7, 9)
        _, gradient = negative_log_posterior_warped(both, features, y, kinds, columns)
        np.testing.assert_allclose(gradient, approx_fprime(both, value_of, 1e-6), rtol=1e-3, atol=1e-3)


def test_no_shape_is_no_warping_and_the_curve_is_the_distribution_of_kumaraswamy() -> None:
    X = np.random.default_rng(0).random((50, 2))
    np.testing.assert_allclose(warp(X, np.array([0, 1]), np.zeros((2, 2))), X, atol=1e-12)
    drawn = (1 - (1 - X[:, 0]) ** (1 / 3.0)) ** (1 / 2.0)  # by inversion, with a = 2 and b = 3
    found = warp(np.column_stack([drawn, X[:, 1]]), np.array([0]), np.log([[2.0], [3.0]]))
    np.testing.assert_allclose(found, X, atol=1e-9)


def test_what_bends_at_one_end_is_straightened() -> None:
    points = np.random.default_rng(99).random((300, 2))
    errors = []
    for warps in (False, True):
        process = GaussianProcess(TrainingSet(2, seed=1), seed=4, warps=warps)
        X = np.random.default_rng(0).random((30, 2))
        process.training.append(X, np.sin(7 * X[:, 0] ** 8) + 0.1 * X[:, 1])
        process.sync()
        mean = process.belief().mean(process.place(points))
        errors.append(1.0 - np.corrcoef(mean, np.sin(7 * points[:, 0] ** 8) + 0.1 * points[:, 1])[0, 1])
    assert errors[1] < 0.2 * errors[0], errors
    assert process.shapes[0, 0] > 1.0, "x is taken to a high power"


def test_it_is_a_function_of_the_told_trials() -> None:
    at_once, in_parts = made(53), made(53, batches=(10, 13, 20))
    place = at_once.place(data(20, seed=9)[0])
    np.testing.assert_array_equal(at_once.belief().moments(place), in_parts.belief().moments(place))


def test_lies_are_taken_in_as_if_they_had_been_observed() -> None:
    process = made(30)
    points = process.place(data(12, seed=3)[0])
    lied, y = points.take(slice(0, 3)), np.array([0.3, -0.2, 1.0])
    at_once, one_by_one = process.belief(), process.belief()
    at_once.add(lied, y)
    for i in range(3):
        one_by_one.add(lied.take([i]), y[[i]])
    np.testing.assert_allclose(at_once.moments(points), one_by_one.moments(points), atol=1e-6)
    X = np.concatenate([process.training.X, lied.features])
    K = process.covariance(X, X) + process.noise * np.eye(33)
    cross = process.covariance(points.features, X)
    expected = cross @ np.linalg.solve(K, np.concatenate([process.targets, y]))
    np.testing.assert_allclose(at_once.mean(points), expected, atol=1e-6)


def test_a_believer_keeps_the_mean_and_grows_sure() -> None:
    process = made(20)
    place = process.place(np.array([[0.9, 0.9, 0.1]]))
    belief = process.belief()
    mean, std = belief.moments(place)
    belief.add(place, mean)
    new_mean, new_std = belief.moments(place)
    np.testing.assert_allclose(new_mean, mean, atol=1e-6)
    assert new_std < 0.5 * std


def test_an_irrelevant_parameter_is_found_out() -> None:
    relevance = made(80).theta[:-2]
    assert relevance[0] > relevance[1] > relevance[2]


def test_unordered_and_inactive_values_have_the_distances_they_should() -> None:
    kinds = FeatureKinds(np.array([False, True, False]), np.array([-1, -1, 3]))
    rows = np.array([[0.1, 0.1, 0.5, 0.0], [0.1, 0.9, 0.9, 0.0], [0.4, 0.5, 0.9, 1.0], [0.4, 0.5, 0.2, 1.0]])
    squares = square_differences(rows, rows, kinds)
    assert squares[0, 0, 2] == pytest.approx(0.09)
    assert squares[1, 0].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert squares[2, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert squares[2, 2, 3] == pytest.approx(0.49)
    values = np.linalg.eigvalsh(matern(squares, np.array([2.0, 0.5, 1.0])))
    assert values.min() > -1e-9


@pytest.mark.parametrize(
    "losses",
    [
        [1.0],
        [1.0, 1.0, 1.0, 1.0],
        [np.nan, np.nan, np.nan],
        [np.nan, 1.0, 2.0, 3.0],
        [1e300, -1e300, 0.0, 1.0, 2.0],
        [1.0, 1.0 + 1e-15, 1.0, 1.0],
    ],
)
def test_little_or_odd_data_is_no_error(losses: list[float]) -> None:
    process = GaussianProcess(TrainingSet(2))
    process.training.append(np.full((len(losses), 2), 0.5), losses)  # all at one place
    process.sync()
    place = process.place(np.array([[0.5, 0.5], [0.0, 1.0]]))
    belief = process.belief()
    belief.add(place, belief.mean(place))
    belief.add(place, belief.mean(place))
    assert np.isfinite(belief.moments(place)).all()


def test_a_hundred_lies_at_one_place_are_no_error() -> None:
    process = made(30)
    place = process.place(np.full((100, 3), 0.25))
    belief = process.belief()
    belief.add(place, np.zeros(100))
    assert abs(belief.mean(place.take([0]))[0]) < 0.3


def test_with_a_scale_targets_depend_on_what_was_told_alone() -> None:
    X, loss = data(60)
    loss[3] = np.nan
    made_by = []
    for batches in ([60], [1] * 60, [7, 50, 3]):
        process = GaussianProcess(TrainingSet(3, seed=1), seed=4, n_first=10)
        begin = 0
        for size in batches:
            process.training.append(X[begin : begin + size], loss[begin : begin + size])
            begin += size
            process.sync()
        made_by.append((process.targets, process.theta))
    for targets, theta in made_by[1:]:
        np.testing.assert_array_equal(targets, made_by[0][0])
        np.testing.assert_array_equal(theta, made_by[0][1])
    known = np.where(np.isnan(loss), np.nanmax(loss), loss)
    first = np.where(np.isnan(loss[:10]), np.nanmax(loss[:10]), loss[:10])
    np.testing.assert_allclose(made_by[0][0], standard_scores(known, first))


def test_power_scores_are_normal_and_keep_the_order() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=400) * 2)
    scores = power_scores(values)
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1)
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(values))
    skewness = np.mean(scores**3)
    assert abs(skewness) < 0.6 < np.mean(((values - values.mean()) / values.std()) ** 3)
    assert power_scores([3.0, 3.0]).tolist() == [0.0, 0.0]
    assert power_scores([]).tolist() == []
    mostly_equal = power_scores([1.0] * 50 + [0.0])
    assert mostly_equal[-1] < mostly_equal[0]


@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False, allow_infinity=False)))
@example(np.array([0.0, 0.0, 0.0, -2.7e-308, -5.0, 0.0, 2.7e-308]))
@example(np.array([-1.7e308, 1.7e308, 0.0, 1.0]))
def test_power_scores_of_anything_finite_are_finite_and_keep_the_order(values: np.ndarray) -> None:
    scores = power_scores(values)
    assert np.isfinite(scores).all()
    assert (np.diff(scores[np.argsort(values, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("n", [12, 40, 300])
@pytest.mark.parametrize("draw", ["normal", "exponential", "lognormal", "integers"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_power_scores_have_the_exponent_that_scipy_finds(n: int, draw: str, sign: float) -> None:
    rng = np.random.default_rng(n)
    values = (
        sign
        * {
            "normal": rng.normal(size=n),
            "exponential": rng.exponential(size=n),
            "lognormal": rng.lognormal(0.0, 2.0, size=n),
            "integers": rng.integers(0, 5, size=n).astype(float),
        }[draw]
    )
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    expected, _ = scipy.stats.yeojohnson(np.clip((values - middle) / (high - low), -MAX_QUARTILES, MAX_QUARTILES))
    np.testing.assert_allclose(power_scores(values), (expected - expected.mean()) / expected.std(), atol=1e-5)


def test_plain_features_are_ordered_and_always_active() -> None:
    kinds = plain_kinds(3)
    assert kinds.n_parameters == 3
    assert not kinds.categorical.any()
    assert (kinds.activity == -1).all()
