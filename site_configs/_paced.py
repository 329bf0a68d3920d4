"""An SDK executor that sends few and full submissions, for the site globus.

The service takes 20 submissions in 10 seconds, of 10 MB each (its limits page); a search that refills one trial at
a time would send more. The SDK's own limiter makes whoever exceeds its burst wait for up to a second or more, however
many tasks wait with it. Here what is handed over within a moment goes as one submission, at once as long as that keeps
to the service's limit, and nothing waits for longer than it must.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from globus_compute_sdk import Executor

RATE_HZ = 1.5
BURST = 4
"""Submissions a second in the long run and at once: 19 in any 10 seconds. A stock that lasted longer would end in a
longer stop, with every worker idle. The SDK's limiter, with its bursts set to eight in a second, never acts."""

GATHER_S = 0.03
"""What a driver hands over for the results that came together is here by then."""

BATCH_BYTES = 7_000_000
"""Base64 makes four bytes of three."""


class PacedExecutor(Executor):  # type: ignore[misc]
    """The SDK's executor with a queue that keeps to the service's limits."""

    def _task_submitter_impl(self) -> None:
        # The SDK has no hook for it: its submitter takes from a queue all that is there, and this is the first
        # moment at which that queue can be another, before anything was put into it.
        first, self._tasks_to_send = self._tasks_to_send, PacedQueue(weigh=_weight)
        while not first.empty():
            self._tasks_to_send.put(first.get())
        super()._task_submitter_impl()


class PacedQueue(queue.Queue):  # type: ignore[type-arg]
    """A queue whose blocking ``get`` begins a submission and whose others add to it.

    Parameters
    ----------
    weigh : callable
        Bytes of an item.
    clock, sleep : callable
    """

    def __init__(
        self,
        *,
        weigh: Callable[[Any], int],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._weigh = weigh
        self._clock = clock
        self._sleep = sleep
        self._stock = float(BURST)
        self._stocked_at = clock()
        self._room = 0
        self._sender = 0

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as in Queue
        """Take an item; the first of a submission when it is time for one."""
        if not block:
            return self._take_more()
        with self.not_empty:
            while not self._qsize():
                self.not_empty.wait()
        self._sleep(max(GATHER_S, (1.0 - self._restocked()) / RATE_HZ))
        item = super().get(block, timeout)
        self._sender = threading.get_ident()
        self._stock = self._restocked() - 1.0
        self._room = BATCH_BYTES - self._weigh(item)
        return item

    def _take_more(self) -> Any:
        with self.mutex:
            # Whoever else takes without waiting is shutting down, and empties the queue.
            sends = threading.get_ident() == self._sender
            if not self.queue or (sends and self._weigh(self.queue[0]) > self._room):
                raise queue.Empty
            self._room -= self._weigh(self.queue[0])
            return self._get()

    def _restocked(self) -> float:
        """Return how many submissions may go at once."""
        now = self._clock()
        self._stock = min(BURST, self._stock + (now - self._stocked_at) * RATE_HZ)
        self._stocked_at = now
        return self._stock


def _weight(item: Any) -> int:
    """Return the bytes among the arguments of a task: dhflow's trials carry nothing else."""
    _, task = item
    if task is None:  # the end
        return 0
    return sum(len(each) for each in (*task.args, *task.kwargs.values()) if isinstance(each, bytes))
