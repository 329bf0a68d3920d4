"""Where a curve will end: parametric families, bounded least squares, and an interval.

Notation
--------
n : curves;  k : readings;  t : (k,) steps;  y : (n, k) losses;  w : (n, k) weights, each row's sum 1;
g : (m, k) one falling shape per row: a family at a rate.  y = c + a g with a >= 0: for each curve and shape the best c
and a, (n, m), are known in closed form, so nothing is iterated but weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dhflow.monitor.record import FloatArray

IntArray = npt.NDArray[np.intp]

POWER_RATES = tuple(float(each) for each in np.geomspace(0.05, 3.0, 14))
"""Exponents b of t**-b (Domhan et al. 2015 call this family pow3)."""
EXPONENTIAL_RATES = tuple(float(each) for each in np.geomspace(0.5, 30.0, 14))
"""Decays over the range of the curve so far, of exp(-b t / t_k)."""
MOST_READINGS = 60
"""Longer curves are thinned: a fit gains nothing from more."""
HUBER = 2.0
"""Residuals beyond so many scatters count less; two rounds of reweighting."""
DRIFT = 0.8
"""By what share of a curve's own scatter its end may wander off per square root of (steps ahead over steps so far),
besides what the fit is unsure of. With it the 80 % interval, from 10, 20 and 30 readings of some 50, holds the end of
90 to 97 % of the noisy curves of TaskSet and of 58 to 73 % of the smooth ones of the LCBench surrogate."""
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
    """

    means: FloatArray
    stds: FloatArray
    weights: FloatArray
    best: float

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
    t = steps[chosen] - float(steps[0]) + 1.0
    means, stds, weights = ends(t, losses[chosen][None], at - float(steps[0]) + 1.0)
    return Outlook(means[0], stds[0], weights[0], float(losses[keep].min()))


def ends(t: FloatArray, y: FloatArray, at: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return means, standard deviations and weights (n, m) of the ends of curves at step `at`, for each shape.

    Parameters
    ----------
    t : (k,)
        Steps, from 1.
    y : (n, k)
        Finite.
    at : float
        The last step if that is later.
    """
    k = len(t)
    end = max(at, float(t[-1]))
    g, g_end = _shapes(t, end)
    recent = 0.1 + np.linspace(0.0, 1.0, k)
    w = np.broadcast_to(recent / recent.sum(), y.shape)
    for _ in range(2):
        c, a, scatter = _fit(g, y, w)
        rows, best = np.arange(len(y)), scatter.argmin(axis=1)
        rest = np.abs(y - c[rows, best][:, None] - a[rows, best][:, None] * g[best])
        typical = np.median(rest, axis=1, keepdims=True) / 0.6745 + 1e-300
        w = recent / np.maximum(rest / (HUBER * typical), 1.0)
        w = w / w.sum(axis=1, keepdims=True)
    c, a, scatter = _fit(g, y, w)
    # A curve that was fitted exactly still has the digits of its readings.
    scatter = np.maximum(scatter, 1e-5 * np.maximum(np.abs(y).max(axis=1, keepdims=True), 1e-12))
    shares = np.exp(-k * np.log(scatter / scatter.min(axis=1, keepdims=True)))
    drift = DRIFT**2 * k * (end - float(t[-1])) / float(t[-1])
    stds = scatter * np.sqrt(1.0 + _leverage(g, g_end, w) + drift)
    return c + a * g_end, stds, shares / shares.sum(axis=1, keepdims=True)


def share_below(means: FloatArray, stds: FloatArray, weights: FloatArray, loss: FloatArray) -> FloatArray:
    """Return (n,) the probability of ending below `loss` (n,)."""
    z = (loss[:, None] - means) / stds
    # The logistic curve that is nearest to the normal one: within 0.01 of it, and cheap.
    found: FloatArray = (weights / (1.0 + np.exp(np.clip(-1.702 * z, -700, 700)))).sum(axis=1)
    return found


def _thinned(index: IntArray) -> IntArray:
    if len(index) <= MOST_READINGS:
        return index
    kept: IntArray = index[np.unique(np.linspace(0, len(index) - 1, MOST_READINGS).round().astype(np.intp))]
    return kept


def _shapes(t: FloatArray, end: float) -> tuple[FloatArray, FloatArray]:
    """Return the shapes (m, k) at the readings and (m,) at the end."""
    powers = np.array(POWER_RATES)[:, None]
    decays = np.array(EXPONENTIAL_RATES)[:, None] / t[-1]
    at = np.append(t, end)
    all_shapes = np.concatenate([at**-powers, np.exp(-decays * at)])
    return all_shapes[:, :-1], all_shapes[:, -1]


def _fit(g: FloatArray, y: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return c, a and the scatter of the readings, (n, m) each."""
    k = y.shape[1]
    y_mean = (w * y).sum(axis=1, keepdims=True)
    wy = w * (y - y_mean)
    g_mean = w @ g.T
    spread = np.maximum(w @ (g**2).T - g_mean**2, 1e-300)
    a = np.maximum((wy @ g.T) / spread, 0.0)
    # The residuals' variance from the moments: no (n, m, k) array.
    total = (wy * (y - y_mean)).sum(axis=1, keepdims=True)
    rest = np.maximum(total - 2 * a * (wy @ g.T) + a**2 * spread, 0.0)
    return y_mean - a * g_mean, a, np.sqrt(rest * k / max(k - 3, 1))


def _leverage(g: FloatArray, g_end: FloatArray, w: FloatArray) -> FloatArray:
    """Return (n, m) the variance of each end that comes from fitting, over that of a reading."""
    g_mean = w @ g.T
    spread = np.maximum(w @ (g**2).T - g_mean**2, 1e-300)
    found: FloatArray = (1.0 + (g_end - g_mean) ** 2 / spread) / w.shape[1]
    return found
