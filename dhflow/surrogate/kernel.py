r"""The Gaussian process' kernel: Matérn 5/2 with a length for each parameter, unordered values either equal or not.

Notation
--------
p : features;  n, k : points;  d : parameters;  precision : (d,) inverse squared lengths;
:math:`r^2 = \sum_j \mathrm{precision}_j \, \delta_j^2`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import BoolArray, FloatArray, IntArray

_ROOT_5 = np.sqrt(5.0)


@dataclass(frozen=True)
class FeatureKinds:
    """What the columns of a surrogate's features are.

    Parameters
    ----------
    categorical : (d,) of bool
        Columns of unordered values.
    activity : (d,) of int
        For each parameter the column that says whether it is active, or -1 if it always is. Those columns follow
        the parameters'.
    """

    categorical: BoolArray
    activity: IntArray

    @property
    def n_parameters(self) -> int:
        """How many parameters there are."""
        return len(self.categorical)


def plain_kinds(n: int) -> FeatureKinds:
    """Return the kinds of `n` ordered parameters that are always active."""
    return FeatureKinds(np.zeros(n, np.bool_), np.full(n, -1, np.intp))


def square_differences(A: npt.NDArray[np.floating], B: npt.NDArray[np.floating], kinds: FeatureKinds) -> FloatArray:
    r"""Return :math:`\delta_j^2` for all pairs, (d, n, k).

    Notes
    -----
    1 for unordered values that differ (Hamming's distance); of a parameter that is active in one of the two alone 1,
    and 0 where it is active in neither.
    """
    d = kinds.n_parameters
    squares = np.empty((d, len(A), len(B)))
    for j in range(d):
        a, b = A[:, j].astype(np.float64)[:, None], B[:, j].astype(np.float64)[None, :]
        squares[j] = a != b if kinds.categorical[j] else np.square(a - b)
        column = kinds.activity[j]
        if column >= 0:
            in_a, in_b = A[:, column][:, None] > 0.5, B[:, column][None, :] > 0.5
            squares[j] = np.where(in_a & in_b, squares[j], in_a != in_b)
    return squares


def matern(squares: FloatArray, precision: FloatArray) -> FloatArray:
    r"""Return :math:`(1 + \sqrt5 r + \tfrac53 r^2) e^{-\sqrt5 r}`, (n, k), for differences (d, n, k)."""
    square = np.tensordot(precision, squares, axes=1)
    root = _ROOT_5 * np.sqrt(square)
    value: FloatArray = (1.0 + root + (5.0 / 3.0) * square) * np.exp(-root)
    return value


def matern_slope(squares: FloatArray, precision: FloatArray) -> FloatArray:
    r"""Return the derivative of :func:`matern` by r squared, :math:`-\tfrac56 (1 + \sqrt5 r) e^{-\sqrt5 r}`, (n, k)."""
    root = _ROOT_5 * np.sqrt(np.tensordot(precision, squares, axes=1))
    slope: FloatArray = (-5.0 / 6.0) * (1.0 + root) * np.exp(-root)
    return slope
