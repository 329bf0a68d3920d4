"""Folding the journal into the HDF5 file, by replacing the file whole.

A driver has it done by a short-lived process of its own (:mod:`dhflow.history.helper`). By hand,
``python -m dhflow.history.checkpoint H.h5`` folds what a dead driver left behind.

The file says up to which byte of which journal it holds, so a reader adds the journal's tail and is right
at every instant, whichever of these steps have been done:

1. the new file is written aside, under a temporary name in the same folder, and synced;
2. it takes the old one's place (``rename``);
3. at close, the journal is removed.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dhflow.errors import DhflowError, HistoryError
from dhflow.history.disk import history_error, write_whole
from dhflow.history.event import StudyRecord, fold
from dhflow.history.journal import Place, journal_path, read_head, scan

if TYPE_CHECKING:
    from dhflow.history.table import Tables

_USAGE = "usage: python -m dhflow.history.checkpoint HISTORY.h5"


@dataclass(frozen=True, slots=True)
class CheckpointRequest:
    """What is to be folded.

    Parameters
    ----------
    path : str
        Of the history, absolute.
    journal_id : str
        Only this journal.
    stop : int
        Up to this byte: behind it may lie what was never acknowledged.
    remove : bool
        Remove the journal when all is in the file: at close.
    parent : int, optional
        Give up if this process is no longer the parent.
    asked_at : float, optional
        ``time.monotonic()`` of the asking; the duration counts from there, the start of a helper included.
    """

    path: str
    journal_id: str
    stop: int
    remove: bool = False
    parent: int | None = None
    asked_at: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """What a checkpoint did: how many events were new, how large the file is, how long it took."""

    n_events: int
    file_bytes: int
    duration_s: float


def fold_journal(request: CheckpointRequest) -> CheckpointReport:
    """Fold the journal into the file.

    Raises
    ------
    HistoryError
        If the journal is no longer in place, or (with ``errno``) the file cannot be written; the old file
        and the journal are then as they were.
    """
    began = time.monotonic() if request.asked_at is None else request.asked_at
    path = Path(request.path)
    journal = journal_path(path)
    with _in_place(journal):
        n_events = _fold(path, journal, request)
        if request.remove:
            journal.unlink()
    return CheckpointReport(n_events, path.stat().st_size, time.monotonic() - began)


@contextmanager
def _in_place(journal: Path) -> Iterator[None]:
    # A helper that has outlived its driver may still be at work when the next driver's begins. This lock
    # keeps them apart, and whoever gets it after the journal was removed finds out.
    try:
        fd = os.open(journal, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise history_error(error, f"{journal} cannot be opened", journal) from error
    try:
        with suppress(OSError):  # no locks on this file system: then there is only the check of the parent
            fcntl.flock(fd, fcntl.LOCK_EX)
        if not (journal.exists() and os.path.samestat(os.fstat(fd), journal.stat())):
            raise HistoryError(f"{journal} has been folded by another process")
        # What the file holds must not be missing from the journal after the loss of a node.
        os.fsync(fd)
        yield
    finally:
        os.close(fd)


def _fold(path: Path, journal: Path, request: CheckpointRequest) -> int:
    from dhflow.history import hdf5, table
    from dhflow.history.monitor_tables import KEPT, Detail, detail_of

    head = read_head(journal)
    if head.journal_id != request.journal_id:
        raise HistoryError(f"{journal} is another journal than the one to fold")
    old, held = _read(path)
    tail = scan(journal, head.tail_start(held, path), request.stop)
    place = Place(head.journal_id, tail.end)
    if place == held:
        return 0
    events = list(tail.events())
    record = fold(events, StudyRecord() if old is None else table.to_record(old))
    detail = detail_of(events)
    if old is not None:
        detail = Detail({name: old.tables[name] for name in KEPT}, old.array_values).extended(detail)
    data = hdf5.to_bytes(table.from_record(record, detail.tables, detail.array_values), place)
    if request.parent is not None and os.getppid() != request.parent:
        raise HistoryError("the process that asked for a checkpoint is gone: the next one will do it")
    try:
        write_whole(path, data)
    except OSError as error:
        raise history_error(error, f"{path} cannot be written anew", path) from error
    return len(events)


def _read(path: Path) -> tuple[Tables | None, Place | None]:
    from dhflow.history import hdf5

    if not path.exists():
        return None, None
    with hdf5.opened(path) as file:
        return hdf5.read_tables(file), hdf5.read_place(file)


def main(arguments: Sequence[str]) -> int:
    """Do what a driver asks for in JSON, or fold a history by hand; return the exit status."""
    if len(arguments) != 1 or arguments[0] in {"-h", "--help"}:
        print(_USAGE, file=sys.stderr)  # noqa: T201
        return 2
    try:
        if arguments[0].startswith("{"):
            gc.disable()  # a short life with many small objects: the collector would take half of it
            print(json.dumps(asdict(fold_journal(CheckpointRequest(**json.loads(arguments[0]))))))  # noqa: T201
        else:
            from dhflow.history.store import History

            with History.open(Path(arguments[0]), in_process=True):
                pass
    except (DhflowError, OSError) as error:
        print(json.dumps({"error": str(error)}))  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
