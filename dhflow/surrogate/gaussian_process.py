r"""A Gaussian process whose belief takes lies about pending trials in exactly.

Notation
--------
m : training points;  d : parameters;  k : candidates;  y : (m,) transformed losses;
:math:`K = s\,\kappa(X, X) + \nu I` with scale s and noise :math:`\nu`;  theta : (d + 2,) logarithms of the precisions,
of s and of :math:`\nu`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import FloatArray, IntArray
from dhflow.surrogate.belief import Places
from dhflow.surrogate.kernel import FeatureKinds, matern, matern_slope, plain_kinds, square_differences
from dhflow.surrogate.refit import Refitted
from dhflow.surrogate.target import power_scores, standard_scores
from dhflow.surrogate.training import TrainingSet
from dhflow.surrogate.warping import BOUNDS_SHAPE, shape_penalty, warp, warp_slopes

MAX_FIT_ROWS = 200
MAX_FIT_STEPS = 40
_BOUNDS_PRECISION = (np.log(1e-4), np.log(1e4))
_BOUNDS_SCALE = (np.log(1e-2), np.log(1e2))
_BOUNDS_NOISE = (np.log(1e-6), np.log(1.0))
_FIRST_JITTER = 1e-10


class GaussianProcess(Refitted):
    """Gaussian process regression with a Matérn 5/2 kernel and automatic relevance determination.

    Parameters
    ----------
    training : TrainingSet
    kinds : FeatureKinds, optional
        What the features are; ordered and always active unless given.
    seed : int
    warps : bool
        Whether each ordered parameter is warped by a curve that is fitted along (:mod:`~dhflow.surrogate.warping`).
    n_first : int
        With any, losses keep their scale, as that many of the first trials show it
        (:func:`~dhflow.surrogate.target.standard_scores`), and are not made normal.

    Notes
    -----
    Rasmussen and Williams (2006), eqs. 2.25, 2.26, 5.8 and 5.9. Hyperparameters maximise the posterior by L-BFGS-B with
    exact gradients, from two starts that depend on nothing, at the counts of told trials that
    :func:`~dhflow.surrogate.refit.last_fit` names; each tell in between changes the posterior alone. Losses are made
    normal by Yeo and Johnson's (2000) transform, but where `n_first` trials show a scale to keep. A failed trial counts
    as the worst.

    Warped inputs are those of Snoek et al. (2014), but that the shapes are fitted by maximum posterior, from the plain
    fit on, in place of being sampled.
    """

    def __init__(
        self,
        training: TrainingSet,
        *,
        kinds: FeatureKinds | None = None,
        seed: int = 0,
        warps: bool = False,
        n_first: int = 0,
    ) -> None:
        super().__init__(training, seed=seed)
        self.kinds = plain_kinds(training.n_features) if kinds is None else kinds
        self._n_first = n_first
        self.theta: FloatArray = np.zeros(0)
        self.warped: IntArray = np.flatnonzero(~self.kinds.categorical) if warps else np.zeros(0, np.intp)
        self.shapes: FloatArray = np.zeros((2, len(self.warped)))

    def sync(self) -> int:
        """Bring the posterior to the state that belongs to the told trials; return 1 if the kernel was fitted anew."""
        n_fitted = super().sync()
        self._X = self._warped(self.training.X[self._rows])
        self._inverse, self._jitter = _inverse_factor(self._kernel(self._X, self._X), np.exp(self.theta[-1]))
        return n_fitted

    def place(self, features: npt.ArrayLike) -> Places:
        """Return points (k, p), warped as the last :meth:`sync` found best."""
        return Places(self._warped(super().place(features).features))

    def belief(self) -> NormalBelief:
        """Return the posterior."""
        return NormalBelief(self, self._X, self._targets, self._inverse)

    def covariance(self, A: npt.NDArray[np.floating], B: npt.NDArray[np.floating]) -> FloatArray:
        """Return the prior covariance of the noise-free objective at points (n, p) and (k, p) of :meth:`place`."""
        return self._kernel(A, B)

    @property
    def noise(self) -> float:
        """Variance of an observation around the objective, in units of the targets squared."""
        return float(np.exp(self.theta[-1])) + self._jitter

    @property
    def scale(self) -> float:
        """Prior variance of the objective."""
        return float(np.exp(self.theta[-2]))

    def _warped(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return warp(X, self.warped, self.shapes) if len(self.warped) else X

    def _kernel(self, A: npt.NDArray[np.floating], B: npt.NDArray[np.floating]) -> FloatArray:
        return self.scale * matern(square_differences(A, B, self.kinds), np.exp(self.theta[:-2]))

    def _targets_of(self, rows: IntArray) -> FloatArray:
        losses = self.training.comparable_losses(rows)
        if not self._n_first:
            return power_scores(losses)
        # Of those that were known with the latest row, so that a resumed search comes to the same.
        first = np.arange(min(self._n_first, rows[-1] + 1), dtype=np.intp)
        return standard_scores(losses, self.training.comparable_losses(first))

    def _fit(self, X: FloatArray, y: FloatArray, seed: list[int]) -> None:
        if len(y) > MAX_FIT_ROWS:
            best = np.argsort(y, kind="stable")[: MAX_FIT_ROWS // 3]
            others = np.setdiff1d(np.arange(len(y)), best)
            drawn = np.random.default_rng(np.random.SeedSequence(seed)).permutation(others)
            chosen = np.concatenate([best, drawn[: MAX_FIT_ROWS - len(best)]])
            X, y = X[chosen], y[chosen]
        self.theta = fit_hyperparameters(square_differences(X, X, self.kinds), y)
        if len(self.warped):
            self.theta, self.shapes = fit_shapes(self.theta, X, y, self.kinds, self.warped)


class NormalBelief:
    """The posterior of a Gaussian process.

    Parameters
    ----------
    process : GaussianProcess
    X : (m, p)
    y : (m,)
    inverse : (m, m)
        Inverse of the lower Cholesky factor of K.
    """

    def __init__(
        self, process: GaussianProcess, X: npt.NDArray[np.floating], y: FloatArray, inverse: FloatArray
    ) -> None:
        self._process = process
        self._X = X
        self._y = y
        self._inverse = inverse
        self._weights: FloatArray = inverse.T @ (inverse @ y)

    def add(self, places: Places, y: FloatArray) -> None:
        """Condition on targets `y` (k,) at points, by growing the factor."""
        P = places.features
        cross = self._process.covariance(self._X, P)
        below = self._inverse @ cross
        schur = self._process.covariance(P, P) - below.T @ below
        corner, _ = _inverse_factor(schur, self._process.noise)
        m, k = len(self._X), len(P)
        inverse = np.zeros((m + k, m + k))
        inverse[:m, :m], inverse[m:, m:] = self._inverse, corner
        inverse[m:, :m] = -corner @ below.T @ self._inverse
        self._inverse = inverse
        self._X, self._y = np.concatenate([self._X, P]), np.concatenate([self._y, y])
        self._weights = inverse.T @ (inverse @ self._y)

    def mean(self, places: Places) -> FloatArray:
        """Return the predictions (k,) at points."""
        mean: FloatArray = self._process.covariance(places.features, self._X) @ self._weights
        return mean

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k,) of the noise-free objective at points."""
        cross = self._process.covariance(places.features, self._X)
        variance = self._process.scale - np.square(cross @ self._inverse.T).sum(axis=1)
        return cross @ self._weights, np.sqrt(np.maximum(variance, 1e-12))


