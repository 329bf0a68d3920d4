"""Acquisition functions: how much a candidate is worth, from what the surrogate says of it.

Everything is minimised, the acquisition too: lower is more promising.

Notation
--------
mean, std : (n,) posterior moments at n candidates, in units of the surrogate's targets.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import FloatArray, as_vector

_SQRT_2PI = math.sqrt(2 * math.pi)
_CANCELLED_Z = 1e4
"""Below this z the bracket of the logarithm cancels to less than half the digits."""
_FAR_Z = 1e100
"""A belief without any spread to speak of lies this far off."""


def lower_confidence_bound(mean: npt.ArrayLike, std: npt.ArrayLike, kappa: float = 1.96) -> FloatArray:
    r"""Return ``mean - kappa * std``, the optimistic end of the belief about a minimised target.

    Parameters
    ----------
    mean, std : (n,)
        Posterior moments, in the same units; ``std >= 0``.
    kappa : float
        Weight of the uncertainty, not negative; 1.96 bounds 97.5 % of a normal belief.

    Returns
    -------
    (n,)
        Lower is more promising.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is NaN, a ``std`` is negative or `kappa` is negative or not finite.

    Notes
    -----
    Cox and John (1992), sec. 2. For a maximised objective the same quantity reads as the upper
    bound ``mean + kappa * std``: dhflow flips the objective before it comes here.
    """
    centre, spread = _moments(mean, std)
    if not (np.isfinite(kappa) and kappa >= 0):
        raise SurrogateError(f"kappa is {kappa}: it must be a number of at least 0")
    return centre - kappa * spread


def expected_improvement(mean: npt.ArrayLike, std: npt.ArrayLike, best: float) -> FloatArray:
    r"""Return the negative expected improvement over `best`, ``E[max(best - Y, 0)]`` of a normal belief about Y.

    Parameters
    ----------
    mean, std : (n,)
        Posterior moments; where ``std`` is 0 the improvement is certain.
    best : float
        The lowest target so far.

    Returns
    -------
    (n,)
        Lower is more promising, never above 0.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is NaN, or a ``std`` is negative.

    Notes
    -----
    Mockus, Tiesis and Zilinskas (1978); Jones, Schonlau and Welch (1998), eq. 15:
    :math:`\sigma (z \Phi(z) + \varphi(z))` with :math:`z = (\tau - \mu) / \sigma`. Far from `best` it is 0 in
    floating point for every candidate; :func:`log_expected_improvement` still tells them apart.
    """
    return -np.exp(-log_expected_improvement(mean, std, best))


def log_expected_improvement(mean: npt.ArrayLike, std: npt.ArrayLike, best: float) -> FloatArray:
    r"""Return the negative logarithm of the expected improvement over `best`, exact also where that is 1e-300.

    Parameters
    ----------
    mean, std : (n,)
        Posterior moments.
    best : float
        The lowest target so far.

    Returns
    -------
    (n,)
        Lower is more promising; infinite where nothing can improve.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is NaN, or a ``std`` is negative.

    Notes
    -----
    Ament et al. (2023), *Unexpected improvements to expected improvement for Bayesian optimization*, eq. 9: below
    :math:`z = -1` the factor of the density is written with the scaled complementary error function,

    .. math:: \log h(z) = -\tfrac{z^2}{2} - \tfrac12 \log 2\pi
              + \log\bigl(1 + \sqrt{\pi/2}\, z\, \mathrm{erfcx}(-z/\sqrt2)\bigr),

    and far below, where the bracket cancels, with its limit :math:`1/z^2`.
    """
    from scipy.special import ndtr

    centre, spread = _moments(mean, std)
    gain = best - centre
    positive = spread > 0
    safe = np.where(positive, spread, 1.0)
    with np.errstate(over="ignore"):
        z = np.clip(gain / safe, -_FAR_Z, _FAR_Z)
    near = np.maximum(z, -1.0)
    log_h: FloatArray = np.log(np.exp(-0.5 * near**2) / _SQRT_2PI + near * ndtr(near))
    below = z <= -1
    if below.any():
        log_h[below] = _log_h_below(z[below])
    with np.errstate(divide="ignore"):
        certain = np.log(np.maximum(gain, 0.0))
    return -np.where(positive, log_h + np.log(safe), certain)


def _log_h_below(z: FloatArray) -> FloatArray:
    """Return log h of z (n,) <= -1, where the terms of h cancel."""
    from scipy.special import erfcx

    near = np.maximum(z, -_CANCELLED_Z)
    bracket = 1 + math.sqrt(math.pi / 2) * near * erfcx(-near / math.sqrt(2))
    log_bracket = np.where(z > -_CANCELLED_Z, np.log(bracket), -2 * np.log(-z))
    log_h: FloatArray = -0.5 * z**2 - math.log(_SQRT_2PI) + log_bracket
    return log_h


def probability_of_improvement(mean: npt.ArrayLike, std: npt.ArrayLike, best: float) -> FloatArray:
    r"""Return the negative logarithm of the probability that a candidate is better than `best`.

    Parameters
    ----------
    mean, std : (n,)
        Posterior moments.
    best : float
        The lowest target so far.

    Returns
    -------
    (n,)
        Lower is more promising; infinite where nothing can improve.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is NaN, or a ``std`` is negative.

    Notes
    -----
    Kushner (1964). Here everything is minimised, so it is :math:`\Phi((\tau - \mu) / \sigma)`; texts that maximise
    write :math:`\Phi((\mu - \tau) / \sigma)`, the same number once the objective is negated. The logarithm keeps
    candidates apart whose probabilities are all 0 in floating point, and their order.
    """
    from scipy.special import log_ndtr

    centre, spread = _moments(mean, std)
    positive = spread > 0
    z = (best - centre) / np.where(positive, spread, 1.0)
    certain = np.where(best > centre, 0.0, -np.inf)
    log_probability: FloatArray = np.where(positive, log_ndtr(z), certain)
    return -log_probability


def _moments(mean: npt.ArrayLike, std: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    centre, spread = as_vector("mean", mean), as_vector("std", std)
    if centre.shape != spread.shape:
        raise SurrogateError(f"mean has {centre.size} entries and std {spread.size}")
    if (spread < 0).any():
        raise SurrogateError(f"std must not be negative, its lowest entry is {spread.min()}")
    return centre, spread
