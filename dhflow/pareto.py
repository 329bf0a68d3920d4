"""Pareto sets: which of several points are better than others in several objectives at once.

Notation
--------
n : points;  k : objectives;  losses : (n, k), each objective minimised;  p dominates q : p is nowhere worse than q,
and better in some objective.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]


def non_dominated(losses: npt.ArrayLike) -> BoolArray:
    """Tell which points no other one dominates.

    Parameters
    ----------
    losses : (n, k)
        Infinite ones are allowed.

    Returns
    -------
    (n,) of bool
        Of equal points all are in the set, or none.

    Raises
    ------
    SearchError
        If `losses` is no table, or holds NaN.

    Notes
    -----
    O(n m) for a set of m points, each compared with those left at once: 100,000 points take some tenths of a second.
    """
    table = _table(losses)
    # A point comes behind whatever dominates it: who is left when it is reached stays.
    left = np.lexsort(table.T[::-1])
    rows = table[left]
    at = 0
    while at < len(rows):
        point = rows[at]
        stays = (rows < point).any(axis=1) | (rows == point).all(axis=1)
        at = int(np.count_nonzero(stays[:at])) + 1
        rows, left = rows[stays], left[stays]
    found = np.zeros(len(table), dtype=np.bool_)
    found[left] = True
    return found


def domination_ranks(losses: npt.ArrayLike) -> IntArray:
    """Return the number of each point's front: 0 for the Pareto set, 1 for that of the rest without it, and so on.

    Parameters
    ----------
    losses : (n, k)
        Infinite ones are allowed.

    Returns
    -------
    (n,) of int

    Raises
    ------
    SearchError
        If `losses` is no table, or holds NaN.

    Notes
    -----
    The fast non-dominated sort of Deb et al. 2002 (*A fast and elitist multiobjective genetic algorithm: NSGA-II*,
    IEEE Trans. Evol. Comput. 6(2), sec. III-A): O(k n²) time. Departs from it: who dominates whom is kept as a
    matrix of n² truth values in place of lists. Some 20 ms for 2,000 points; for the first front alone,
    :func:`non_dominated` is faster and needs no matrix.
    """
    table = _table(losses)
    dominates = _domination(table)
    n_above = np.count_nonzero(dominates, axis=0)
    ranks = np.zeros(len(table), dtype=np.intp)
    front = np.flatnonzero(n_above == 0)
    rank = 0
    while front.size:
        ranks[front] = rank
        # Taken, not to be found again: no count falls below zero by itself.
        n_above[front] = -1
        n_above -= np.count_nonzero(dominates[front], axis=0)
        front = np.flatnonzero(n_above == 0)
        rank += 1
    return ranks


def crowding_distances(losses: npt.ArrayLike) -> FloatArray:
    """Return how far apart each point of one front lies from its neighbours.

    Parameters
    ----------
    losses : (n, k)
        Of points that do not dominate each other, finite.

    Returns
    -------
    (n,)
        The sum over the objectives of the distance between the next lower and the next higher point, as a share of
        the objective's range; infinite for the lowest and the highest. An objective in which all are equal adds
        nothing.

    Raises
    ------
    SearchError
        If `losses` is no table, or holds a number that is not finite.

    Notes
    -----
    Deb et al. 2002, sec. III-B. Of equal points the first and the last count as neighbours of the others: a third
    equal one has a distance of 0.
    """
    table = _table(losses)
    if not np.isfinite(table).all():
        raise SearchError("crowding distances need finite losses")
    distances = np.zeros(len(table))
    for column in table.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        if not len(ordered) or ordered[0] == ordered[-1]:
            continue
        # Halved, so that the range of huge losses does not overflow.
        halves = 0.5 * ordered
        distances[order[1:-1]] += (halves[2:] - halves[:-2]) / (halves[-1] - halves[0])
        distances[order[[0, -1]]] = np.inf
    return distances


def hypervolume(losses: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the volume that the points dominate, up to a reference point.

    Parameters
    ----------
    losses : (n, k)
        Infinite ones add nothing.
    reference : (k,)
        The far corner, finite. A point that is not better than it in every objective adds nothing.

    Returns
    -------
    float
        In the product of the objectives' units; 0 without points. A larger one is better.

    Raises
    ------
    SearchError
        If the shapes do not fit, or a number is NaN or a loss endlessly low.

    Notes
    -----
    Exact: a sweep for k = 2; beyond, slicing by the last objective (While et al. 2006, *A faster algorithm for
    calculating hypervolume*, IEEE Trans. Evol. Comput. 10(1), which calls it HSO), down to that sweep. For a set of
    m points it takes O(m log m) with two objectives and O(m^(k-1) log m) with more: under 10 ms for 100 points in
    three objectives, some tenths of a second in four; not meant for more than five.
    """
    table = _table(losses)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != table.shape[1:] or not np.isfinite(corner).all():
        raise SearchError(f"the reference point must be {table.shape[1]} finite numbers, not {reference!r}")
    if np.isneginf(table).any():
        raise SearchError("a loss of minus infinity dominates no finite volume")
    inside = table[(table < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    return _volume(inside[non_dominated(inside)], corner)


def _table(losses: npt.ArrayLike) -> FloatArray:
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise SearchError(f"losses must be a table of points by objectives, not an array of shape {table.shape}")
    if np.isnan(table).any():
        raise SearchError("losses of a Pareto set must not be NaN")
    return table


def _domination(table: FloatArray) -> BoolArray:
    """Return (n, n): whether the point of the row dominates that of the column."""
    n, k = table.shape
    not_worse = np.ones((n, n), dtype=np.bool_)
    for column in range(k):
        not_worse &= table[:, None, column] <= table[None, :, column]
    dominates: BoolArray = not_worse & ~not_worse.T
    return dominates


def _volume(points: FloatArray, corner: FloatArray) -> float:
    """Return the volume of (m, k) points, all of them better than `corner` (k,)."""
    if len(corner) == 1:
        return float(corner[0] - points[:, 0].min())
    if len(corner) == 2:
        return _area(points, corner)
    points = points[np.argsort(points[:, -1], kind="stable")]
    ends = np.append(points[1:, -1], corner[-1])
    total = 0.0
    front = points[:0, :-1]
    for point, thickness in zip(points[:, :-1], ends - points[:, -1], strict=True):
        # Within a slice all points so far are there; dominated ones among them would only cost time.
        front = np.vstack([front[(front < point).any(axis=1)], point]) if _is_new(point, front) else front
        if thickness > 0.0:
            total += float(thickness) * _volume(front, corner[:-1])
    return total


def _is_new(point: FloatArray, front: FloatArray) -> bool:
    return not bool((front <= point).all(axis=1).any())


def _area(points: FloatArray, corner: FloatArray) -> float:
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    widths = np.diff(np.append(ordered[:, 0], corner[0]))
    heights = corner[1] - np.minimum.accumulate(ordered[:, 1])
    return float(widths @ heights)
