"""A file of JSON lines with one writer, kept open between lines."""

from __future__ import annotations

import contextlib
import os


class LineFile:
    """Appends whole lines; one that a full disk tore spoils none after it.

    Readers see a line as soon as :meth:`append` has returned. On NFS, where a client sends what it has
    when the file is closed or half a minute later, other machines may see it that much later.

    Parameters
    ----------
    path : str
        Made when the first line is written.
    fd : int, optional
        The file, already open for appending; this object closes it.
    """

    def __init__(self, path: str, fd: int | None = None) -> None:
        self.path = path
        self._fd = fd
        self._is_torn = False

    def append(self, line: bytes) -> None:
        """Write one line, its newline included.

        Raises
        ------
        OSError
            If the file cannot be opened or the disk is full.
        """
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        left = b"\n" + line if self._is_torn else line
        self._is_torn = True
        while left:  # a nearly full disk takes a part, then says ENOSPC
            left = left[os.write(self._fd, left) :]
        self._is_torn = False

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
