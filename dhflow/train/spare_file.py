"""An empty file, open, that becomes a trial's when something is written to it."""

from __future__ import annotations

import contextlib
import os

from dhflow.train.attempt_directory import put_in_place


class SpareFile:
    """Waits beside a worker for the first trial that needs it; the next trial gets a new one.

    Most trials print nothing. Making and removing a file for each is a request to one busy server on the
    parallel file systems of clusters; this one is handed on until it is needed. For one trial at a time.

    Parameters
    ----------
    path : str
        Where it waits; nobody else's.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._is_used = False

    def take(self) -> int:
        """Return the open file, empty.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        if self._fd is None:
            self._fd = open_append(self._path)
        self._is_used = True
        return self._fd

    def move_to(self, path: str) -> None:
        """Give the file away: it moves to `path`, with what is in it, and whoever took it closes it.

        Raises
        ------
        OSError
            If it cannot be moved; it then stays.
        """
        put_in_place(self._path, path)
        self._fd = None
        self._is_used = False

    def give_back(self) -> None:
        """Take the file back, emptied of what could not be moved."""
        self._is_used = False
        with contextlib.suppress(OSError):
            if self._fd is not None and os.fstat(self._fd).st_size > 0:
                os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the file unless a trial has it."""
        if self._fd is not None and not self._is_used:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None


def open_append(path: str) -> int:
    """Open or make a file that every writer appends to.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
