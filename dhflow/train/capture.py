"""Where a trial's output goes: into a capped ``output.log`` of its attempt.

In the main thread of a worker process, file descriptors 1 and 2 themselves are redirected, so the
output of C libraries and subprocesses is caught too. In a worker thread, which shares its process's
descriptors with its neighbours, ``sys.stdout`` and ``sys.stderr`` are replaced by streams that look
up whose thread is writing; output of other threads goes where it would have gone, also that of
threads which the objective starts. Both last only while trials run.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import threading
from types import TracebackType
from typing import Any, Protocol

from dhflow.errors import TrialLostError
from dhflow.train.capped_log import CappedLog, LogWatcher
from dhflow.train.spare_file import SpareFile


class Capture(Protocol):
    """A context manager that catches output."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ProcessCapture:
    """Redirect file descriptors 1 and 2 of this process; for its main thread.

    Parameters
    ----------
    path : str
        The log.
    limit_bytes : int
    spare : SpareFile, optional
        Becomes the log if anything is written.

    Raises
    ------
    TrialLostError
        On entering, if no file can be opened.
    """

    def __init__(self, path: str, limit_bytes: int, spare: SpareFile | None = None) -> None:
        self._log = CappedLog(path, limit_bytes, spare)

    def __enter__(self) -> None:
        fd = self._log.fd
        self._streams = (sys.stdout, sys.stderr)
        _flush(*self._streams)
        _flush_c()
        self._saved = (_dup(1), _dup(2))
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        self._outer = _set_log(self._log)
        sys.stdout, sys.stderr = _own_streams()
        _watcher().add(self._log)

    def __exit__(self, *_: object) -> None:
        _flush(sys.stdout, sys.stderr, *_own_streams(), *self._streams)
        _flush_c()
        _set_log(self._outer)
        sys.stdout, sys.stderr = self._streams
        for fd, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, fd)
            os.close(saved)
        _watcher().remove(self._log)
        self._log.close()


class ThreadCapture:
    """Route what this thread writes to ``sys.stdout`` and ``sys.stderr``.

    Parameters
    ----------
    path : str
        The log.
    limit_bytes : int
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._log = CappedLog(path, limit_bytes)

    def __enter__(self) -> None:
        _ROUTES.add(self._log)

    def __exit__(self, *_: object) -> None:
        _ROUTES.remove()
        self._log.close()


class _Routes:
    """Which thread's output goes into which log; the routed streams are in place while there is any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[int, list[CappedLog]] = {}
        self._n_logs = 0

    def add(self, log: CappedLog) -> None:
        with self._lock:
            # A list, since an objective may itself run a search whose trial runs in the same thread.
            self._logs.setdefault(threading.get_ident(), []).append(log)
            self._n_logs += 1
            if not isinstance(sys.stdout, _RoutedStream):
                sys.stdout = _RoutedStream(sys.stdout)
            if not isinstance(sys.stderr, _RoutedStream):
                sys.stderr = _RoutedStream(sys.stderr)

    def remove(self) -> None:
        with self._lock:
            thread = threading.get_ident()
            self._logs[thread].pop()
            if not self._logs[thread]:
                del self._logs[thread]
            self._n_logs -= 1
            if self._n_logs == 0:
                # Somebody may have wrapped a stream meanwhile; it then stays, and passes everything on.
                if isinstance(sys.stdout, _RoutedStream):
                    sys.stdout = sys.stdout.original
                if isinstance(sys.stderr, _RoutedStream):
                    sys.stderr = sys.stderr.original

    def log(self) -> CappedLog | None:
        logs = self._logs.get(threading.get_ident())
        return logs[-1] if logs else None


_ROUTES = _Routes()


class _RoutedStream(io.TextIOBase):
    """A text stream that writes into the log of the trial whose thread calls it, else to the original."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def write(self, text: str) -> int:
        log = _ROUTES.log()
        if log is None:
            return int(self.original.write(text))
        log.write(text.encode("utf-8", errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        if _ROUTES.log() is None:
            self.original.flush()

    def fileno(self) -> int:
        log = _ROUTES.log()
        return int(self.original.fileno()) if log is None else log.fd

    def isatty(self) -> bool:
        return _ROUTES.log() is None and bool(self.original.isatty())

    def writable(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        return self.original.buffer if _ROUTES.log() is None else _RoutedBytes()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(getattr(self.original, "encoding", None) or "utf-8")

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(self.original, "errors", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __del__(self) -> None:
        """Leave the original open: the base class would close it."""


class _RoutedBytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is in a routed thread."""

    def write(self, data: Any) -> int:
        log = _ROUTES.log()
        if log is not None:
            log.write(bytes(data))
        return len(data)

    def writable(self) -> bool:
        return True


@functools.lru_cache(maxsize=1)
def _watcher() -> LogWatcher:
    # A forked child has the watcher's state but not its thread.
    os.register_at_fork(after_in_child=_watcher.cache_clear)
    return LogWatcher()


class _DescriptorBytes(io.RawIOBase):
    """Standard output or error of a worker process, below its text stream.

    It writes through the running trial's log, so that no line of Python's is lost to a cut.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.log: CappedLog | None = None

    def write(self, data: Any) -> int:
        log = self.log
        if log is None:
            return os.write(self._fd, data)
        log.write(data)
        return len(data)

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True


@functools.lru_cache(maxsize=1)
def _own_bytes() -> tuple[_DescriptorBytes, _DescriptorBytes]:
    # A forked child writes past the log: another thread may have held its lock in the moment of the fork.
    os.register_at_fork(after_in_child=lambda: _set_log(None))
    return _DescriptorBytes(1), _DescriptorBytes(2)


@functools.lru_cache(maxsize=1)
def _own_streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    # Flushed at every line, so that a killed trial's last words are in the log; unbuffered below, so that
    # nothing lingers after a full disk; an encoding that never fails, whatever the worker's locale is.
    stdout, stderr = _own_bytes()
    return _text(stdout), _text(stderr)


def _text(raw: io.RawIOBase) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[arg-type]


def _set_log(log: CappedLog | None) -> CappedLog | None:
    stdout, stderr = _own_bytes()
    before = stdout.log
    stdout.log = stderr.log = log
    return before


def _dup(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError:  # a daemon's closed descriptor
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _flush(*streams: Any) -> None:
    for stream in {id(each): each for each in streams}.values():
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError, TrialLostError):
            continue


@functools.lru_cache(maxsize=1)
def _c_flush() -> Any:
    # Only C's stdout: flushing every stream would wait for one that another thread reads from.
    import ctypes  # costs more than all the rest of this module

    try:
        library = ctypes.CDLL(None)
        return functools.partial(library.fflush, ctypes.c_void_p.in_dll(library, "stdout"))
    except (OSError, ValueError, AttributeError):
        return lambda: None


def _flush_c() -> None:
    _c_flush()()
