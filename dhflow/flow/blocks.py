"""Blocks of workers as their scheduler has them: how many run, how many wait in its queue and since when."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_WAITING = frozenset({"PENDING", "HELD"})


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks at one moment.

    Parameters
    ----------
    n_waiting, n_running : int
    longest_wait_s : float
        Of those that wait now.
    n_slots : int
        Trials that the running ones hold at once.
    """

    n_waiting: int
    n_running: int
    longest_wait_s: float
    n_slots: int


class BlockWatch:
    """Watches the blocks of Parsl executors, as Parsl's own looks at the scheduler have left them.

    Parameters
    ----------
    executors : sequence
        Those without a queue (threads, processes of this machine) are left out.
    slots_per_block : sequence of int
        One for each executor.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, executors: Sequence[Any], slots_per_block: Sequence[int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = [
            (each, slots) for each, slots in zip(executors, slots_per_block, strict=True) if has_queue(each)
        ]
        self._clock = clock
        self._waits_since: dict[tuple[str, str], float] = {}

    def look(self) -> Blocks | None:
        """Return the blocks now, or None where nothing ever waits in a queue."""
        if not self._watched:
            return None
        now = self._clock()
        waiting: dict[tuple[str, str], float] = {}
        n_running = n_slots = 0
        for executor, slots in self._watched:
            # A copy: Parsl's thread adds blocks meanwhile.
            for block, status in dict(executor.status_facade).items():
                key = (executor.label, block)
                if status.state.name in _WAITING:
                    waiting[key] = self._waits_since.get(key, now)
                elif status.state.name == "RUNNING":
                    n_running, n_slots = n_running + 1, n_slots + slots
        self._waits_since = waiting
        return Blocks(len(waiting), n_running, now - min(waiting.values(), default=now), n_slots)


def has_queue(executor: Any) -> bool:
    """Tell whether an executor's blocks wait in the queue of a scheduler."""
    provider = getattr(executor, "provider", None)
    return provider is not None and provider.label != "local" and hasattr(executor, "status_facade")
