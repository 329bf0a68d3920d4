"""One writer per history: an exclusive ``flock`` on a file beside it, which says who holds it.

The kernel lets go of such a lock when its process dies, however it dies, so none is ever left behind;
what the file says is only for people. Readers take no lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dhflow.errors import HistoryLockedError
from dhflow.history.owner import is_alive, is_this_process, read_owner, this_process

logger = logging.getLogger(__name__)

_BUSY = frozenset({errno.EAGAIN, errno.EACCES})
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})


def lock_path(path: Path) -> Path:
    """Return where the lock of the history at `path` lies."""
    return path.with_name(path.name + ".lock")


class WriterLock:
    """The right to write to the history at `path`, from construction to :meth:`release`.

    Parameters
    ----------
    path : Path
        Of the history.

    Raises
    ------
    HistoryLockedError
        If another process, or another object in this one, holds it; the message says who.
    OSError
        If the lock's file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = lock_path(path)
        self._fd = _acquire(self.path, path)
        _held.add(self)
        try:
            _sign(self._fd)
        except OSError:
            # A full disk: the lock holds all the same, it only does not say whose it is.
            logger.warning("%s does not say who holds it: it could not be written", self.path)

    def release(self) -> None:
        """Let go; the file is removed."""
        if self._fd >= 0:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._forget()

    def _forget(self) -> None:
        _held.discard(self)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _acquire(lock: Path, history: Path) -> int:
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _flock(fd, lock, history)
            # The last holder may have removed the file between our open and our lock.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), lock.stat()):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _flock(fd: int, lock: Path, history: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = read_owner(lock)
        if error.errno in _BUSY:
            raise HistoryLockedError(
                f"{history} is being written to by {_describe(holder)}; wait until that has ended"
            ) from error
        if error.errno not in _UNSUPPORTED:
            raise
        if is_alive(holder):  # only a process of this host can be asked
            raise HistoryLockedError(
                f"{history} is being written to by {_describe(holder)} (as {lock} says: "
                "this file system has no locks; remove that file if it is out of date)"
            ) from error
        logger.warning(
            "%s: this file system has no locks, so nothing keeps two hosts from writing to it at once", history
        )


def _sign(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(this_process()).encode(), 0)


def _describe(holder: Mapping[str, Any]) -> str:
    if "pid" not in holder:
        return "another process"
    mine = " (this one)" if is_this_process(holder) else ""
    return f"process {holder['pid']} on {holder.get('host')}{mine}"


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    # A forked child (a process pool's worker) that outlives its parent must not keep the lock.
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_forget_in_child)
