"""Random search: independent draws from the prior of the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.space import Float, SearchSpace
from dhflow.trial import Suggestion, Trial

_BLOCK = 64
_STREAM = 0x5A
"""Keeps the blocks' generators apart from those of the asks."""


class RandomSearch(DistinctSearcher):
    """Draw every config independently from the space's prior (Bergstra and Bengio 2012).

    Parameters
    ----------
    space : SearchSpace
    seed : int

    Notes
    -----
    The baseline of every comparison, and the right choice when trials are so short or workers
    so many that nothing is known yet when the next trial must start. Cost: one draw per
    suggestion, whatever the history's length. Use it to compare with. A departure: no config is drawn twice. In a space
    with a Float that is always active that needs no bookkeeping, and configs are drawn in blocks:
    the k-th suggestion is the k-th of one stream.
    """

    name: ClassVar[str] = "random"

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        super().__init__(space, seed=seed)
        self._is_endless = any(isinstance(each, Float) and each.when is None for each in space.parameters.values())
        self._block: tuple[int, list[dict[str, Any]]] = (-1, [])

    def _answer(self, n: int, pending: Sequence[Trial]) -> list[Suggestion]:
        if not self._is_endless:
            return super()._answer(n, pending)
        return [Suggestion(self._drawn(index)) for index in range(self._n_suggested, self._n_suggested + n)]

    def _fold(self, trials: Sequence[Trial]) -> None:
        if not self._is_endless:
            super()._fold(trials)

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)
        return suggest(self.space, X)

    def _drawn(self, index: int) -> dict[str, Any]:
        block, place = divmod(index, _BLOCK)
        if self._block[0] != block:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, _STREAM, block]))
            self._block = (block, self.space.sample(_BLOCK, rng))
        return self._block[1][place]
