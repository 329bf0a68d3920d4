"""Space-filling designs: Latin hypercube, Sobol and Halton, without an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.point import Halton, LatinHypercube, PointSequence, Sobol
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]

_LOOK_AHEAD = 64
_MAX_REJECTED = 1_024


class PointDesign:
    """Turns a point sequence into configs, skipping forbidden ones.

    Parameters
    ----------
    space : SearchSpace
    points : PointSequence
        With a dimension for each parameter of `space`.

    Notes
    -----
    The place in the sequence is kept in the trials themselves: ``meta["point"]`` is the last
    point that had been used when the trial was suggested. So a search that is resumed from its
    record goes on where it stood.
    """

    def __init__(self, space: SearchSpace, points: PointSequence) -> None:
        self.space = space
        self.points = points
        self.next_point = 0

    @property
    def meta(self) -> dict[str, int]:
        """What a suggestion that was drawn just now carries."""
        return {"point": self.next_point - 1}

    def see(self, trials: Sequence[Trial]) -> None:
        """Go past the points that `trials` have used."""
        used = max((int(each.meta.get("point", -1)) for each in trials), default=-1)
        self.next_point = max(self.next_point, used + 1)

    def draw(self, n: int) -> FloatArray:
        """Return the rows (k, d) of the next `n` allowed points; fewer if too many in a row are forbidden."""
        found: list[FloatArray] = []
        rejected = 0
        while len(found) < n and rejected < _MAX_REJECTED:
            begin = self.next_point
            X = self.space.snap(self.points.points(begin, max(n - len(found), _LOOK_AHEAD)))
            chosen = np.flatnonzero(self.space.allowed(X))[: n - len(found)]
            found.extend(X[chosen])
            self.next_point = begin + (int(chosen[-1]) + 1 if len(found) == n else len(X))
            rejected += len(X) - chosen.size
        return np.array(found).reshape(-1, len(self.space))


class QuasiRandomSearch(DistinctSearcher):
    """Base of the searchers that walk along a point sequence.

    Parameters
    ----------
    space : SearchSpace
    points : PointSequence
    seed : int
    """

    def __init__(self, space: SearchSpace, points: PointSequence, *, seed: int) -> None:
        super().__init__(space, seed=seed)
        self._design = PointDesign(space, points)

    def state(self) -> dict[str, Any]:
        """Return the base's snapshot and the place in the sequence."""
        return {**super().state(), "next_point": self._design.next_point}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot of :meth:`state` back."""
        super().restore(state)
        self._design.next_point = int(state["next_point"])

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        self._design.see(trials)

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        self._design.see(pending)
        X = self._untried(n, taken, self._design.draw, rng)
        return suggest(self.space, X, self._design.meta)


class LatinHypercubeSearch(QuasiRandomSearch):
    """Latin hypercubes, one after the other: every parameter is spread evenly (McKay et al. 1979).

    Parameters
    ----------
    space : SearchSpace
    seed : int
    block_size : int
        Points of one hypercube. Best is the number of trials, if it is known.

    Notes
    -----
    Use it for a first look at a space with few trials, and for the main effects of single
    parameters. Cost: that of random search. Departures from the paper: it does not end after
    one hypercube, forbidden configs are skipped and none comes twice.
    """

    name: ClassVar[str] = "lhs"

    def __init__(self, space: SearchSpace, *, seed: int = 0, block_size: int = 32) -> None:
        super().__init__(space, LatinHypercube(len(space), seed=seed, block_size=block_size), seed=seed)


class SobolSearch(QuasiRandomSearch):
    """A scrambled Sobol sequence: low discrepancy in all parameters together (Sobol 1967).

    Parameters
    ----------
    space : SearchSpace
    seed : int

    Notes
    -----
    Like random search, and at any number of trials more even; the gain is clear up to some
    ten parameters. Cost: that of random search. Use it for a first look, of any number of trials. Departures:
    forbidden configs are skipped and none comes twice, which dents the balance of the sequence.
    """

    name: ClassVar[str] = "sobol"

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        super().__init__(space, Sobol(len(space), seed=seed), seed=seed)


class HaltonSearch(QuasiRandomSearch):
    """A scrambled Halton sequence: low discrepancy at any number of trials (Halton 1960).

    Parameters
    ----------
    space : SearchSpace
    seed : int

    Notes
    -----
    Like ``sobol``, which is more even at powers of two; Halton has no preferred numbers of trials. Beyond some
    twenty parameters its coordinates need many trials to become even together. Cost: that of random
    search. Use it for a first look at few parameters, where the number of trials is not known. Departures: digits are
    permuted at random (Owen 2017), forbidden configs are skipped and none comes twice.
    """

    name: ClassVar[str] = "halton"

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        super().__init__(space, Halton(len(space), seed=seed), seed=seed)
