"""Statistics of paired runs: small pure functions.

Notation
--------
n : repeats;  k : searchers;  losses : (n, k) final losses, minimised, infinite for a run without a value.
Row i holds runs that share their seed, so everything here is paired by rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.target import mean_ranks

FloatArray = npt.NDArray[np.float64]

N_RESAMPLES = 10_000


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def paired_ranks(losses: npt.ArrayLike) -> FloatArray:
    """Return the ranks (n, k) of the searchers within each repeat, 1 the best; equal losses share their mean rank."""
    table = np.asarray(losses, dtype=np.float64)
    return np.array([mean_ranks(row) for row in table]).reshape(table.shape)


def wilcoxon_signed_rank(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test that paired `a` and `b` do not differ.

    Parameters
    ----------
    a, b : (n,)
        Infinities are allowed: a pair of two equal ones is a tie.

    Returns
    -------
    float
        1 where all pairs are equal.

    Notes
    -----
    Exact: all signs of the ranks that are there are enumerated (by counting sums), so ties need no
    approximation. Pairs without a difference are left out (Wilcoxon 1945).
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        differences = np.where(x == y, 0.0, x - y)
    differences = differences[differences != 0]
    if not differences.size:
        return 1.0
    # Twice the rank is whole, also where ranks are shared.
    doubled = np.rint(2 * mean_ranks(np.abs(differences))).astype(int)
    chance = np.zeros(doubled.sum() + 1)
    chance[0] = 1.0
    for rank in doubled:
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[: chance.size - rank]
        chance = (chance + shifted) / 2
    observed = int(doubled[differences > 0].sum())
    return float(min(1.0, 2 * min(chance[: observed + 1].sum(), chance[observed:].sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by the step-down method of Holm (1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return [float(each) for each in adjusted]


def bootstrap_ratio(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Interval:
    """Return mean(a) / mean(b) with the 95 % interval of a paired bootstrap.

    Parameters
    ----------
    a, b : (n,)
        Not negative and finite, paired.
    seed : int
    n_resamples : int

    Returns
    -------
    Interval
        NaN where both means are 0, infinite where that of `b` alone is.

    Notes
    -----
    Percentile interval (Efron and Tibshirani 1993, sec. 13.3): pairs are drawn with replacement.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    rng = np.random.default_rng(np.random.SeedSequence([seed, x.size]))
    drawn = rng.integers(0, x.size, (n_resamples, x.size))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = x[drawn].mean(axis=1) / y[drawn].mean(axis=1)
        value = float(x.mean() / y.mean())
    return _interval(value, ratios)


def bootstrap_log_ratio(
    differences: Sequence[npt.ArrayLike], *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Return the geometric mean over problems of a ratio, with the 95 % interval of a bootstrap over the repeats.

    Parameters
    ----------
    differences : sequence of (n_i,)
        For each problem the paired differences of logarithms. The problems are what they are; repeats are
        drawn with replacement within each.
    seed : int
    n_resamples : int

    Returns
    -------
    Interval
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(differences)]))
    means, resampled = [], np.zeros(n_resamples)
    for each in differences:
        d = np.asarray(each, dtype=np.float64)
        means.append(d.mean())
        resampled += d[rng.integers(0, d.size, (n_resamples, d.size))].mean(axis=1)
    return _interval(float(np.exp(np.mean(means))), np.exp(resampled / len(differences)))


def _interval(value: float, resampled: FloatArray) -> Interval:
    known = np.sort(resampled[~np.isnan(resampled)])
    if not known.size:
        return Interval(value, float("nan"), float("nan"))
    # By places, not between them: some of them may be infinite.
    low, high = (float(known[round(q * (known.size - 1))]) for q in (0.025, 0.975))
    return Interval(value, low, high)


def carried_forward(curves: Sequence[Sequence[float]]) -> FloatArray:
    """Return best-so-far curves of unequal lengths as a table (n, longest); a run that ended keeps its last value."""
    longest = max(map(len, curves), default=0)
    table = np.full((len(curves), longest), np.inf)
    for row, curve in zip(table, curves, strict=True):
        if curve:
            row[: len(curve)] = curve
            row[len(curve) :] = curve[-1]
    return table


def step_values(times: Sequence[float], values: Sequence[float], at: npt.ArrayLike) -> FloatArray:
    """Return a step function's values at the moments `at`: that of the latest of `times`, infinite before the first."""
    known = np.concatenate([[np.inf], np.asarray(values, dtype=np.float64)])
    return known[np.searchsorted(np.asarray(times, dtype=np.float64), np.asarray(at, dtype=np.float64), side="right")]


def quantile_band(table: FloatArray, shares: Sequence[float] = (0.25, 0.5, 0.75)) -> FloatArray:
    """Return quantiles (len(shares), m) over the rows of (n, m); NaN where a quantile lies among infinite entries."""
    ordered = np.sort(table, axis=0)
    band = []
    for share in shares:
        place = share * (len(ordered) - 1)
        below, weight = ordered[int(place)], place % 1
        with np.errstate(invalid="ignore"):
            # Without a weight the entry above has no say, infinite or not.
            band.append(below + weight * (ordered[int(place) + 1] - below) if weight else below)
    return np.where(np.isfinite(band), band, np.nan)


def cumulative_shares(values: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the finite `values` sorted, and for each the share of all values that are at most as large."""
    every = np.sort(np.asarray(values, dtype=np.float64))
    shares = np.searchsorted(every, every, side="right") / max(1, every.size)
    return every[np.isfinite(every)], shares[np.isfinite(every)]
