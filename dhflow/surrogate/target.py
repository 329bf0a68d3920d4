"""Targets of a surrogate: objective values turned into numbers that a model fits well.

Trees are fitted to the normal scores of the ranks: no outlier, no scale and no failed trial
can then bend the model, and a plateau of ties stays a plateau. Of the usual transforms this
one pays most for trees (five times less regret than raw values in our measurements); a
Gaussian process wants another one. Both stretch whatever the latest trials differ by, however
little: where a space has branches, a process that keeps the scale does better.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import FloatArray, as_vector

MAX_QUARTILES = 100.0
"""Interquartile ranges from the median, beyond which a value is as good as infinite."""
FENCE = 1.5
"""Interquartile ranges from the upper quartile, from which on a value is just bad."""
_LEAST_SPREAD = 1e-9
_EXPONENTS = (-20.0, 22.0)
"""Within which an exponent is looked for: powers of the largest values do not overflow."""
_EXPONENT_TOLERANCE = 1e-6


def normal_scores(values: npt.ArrayLike) -> FloatArray:
    r"""Return the normal scores of the ranks of `values`, equal values sharing their mean rank.

    Parameters
    ----------
    values : (n,)
        Infinities are allowed, NaN is not.

    Returns
    -------
    (n,)
        :math:`\Phi^{-1}((r - 3/8) / (n + 1/4))` with rank :math:`r` from 1: increasing in
        `values`, antisymmetric about 0 without ties, and of about unit variance.

    Raises
    ------
    SurrogateError
        If `values` is no vector, or holds NaN.

    Notes
    -----
    Blom (1958), *Statistical estimates and transformed beta-variables*, eq. 6.10.3, alpha = 3/8.
    """
    from scipy.special import ndtri

    vector = as_vector("values", values)
    scores: FloatArray = ndtri((mean_ranks(vector) - 0.375) / (vector.size + 0.25))
    return scores


def mean_ranks(values: FloatArray) -> FloatArray:
    """Return the ranks of `values` (n,), from 1; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if values.size else np.zeros(0, int)
    sizes = np.diff(np.append(first, values.size))
    ranks = np.empty(values.size)
    ranks[order] = np.repeat(first + (sizes + 1) / 2, sizes)
    return ranks


def power_scores(values: npt.ArrayLike) -> FloatArray:
    """Return `values` made normal by a power transform, with mean 0 and variance 1.

    Parameters
    ----------
    values : (n,)
        Finite.

    Returns
    -------
    (n,)
        Increasing in `values`; all 0 if these are equal.

    Raises
    ------
    SurrogateError
        If `values` is no vector, or holds NaN.

    Notes
    -----
    Yeo and Johnson (2000), *A new family of power transformations*, eq. 2.1, with the exponent of the greatest
    likelihood, of values scaled by their median and quartiles and cut beyond :data:`MAX_QUARTILES`.
    Where that fails (few different values), :func:`normal_scores` take its place.
    """
    vector = as_vector("values", values)
    if not vector.size or vector.min() == vector.max():
        return np.zeros(vector.size)
    low, middle, high = np.quantile(vector, (0.25, 0.5, 0.75))
    width = high - low
    if not (np.isfinite(width) and width > 0):
        return normal_scores(vector)
    with np.errstate(over="ignore"):  # quartiles that lie closer than numbers can be apart from the others; cut below
        scaled = np.clip((vector - middle) / width, -MAX_QUARTILES, MAX_QUARTILES)
    powered = _powered(scaled)
    spread = float(powered.std())
    if not (np.isfinite(powered).all() and spread > _LEAST_SPREAD):
        return normal_scores(vector)
    scores: FloatArray = (powered - powered.mean()) / spread
    return scores


def standard_scores(values: npt.ArrayLike, first: npt.ArrayLike) -> FloatArray:
    """Return `values` with mean 0 and variance 1, bad ones cut, so that good ones keep the scale of the objective.

    Parameters
    ----------
    values : (n,)
        Finite.
    first : (k,)
        Finite values that lie all over the space, as those of an initial design: what is bad follows from them, however
        many good ones have come since.

    Returns
    -------
    (n,)
        Nowhere decreasing in `values`; all 0 if these are equal.

    Raises
    ------
    SurrogateError
        If one of them is no vector, or holds NaN.

    Notes
    -----
    Cut is at the upper fence of Tukey (1977), *Exploratory data analysis*: :data:`FENCE` interquartile ranges above the
    upper quartile of `first`; and :data:`MAX_QUARTILES` below that quartile. Where that leaves no differences,
    :func:`power_scores` take its place.
    """
    vector, known = as_vector("values", values), as_vector("first", first)
    low, high = np.quantile(known, (0.25, 0.75)) if known.size else (0.0, 0.0)
    with np.errstate(over="ignore"):
        width = high - low
        if not (vector.size and 0 < width < np.inf):
            return power_scores(vector)
        scaled = np.clip((vector - high) / width, -MAX_QUARTILES, FENCE)
    spread = float(scaled.std())
    if not spread > _LEAST_SPREAD:
        return power_scores(vector)
    scores: FloatArray = (scaled - scaled.mean()) / spread
    return scores


def _powered(values: FloatArray) -> FloatArray:
    """Return Yeo and Johnson's transform of `values` (n,), by the exponent of the greatest likelihood (their eq. 3.1).

    scipy.stats.yeojohnson finds the same exponent, in twenty times the time: it checks each step's arguments anew.
    """
    from scipy.optimize import fminbound
    from scipy.special import boxcox1p

    sizes, is_negative = np.abs(values), values < 0
    slope = float(np.where(is_negative, -np.log1p(sizes), np.log1p(sizes)).sum())

    def at(exponent: float) -> FloatArray:
        powered: FloatArray = np.where(is_negative, -boxcox1p(sizes, 2.0 - exponent), boxcox1p(sizes, exponent))
        return powered

    def negative_log_likelihood(exponent: float) -> float:
        variance = float(at(exponent).var())
        return 0.5 * values.size * np.log(variance) - (exponent - 1.0) * slope if variance > 0.0 else np.inf

    return at(float(fminbound(negative_log_likelihood, *_EXPONENTS, xtol=_EXPONENT_TOLERANCE)))
