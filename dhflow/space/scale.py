"""The unit scale of one numeric parameter: u in [0, 1] is the prior's distribution function.

Notation
--------
u : position on the unit scale;  t : the value, or its natural logarithm when ``log``.

A uniform prior is a straight line from t to u. A normal prior is a piecewise straight one
(a histogram of some 500 bars), so that both directions are one table look-up and undo each
other to rounding.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

UNIFORM_SHARE = 0.01
"""Share of a normal prior that is uniform over the bounds: far tails stay within reach, and their
values stay apart on the unit scale (otherwise all beyond eight standard deviations would share one u)."""

MAX_CELLS = 2.0**48
"""Positions that a float's unit scale tells apart, at most: 2**-48 is 32 units in the last place of 1."""

# A round trip t -> u -> t errs by a few roundings of the largest |t|; cells are this many roundings wide, so that
# rounding to a cell always finds the one that a value came from.
_ROUNDINGS_PER_CELL = 32.0
_EPS = 2.0**-53


class Scale:
    """Both directions between values and the unit scale.

    Parameters
    ----------
    low, high : float
        Bounds of the value; ``low < high``, and ``low > 0`` with `log`.
    log : bool
    mean, std : float, optional
        Of the normal prior, of the natural logarithm of the value when `log`.
    """

    def __init__(
        self, low: float, high: float, *, log: bool, mean: float | None = None, std: float | None = None
    ) -> None:
        self.low, self.high, self.log = low, high, log
        self.start = math.log(low) if log else low
        self.stop = math.log(high) if log else high
        self.span = self.stop - self.start
        self.knots: tuple[FloatArray, FloatArray] | None = None
        if mean is not None and std is not None:
            self.knots = _normal_knots(self.start, self.stop, mean, std)

    def to_unit(self, values: FloatArray) -> FloatArray:
        """Return the unit positions of `values`."""
        t = np.log(values) if self.log else values
        if self.knots is None:
            return (t - self.start) / self.span
        return np.interp(t, *self.knots)

    def from_unit(self, units: FloatArray) -> FloatArray:
        """Return the values at `units`; rounding may leave the bounds by a unit in the last place."""
        t = self.start + units * self.span if self.knots is None else np.interp(units, self.knots[1], self.knots[0])
        return np.exp(t) if self.log else t

    @property
    def n_cells(self) -> float:
        """A power of two: into how many cells u may be rounded so that values find their own cell again."""
        slope = 1.0 / self.span
        if self.knots is not None:
            slope = float(np.max(np.diff(self.knots[1]) / np.diff(self.knots[0])))
        largest = max(abs(self.start), abs(self.stop), 1.0 if self.log else 0.0)
        told_apart = 1.0 / (_ROUNDINGS_PER_CELL * _EPS * max(largest * slope, 1.0))
        return float(2.0 ** math.floor(math.log2(min(told_apart, MAX_CELLS))))


def _normal_knots(start: float, stop: float, mean: float, std: float) -> tuple[FloatArray, FloatArray]:
    even = np.linspace(start, stop, 129)
    dense = mean + std * np.linspace(-6.0, 6.0, 385)
    t = np.unique(np.concatenate([even, dense[(dense > start) & (dense < stop)]]))
    # Bars need a width that rounding does not swallow; the bounds themselves stay.
    keep = np.concatenate([[True], np.diff(t) > 1e-12 * (stop - start)])
    t = t[keep]
    t[-1] = stop
    below = np.array([0.5 * math.erf((each - mean) / (std * math.sqrt(2.0))) for each in t])
    normal = (below - below[0]) / (below[-1] - below[0])
    u = (1.0 - UNIFORM_SHARE) * normal + UNIFORM_SHARE * (t - start) / (stop - start)
    u[-1] = 1.0
    return t, u
