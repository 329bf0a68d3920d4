r"""The append-only journal beside a history: one checksummed JSON line per event.

A line is ``crc32 JSON newline``: eight lowercase hexadecimal digits, a space, the text, ``\n``; the
checksum is that of the text's bytes. The first line is the journal's own head, every other an event.
``FORMAT.md`` states it for other languages.

*Acknowledged* means handed to the operating system by ``write``: a killed process loses nothing. Against
the loss of the node the file is also synced, at most every `SYNC_INTERVAL_S` seconds and by a thread of
its own, since one ``fsync`` per event would cost milliseconds of every trial on a parallel file system.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryFormatError
from dhflow.history.disk import history_error, write_whole
from dhflow.history.event import AttemptSubmitted, Event, from_json, to_json

logger = logging.getLogger(__name__)

FORMAT = "dhflow-journal"
VERSION = 1
SYNC_INTERVAL_S = 5.0
_CHECKSUM_LENGTH = 9  # eight digits and a space


@dataclass(frozen=True, slots=True)
class Place:
    """How much of which journal an HDF5 file holds.

    Parameters
    ----------
    journal_id : str
        "" for none.
    n_bytes : int
        Up to where its lines are in the file.
    """

    journal_id: str = ""
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class JournalHead:
    """The first line of a journal: which one it is, and what it goes on from.

    Parameters
    ----------
    journal_id : str
        Random.
    follows : Place
        What the HDF5 file held when this journal was begun.
    """

    journal_id: str
    follows: Place

    @classmethod
    def new(cls, follows: Place | None = None) -> JournalHead:
        """Return the head of a new journal; with `follows` None, of a study's first."""
        return cls(secrets.token_hex(8), follows or Place())

    def tail_start(self, held: Place | None, history: Path) -> int:
        """Return from which byte on this journal says what the HDF5 file does not.

        Parameters
        ----------
        held : Place, optional
            What the file holds; None if there is no file.
        history : Path
            Of the file.

        Raises
        ------
        HistoryCorruptError
            If file and journal do not belong together.
        """
        if held is not None and self.journal_id == held.journal_id:
            return held.n_bytes
        if self.follows == (held or Place()):
            return 0
        if held is None:
            raise HistoryCorruptError(f"{history} is gone and its journal only goes on from it: restore a copy")
        raise HistoryCorruptError(
            f"{history} and its journal do not belong together: one of them was replaced by a copy from another "
            f"moment. Restore both from one moment, or set {journal_path(history)} aside to go on from the file alone"
        )


@dataclass(frozen=True, slots=True)
class JournalScan:
    """What a journal file holds.

    Parameters
    ----------
    head : JournalHead
    start : int
        Where reading began, in bytes.
    end : int
        Up to where the lines are whole; more bytes are a line that was never acknowledged.
    lines : list of bytes
        The JSON texts from `start` to `end`, without the head.
    """

    head: JournalHead
    start: int
    end: int
    lines: list[bytes]

    def events(self) -> Iterator[Event]:
        """Yield the events, decoded one by one.

        Raises
        ------
        HistoryCorruptError
            If a line passes its checksum and is no event.
        """
        for line in self.lines:
            yield from_json(json.loads(line))


def journal_path(path: Path) -> Path:
    """Return where the journal of the history at `path` lies."""
    return path.with_name(path.name + ".journal")


def history_path(journal: Path) -> Path:
    """Return the history whose journal lies at `journal`."""
    return journal.with_name(journal.name.removesuffix(".journal"))


def _plain(value: Any) -> Any:
    # Scalars of numpy, which know how to turn themselves into Python's.
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")


# NaN and infinities are written as Python's JSON does: a learning curve may well hold one.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_plain).encode


def encode_line(data: dict[str, Any]) -> bytes:
    """Return one line of a journal, its newline included."""
    return _checked(_encode(data).encode("ascii"))


def _checked(text: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(text), text)


def encode_events(events: Iterable[Event]) -> bytes:
    """Return the lines of `events`.

    Raises
    ------
    HistoryError
        If a value in one of them has no JSON form.
    """
    try:
        return b"".join([_encode_event(event) for event in events])
    except (TypeError, ValueError) as error:
        raise HistoryError(f"an event cannot be recorded, and nothing of it was: {error}") from error


def _encode_event(event: Event) -> bytes:
    if type(event) is AttemptSubmitted:  # every third event, and nothing but numbers
        numbers = event.trial_id, event.attempt, event.at, event.session
        return _checked(b'{"e":"submit","id":%d,"n":%d,"t":%a,"s":%d}' % numbers)
    return encode_line(to_json(event))


def encode_head(head: JournalHead) -> bytes:
    """Return the first line of a journal."""
    return encode_line(
        {
            "format": FORMAT,
            "version": VERSION,
            "journal": head.journal_id,
            "follows": [head.follows.journal_id, head.follows.n_bytes],
        }
    )


def decode_line(line: bytes) -> bytes | None:
    """Return the JSON text of a line without its newline, or None if its checksum does not hold."""
    text = line[_CHECKSUM_LENGTH:]
    return text if line[:_CHECKSUM_LENGTH] == b"%08x " % zlib.crc32(text) else None


