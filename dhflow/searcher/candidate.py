"""Candidates for the next trial: random ones, neighbours of the best trials, and climbs uphill from the best of both.

Notation
--------
d : parameters;  X : (k, d) encoded configs, snapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dhflow.space import SearchSpace

FloatArray = npt.NDArray[np.float64]
Score = Callable[[FloatArray], FloatArray]

SMALLEST_STEP, LARGEST_STEP = 0.01, 0.3
"""Standard deviations of a numeric step on the unit scale, between which each neighbour draws its own."""
CHANGES = 1.5
"""Parameters that a neighbour changes on average, besides one that always is."""
RESAMPLED = 0.05
"""Share of changed numeric parameters that are drawn anew."""


class Candidates:
    """Draws candidates of one search space.

    Parameters
    ----------
    space : SearchSpace
    free : sequence of int, optional
        Columns in which neighbours may differ; all unless given.
    """

    def __init__(self, space: SearchSpace, free: Sequence[int] | None = None) -> None:
        self.space = space
        self._free = np.arange(len(space)) if free is None else np.array(free, dtype=np.intp)
        self._is_free = np.isin(np.arange(len(space)), self._free)
        self._is_categorical = space.is_categorical
        # A step of a grid parameter reaches the next value most times, however coarse the grid.
        self._least_step = 0.6 / space.n_values
        self._restricted = bool(space.forbidden or space.constraints)

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return `n` random allowed rows."""
        return self.space.sample_encoded(n, rng)

    def neighbours(self, X: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` allowed rows near those of X (k, d), which take turns.

        Notes
        -----
        A neighbour differs in one random parameter or a few: numeric ones make a normal step, cut
        at the bounds, whose size is log-uniform so that near and far are both looked at;
        categorical ones are drawn anew. What a change brings to life starts anywhere.
        """
        origin = X[np.arange(n) % len(X)]
        d = origin.shape[1]
        changed = self._is_free & (rng.random((n, d)) < CHANGES / len(self._free))
        changed[np.arange(n), self._free[rng.integers(0, len(self._free), n)]] = True
        size = np.exp(rng.uniform(np.log(SMALLEST_STEP), np.log(LARGEST_STEP), (n, 1)))
        # Snapping cuts what lies outside: the bounds themselves are often best, and must be reached.
        moved = origin + rng.standard_normal((n, d)) * np.maximum(size, self._least_step)
        anew = self._is_categorical | (rng.random((n, d)) < RESAMPLED)
        anywhere = rng.random((n, d))
        found = np.where(changed, np.where(anew, anywhere, moved), origin)
        found = self.space.snap(np.where(self.space.active(origin), found, anywhere))
        return found[self.space.allowed(found)] if self._restricted else found


class PinnedCandidates(Candidates):
    """Draws candidates that agree with one config in some of the parameters.

    Parameters
    ----------
    space : SearchSpace
    pinned : sequence of int
        Columns of those parameters; there must be others.
    """

    def __init__(self, space: SearchSpace, pinned: Sequence[int]) -> None:
        self._pinned = np.isin(np.arange(len(space)), np.array(pinned, dtype=np.intp))
        super().__init__(space, np.flatnonzero(~self._pinned).tolist())
        self._row = np.empty(0)

    def pin(self, row: FloatArray) -> None:
        """Take the values of (d,) for what is drawn from now on."""
        self._row = row

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` random allowed rows that have the pinned values."""
        found = self._with_values(super().sample(n, rng))
        return found[self.space.allowed(found)] if self._restricted else found

    def neighbours(self, X: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` allowed rows that have the pinned values and else are near those of X (k, d)."""
        return super().neighbours(self._with_values(X), n, rng)

    def _with_values(self, X: FloatArray) -> FloatArray:
        return self.space.snap(np.where(self._pinned, self._row, X))
