"""Making a damaged history usable again: what can be read stays, the damaged parts are set aside."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dhflow.errors import HistoryCorruptError, HistoryError
from dhflow.history.disk import PathLike, history_error, real_path, remove_temporaries, write_whole
from dhflow.history.event import StudyRecord, from_json
from dhflow.history.journal import (
    JournalHead,
    Place,
    decode_line,
    encode_head,
    encode_line,
    history_path,
    journal_path,
    read_head,
    scan,
)
from dhflow.history.lock import WriterLock
from dhflow.history.reader import load_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What :func:`recover` did.

    Parameters
    ----------
    n_trials : int
        In the history now.
    n_lost_lines : int
        Lines of the journal that are no longer in the history, damaged ones and those behind them.
    set_aside : tuple of Path
        The damaged files, under their new names.
    """

    n_trials: int
    n_lost_lines: int = 0
    set_aside: tuple[Path, ...] = ()


def recover(path: PathLike) -> RecoveryReport:
    """Make a damaged history usable again.

    A journal is kept up to its first damaged line. An HDF5 file that cannot be read is given up if the study's first
    journal is there, which holds all that the file held. What was damaged is set aside under another name, nothing is
    deleted; a history that is not damaged is left as it is.

    Parameters
    ----------
    path : path
        Of the HDF5 file; its journal is found beside it.

    Raises
    ------
    HistoryLockedError
        If another process writes to the history.
    HistoryCorruptError
        If neither file nor journal are enough.
    HistoryError
        If there is no history, or no room to write.
    """
    path = real_path(path)
    try:
        lock = WriterLock(path)
    except HistoryError:
        raise
    except OSError as error:
        raise history_error(error, "the history cannot be locked", path) from error
    try:
        remove_temporaries(path)
        return _recover(path)
    except HistoryError:
        raise
    except OSError as error:
        raise history_error(error, "the history cannot be recovered", path) from error
    finally:
        lock.release()


def _recover(path: Path) -> RecoveryReport:
    set_aside: list[Path] = []
    held = _held(path, set_aside)
    n_lost = _mend_journal(journal_path(path), held, set_aside)
    return RecoveryReport(len(load_record(path).trials), n_lost, tuple(set_aside))


def _held(path: Path, set_aside: list[Path]) -> tuple[StudyRecord, Place] | None:
    # What the file holds; a file that cannot be read is set aside if the journal can stand in for it.
    from dhflow.history import hdf5

    try:
        with hdf5.opened(path) as file:
            return hdf5.read_record(file), hdf5.read_place(file)
    except FileNotFoundError:
        return None
    except HistoryCorruptError as error:
        journal = journal_path(path)
        if not journal.exists() or read_head(journal).follows != Place():
            raise HistoryCorruptError(
                f"{path} is damaged and there is no journal from its beginning: restore it from a backup ({error})"
            ) from error
        set_aside.append(path.rename(_free_name(path)))
        return None


def _mend_journal(journal: Path, held: tuple[StudyRecord, Place] | None, set_aside: list[Path]) -> int:
    if not journal.exists():
        return 0
    record, place = held or (StudyRecord(), None)
    try:
        head = read_head(journal)
        start = head.tail_start(place, history_path(journal))
    except HistoryCorruptError:
        return _without_head(journal, record, place, set_aside)
    whole = scan(journal, start, prefix=True)
    end = whole.start + sum(map(len, _foldable(whole.lines, record)))
    data = journal.read_bytes()
    if not data[end:].rstrip(b"\0").count(b"\n"):
        return 0  # sound: at most a last line that was never acknowledged
    set_aside.append(Path(shutil.copy2(journal, _free_name(journal))))
    write_whole(journal, data[:end], history_path(journal))
    return len(data[end:].splitlines())


def _without_head(journal: Path, record: StudyRecord, place: Place | None, set_aside: list[Path]) -> int:
    # Without its head nobody knows what a journal goes on from, unless there is no file it could go on from.
    lines = journal.read_bytes().splitlines(keepends=True)[1:]
    kept: list[bytes] = []
    if place is None:
        texts = [decode_line(line.removesuffix(b"\n")) for line in lines]
        whole = texts[: texts.index(None)] if None in texts else texts
        kept = _foldable([text for text in whole if text is not None], record)
        if not kept:
            raise HistoryCorruptError(f"nothing in {journal} can be read")
    aside = _free_name(journal)
    if kept:
        shutil.copy2(journal, aside)
        write_whole(journal, encode_head(JournalHead.new()) + b"".join(kept), history_path(journal))
    else:
        journal.rename(aside)
    set_aside.append(aside)
    return len(lines) - len(kept)


def _foldable(texts: Iterable[bytes], record: StudyRecord) -> list[bytes]:
    # The lines of the events that make sense, up to the first that does not.
    lines: list[bytes] = []
    for text in texts:
        data = json.loads(text)
        try:
            record.apply(from_json(data))
        except HistoryCorruptError as error:
            logger.warning("left out: %s", error)
            break
        lines.append(encode_line(data))
    return lines


def _free_name(path: Path) -> Path:
    return next(name for n in count(1) if not (name := path.with_name(f"{path.name}.damaged-{n}")).exists())
