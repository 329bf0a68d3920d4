"""A study's history, open for writing: one writer, an append-only journal, an HDF5 file made from it."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from dhflow.errors import HistoryCorruptError, HistoryError
from dhflow.history.checkpoint import CheckpointReport, CheckpointRequest
from dhflow.history.comparison import check_same_study
from dhflow.history.disk import PathLike, history_error, real_path, remove_temporaries
from dhflow.history.event import Event, StudyHeader, StudyRecord
from dhflow.history.helper import CheckpointHelper, Outcome
from dhflow.history.journal import Journal, JournalHead, Place, encode_events, journal_path
from dhflow.history.lock import WriterLock
from dhflow.history.order import EventOrder
from dhflow.history.reader import exists, load_parts

logger = logging.getLogger(__name__)

FIRST_CHECKPOINT_S = 15.0
"""The first checkpoint comes so many seconds after opening, so that there soon is a file to look at."""
MIN_INTERVAL_S = 30.0
COST_RATIO = 50.0
"""The next checkpoint waits so many times the duration of the last one: it costs at most 2 % of the time."""
CLOSE_TIMEOUT_S = 600.0
"""How long :meth:`History.close` waits for the last checkpoint before it leaves the journal in place."""


class History:
    """The one writer of a history; made by :meth:`create` or :meth:`open`, let go by :meth:`close`.

    Attributes
    ----------
    path : Path
        Of the HDF5 file, absolute.
    record : StudyRecord
        What the history held when it was opened. Who appends folds the events into it, or into a record of their
        own: the completion loop does so before it asks for them to be written, and once is enough.

    Notes
    -----
    Use it from one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        lock: WriterLock,
        *,
        record: StudyRecord,
        journal: Journal | None,
        held: Place | None,
        in_process: bool,
    ) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        self._journal = journal
        self._held = held
        self._helper = CheckpointHelper(in_process=in_process)
        self._next_at: float | None = None
        self._problem: str | None = None
        self._is_open = True
        self._order = EventOrder(record)

    @staticmethod
    def exists(path: PathLike) -> bool:
        """Tell whether there is a history at `path`; one that was not closed may be a journal alone."""
        return exists(path)

    @classmethod
    def create(cls, path: PathLike, header: StudyHeader, *, in_process: bool = False) -> History:
        """Begin a new history.

        Parameters
        ----------
        path : path
            Of the HDF5 file that is to be; nothing may lie there.
        header : StudyHeader
        in_process : bool
            Make checkpoints in this process, while the caller waits: for short scripts and tests.

        Raises
        ------
        HistoryError
            If there is a history already (``errno`` is EEXIST), or it cannot be written.
        HistoryLockedError
            If another process is at it.
        """
        path = real_path(path)
        lock = _locked(path)
        try:
            _refuse_existing(path)
            remove_temporaries(path)
            journal = Journal.create(journal_path(path), JournalHead.new(), [header])
        except BaseException:
            lock.release()
            raise
        record = StudyRecord(header=header)
        return cls(path, lock, record=record, journal=journal, held=None, in_process=in_process)

    @classmethod
    def open(cls, path: PathLike, *, in_process: bool = False) -> History:
        """Go on with a history, whatever became of its last writer; parameters as in :meth:`create`.

        Raises
        ------
        HistoryError
            If there is none, or it cannot be read.
        HistoryLockedError
            If another process is at it; the message says which.
        HistoryFormatError
            If it is no history, or a newer version wrote it.
        HistoryCorruptError
            If it is damaged; the message says how to recover.
        """
        path = real_path(path)
        lock = _locked(path)
        try:
            remove_temporaries(path)
            parts = load_parts(path)
            journal = None
            # A journal that is shorter than what the file holds of it lost its end with a node: a new one follows.
            if parts.tail is not None and journal_path(path).stat().st_size >= parts.tail.end:
                journal = Journal(journal_path(path), parts.tail.head, parts.tail.end)
            record = parts.record()
        except OSError as error:
            lock.release()
            if isinstance(error, HistoryError):
                raise
            raise history_error(error, "the history cannot be opened", path) from error
        except BaseException:
            lock.release()
            raise
        return cls(path, lock, record=record, journal=journal, held=parts.held, in_process=in_process)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def check_same_study(self, header: StudyHeader) -> None:
        """Refuse to go on with the study of another search.

        Parameters
        ----------
        header : StudyHeader
            Of the study that wants to go on; its identity, seed and time of creation do not matter.

        Raises
        ------
        HistoryFormatError
            If search space, objectives or budget differ; the message names the difference.
        """
        if self.record.header is None:
            raise HistoryCorruptError(f"{self.path} does not say what study it is of")
        check_same_study(self.record.header, header, self.path)

    @property
    def problem(self) -> str | None:
        """What went wrong with the last checkpoint or the last sync, and is being tried again; None if nothing."""
        return self._problem or (self._journal.problem if self._journal else None)

    def append(self, events: Sequence[Event]) -> None:
        """Record events: acknowledged when it returns, all of them or none.

        Parameters
        ----------
        events : sequence of Event
            In the order in which they happened.

        Raises
        ------
        HistoryError
            If they could not be written; ``errno`` says why (ENOSPC, EDQUOT, …). Nothing of them is recorded, and the
            same call may be repeated when there is room.
        HistoryCorruptError
            If they contradict the record; nothing of them is recorded.
        """
        if not events:
            return
        self._check_open()
        self._order.check(events)
        data = encode_events(events)
        if self._journal is None:
            self._journal = Journal.create(journal_path(self.path), JournalHead.new(self._held))
        self._journal.append(data)
        self._order.take(events)

    def checkpoint(self, *, wait: bool = False) -> None:
        """Have the HDF5 file brought up to date, by a process of its own.

        Parameters
        ----------
        wait : bool
            Until the file holds all that has been acknowledged by now, or it failed (:attr:`problem` says why).
        """
        self._check_open()
        self._reap(0.0)
        if wait:
            self._reap(None)
        if not self._helper.is_running and self._is_behind():
            self._start()
        if wait:
            self._reap(None)

    def maybe_checkpoint(self, now: float | None = None) -> None:
        """Begin a checkpoint if one is due, and take note of one that ended; cheap, call it often.

        Parameters
        ----------
        now : float, optional
            Seconds of a clock that does not jump, always the same one; by default ``time.monotonic()``.
        """
        self._check_open()
        now = time.monotonic() if now is None else now
        if self._journal is not None:
            self._journal.sync_if_due()
        self._reap(0.0, now)
        if self._next_at is None:
            self._next_at = now + FIRST_CHECKPOINT_S
        if now >= self._next_at and not self._helper.is_running and self._is_behind():
            self._next_at = now + MIN_INTERVAL_S
            self._start()
            self._reap(0.0, now)

    def close(self) -> bool:
        """Fold the journal into the HDF5 file, remove it, and let go of the history.

        Returns
        -------
        bool
            Whether the file is whole by itself now. If not (a full disk), :attr:`problem` says why and the journal
            stays beside it: nothing is lost, and the next open and close fold it in.
        """
        if not self._is_open:
            return self._journal is None
        try:
            if self._journal is not None:
                self._reap_or_kill()
                self._start(remove=True)
                self._reap_or_kill()
        finally:
            self.release()
        return self._journal is None

    def discard(self) -> None:
        """Let go of the history and remove it; for one in which nothing has happened."""
        self.release()
        for path in (self.path, journal_path(self.path)):
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of the history and leave the journal as it is; for when there is no time to close it."""
        if not self._is_open:
            return
        self._is_open = False
        self._helper.kill()
        if self._journal is not None:
            self._journal.close()
        self._lock.release()

    def _check_open(self) -> None:
        if not self._is_open:
            raise HistoryError(f"{self.path} has been closed")

    def _is_behind(self) -> bool:
        return self._journal is not None and self._held != Place(self._journal.head.journal_id, self._journal.end)

    def _start(self, *, remove: bool = False) -> None:
        if self._journal is not None:
            head = self._journal.head
            self._helper.start(CheckpointRequest(str(self.path), head.journal_id, self._journal.end, remove=remove))

    def _reap(self, wait_s: float | None, now: float | None = None) -> None:
        ended = self._helper.poll(wait_s)
        if ended is None:
            return
        request, outcome = ended
        self._note(request, outcome)
        if now is not None and isinstance(outcome, CheckpointReport):
            self._next_at = max(self._next_at or now, now + COST_RATIO * outcome.duration_s)

    def _reap_or_kill(self) -> None:
        self._reap(CLOSE_TIMEOUT_S)
        if self._helper.is_running:
            self._helper.kill()
            self._complain(f"a checkpoint took longer than {CLOSE_TIMEOUT_S:.0f} s")

    def _complain(self, reason: str) -> None:
        self._problem = (
            f"{self.path} is not up to date: {reason}. "
            f"Nothing is lost as long as {journal_path(self.path)} stays beside it"
        )
        logger.warning("%s", self._problem)

    def _note(self, request: CheckpointRequest, outcome: Outcome) -> None:
        # A helper that was killed behind its last step has done its work.
        is_gone = request.remove and not journal_path(self.path).exists()
        if isinstance(outcome, str) and not is_gone:
            self._complain(outcome)
            return
        self._problem = None
        self._held = Place(request.journal_id, request.stop)
        if request.remove and self._journal is not None:
            self._journal.close()
            self._journal = None


def _refuse_existing(path: Path) -> None:
    if exists(path):
        raise HistoryError(
            errno.EEXIST,
            "there is a history already: go on with it (resume=True, `dhflow resume`), or choose another name",
            str(path),
        )


def _locked(path: Path) -> WriterLock:
    try:
        return WriterLock(path)
    except HistoryError:
        raise
    except OSError as error:
        raise history_error(error, "the history cannot be locked", path) from error
