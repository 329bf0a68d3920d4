"""Random search: independent draws from the prior of the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.trial import Suggestion, Trial


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
    suggestion, whatever the history's length. A departure: no config is drawn twice.
    """

    name: ClassVar[str] = "random"

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)
        return suggest(self.space, X)
