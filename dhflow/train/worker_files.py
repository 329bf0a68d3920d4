"""The files that one worker process writes beside its trials' own, kept open from trial to trial.

A trial that neither prints nor reports nor keeps a file costs two appended lines and makes no file at all.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
import time
from pathlib import Path

from dhflow.train.line_file import LineFile
from dhflow.train.spare_file import SpareFile, open_append
from dhflow.train.task import Task
from dhflow.train.worker_notes import LOG, NOTES, TIMEOUT, host_name, result_line, start_line, who_line_part
from dhflow.trial import TrialResult

_LOCK = threading.Lock()
_FILES: dict[str, WorkerFiles] = {}


def worker_files(folder: str) -> WorkerFiles:
    """Return this process's files in a session's folder; the driver has made the folder."""
    files = _FILES.get(folder)
    if files is not None:
        return files
    with _LOCK:
        _forget_in_forks()
        for old in [each for each in _FILES if not Path(each).is_dir()]:  # of sessions that have ended
            _FILES.pop(old).close()
        return _FILES.setdefault(folder, WorkerFiles(folder))


@functools.cache
def _forget_in_forks() -> None:
    # A forked child is another process: its lines in its parent's file would tear the parent's.
    os.register_at_fork(after_in_child=_FILES.clear)


class WorkerFiles:
    """One process's notes, its spare log and the file for its last words; see :mod:`dhflow.train.worker_notes`.

    Its threads share the notes; the spare log and the file for tracebacks are the main thread's.

    Parameters
    ----------
    folder : str
        Of the session, for the files of all its workers.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._notes: LineFile | None = None
        self._stem = ""
        self._who = ""
        self._log: SpareFile | None = None
        self._timeout_fd: int | None = None

    def begin(self, task: Task) -> None:
        """Note that an attempt begins.

        Raises
        ------
        OSError
            If it cannot be noted.
        """
        with self._lock:
            notes = self._opened_notes()
            notes.append(start_line(task.trial_id, task.attempt, time.time(), self._who))

    def end(self, result: TrialResult) -> None:
        """Note an attempt's result.

        Raises
        ------
        OSError
            If it cannot be noted.
        TypeError, ValueError
            If a metric has no JSON form.
        """
        line = result_line(result)
        with self._lock:
            self._opened_notes().append(line)

    def spare_log(self) -> SpareFile:
        """Return the file that catches a trial's output until it is put into the attempt's directory."""
        if self._log is None:
            self._log = SpareFile(self._path(LOG))
        return self._log

    def timeout_fd(self) -> int:
        """Return the file for the tracebacks of a worker that kills itself.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        if self._timeout_fd is None:
            self._timeout_fd = open_append(self._path(TIMEOUT))
        return self._timeout_fd

    def close(self) -> None:
        """Close what no trial uses."""
        with self._lock:
            if self._notes is not None:
                self._notes.close()
            if self._log is not None:
                self._log.close()
            if self._timeout_fd is not None:
                with contextlib.suppress(OSError):
                    os.close(self._timeout_fd)
                self._timeout_fd = None

    def _path(self, ending: str) -> str:
        with self._lock:
            self._opened_notes()
            return f"{self._folder}/{self._stem}{ending}"

    def _opened_notes(self) -> LineFile:
        if self._notes is None:
            self._notes = self._new_notes()
        return self._notes

    def _new_notes(self) -> LineFile:
        # The first free name, held by this file: the number of a process that has died comes back.
        base = f"{host_name()}-{os.getpid()}"
        names = (f"{base}.{number}" if number else base for number in itertools.count())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while True:
            stem = next(names)
            path = f"{self._folder}/{stem}{NOTES}"
            with contextlib.suppress(FileExistsError):
                notes = LineFile(path, os.open(path, flags, 0o644))
                self._stem, self._who = stem, who_line_part()
                return notes
