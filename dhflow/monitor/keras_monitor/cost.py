"""What watching costs: a clock of its own, and leave to look only while that stays a small share of the training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FREE_S = 0.5
"""Watching may cost so much in any case: a run of ten seconds could not be looked at otherwise."""

SECOND_SHARE = 0.2
"""Of the first look's time, that the second is expected to take: TensorFlow prepares in the first."""

RESERVE = 0.8
"""Of the share that is allowed; the rest is for what no clock of ours sees, and for a look that takes longer."""


class Cost:
    """The time that watching takes, beside that of the training.

    Parameters
    ----------
    share : float
        Of the training time that watching may take.
    clock : callable, optional
        A clock that never jumps.
    """

    def __init__(self, share: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self.own_s = 0.0
        """Seconds spent on watching so far, without the first look."""
        self.first_s = 0.0
        """Seconds of the first look, in which TensorFlow prepares what later ones use again."""
        self._clock = clock
        self._began = clock()
        self._left_out_s = 0.0
        self._last: dict[str, float] = {}
        self._is_inside = False

    @property
    def training_s(self) -> float:
        """Seconds of training so far, without watching and without what was left out."""
        return max(self._clock() - self._began - self.own_s - self.first_s - self._left_out_s, 0.0)

    def leave_out(self, seconds: float) -> None:
        """Leave time out of the training's, such as that of the first step, in which TensorFlow traces."""
        self._left_out_s += seconds

    def allows(self, task: str) -> bool:
        """Tell whether a task may be done now, if it takes as long as the last time."""
        if math.isinf(self.share):
            return True
        allowed = max(RESERVE * self.share * self.training_s, FREE_S)
        return self.own_s + self._last.get(task, 0.0) <= allowed

    @contextmanager
    def of_first(self, task: str) -> Iterator[None]:
        """Count the time of the block as that of the first look."""
        began = self._clock()
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False
            took = self._clock() - began
            self._last[task] = SECOND_SHARE * took
            self.first_s += took

    @contextmanager
    def of(self, task: str) -> Iterator[None]:
        """Count the time of the block as watching; blocks may lie in each other."""
        if self._is_inside:
            yield
            return
        began = self._clock()
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False
            took = self._clock() - began
            self._last[task] = took
            self.own_s += took
