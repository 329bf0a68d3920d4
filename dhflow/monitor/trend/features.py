"""What a loss curve looks like so far, as numbers that do not depend on the loss's unit.

Notation
--------
n : curves;  k : readings of each so far;  y : (n, k) natural logarithm of the losses;  b : (n,) lowest y so far.
Differences of y are relative changes of the loss: -0.02 is two percent lower.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.monitor.trend.extrapolation import ends, share_below

FloatArray = npt.NDArray[np.float64]

WINDOWS = (3, 5, 8, 12)
"""Readings over which slopes and scatter are taken, besides the whole curve."""
RATES = (0.25, 0.5, 1.0, 2.0)
"""Exponents of the power laws that look ahead."""
_FINE = 0.01
"""Relative change at which a feature bends from linear to logarithmic: half of the 2 % that count as better."""
_BETTER, _WORSE = 0.02, 0.1
"""What counts as better and as worse, as differences of logarithms."""
_FLOOR, _CEILING = 1e-12, 1e30


def curve_features(judged: FloatArray, other: FloatArray, n_full: FloatArray) -> FloatArray:
    """Return the features of curves of equal length.

    Parameters
    ----------
    judged : (n, k)
        The loss that is judged (on validation data where there is one), finite and positive; k at least 4.
    other : (n, k)
        The training loss; the same as `judged` where there is none. What is not finite counts as very high.
    n_full : (n,)
        Readings at the full budget.

    Returns
    -------
    (n, d)
    """
    k = judged.shape[1]
    y, t = _log(judged), _log(other)
    share = k / np.maximum(n_full, k + 1)
    ahead = np.maximum(n_full - k, 1)
    columns = [share, np.full(len(y), np.log(k))]
    for curve in (y, (y + t) / 2):
        columns += [*_places(curve), *_windows(curve, ahead), *_moves(curve), *_outlook(curve, n_full)]
        columns += _ends(curve, n_full)
    columns += _gap(y, t)
    return np.column_stack(columns)


def _log(loss: FloatArray) -> FloatArray:
    logarithm: FloatArray = np.log(np.clip(np.where(np.isfinite(loss), loss, _CEILING), _FLOOR, _CEILING))
    return logarithm


def fine(change: FloatArray) -> FloatArray:
    """Return a relative change on a scale that is linear below one percent and logarithmic far above."""
    bent: FloatArray = np.arcsinh(change / _FINE)
    return bent


def _places(y: FloatArray) -> list[FloatArray]:
    """Where the curve stands between its first, its last and its lowest reading."""
    k = y.shape[1]
    b = y.min(axis=1)
    low = np.sort(y, axis=1)
    best = np.minimum.accumulate(y, axis=1)
    smooth = (y[:, :-2] + y[:, 1:-1] + y[:, 2:]) / 3
    lowest = smooth.min(axis=1)
    since = (k - 1 - y.argmin(axis=1)).astype(np.float64)
    recent = [fine(best[:, int(k * part)] - b) for part in (0.25, 0.5, 0.75, 0.9)]
    return [
        fine(y[:, -1] - b),
        fine(y[:, 0] - b),
        fine(y[:, -1] - y[:, 0]),
        since / k,
        np.log1p(since),
        fine(low[:, 1] - b),
        fine(low[:, min(3, k - 1)] - b),
        fine(lowest - b),
        fine(smooth[:, -1] - lowest),
        smooth.argmin(axis=1) / k,
        *recent,
    ]


def _windows(y: FloatArray, ahead: FloatArray) -> list[FloatArray]:
    """Slope, scatter and level of the last readings."""
    b = y.min(axis=1)
    columns: list[FloatArray] = []
    for width in (*WINDOWS, y.shape[1]):
        part = y[:, -min(width, y.shape[1]) :]
        slope, scatter, error = line(part)
        columns += [
            fine(slope),
            fine(slope * ahead),
            fine(scatter),
            np.arcsinh(slope / (error + 1e-6)),
            fine(part.mean(axis=1) - b),
        ]
    return columns


def line(part: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return each row's least-squares slope per reading, its scatter about the line, and the slope's error."""
    width = part.shape[1]
    at = np.arange(width) - (width - 1) / 2
    spread = (at**2).sum()
    slope = part @ at / spread
    rest = part - part.mean(axis=1, keepdims=True) - slope[:, None] * at
    scatter = np.sqrt((rest**2).sum(axis=1) / max(width - 2, 1))
    return slope, scatter, scatter / np.sqrt(spread)


def _moves(y: FloatArray) -> list[FloatArray]:
    """How much, how often and how far the loss moves between readings."""
    step = np.diff(y, axis=1)
    centred = step - step.mean(axis=1, keepdims=True)
    echo = (centred[:, 1:] * centred[:, :-1]).sum(axis=1) / ((centred**2).sum(axis=1) + 1e-12)
    h = y.shape[1] // 2
    return [
        fine(np.abs(step).mean(axis=1)),
        fine(np.median(np.abs(step), axis=1)),
        fine(np.abs(step[:, -5:]).mean(axis=1)),
        fine(step[:, -10:].max(axis=1)),
        (step < 0).mean(axis=1),
        (step[:, -8:] < 0).mean(axis=1),
        echo,
        fine(y[:, h:].mean(axis=1) - y[:, :h].mean(axis=1)),
    ]


def _outlook(y: FloatArray, n_full: FloatArray) -> list[FloatArray]:
    """Where power laws through the whole curve, and through its later part, would end."""
    k = y.shape[1]
    b = y.min(axis=1)
    columns = []
    for first in (0, k // 2):
        at = np.arange(first + 1, k + 1, dtype=np.float64)
        part = y[:, first:]
        ends, errors = [], []
        for rate in RATES:
            g = at**-rate
            g_mean = g.mean()
            a = np.maximum((part - part.mean(axis=1, keepdims=True)) @ (g - g_mean) / ((g - g_mean) ** 2).sum(), 0.0)
            c = part.mean(axis=1) - a * g_mean
            errors.append(((part - c[:, None] - a[:, None] * g) ** 2).mean(axis=1))
            ends.append(c + a * np.maximum(n_full, k + 1) ** -rate)
        pick = np.argmin(errors, axis=0)
        rows = np.arange(len(y))
        end, error = np.array(ends)[pick, rows], np.sqrt(np.array(errors)[pick, rows])
        columns += [fine(end - b), fine(error), np.arcsinh((end - b) / (error + 1e-4))]
    return columns


def _ends(y: FloatArray, n_full: FloatArray) -> list[FloatArray]:
    """Where the curve ends by the robust extrapolation; all rows have the first one's full length."""
    b = y.min(axis=1)
    means, stds, weights = ends(np.arange(1.0, y.shape[1] + 1), y, float(n_full[0]))
    p = share_below(means, stds, weights, b - _BETTER)
    return [
        fine((weights * means).sum(axis=1) - b),
        np.log((p + 1e-4) / (1 - p + 1e-4)),
        fine((weights * stds).sum(axis=1)),
        share_below(means, stds, weights, b + _WORSE),
    ]


def _gap(y: FloatArray, t: FloatArray) -> list[FloatArray]:
    """How the judged loss stands to the training loss."""
    gap = y - t
    slope, scatter, _ = line(gap[:, -min(10, gap.shape[1]) :])
    return [
        np.clip(gap[:, -1], -5, 5),
        fine(slope),
        fine(scatter),
        fine(t[:, -1] - t.min(axis=1)),
        (t.shape[1] - 1 - t.argmin(axis=1)) / t.shape[1],
    ]