def fit_hyperparameters(squares: FloatArray, y: FloatArray) -> FloatArray:
    """Return theta (d + 2,) of the highest posterior found, for differences (d, m, m) and targets (m,)."""
    from scipy.optimize import minimize

    d = len(squares)
    bounds = _bounds(d)
    best, best_value = np.zeros(d + 2), np.inf
    for first in (np.log(4.0), np.log(0.5)):
        start = np.concatenate([np.full(d, first), [0.0, np.log(1e-3)]])
        found = minimize(
            negative_log_posterior,
            start,
            (squares, y),
            method="L-BFGS-B",
            jac=True,
            bounds=bounds,
            options={"maxiter": MAX_FIT_STEPS},
        )
        if np.isfinite(found.fun) and found.fun < best_value:
            best, best_value = found.x, float(found.fun)
    return best


def fit_shapes(
    theta: FloatArray, X: FloatArray, y: FloatArray, kinds: FeatureKinds, columns: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return theta (d + 2,) and shapes (2, q) of a higher posterior, from theta and plain inputs on."""
    from scipy.optimize import minimize

    n_shapes = 2 * len(columns)
    start = np.concatenate([theta, np.zeros(n_shapes)])
    found = minimize(
        negative_log_posterior_warped,
        start,
        (X, y, kinds, columns),
        method="L-BFGS-B",
        jac=True,
        bounds=[*_bounds(len(theta) - 2), *[BOUNDS_SHAPE] * n_shapes],
        options={"maxiter": MAX_FIT_STEPS},
    )
    best = found.x if np.isfinite(found.fun) else start
    return best[: len(theta)], best[len(theta) :].reshape(2, -1)


def _bounds(d: int) -> list[tuple[float, float]]:
    return [_BOUNDS_PRECISION] * d + [_BOUNDS_SCALE, _BOUNDS_NOISE]


def negative_log_posterior_warped(
    both: FloatArray, X: FloatArray, y: FloatArray, kinds: FeatureKinds, columns: IntArray
) -> tuple[float, FloatArray]:
    """Return the negative log posterior density of theta and the shapes (d + 2 + 2 q,), and its gradient."""
    theta, shapes = both[: -2 * len(columns)], both[-2 * len(columns) :].reshape(2, -1)
    warped = warp(X, columns, shapes)
    value, gradient, slope = _posterior(theta, square_differences(warped, warped, kinds), y)
    penalty, by_shapes = shape_penalty(shapes)
    turns = warp_slopes(X[:, columns], shapes)
    for i, j in enumerate(columns):
        activity = kinds.activity[j]
        # Where a parameter is inactive its place does not matter.
        active = np.ones(len(X)) if activity < 0 else (X[:, activity] > 0.5).astype(np.float64)
        at = warped[:, j] * active
        by_place = 4.0 * np.exp(theta[j]) * active * (at * (slope @ active) - slope @ at)
        by_shapes[:, i] += turns[:, :, i] @ by_place
    return value + penalty, np.concatenate([gradient, by_shapes.ravel()])


def negative_log_posterior(theta: FloatArray, squares: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
    """Return the negative log posterior density of theta (d + 2,), up to a constant, and its gradient (d + 2,).

    Notes
    -----
    The priors keep what the data say nothing about near sensible values: precisions q follow ``exp(-0.1 / q - 0.1 q)``,
    so that a parameter may turn out to matter little or much; the scale s follows Gamma(2, 1), the noise
    Gamma(1.1, 1/30), which favours little noise. (Densities of the parameters themselves, not of their logarithms.)
    """
    value, gradient, _ = _posterior(theta, squares, y)
    return value, gradient


def _posterior(theta: FloatArray, squares: FloatArray, y: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Return the same, and the derivative (m, m) by the square distances :math:`r^2` of pairs."""
    # LAPACK itself: for a hundred points scipy.linalg's checks take as long as the algebra.
    from scipy.linalg.lapack import dpotrf, dpotri

    precision, scale, noise = np.exp(theta[:-2]), float(np.exp(theta[-2])), float(np.exp(theta[-1]))
    kernel = matern(squares, precision)
    m = len(y)
    K = scale * kernel
    K[np.diag_indices(m)] += noise + 1e-10
    L, is_indefinite = dpotrf(K, lower=True)
    if is_indefinite:
        return 1e25, np.zeros_like(theta), np.zeros_like(K)
    inverse, _ = dpotri(L, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse @ y
    spread = inverse - np.outer(weights, weights)
    value = 0.5 * float(y @ weights) + float(np.log(np.diag(L)).sum())
    slope = 0.5 * scale * matern_slope(squares, precision) * spread
    by_precision = np.tensordot(squares, slope, axes=((1, 2), (0, 1))) * precision
    by_scale = 0.5 * scale * float((spread * kernel).sum())
    by_noise = 0.5 * noise * float(np.trace(spread))
    value += float((0.1 / precision + 0.1 * precision).sum()) - np.log(scale) + scale - 0.1 * np.log(noise) + 30 * noise
    gradient = np.concatenate(
        [
            by_precision - 0.1 / precision + 0.1 * precision,
            [by_scale - 1.0 + scale, by_noise - 0.1 + 30 * noise],
        ]
    )
    return value, gradient, slope


def _inverse_factor(covariance: FloatArray, noise: float) -> tuple[FloatArray, float]:
    """Return the inverse of the lower factor of ``covariance + noise I``, and the jitter that it took."""
    from scipy.linalg import LinAlgError, cholesky, solve_triangular

    m = len(covariance)
    identity = np.eye(m)
    jitter = 0.0
    while True:
        try:
            L = cholesky(covariance + (noise + jitter) * identity, lower=True, check_finite=False)
        except LinAlgError:
            # Ends: a jitter above the largest row sum makes any symmetric matrix positive definite.
            jitter = max(10 * jitter, _FIRST_JITTER)
        else:
            return solve_triangular(L, identity, lower=True, check_finite=False), jitter
