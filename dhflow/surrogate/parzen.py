"""Parzen estimators on the unit scale: a mixture of product kernels, one for each observed config, and of the prior.

Notation
--------
d : columns;  X : (k, d) codes of candidates;  C : (m, d) codes of the centres;  active : which columns each row has;
w : (m,) weights of the centres;  h : (d,) bandwidths;  cells : the values of a countable column, as intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dhflow.surrogate.array import BoolArray, FloatArray, IntArray

_MAX_CELLS = 32
"""An ordered column of more values is taken for a continuous one: kernels are wider than its cells then."""
_LEAST_BANDWIDTH = 0.03
"""Share of the range; a limit of this size is what Watanabe 2023 (arXiv:2304.11127) found effective."""
_TINY = 1e-300


class Columns:
    """What the columns of a space are, as far as kernels care.

    Parameters
    ----------
    n_values : (d,)
        How many values each column takes, inf for real numbers.
    is_categorical : (d,)
    edges : mapping, optional
        Column to the (cells + 1,) edges of its cells on the unit scale, where they are not evenly spaced.
    """

    def __init__(
        self, n_values: FloatArray, is_categorical: BoolArray, edges: Mapping[int, FloatArray] | None = None
    ) -> None:
        self.n_values = n_values
        self.is_categorical = is_categorical
        self._choices = np.where(is_categorical, n_values, 1.0)
        is_table = is_categorical | (n_values <= _MAX_CELLS)
        self.smooth: IntArray = np.flatnonzero(~is_table)
        self.edges = {
            int(j): (edges or {}).get(int(j), np.linspace(0.0, 1.0, int(n_values[j]) + 1))
            for j in np.flatnonzero(is_table & (n_values > 1))
        }

    def __len__(self) -> int:
        return len(self.n_values)

    def cells(self, X: FloatArray, column: int) -> IntArray:
        """Return (k,) which cell of a countable column each row lies in."""
        found: IntArray = np.searchsorted(self.edges[column][1:-1], X[:, column], side="right")
        return found

    def kernel(self, C: FloatArray, active: BoolArray, weights: FloatArray, *, factor: float) -> Kernel:
        r"""Return the kernel whose widths suit the centres C.

        Notes
        -----
        Ordered columns: Silverman (1986), sec. 3.4.1, :math:`h = f\, s\, n^{-1/5}`, in which s is the standard
        deviation of the centres that have the column and of the middle of the range, which counts as one more of
        them; never less than 3 % of the range and half a cell. Categorical ones: an Aitchison-Aitken kernel that
        narrows as the number of centres grows, :math:`b = (c - 1)/(n + c)` with c choices.
        """
        w = weights[:, None] * active
        n = w.sum(axis=0) + 1.0
        mean = (np.einsum("ij,ij->j", w, C) + 0.5) / n
        square = (np.einsum("ij,ij->j", w, C * C) + 0.25) / n
        spread = np.sqrt(np.maximum(square - mean * mean, 0.0))
        least = np.maximum(_LEAST_BANDWIDTH, 0.5 / self.n_values)
        leave = (self._choices - 1.0) / (n - 1.0 + self._choices)
        return Kernel(np.maximum(factor * spread * n**-0.2, least), leave)


@dataclass(frozen=True)
class Kernel:
    """Widths of a product kernel.

    Parameters
    ----------
    bandwidth : (d,)
        Standard deviation of the normal kernel of ordered columns, which is truncated to [0, 1].
    leave : (d,)
        Probability that the kernel of a categorical column leaves the centre's value, for any other alike.
    """

    bandwidth: FloatArray
    leave: FloatArray


class ParzenEstimator:
    r"""A density over configs, relative to the prior of the space.

    .. math:: p(x) = \frac{w_0 + \sum_i w_i \prod_j k_j(x_j \mid c_{ij})}{w_0 + \sum_i w_i}

    Parameters
    ----------
    columns : Columns
    C : (m, d)
        Centres.
    active : (m, d)
        Which columns the centres have.
    weights : (m,)
        Not negative.
    prior_weight : float
        Of the uniform component, positive; :math:`w_0` in the formula.
    factor : float
        Of Silverman's rule (:meth:`Columns.kernel`); 0.9 is his.

    Notes
    -----
    Bergstra et al. 2011, sec. 4, with kernels of all columns together as in Falkner et al. 2018 (BOHB). The
    product runs over the columns that the candidate has; where the centre lacks one, its factor is the prior. As
    parents decide which columns there are, this is a density over the whole tree of configs.
    """

    def __init__(
        self,
        columns: Columns,
        C: FloatArray,
        active: BoolArray,
        weights: FloatArray,
        *,
        prior_weight: float = 1.0,
        factor: float = 0.9,
    ) -> None:
        self.columns = columns
        self.C, self.active, self.weights = C, active, weights
        self.prior_weight = prior_weight
        self.kernel = columns.kernel(C, active, weights, factor=factor)
        self._tables = {j: self._table(j) for j in columns.edges}

    @property
    def total(self) -> float:
        """Sum of all weights, the prior's too."""
        return float(self.weights.sum() + self.prior_weight)

    def log_mass(self, X: FloatArray, active: BoolArray) -> FloatArray:
        """Return (k,) the logarithm of the numerator of the density of the rows of X, which have `active` columns."""
        base = np.full((len(X), 1), np.log(self.prior_weight))
        with np.errstate(divide="ignore"):
            logs = self.log_kernels(X, active, self.C, self.active) + np.log(self.weights)
        logs = np.concatenate([logs, base], axis=1)
        top = logs.max(axis=1)
        mass: FloatArray = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
        return mass

    def log_kernels(self, X: FloatArray, active: BoolArray, C: FloatArray, C_active: BoolArray) -> FloatArray:
        """Return (k, m) the logarithm of the kernel around each row of C at each row of X, relative to the prior."""
        logs = self._log_smooth(X, active, C, C_active)
        for j, table in self._tables.items():
            part = table[self.columns.cells(X, j)[:, None], self.columns.cells(C, j)]
            logs += np.where(active[:, j, None] & C_active[:, j], part, 0.0)
        return logs

    def _log_smooth(self, X: FloatArray, active: BoolArray, C: FloatArray, C_active: BoolArray) -> FloatArray:
        from scipy.special import ndtr

        smooth = self.columns.smooth
        h = self.kernel.bandwidth[smooth]
        x, c = X[:, smooth] / h, C[:, smooth] / h
        a, b = active[:, smooth].astype(np.float64), C_active[:, smooth].astype(np.float64)
        norm = -np.log(h * np.sqrt(2.0 * np.pi) * (ndtr(1.0 / h - c) - ndtr(-c)))
        # -(x - c)²/2 + norm, summed over the columns that both have, as one matrix product.
        logs: FloatArray = np.hstack([-0.5 * x * x * a, x * a, a]) @ np.hstack([b, c * b, (norm - 0.5 * c * c) * b]).T
        return logs

    def _table(self, j: int) -> FloatArray:
        """Return (cells, cells) the logarithm of the kernel: a row for each value, a column for each centre's value."""
        from scipy.special import ndtr

        edges = self.columns.edges[j]
        n = len(edges) - 1
        if self.columns.is_categorical[j]:
            leave = self.kernel.leave[j]
            table = np.full((n, n), leave / (n - 1))
            np.fill_diagonal(table, 1.0 - leave)
        else:
            below = ndtr((edges[:, None] - 0.5 * (edges[1:] + edges[:-1])) / self.kernel.bandwidth[j])
            table = (below[1:] - below[:-1]) / (below[-1] - below[0])
        log_table: FloatArray = np.log(np.maximum(table, _TINY) / np.diff(edges)[:, None])
        return log_table

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return (n, d) draws, not snapped; columns that a row turns out not to have are to be ignored."""
        from scipy.special import ndtr, ndtri

        u = rng.random((n, len(self.columns)))
        shares = np.cumsum(self.weights) / self.total
        component = np.searchsorted(shares, rng.random(n), side="right")
        stays = rng.random(u.shape) >= self.kernel.leave
        at = np.flatnonzero(component < len(self.C))
        c, has = self.C[component[at]], self.active[component[at]]
        low, high = ndtr(-c / self.kernel.bandwidth), ndtr((1.0 - c) / self.kernel.bandwidth)
        near = np.clip(c + self.kernel.bandwidth * ndtri(low + u[at] * (high - low)), 0.0, 1.0)
        choices = np.where(self.columns.is_categorical, self.columns.n_values, 1.0)
        others = (c + (1.0 + np.floor(u[at] * (choices - 1.0))) / choices) % 1.0
        near = np.where(self.columns.is_categorical, np.where(stays[at], c, others), near)
        u[at] = np.where(has, near, u[at])
        return u
