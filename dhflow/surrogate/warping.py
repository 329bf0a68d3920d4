r"""Warped inputs: each ordered parameter goes through a curve of its own before the kernel sees it.

Notation
--------
n : points;  p : features;  q : ordered parameters;  :math:`w(x) = 1 - (1 - x^a)^b`, the distribution function of
Kumaraswamy, of x in [0, 1];  shapes : (2, q) logarithms of a and b, 0 for a parameter that stays as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import FloatArray, IntArray

BOUNDS_SHAPE = (-2.0, 2.0)
_VARIANCE = 0.5
_EDGE = 1e-6
"""Places so near 0 and 1 are moved inwards: there the curve may be infinitely steep."""


def warp(X: npt.NDArray[np.floating], columns: IntArray, shapes: FloatArray) -> FloatArray:
    """Return X (n, p) with the features `columns` (q,) warped."""
    found = np.array(X, dtype=np.float64)
    if len(columns):
        a, b = np.exp(shapes)
        found[:, columns] = 1.0 - (1.0 - _inside(found[:, columns]) ** a) ** b
    return found


def warp_slopes(x: npt.NDArray[np.floating], shapes: FloatArray) -> FloatArray:
    """Return the derivatives (2, n, q) of warped places by the shapes, for places x (n, q)."""
    a, b = np.exp(shapes)
    x = _inside(np.asarray(x, dtype=np.float64))
    power = x**a
    rest = 1.0 - power
    by_a: FloatArray = a * b * rest ** (b - 1.0) * power * np.log(x)
    return np.stack([by_a, -b * rest**b * np.log(rest)])


def shape_penalty(shapes: FloatArray) -> tuple[float, FloatArray]:
    """Return the negative log prior of shapes (2, q), up to a constant, and its gradient.

    Notes
    -----
    Snoek, Swersky, Zemel and Adams 2014 (*Input warping for Bayesian optimization of non-stationary functions*, ICML,
    sec. 3.2): logarithms of a and b are normal around 0, with variance 0.5, so that a curve needs a reason.
    """
    return float(np.square(shapes).sum()) / (2 * _VARIANCE), shapes / _VARIANCE


def _inside(x: FloatArray) -> FloatArray:
    return np.clip(x, _EDGE, 1.0 - _EDGE)
