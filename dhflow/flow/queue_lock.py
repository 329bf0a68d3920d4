"""Locks of a worker pool's queues that the kernel releases when their holder is killed.

A worker that waits for its next task holds the lock of the queue of tasks. That of :mod:`multiprocessing` would stay
taken if the worker were killed then, and no other worker could take a task any more.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from multiprocessing import queues
from types import TracebackType
from typing import Any

_POLL_S = 0.01


class QueueLock:
    """A lock between processes, not between threads: a lock of a file in memory, which each process opens anew.

    Raises
    ------
    OSError
        If this system has no such files, or does not let others open them.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("queue_lock")
        self._path = f"/proc/{os.getpid()}/fd/{self._fd}"
        os.close(os.open(self._path, os.O_RDWR))  # as the workers will

    def __getstate__(self) -> str:
        return self._path

    def __setstate__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 - called so
        """Take the lock, as that of :mod:`multiprocessing`; return whether it was to be had."""
        if block and timeout is None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            return True
        until = time.monotonic() + (timeout or 0.0 if block else 0.0)
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
                time.sleep(_POLL_S)
            else:
                return True

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def outlive_killed_workers() -> None:
    """Let the queues that this process makes from now on outlive whoever is killed at them, where the system can."""
    if sys.platform != "linux":
        return
    make = queues.Queue.__init__

    def making(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        try:
            locks = QueueLock(), QueueLock()
        except (OSError, AttributeError):  # an old kernel, a container without /proc
            return
        self._rlock, self._wlock = locks

    queues.Queue.__init__ = making  # type: ignore[method-assign]