def decode_head(line: bytes, path: Path) -> JournalHead:
    """Return the head that a journal's first line holds.

    Raises
    ------
    HistoryFormatError
        If a newer version wrote it.
    HistoryCorruptError
        If it is damaged.
    """
    text = decode_line(line)
    data = json.loads(text) if text is not None else {}
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise HistoryCorruptError(f"{path}: the first line is damaged, so it cannot be read; {recovery_hint(path)}")
    if data["version"] > VERSION:
        raise HistoryFormatError(
            f"{path} has version {data['version']} of the journal format, this dhflow reads up to {VERSION}: "
            "use the dhflow that wrote it, or a newer one"
        )
    return JournalHead(data["journal"], Place(*data["follows"]))


def recovery_hint(journal: Path) -> str:
    """Return what to do about a damaged journal."""
    return (
        f"dhflow.history.recover({str(history_path(journal))!r}) keeps what can be read and sets the damaged file aside"
    )


def read_head(path: Path) -> JournalHead:
    """Return the head of the journal at `path`."""
    with path.open("rb") as file:
        return decode_head(file.readline().removesuffix(b"\n"), path)


def scan(path: Path, start: int = 0, stop: int | None = None, *, prefix: bool = False) -> JournalScan:
    """Read the lines of a journal.

    Parameters
    ----------
    path : Path
        Of the journal itself.
    start : int
        Skip what lies before, a number that an earlier `JournalScan.end` gave; 0 reads all.
    stop : int, optional
        Read no further.
    prefix : bool
        Stop in front of a damaged line instead of raising.

    Raises
    ------
    HistoryCorruptError
        If a line that was once whole no longer passes its checksum; the message says how to recover.
    FileNotFoundError
        If there is no journal.
    """
    with path.open("rb") as file:
        first = file.readline()
        head = decode_head(first.removesuffix(b"\n"), path)
        begin = max(start, len(first))
        file.seek(begin)
        data = file.read() if stop is None else file.read(max(0, stop - begin))
    lines: list[bytes] = []
    end = begin
    for line in data.splitlines(keepends=True):  # bytes split at \n, \r and \r\n; JSON text holds no raw \r
        text = decode_line(line[:-1]) if line.endswith(b"\n") else None
        if text is None:
            if not prefix and _once_whole(data[end - begin :]):
                raise HistoryCorruptError(f"{path} is damaged at byte {end}; {recovery_hint(path)}")
            break
        lines.append(text)
        end += len(line)
    return JournalScan(head, begin, end, lines)


def _once_whole(rest: bytes) -> bool:
    # A write cut short leaves a line without its end; a lost node may leave zeros in place of it.
    # Any line end behind an unreadable place means that whole lines were damaged.
    return b"\n" in rest.rstrip(b"\0")


class Journal:
    """The one writer of a journal file; its owner holds the history's lock.

    Parameters
    ----------
    path : Path
    head : JournalHead
    end : int
        Size of the acknowledged part, in bytes; whatever lies behind it is cut off.
    """

    def __init__(self, path: Path, head: JournalHead, end: int) -> None:
        self.path = path
        self.head = head
        self.end = end
        self.problem: str | None = None
        """What went wrong with the last sync, or None."""
        # Cut off what lies behind the last acknowledged byte before the next write.
        self._ragged = True
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._synced_at, self._synced_end = time.monotonic(), end
        self._syncing: threading.Thread | None = None

    @classmethod
    def create(cls, path: Path, head: JournalHead, events: Iterable[Event] = ()) -> Journal:
        """Write a new journal, which is there with all of `events` or not at all.

        Raises
        ------
        HistoryError
            With ``errno``, if it cannot be written.
        """
        data = encode_head(head) + encode_events(events)
        try:
            write_whole(path, data, history_path(path))
            return cls(path, head, len(data))
        except OSError as error:
            raise history_error(error, f"{path} cannot be written", path) from error

    def append(self, data: bytes) -> None:
        """Write whole lines at the end; acknowledged when it returns.

        Raises
        ------
        HistoryError
            With ``errno``, if they could not be written; then none of them counts, and the same call can be repeated.
        """
        try:
            if self._ragged:
                os.ftruncate(self._fd, self.end)
            self._ragged = True  # until all is written, whatever comes in between: also a KeyboardInterrupt
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            with suppress(OSError):  # else again before the next write
                os.ftruncate(self._fd, self.end)
                self._ragged = False
            raise history_error(error, f"nothing more can be recorded in {self.path}", self.path) from error
        self.end += len(data)
        self._ragged = False
        self.sync_if_due()

    def sync_if_due(self) -> None:
        """Begin a sync if the last one is long enough ago and something was written since; cheap."""
        if self.end != self._synced_end and time.monotonic() - self._synced_at >= SYNC_INTERVAL_S:
            self.sync()

    def sync(self, *, wait: bool = False) -> None:
        """Have the file put on the disk proper, by a thread of its own; `wait` for it if asked."""
        if self._syncing is None or not self._syncing.is_alive():
            self._synced_at, self._synced_end = time.monotonic(), self.end
            self._syncing = threading.Thread(
                target=self._sync, args=(os.dup(self._fd),), name="dhflow-journal-sync", daemon=True
            )
            self._syncing.start()
        if wait:
            self._syncing.join()

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
            self.problem = None
        except OSError as error:
            self.problem = f"{self.path} may not survive the loss of this node: {error.strerror}"
            logger.warning("%s", self.problem)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the file, without waiting for the disk."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
