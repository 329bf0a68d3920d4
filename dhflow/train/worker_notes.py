"""What workers note about the attempts they run, for a driver that did not hear them, also after a crash.

::

    <host>-<pid>.jsonl      a line when an attempt begins, one with its result before the result goes home
    <host>-<pid>.log        output of the running attempt that has not been put into its directory yet
    <host>-<pid>.timeout    where a trial was when the worker killed itself for the trial's time limit

They lie in one folder for each session, ``workers/<session>/`` of the run directory. A process that begins with
the host and number of an earlier one of its session takes the next free name (``<host>-<pid>.1.jsonl``), so that
every file has one writer. Reading never raises for a missing or torn file: a worker can die between any two bytes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from dhflow.train.attempt_directory import OUTPUT, PathLike, put_in_place
from dhflow.trial import TrialFailure, TrialResult, TrialStatus

NOTES = ".jsonl"
LOG = ".log"
TIMEOUT = ".timeout"

_IDS = re.compile(rb'\{"trial_id": (\d+), "attempt": (\d+), "(started|status)"')

JsonDict = dict[str, Any]
_Key = tuple[int, int]


class Start(NamedTuple):
    """One start of an attempt on a worker.

    Parameters
    ----------
    host : str
    pid : int
    time : float
        UTC epoch seconds.
    files : str
        Path of the worker's files, without their ending.
    """

    host: str
    pid: int
    time: float
    files: str = ""


@functools.lru_cache(maxsize=1)
def host_name() -> str:
    """Return this machine's name, asked for once."""
    return socket.gethostname()


def start_line(trial_id: int, attempt: int, time: float, who: str) -> bytes:
    """Return the line for an attempt that begins; `who` is the worker, from :func:`who_line_part`."""
    return f'{{"trial_id": {trial_id}, "attempt": {attempt}, "started": {time!r}, {who}}}\n'.encode()


def who_line_part() -> str:
    """Return what names this process in a start line."""
    return f'"host": {json.dumps(host_name())}, "pid": {os.getpid()}'


def result_line(result: TrialResult) -> bytes:
    """Return the line for an attempt's result, without its measurements (they are in ``records.jsonl``).

    Raises
    ------
    TypeError, ValueError
        If a metric has no JSON form.
    """
    # Written out: a JSON encoder takes three times as long for what nearly every line is.
    values = ", ".join([f"{_quoted(name)}: {float(value)!r}" for name, value in result.values.items()])
    line = (
        f'{{"trial_id": {result.trial_id}, "attempt": {result.attempt}, "status": "{result.status.value}", '
        f'"started_at": {result.started_at!r}, "ended_at": {result.ended_at!r}, "values": {{{values}}}, '
        f'"host": {_quoted(result.host)}, "worker": {_quoted(result.worker)}'
    )
    if result.metrics:
        line += f', "metrics": {json.dumps(dict(result.metrics))}'
    if result.failure is not None:
        line += f', "failure": {json.dumps(asdict(result.failure))}'
    if result.budget is not None:
        line += f', "budget": {float(result.budget)!r}'
    return f"{line}}}\n".encode()


@functools.lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return json.dumps(text)


def result_from_line(line: bytes) -> TrialResult:
    """Return the result that :func:`result_line` wrote.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        If the line is no result.
    """
    fields: JsonDict = json.loads(line)
    failure = fields.pop("failure", None)
    return TrialResult(
        **{**fields, "status": TrialStatus(fields["status"])},
        failure=None if failure is None else TrialFailure(**failure),
    )


class WorkerNotes:
    """Reads what the workers of a run directory note, as it grows.

    Parameters
    ----------
    folder : path
        ``workers/`` of the run directory, with a folder for each session.
    """

    def __init__(self, folder: PathLike) -> None:
        self._folder = Path(folder)
        self._offsets: dict[str, int] = {}
        self._running: dict[str, _Key] = {}
        self._starts: dict[_Key, Start] = {}
        self._results: dict[_Key, TrialResult] = {}

    def refresh(self, wanted: Mapping[int, int]) -> None:
        """Read what has been noted since the last time.

        Parameters
        ----------
        wanted : mapping
            The attempt that runs of each trial that runs. Notes about others are forgotten, and those
            about an attempt that was not wanted when they were read do not come back.
        """
        for notes in (self._starts, self._results):
            for trial_id, attempt in [each for each in notes if wanted.get(each[0]) != each[1]]:
                del notes[trial_id, attempt]
        for path, size in self._files():
            if size > self._offsets.get(path, 0):
                self._read(path, wanted)

    def start(self, trial_id: int, attempt: int) -> Start | None:
        """Return the last start of an attempt, or None if no worker has begun it."""
        return self._starts.get((trial_id, attempt))

    def result(self, trial_id: int, attempt: int) -> TrialResult | None:
        """Return the result of an attempt, without measurements, or None if no worker has noted one."""
        return self._results.get((trial_id, attempt))

    def last_words(self, trial_id: int, attempt: int) -> str:
        """Return where an attempt was when its worker killed itself for its time limit (a traceback), or ""."""
        start = self._of_running(trial_id, attempt)
        with contextlib.suppress(OSError):
            return Path(start.files + TIMEOUT).read_text(errors="replace") if start else ""
        return ""

    def save_output(self, trial_id: int, attempt: int, directory: PathLike) -> None:
        """Put what a dead worker has caught of an attempt's output into the attempt's directory."""
        start = self._of_running(trial_id, attempt)
        with contextlib.suppress(OSError):
            if start and os.stat(start.files + LOG).st_size > 0:  # noqa: PTH116
                put_in_place(start.files + LOG, f"{directory}/{OUTPUT}")

    def _of_running(self, trial_id: int, attempt: int) -> Start | None:
        # The log and the last words of a worker are those of the attempt that it began last.
        start = self.start(trial_id, attempt)
        return start if start and self._running.get(start.files + NOTES) == (trial_id, attempt) else None

    def _files(self) -> Iterator[tuple[str, int]]:
        with contextlib.suppress(OSError):
            for session in os.scandir(self._folder):
                with contextlib.suppress(OSError), os.scandir(session.path) as files:
                    for each in files:
                        if each.name.endswith(NOTES):
                            yield each.path, each.stat().st_size

    def _read(self, path: str, wanted: Mapping[int, int]) -> None:
        offset = self._offsets.get(path, 0)
        with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                self._take(path, line, wanted)
        self._offsets[path] = offset

    def _take(self, path: str, line: bytes, wanted: Mapping[int, int]) -> None:
        # A worker may have noted a million attempts: only those that are asked for are parsed.
        found = _IDS.match(line)
        if found is None:
            return
        key = int(found[1]), int(found[2])
        is_start = found[3] == b"started"
        if is_start:
            self._running[path] = key
        if wanted.get(key[0]) != key[1]:
            return
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            if is_start:
                data = json.loads(line)
                files = path.removesuffix(NOTES)
                self._starts[key] = Start(str(data["host"]), int(data["pid"]), float(data["started"]), files)
            else:
                self._results[key] = result_from_line(line)
