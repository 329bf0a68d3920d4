"""Reading a history, also while another process writes to it: the HDF5 file and the journal's tail.

Readers take no lock. When the file is replaced, or the journal folded and removed, in the middle of a
reading, the two parts may not belong together; then the reading begins anew.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dhflow.errors import HistoryCorruptError, HistoryError
from dhflow.history.disk import PathLike, history_error, real_path
from dhflow.history.event import AttemptEnded, Event, StudyHeader, StudyRecord, fold
from dhflow.history.journal import JournalScan, Place, journal_path, read_head, scan
from dhflow.history.monitor_event import CommandTaken, FindingMade
from dhflow.trial import Measurement

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import numpy.typing as npt

    from dhflow.history.monitor_tables import Detail
    from dhflow.history.table import Table
    from dhflow.monitor.record import Records

T = TypeVar("T")

# Each try loses only against one more checkpoint or close, and those are seconds apart.
_N_TRIES = 10


def exists(path: PathLike) -> bool:
    """Tell whether there is a history at `path`: the file, or the journal of one that was not closed."""
    path = real_path(path)
    return path.exists() or journal_path(path).exists()


def load_record(path: PathLike) -> StudyRecord:
    """Return all that is known of a study, up to what its writer acknowledged last.

    Parameters
    ----------
    path : path
        Of the HDF5 file; its journal is found beside it.

    Raises
    ------
    HistoryError
        If there is no history, or it cannot be read; ``errno`` says why.
    HistoryFormatError
        If it is no history, or a newer version wrote it.
    HistoryCorruptError
        If it is damaged; the message says how to recover.
    """
    return load_parts(real_path(path)).record()


def load_header(path: PathLike) -> StudyHeader:
    """Return what a study is, without its trials; raises as :func:`load_record`."""
    from dhflow.history.hdf5 import read_header

    parts = read_parts(real_path(path), read_header)
    header = parts.found or next((each for each in parts.events() if isinstance(each, StudyHeader)), None)
    if header is None:
        raise HistoryCorruptError(f"{path} does not say what study it is of")
    return header


def read_measurements(path: PathLike, trial_id: int | None = None) -> npt.NDArray[np.void]:
    """Return learning curves, in the order in which they came in.

    Parameters
    ----------
    path : path
    trial_id : int, optional
        Only of this trial.

    Returns
    -------
    (n,)
        Fields ``trial_id``, ``attempt`` and ``step`` (int64), ``time`` (UTC epoch seconds) and ``value``
        (float64), ``name`` (str objects).

    Raises
    ------
    HistoryError
        As :func:`load_record`.
    """
    from dhflow.history.hdf5 import read_table
    from dhflow.history.monitor_tables import detail_of
    from dhflow.history.table import extended

    parts = read_parts(real_path(path), lambda file: read_table(file, "measurements"))
    tail = detail_of(each for each in parts.events() if isinstance(each, AttemptEnded)).tables["measurements"]
    return _structured(tail if parts.found is None else extended(parts.found, tail), trial_id)


def read_records(path: PathLike, trial_id: int, attempt: int | None = None) -> Records:
    """Return what the monitor keeps of one attempt, by default of the last one of which it keeps anything.

    Raises
    ------
    HistoryError
        As :func:`load_record`.
    """
    from dhflow.history.monitor_tables import records_in

    return records_in(_read_detail(path), trial_id, attempt)


def read_findings(path: PathLike, trial_id: int | None = None) -> list[FindingMade]:
    """Return findings, in the order of their making; raises as :func:`load_record`."""
    from dhflow.history.monitor_tables import findings_in

    return findings_in(_read_detail(path).tables["findings"], trial_id)


def read_commands(path: PathLike) -> list[CommandTaken]:
    """Return the commands that were taken up, in their order; raises as :func:`load_record`."""
    from dhflow.history.monitor_tables import commands_in

    return commands_in(_read_detail(path).tables["commands"])


def _read_detail(path: PathLike) -> Detail:
    from dhflow.history.hdf5 import read_tables
    from dhflow.history.monitor_tables import KEPT, Detail, detail_of

    parts = read_parts(real_path(path), lambda file: read_tables(file, KEPT))
    tail = detail_of(parts.events())
    if parts.found is None:
        return tail
    return Detail(parts.found.tables, parts.found.array_values).extended(tail)


def read_curve(path: PathLike, trial_id: int) -> list[Measurement]:
    """Return the learning curve of a trial's last attempt that has one; raises as :func:`load_record`."""
    rows = read_measurements(path, trial_id)
    last = rows[rows["attempt"] == rows["attempt"].max()] if len(rows) else rows
    return [Measurement(*row) for row in last[["step", "time", "name", "value"]].tolist()]


