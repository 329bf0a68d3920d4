"""Where a curve will end: parametric families, bounded least squares, and an interval.

Notation
--------
k : readings;  t : (k,) steps;  y : (k,) losses;  g : (m, k) one falling shape per row: a family at a rate;
y = c + a g with a >= 0: for each shape the best c and a are known in closed form, so nothing is iterated but weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dhflow.monitor.record import FloatArray

IntArray = npt.NDArray[np.intp]

POWER_RATES = tuple(float(each) for each in np.geomspace(0.05, 3.0, 10))
"""Exponents b of t**-b (Domhan et al. 2015 call this family pow3)."""
EXPONENTIAL_RATES = tuple(float(each) for each in np.geomspace(0.5, 30.0, 8))
"""Decays over the range of the curve so far, of exp(-b t / t_k)."""
MOST_READINGS = 60
"""Longer curves are thinned: a fit gains nothing from more."""
HUBER = 2.0
"""Residuals beyond so many scatters count less; two rounds of reweighting."""
DRIFT = 0.35
"""By what share of a curve's own scatter its end may wander off per square root of (steps ahead over steps so far),
besides what the fit is unsure of. Calibrated on TaskSet: with it the 80 % interval holds close to 80 %."""
LEAST_READINGS = 4


@dataclass(frozen=True, eq=False)
class Outlook:
    """The end of a curve as a mixture of normal distributions, one for each shape.

    Parameters
    ----------
    means, stds, weights : (m,)
        Minimised; weights sum to 1.
    best : float
        The lowest loss so far.
    scatter : float
        Of the readings about the fit.
    """

    means: FloatArray
    stds: FloatArray
    weights: FloatArray
    best: float
    scatter: float

    @property
    def mean(self) -> float:
        """Expected loss at the end."""
        return float(self.weights @ self.means)

    def p_below(self, loss: float) -> float:
        """Return the probability that the curve ends below `loss`."""
        z = (loss - self.means) / self.stds
        return float(self.weights @ np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in z]))

    def quantile(self, share: float) -> float:
        """Return the loss below which the curve ends with probability `share`."""
        low, high = float((self.means - 8 * self.stds).min()), float((self.means + 8 * self.stds).max())
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.p_below(middle) < share else (low, middle)
        return (low + high) / 2


def extrapolate(steps: FloatArray, losses: FloatArray, at: float) -> Outlook | None:
    """Return where a curve will stand at step `at`, or None if fewer than four readings are finite.

    Parameters
    ----------
    steps, losses : (k,)
        Ascending steps; losses minimised, of any sign.
    at : float
        The step asked for; the last one if that is later.

    Notes
    -----
    Families and weighting after Domhan, Springenberg and Hutter (IJCAI 2015). Departs from it: no sampling; for each
    family and rate on a grid the offset and the amplitude are linear, bounded (a >= 0), and robust (Huber's weights);
    the interval is Laplace's, given the shape, and the shapes are weighted by their likelihood.
    """
    keep = np.isfinite(losses)
    if keep.sum() < LEAST_READINGS:
        return None
    chosen = _thinned(np.flatnonzero(keep))
    t, y = steps[chosen], losses[chosen]
    t = t - min(float(steps[0]), t[0]) + 1.0
    end = max(at - float(steps[0]) + 1.0, float(t[-1]))
    g, g_end = _shapes(t, end)
    weights = _recency(t)
    for _ in range(2):
        c, a, rest = _fit(g, y, weights)
        scatter = _scatter(rest, weights)
        typical = np.median(np.abs(rest[int(np.argmin(scatter))])) / 0.6745 + 1e-300
        size = np.abs(rest[int(np.argmin(scatter))]) / (HUBER * typical)
        weights = _recency(t) / np.maximum(size, 1.0)
    c, a, rest = _fit(g, y, weights)
    scatter = _scatter(rest, weights)
    # A curve that was fitted exactly still has the digits of its readings.
    scatter = np.maximum(scatter, 1e-5 * max(float(np.abs(y).max()), 1e-12))
    shares = np.exp(-len(y) * np.log(scatter / scatter.min()))
    ahead = float((end - t[-1]) / t[-1])
    stds = scatter * np.sqrt(1.0 + _leverage(g, g_end, weights) + DRIFT**2 * len(y) * ahead)
    return Outlook(c + a * g_end, stds, shares / shares.sum(), float(y.min()), float(scatter.min()))


def _thinned(index: IntArray) -> IntArray:
    if len(index) <= MOST_READINGS:
        return index
    kept: IntArray = index[np.unique(np.linspace(0, len(index) - 1, MOST_READINGS).round().astype(np.intp))]
    return kept


def _recency(t: FloatArray) -> FloatArray:
    """Later readings say more about the end: the early part follows another law (Domhan et al. weight alike)."""
    weights: FloatArray = 0.1 + np.linspace(0.0, 1.0, len(t))
    return weights


def _shapes(t: FloatArray, end: float) -> tuple[FloatArray, FloatArray]:
    """Return the shapes (m, k) at the readings and (m,) at the end."""
    powers = np.array(POWER_RATES)[:, None]
    decays = np.array(EXPONENTIAL_RATES)[:, None] / t[-1]
    at = np.append(t, end)
    all_shapes = np.concatenate([at**-powers, np.exp(-decays * at)])
    return all_shapes[:, :-1], all_shapes[:, -1]


def _fit(g: FloatArray, y: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    w = weights / weights.sum()
    g_mean, y_mean = g @ w, float(y @ w)
    centred = g - g_mean[:, None]
    spread = np.maximum((centred**2) @ w, 1e-300)
    a = np.maximum((centred * (y - y_mean)) @ w / spread, 0.0)
    c = y_mean - a * g_mean
    return c, a, y - c[:, None] - a[:, None] * g


def _scatter(rest: FloatArray, weights: FloatArray) -> FloatArray:
    k = len(weights)
    found: FloatArray = np.sqrt((rest**2) @ (weights / weights.sum()) * k / max(k - 3, 1))
    return found


def _leverage(g: FloatArray, g_end: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (m,) the variance of each shape's end that comes from fitting, over that of a reading."""
    w = weights / weights.sum()
    centred = g - (g @ w)[:, None]
    spread = np.maximum((centred**2) @ w, 1e-300)
    found: FloatArray = (1.0 + (g_end - g @ w) ** 2 / spread) / len(weights)
    return found
