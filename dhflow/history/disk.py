"""Files written so that they are there whole or not at all, and survive the loss of the node."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from dhflow.errors import HistoryError

PathLike = str | os.PathLike[str]


def real_path(path: PathLike) -> Path:
    """Return where the history at `path` really lies: behind a link, with its journal and its lock beside it."""
    return Path(path).resolve()


def write_file(path: Path, data: bytes | memoryview, mode: int | None = None) -> None:
    """Write a file, with the permissions `mode`, and have it put on the disk proper."""
    with path.open("wb", buffering=0) as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]
        os.fsync(file.fileno())


def replace_file(temporary: Path, path: Path) -> None:
    """Put `temporary` in the place of `path`, at once and for good."""
    temporary.replace(path)
    # Some file systems cannot sync a folder; the new name is then as durable as they make it.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_whole(path: Path, data: bytes | memoryview, history: Path | None = None) -> None:
    """Write `path` aside and then put it in place, so that nobody ever sees half of it.

    Parameters
    ----------
    path : Path
    data : bytes or memoryview
    history : Path, optional
        The history that it belongs to, whose next writer removes what a killed process left aside.

    Raises
    ------
    OSError
        If there is no room; then everything is as it was.
    """
    temporary = temporary_path(path, history)
    try:
        # Who was let in to the old file stays let in to the new one.
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        write_file(temporary, data, mode)
        replace_file(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path, history: Path | None = None) -> Path:
    """Return the name under which this process writes `path` aside."""
    owner = history or path
    suffix = path.name.removeprefix(owner.name).replace(".", "-")
    return owner.with_name(f"{owner.name}.tmp-{os.getpid()}{suffix}")


def remove_temporaries(history: Path, pid: int | None = None) -> None:
    """Remove what killed processes left aside, or what one of them left; only the history's writer may."""
    prefix = f"{history.name}.tmp-" + ("" if pid is None else str(pid))
    with suppress(OSError), os.scandir(history.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(OSError):
                    Path(entry.path).unlink(missing_ok=True)


def history_error(error: OSError, what: str, path: Path) -> HistoryError:
    """Return `error` as a :class:`~dhflow.errors.HistoryError` of the same ``errno``."""
    return HistoryError(error.errno, f"{what}: {error.strerror or error}", str(path))