def _structured(table: Table, trial_id: int | None) -> npt.NDArray[np.void]:
    import numpy as np

    from dhflow.history.column import Plain, Text
    from dhflow.history.monitor_tables import is_detail, read_metric_name

    plain = {name: column.values for name, column in table.items() if isinstance(column, Plain)}
    named = table["name"]
    if not isinstance(named, Text):
        raise HistoryCorruptError("the names in measurements are no text")
    texts = Text(np.arange(len(named.categories)), named.categories, named.is_json).to_list()
    is_wanted = np.array([*(not is_detail(each) for each in texts), False])[named.codes]
    if trial_id is not None:
        is_wanted &= plain["trial_id"] == trial_id
    fields: list[tuple[str, Any]] = [(name, plain[name].dtype if name in plain else object) for name in table]
    rows = np.empty(int(is_wanted.sum()), fields)
    for name, values in plain.items():
        rows[name] = values[is_wanted]
    rows["name"] = np.array([*map(read_metric_name, texts), None], object)[named.codes[is_wanted]]
    return rows


@dataclass(frozen=True, slots=True)
class Parts(Generic[T]):
    """What a reading found in the file, and what the journal says beyond it.

    Parameters
    ----------
    found : object, optional
        What was wanted of the file; None if there is no file.
    held : Place, optional
        Up to where the file holds the journal; None if there is no file.
    tail : JournalScan, optional
        None if there is no journal.
    """

    found: T | None
    held: Place | None
    tail: JournalScan | None

    def events(self) -> list[Event]:
        """Return what the journal says beyond the file."""
        return [] if self.tail is None else list(self.tail.events())


class RecordParts(Parts[StudyRecord]):
    """The parts of a whole record."""

    def record(self) -> StudyRecord:
        """Return the record; may be called once, since it takes the file's part on."""
        return fold(self.events(), StudyRecord() if self.found is None else self.found)


def load_parts(path: Path) -> RecordParts:
    """Read the whole record at `path`, and tell where it was found."""
    from dhflow.history.hdf5 import read_record

    parts = read_parts(path, read_record)
    return RecordParts(parts.found, parts.held, parts.tail)


def read_parts(path: Path, from_file: Callable[[h5py.File], T]) -> Parts[T]:
    """Read something from the file at `path`, and the journal's tail that belongs to it.

    Parameters
    ----------
    path : Path
    from_file : callable
        Takes what is wanted from the opened file.

    Raises
    ------
    HistoryError
        As :func:`load_record`.
    """
    for _ in range(_N_TRIES - 1):
        before = _identity(path)
        try:
            parts = _read_once(path, from_file)
        except HistoryError as error:
            # Over NFS a replaced file is stale for those who had it, and looks unchanged until it is opened anew.
            if _identity(path) == before and error.errno != errno.ESTALE:
                raise
            continue
        # Without a journal, the file must be the one that took it in.
        if parts.tail is not None or _identity(path) == before:
            return parts
    return _read_once(path, from_file)


def _read_once(path: Path, from_file: Callable[[h5py.File], T]) -> Parts[T]:
    try:
        found, held = _read_file(path, from_file)
        tail = _read_tail(path, held)
    except HistoryError:
        raise
    except OSError as error:
        raise history_error(error, "the history cannot be read", path) from error
    if held is None and tail is None:
        raise HistoryError(errno.ENOENT, "there is no history", str(path))
    return Parts(found, held, tail)


def _read_file(path: Path, from_file: Callable[[h5py.File], T]) -> tuple[T | None, Place | None]:
    from dhflow.history import hdf5

    try:
        with hdf5.opened(path) as file:
            return from_file(file), hdf5.read_place(file)
    except FileNotFoundError:  # before the first checkpoint
        return None, None


def _read_tail(path: Path, held: Place | None) -> JournalScan | None:
    journal = journal_path(path)
    try:
        head = read_head(journal)
        tail = scan(journal, head.tail_start(held, path))
    except FileNotFoundError:
        return None
    if tail.head != head:
        raise HistoryCorruptError(f"{journal} was replaced while it was being read")
    return tail


def _identity(path: Path) -> tuple[object, ...]:
    # Which file and which journal lie there; a journal that only grows stays the same.
    parts: list[object] = []
    for each in (path, journal_path(path)):
        try:
            status = each.stat()
        except OSError:
            parts.append(None)
            continue
        parts.append((status.st_ino, status.st_mtime_ns) if each is path else status.st_ino)
    return tuple(parts)
