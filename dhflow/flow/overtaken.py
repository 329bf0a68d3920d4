"""Which attempts others have overtaken: all that is known of those whose workers share no files.

An endpoint of Globus Compute that stops forgets what ran in it, and says nothing. It starts its tasks in the order of
their submission; so an attempt has begun at the latest when one that was submitted after it comes home.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Open:
    attempt: int
    order: int
    route: int | None
    overtaken_at: float | None = None


class Overtaken:
    """The open attempts of a search, with when each was overtaken.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[int, _Open] = {}
        self._n_submitted = 0

    def submitted(self, trial_id: int, attempt: int, future: Future[Any]) -> None:
        """Note an attempt; its future says by which of several executors it went, each with an order of its own."""
        self._n_submitted += 1
        # Parsl's futures make a task of every attribute that they do not have.
        self._open[trial_id] = _Open(attempt, self._n_submitted, vars(future).get("route"))

    def ended(self, trial_id: int, attempt: int) -> None:
        """Note that an attempt came home, or is given up."""
        found = self._open.get(trial_id)
        if found is None or found.attempt != attempt:
            return
        del self._open[trial_id]
        now = self._clock()
        for each in self._open.values():
            if each.overtaken_at is None and each.route == found.route and each.order < found.order:
                each.overtaken_at = now

    def overtaken_for_s(self, trial_id: int) -> float:
        """Return how long ago a trial's open attempt was overtaken; 0 if it was not."""
        found = self._open.get(trial_id)
        return 0.0 if found is None or found.overtaken_at is None else self._clock() - found.overtaken_at
