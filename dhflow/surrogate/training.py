"""What a surrogate learns from: all told trials, and the part of them that it is fitted to.

Notation
--------
X : (n, p) features of the told trials, in the order in which they were told;
loss : (n,) minimised, NaN for a trial that failed;  m : at most `max_rows` of them are used.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import BoolArray, Float32Array, FloatArray, IntArray, as_matrix
from dhflow.surrogate.target import normal_scores

FailedAs = Literal["worst", "mean", "leave_out"]
FAILED_AS: tuple[FailedAs, ...] = get_args(FailedAs)

_FIRST_CAPACITY = 256


class TrainingSet:
    """Told trials, only ever appended to; every answer is a pure function of the first `n` of them.

    Parameters
    ----------
    n_features : int
        Columns of ``X``.
    max_rows : int
        Cap of :meth:`select`, at least 3.
    failed : {"worst", "mean", "leave_out"}
        Which target a failed trial gets: one rank worse than the worst completed one, the
        mean, or none. Targets are scores of ranks, so not even "worst" can distort the others.
    seed : int
        Draws the part that is kept at random.
    """

    def __init__(self, n_features: int, *, max_rows: int = 600, failed: FailedAs = "worst", seed: int = 0) -> None:
        if max_rows < 3:
            raise SurrogateError(f"max_rows is {max_rows}: it must be at least 3")
        if failed not in FAILED_AS:
            raise SurrogateError(f"failed is {failed!r}: it must be one of {', '.join(FAILED_AS)}")
        self.n_features = n_features
        self.max_rows = max_rows
        self.failed = failed
        self._n = self._n_completed = 0
        self._X: Float32Array = np.empty((_FIRST_CAPACITY, n_features), np.float32)
        self._loss: FloatArray = np.empty(_FIRST_CAPACITY)
        self._censored: BoolArray = np.empty(_FIRST_CAPACITY, np.bool_)
        # One number per row, the same however the rows arrive: the lowest ones make the random part.
        self._lottery: FloatArray = np.empty(_FIRST_CAPACITY)
        self._rng = np.random.default_rng(np.random.SeedSequence([seed, 0x10F]))

    def __len__(self) -> int:
        return self._n

    @property
    def X(self) -> Float32Array:  # noqa: N802
        """Features of all rows, (n, p)."""
        return self._X[: self._n]

    @property
    def loss(self) -> FloatArray:
        """Losses of all rows, (n,), NaN where the trial failed."""
        return self._loss[: self._n]

    @property
    def n_completed(self) -> int:
        """How many rows are neither failed nor censored."""
        return self._n_completed

    def append(self, X: npt.ArrayLike, loss: npt.ArrayLike, censored: npt.ArrayLike | None = None) -> None:
        """Add trials.

        Parameters
        ----------
        X : (k, p)
        loss : (k,)
            Minimised; NaN for a failed trial. With ``failed="leave_out"`` those are skipped.
        censored : (k,) of bool, optional
            True for a trial that was stopped early, whose loss belongs to a lower budget.

        Raises
        ------
        SurrogateError
            If shapes differ or a feature is not finite.
        """
        rows, losses = as_matrix("X", X, self.n_features), np.asarray(loss, dtype=np.float64)
        stopped = np.zeros(len(rows), np.bool_) if censored is None else np.asarray(censored, dtype=np.bool_)
        if losses.shape != (len(rows),) or stopped.shape != (len(rows),):
            raise SurrogateError(f"{len(rows)} rows need as many losses, got {losses.shape} and {stopped.shape}")
        if self.failed == "leave_out":
            keep = ~np.isnan(losses)
            rows, losses, stopped = rows[keep], losses[keep], stopped[keep]
        begin, self._n = self._n, self._n + len(rows)
        self._reserve(self._n)
        self._X[begin : self._n] = rows
        self._loss[begin : self._n] = losses
        self._censored[begin : self._n] = stopped
        self._lottery[begin : self._n] = self._rng.random(len(rows))
        self._n_completed += int(np.count_nonzero(~stopped & ~np.isnan(losses)))

    def _reserve(self, n: int) -> None:
        capacity = len(self._loss)
        if n > capacity:
            more = max(n, 2 * capacity) - capacity
            self._X = np.concatenate([self._X, np.empty((more, self.n_features), np.float32)])
            self._loss = np.concatenate([self._loss, np.empty(more)])
            self._censored = np.concatenate([self._censored, np.empty(more, np.bool_)])
            self._lottery = np.concatenate([self._lottery, np.empty(more)])

    def select(self, n: int) -> IntArray:
        """Return which of the first `n` rows train the model: all, or the best, the latest and some others.

        Returns
        -------
        (m,)
            Ascending indices, ``m = min(n, max_rows)``. Above the cap a third each are the best
            completed, the latest, and others drawn once for all, so that the choice
            changes by few rows from one tell to the next.
        """
        if not 0 <= n <= self._n:
            raise SurrogateError(f"select({n}): there are {self._n} rows")
        if n <= self.max_rows:
            return np.arange(n, dtype=np.intp)
        third = self.max_rows // 3
        chosen = np.zeros(n, np.bool_)
        # A stopped trial's loss is no result; NaN (failed) sorts last.
        loss = np.where(self._censored[:n], np.inf, self._loss[:n])
        chosen[np.argpartition(loss, third)[:third]] = True
        chosen[n - third :] = True
        rest = np.flatnonzero(~chosen)
        n_drawn = self.max_rows - (n - rest.size)
        drawn = np.argpartition(self._lottery[rest], n_drawn - 1)[:n_drawn]
        chosen[rest[drawn]] = True
        return np.flatnonzero(chosen)

    def targets(self, rows: IntArray) -> FloatArray:
        """Return the targets of the chosen `rows` (m,): normal scores of their losses among each other.

        Notes
        -----
        A censored trial counts as no better than the median of the completed ones: it was
        stopped because it looked bad, and its loss is that of a lower budget.
        """
        loss = self._known_losses(rows)
        failed = np.isnan(loss)
        targets = np.zeros(rows.size)
        if failed.all():
            return targets
        known = loss[~failed]
        if self.failed == "worst" and known.size < loss.size:
            # All failed ones together take the one rank beyond.
            scores = normal_scores(np.append(known, np.inf))
            targets[~failed], targets[failed] = scores[:-1], scores[-1]
        else:
            targets[~failed] = normal_scores(known)
        return targets

    def comparable_losses(self, rows: IntArray) -> FloatArray:
        """Return losses (m,) of the chosen `rows` without NaN: a failed trial counts as the worst, or as the mean.

        Notes
        -----
        Of a censored trial as in :meth:`targets`. Without any known loss all are 0.
        """
        loss = self._known_losses(rows)
        known = loss[~np.isnan(loss)]
        if not known.size:
            return np.zeros(rows.size)
        return np.where(np.isnan(loss), known.max() if self.failed == "worst" else known.mean(), loss)

    def _known_losses(self, rows: IntArray) -> FloatArray:
        loss = self._loss[rows]
        failed, censored = np.isnan(loss), self._censored[rows]
        completed = ~failed & ~censored
        if censored.any() and completed.any():
            loss[censored] = np.maximum(loss[censored], np.median(loss[completed]))
        return loss

    def best(self, rows: IntArray, k: int) -> IntArray:
        """Return up to `k` of the chosen `rows`, completed ones of the lowest losses, the best first."""
        loss = np.where(self._censored[rows], np.nan, self._loss[rows])
        order = np.argsort(loss, kind="stable")[: min(k, int(np.count_nonzero(~np.isnan(loss))))]
        return rows[order]
