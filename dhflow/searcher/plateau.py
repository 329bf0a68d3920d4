"""How flat an objective is where a search looks: how often its results are values that it has seen already."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

N_RECENT = 20
"""Results that are looked at: the latest ones."""


class Plateaus:
    """Counts results that repeat an earlier value exactly.

    Where many do, the objective does not change with small steps (a table, an accuracy on few samples, a
    parameter without effect), and to refine the best configs teaches nothing.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[float, ...]] = set()
        self._is_repeat: deque[bool] = deque(maxlen=N_RECENT)

    def tell(self, results: Iterable[tuple[float, ...]]) -> None:
        """Take the losses of completed trials, in their order."""
        for each in results:
            self._is_repeat.append(each in self._seen)
            self._seen.add(each)

    @property
    def share(self) -> float:
        """Of the latest results, those that were repeats, in [0, 1]."""
        return sum(self._is_repeat) / N_RECENT
