"""A whole copy of a history, also while a search writes to it: one HDF5 file, without a journal."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dhflow.errors import HistoryError
from dhflow.history.disk import PathLike, history_error, real_path
from dhflow.history.journal import journal_path
from dhflow.history.store import History

# Each try loses only against one more checkpoint or close, and those are seconds apart.
_N_TRIES = 10

_Identity = tuple[int, int, int]


def copy_history(path: PathLike, destination: PathLike) -> Path:
    """Copy a history, up to what its writer acknowledged last, into one file.

    Parameters
    ----------
    path : path
        Of the HDF5 file; its journal is found beside it.
    destination : path
        A file there is replaced.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    HistoryError
        If there is no history, it cannot be read, or the copy cannot be written.
    """
    source, target = real_path(path), Path(destination)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as folder:
            copy = Path(folder, target.name)
            _copy_parts(source, copy)
            if journal_path(copy).exists():
                with History.open(copy, in_process=True):
                    pass  # to close it is to fold the journal in
            copy.replace(target)
    except OSError as error:
        if isinstance(error, HistoryError):
            raise
        raise history_error(error, f"{path} cannot be copied to {destination}", source) from error
    return target


def _copy_parts(source: Path, copy: Path) -> None:
    for _ in range(_N_TRIES):
        before = _identities(source)
        if before == (None, None):
            raise HistoryError(f"there is no history {source}")
        for each, there in ((source, copy), (journal_path(source), journal_path(copy))):
            there.unlink(missing_ok=True)
            if each.exists():
                shutil.copyfile(each, there)
        # A file that was replaced, or a journal folded, in between: the two copies may not belong together.
        if _identities(source) == before:
            return
    raise HistoryError(f"{source} changes faster than it can be copied")


def _identities(source: Path) -> tuple[_Identity | None, int | None]:
    """Return which file and which journal are there; the journal may grow, that is no other journal."""
    file = _stat(source)
    journal = _stat(journal_path(source))
    return file, None if journal is None else journal[0]


def _stat(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
