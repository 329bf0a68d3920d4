"""The files in an attempt's directory, written by its worker and read by whoever asks, also after a crash.

::

    start.jsonl     a line per start of the attempt: host, pid, time (a second line: somebody retried it)
    output.log      what the trial printed, its head and tail; absent or empty when it printed nothing
    records.jsonl   what it reported, a line per report
    timeout.txt     where it was when its worker killed it for its time limit; else absent or empty
    result.json     its result, put in place whole before the result goes home
    config.json     of commands: the config
    returned.json   of commands: what the command wrote as its result
    stop            left by the driver: ``trial.should_stop()`` is true

Readers never raise for a missing or torn file: a worker can die between any two bytes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from dhflow.train.curve import Curve, from_line
from dhflow.trial import Measurement, TrialFailure, TrialResult, TrialStatus

START = "start.jsonl"
OUTPUT = "output.log"
RECORDS = "records.jsonl"
TIMEOUT = "timeout.txt"
RESULT = "result.json"
CONFIG = "config.json"
RETURNED = "returned.json"
STOP = "stop"

_TAIL_BYTES = 65_536
"""Read from the end of ``records.jsonl`` to find the last step; a report is far shorter."""

JsonDict = dict[str, Any]
PathLike = str | os.PathLike[str]


class Start(NamedTuple):
    """One start of an attempt on a worker."""

    host: str
    pid: int
    time: float


@functools.lru_cache(maxsize=1)
def host_name() -> str:
    """Return this machine's name, asked for once."""
    return socket.gethostname()


def begin(directory: str) -> None:
    """Make an attempt's directory and leave the start marker.

    Raises
    ------
    OSError
        If the directory cannot be made or written.
    """
    try:
        os.mkdir(directory)  # noqa: PTH102 - pathlib costs more than the call itself
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_parent(directory)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)  # noqa: PTH102
    line = json.dumps({"host": host_name(), "pid": os.getpid(), "time": time.time()})
    _write(f"{directory}/{START}", line.encode() + b"\n", os.O_APPEND)


def _make_parent(directory: str) -> None:
    parent = directory.rpartition("/")[0]
    try:
        os.mkdir(parent)  # noqa: PTH102
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103


def write_result(directory: str, result: TrialResult) -> None:
    """Write ``result.json``, whole or not at all.

    Raises
    ------
    OSError
        If the directory cannot be written.
    """
    temporary = f"{directory}/{RESULT}.{os.getpid()}.tmp"
    try:
        _write(temporary, json.dumps(result_to_json(result)).encode(), os.O_TRUNC)
        os.replace(temporary, f"{directory}/{RESULT}")  # noqa: PTH105
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write(path: str, data: bytes, flags: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)
    try:
        written = os.write(fd, data)
        while written < len(data):  # a nearly full disk takes a part, then says ENOSPC
            written += os.write(fd, data[written:])
    finally:
        os.close(fd)


def result_to_json(result: TrialResult) -> JsonDict:
    """Return the JSON form of a result, without its measurements (they are in ``records.jsonl``)."""
    data: JsonDict = {
        "trial_id": result.trial_id,
        "attempt": result.attempt,
        "status": result.status.value,
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "values": dict(result.values),
        "metrics": dict(result.metrics),
        "host": result.host,
        "worker": result.worker,
    }
    if result.failure is not None:
        data["failure"] = asdict(result.failure)
    if result.budget is not None:
        data["budget"] = result.budget
    return data


def result_from_json(data: JsonDict, measurements: tuple[Measurement, ...] = ()) -> TrialResult:
    """Return the result that :func:`result_to_json` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `data` is no result.
    """
    fields = dict(data)
    failure = fields.pop("failure", None)
    return TrialResult(
        **{**fields, "status": TrialStatus(fields["status"])},
        measurements=measurements,
        failure=None if failure is None else TrialFailure(**failure),
    )


def read_result(directory: PathLike) -> TrialResult | None:
    """Return the result that an attempt's worker wrote, with its measurements, or None."""
    try:
        data = json.loads(Path(directory, RESULT).read_bytes())
        return result_from_json(data, read_measurements(directory))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_starts(directory: PathLike) -> list[Start]:
    """Return every start of an attempt, in order: more than one means that somebody else retried it."""
    starts = []
    for line in _lines(Path(directory, START)):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            data = json.loads(line)
            starts.append(Start(str(data["host"]), int(data["pid"]), float(data["time"])))
    return starts


def read_start(directory: PathLike) -> Start | None:
    """Return the last start of an attempt, or None if no worker began it."""
    starts = read_starts(directory)
    return starts[-1] if starts else None


def read_measurements(directory: PathLike) -> tuple[Measurement, ...]:
    """Return what an attempt reported, thinned as :class:`~dhflow.train.curve.Curve` does."""
    return read_curve(directory).measurements()


def read_curve(directory: PathLike) -> Curve:
    """Return the learning curve in ``records.jsonl``; empty when there is none."""
    curve = Curve()
    with contextlib.suppress(OSError), Path(directory, RECORDS).open("rb") as file:
        for line in file:
            report = from_line(line)
            if report is not None:
                curve.add(*report)
    return curve


def last_step(directory: PathLike) -> int | None:
    """Return the last step that an attempt reported, reading only the file's end."""
    try:
        with Path(directory, RECORDS).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    reports = (from_line(line) for line in reversed(lines))
    return next((report[0] for report in reports if report is not None), None)


def read_timeout(directory: PathLike) -> str | None:
    """Return where the trial was when its worker killed it for its time limit (a traceback), or None."""
    try:
        text = Path(directory, TIMEOUT).read_text(errors="replace")
    except OSError:
        return None
    return text or None


def read_output(directory: PathLike) -> str:
    """Return what the attempt printed, as far as it was kept."""
    try:
        return Path(directory, OUTPUT).read_text(errors="replace")
    except OSError:
        return ""


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []
