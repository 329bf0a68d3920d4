"""Files that most trials do not need, handed on from trial to trial while they are empty."""

from __future__ import annotations

import contextlib
import functools
import os


@functools.cache
def spare_file(kind: str) -> SpareFile:
    """Return this process's spare file of a kind."""
    # A forked child would share its parent's.
    os.register_at_fork(after_in_child=spare_file.cache_clear)
    return SpareFile()


class SpareFile:
    """An empty file that waits for the next trial: moving a file is far cheaper than making and removing one.

    It matters on the parallel file systems of clusters, where each is a request to one busy server. For use
    in the main thread of one process: :func:`spare_file`.
    """

    def __init__(self) -> None:
        self._kept: tuple[str, int] | None = None

    def keep(self, path: str, fd: int) -> None:
        """Take an open empty file over."""
        self._drop()
        self._kept = (path, fd)

    def move_to(self, path: str) -> int:
        """Return an open file at `path`: the spare one if there is one and nobody has replaced it.

        Raises
        ------
        OSError
            If there is none and it cannot be made.
        """
        if self._kept is not None and not os.path.exists(path):  # noqa: PTH110 - an earlier try's log stays
            old, fd = self._kept
            with contextlib.suppress(OSError):  # removed with its attempt's directory, or another file system
                ours, there = os.fstat(fd), os.stat(old)  # noqa: PTH116
                if (ours.st_ino, ours.st_dev, ours.st_size) == (there.st_ino, there.st_dev, 0):
                    os.rename(old, path)  # noqa: PTH104
                    self._kept = None
                    return fd
            self._drop()
        return open_append(path)

    def _drop(self) -> None:
        if self._kept is not None:
            with contextlib.suppress(OSError):
                os.close(self._kept[1])
            self._kept = None


def open_append(path: str) -> int:
    """Open or make a file that every writer appends to.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
