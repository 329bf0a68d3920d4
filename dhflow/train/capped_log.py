"""A log file of bounded size that keeps its head and its tail, whoever writes to it."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from dhflow.errors import TrialLostError
from dhflow.train.attempt_directory import make_room
from dhflow.train.spare_file import SpareFile, open_append

_MARKER_BYTES = 100
"""Room for the line that says how much was dropped."""

_LEAST_LIMIT_BYTES = 1_000

_SLACK = 2
"""A file is cut when it is this many times its limit: one cut copies half the limit, so it must pay."""

_CATCH_UPS = 3
"""How often a cut looks again for what others have written meanwhile, before it drops that with the rest."""

_SLOW_LOOK_S = 0.1
_FAST_LOOK_S = 0.005
"""How often a growing file is looked at: a shell's ``yes`` writes some gigabytes a second."""

_IDLE_END_S = 5.0
"""A watching thread that has had nothing to watch for so long ends."""


class CappedLog:
    """An append-only file that is cut in the middle when it has grown past its limit.

    What goes through :meth:`write` is never lost between head and tail. Other writers (C libraries,
    subprocesses) share the file's descriptor; a line that they write in the very moment of a cut may be.
    The file is at its path from the first byte on, or from the next :meth:`look` after other writers' first.

    Parameters
    ----------
    path : str
        Made when there is something to write; one that is there is put aside.
    limit_bytes : int
        At most so much is left when the log is closed; at least 1,000.
    spare : SpareFile, optional
        Becomes the file. Needed if others write through :attr:`fd`, and may not write at all.
    """

    def __init__(self, path: str, limit_bytes: int, spare: SpareFile | None = None) -> None:
        self.path = path
        self._spare = spare
        self._fd: int | None = None
        self._is_in_place = False
        limit = max(limit_bytes, _LEAST_LIMIT_BYTES)
        self._limit = limit
        self._head = limit // 2
        self._tail = limit - self._head - _MARKER_BYTES
        self._marker = 0
        self._dropped = 0
        self._unchecked = 0
        self._is_open = True
        # Re-entrant: a signal handler of the objective may print in the middle of a print.
        self._lock = threading.RLock()

    @property
    def fd(self) -> int:
        """The open file.

        Raises
        ------
        TrialLostError
            If it cannot be opened.
        """
        with self._lock:
            if self._fd is None:
                self._open()
            return self._fd  # type: ignore[return-value]

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`, cutting the file now and then.

        Raises
        ------
        TrialLostError
            If the file cannot be put in place.
        OSError
            If the disk is full.
        """
        with self._lock:
            if not self._is_open:
                return
            fd = self.fd
            if not self._is_in_place:
                self._put_in_place()
            view = memoryview(data)
            while view:
                n_written = os.write(fd, view[: self._limit])
                view = view[n_written:]
                self._unchecked += n_written
                if self._unchecked > self._limit // 2:
                    self._unchecked = 0
                    self._cut_over(self._limit * _SLACK)

    def look(self) -> bool:
        """Cut the file if it has grown far over its limit; tell whether it had."""
        with self._lock:
            if not self._is_open or self._fd is None:
                return False
            with contextlib.suppress(TrialLostError):
                if not self._is_in_place and self._has_content():
                    self._put_in_place()
            return self._cut_over(self._limit * _SLACK)

    def close(self) -> None:
        """Cut the file to its limit and close it; a file in which nothing is goes away."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            if self._fd is None:
                return
            with contextlib.suppress(TrialLostError):  # the log is lost, and the trial is not
                if not self._is_in_place and self._has_content():
                    self._put_in_place()
            self._let_go(self._fd)

    def _open(self) -> None:
        try:
            if self._spare is None:
                make_room(self.path)
                self._fd = open_append(self.path)
                self._is_in_place = True
            else:
                self._fd = self._spare.take()
        except OSError as error:
            raise TrialLostError(f"the attempt's output cannot be kept: {error}") from error

    def _put_in_place(self) -> None:
        try:
            if self._spare is not None:
                self._spare.move_to(self.path)
        except OSError as error:
            raise TrialLostError(f"the attempt's directory cannot be written: {error}") from error
        self._is_in_place = True

    def _let_go(self, fd: int) -> None:
        if not self._is_in_place and self._spare is not None:
            self._spare.give_back()
            return
        with contextlib.suppress(OSError):
            if not self._has_content():
                os.unlink(self.path)  # noqa: PTH108
            else:
                self._cut_over(self._limit)
        os.close(fd)

    def _has_content(self) -> bool:
        return os.fstat(self._fd).st_size > 0  # type: ignore[arg-type]

    def _cut_over(self, allowed: int) -> bool:
        try:
            size = os.fstat(self.fd).st_size
            if size <= allowed:
                return False
            self._cut(self.fd, size)
        except OSError:  # a full disk: what was cut off is gone, the trial is not
            pass
        return True

    def _cut(self, fd: int, size: int) -> None:
        tail = _read(fd, self._tail, size - self._tail)
        for _ in range(_CATCH_UPS):
            now = os.fstat(fd).st_size
            if now == size:
                break
            size = now
            tail = _read(fd, self._tail, size - self._tail)
        self._dropped += size - self._head - self._marker - len(tail)
        marker = f"\n[… {self._dropped:,} bytes of output dropped here …]\n".encode()
        os.ftruncate(fd, self._head)
        self._marker = len(marker)
        view = memoryview(marker + tail)
        while view:
            view = view[os.write(fd, view) :]


def _read(fd: int, n_bytes: int, offset: int) -> bytes:
    parts = []
    while n_bytes > 0 and (part := os.pread(fd, n_bytes, offset)):
        parts.append(part)
        offset += len(part)
        n_bytes -= len(part)
    return b"".join(parts)


class LogWatcher:
    """One thread per process that keeps growing logs near their limit, started when there is one.

    It runs only while it gets the interpreter lock; output of a call that holds the lock is cut when
    the call has returned.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: set[CappedLog] = set()
        self._is_running = False

    def add(self, log: CappedLog) -> None:
        """Watch `log`."""
        with self._lock:
            self._logs.add(log)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._watch, name="dhflow-log-watcher", daemon=True).start()

    def remove(self, log: CappedLog) -> None:
        """Watch `log` no more."""
        with self._lock:
            self._logs.discard(log)

    def _watch(self) -> None:
        look_s, idle_since = _SLOW_LOOK_S, time.monotonic()
        while True:
            time.sleep(look_s)
            with self._lock:
                logs = list(self._logs)
                if logs:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _IDLE_END_S:
                    self._is_running = False
                    return
            has_grown = any([log.look() for log in logs])  # noqa: C419 - every log gets its look
            look_s = _FAST_LOOK_S if has_grown else _SLOW_LOOK_S
