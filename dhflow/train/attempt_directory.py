"""The files in an attempt's directory, written by its worker and read by whoever asks, also after a crash.

::

    output.log      what the trial printed, its head and tail (output.log.1: of an earlier start of the attempt)
    records.jsonl   what it reported and what the monitor recorded, a line each (dhflow.monitor.line)
    config.json     of commands: the config
    returned.json   of commands: what the command wrote as its result
    stop            left by the driver: ``trial.should_stop()`` is true
    controls.jsonl  left by the driver: what else is asked of the trial (dhflow.monitor.control)

The directory is made when something goes into it: making one is the dearest thing that a short trial would do, most
of all on the parallel file systems of clusters. What an attempt cannot do without lies in its worker's notes
(:mod:`dhflow.train.worker_notes`). Readers never raise for a missing or torn file: a worker can die between any two
bytes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dhflow.train.curve import Curve, from_line
from dhflow.trial import Measurement

if TYPE_CHECKING:
    from dhflow.monitor.record import Record

OUTPUT = "output.log"
RECORDS = "records.jsonl"
CONFIG = "config.json"
RETURNED = "returned.json"
STOP = "stop"
CONTROLS = "controls.jsonl"

EPOCH_LOOK_INTERVAL_S = 0.05
"""Least time between two looks for them when an epoch was reported: what is asked of a trial reaches it within an epoch
that lasts so long. A thousand workers ask the same file server, so not at every step of a tiny model."""

_TAIL_BYTES = 65_536
"""Read from the end of ``records.jsonl`` to find the last step; then the whole file, if only detail stood there."""

PathLike = str | os.PathLike[str]


def make_directory(directory: str) -> None:
    """Make an attempt's directory, if it is not there.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    try:
        os.mkdir(directory)  # noqa: PTH102 - pathlib costs more than the call itself
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103


def put_in_place(file: str, path: str) -> None:
    """Move a file into an attempt's directory.

    Raises
    ------
    OSError
        If it cannot be moved.
    """
    make_room(path)
    os.rename(file, path)  # noqa: PTH104


def make_room(path: str) -> None:
    """Make an attempt's directory for a new file; one of an earlier start of the attempt stays, as ``NAME.1``.

    Raises
    ------
    OSError
        If the directory cannot be made or the old file cannot be moved.
    """
    make_directory(path.rpartition("/")[0])
    if os.path.exists(path):  # noqa: PTH110
        names = (f"{path}.{number}" for number in itertools.count(1))
        os.rename(path, next(each for each in names if not os.path.exists(each)))  # noqa: PTH104, PTH110


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
            for start in dict.fromkeys((max(0, size - _TAIL_BYTES), 0)):
                file.seek(start)
                reports = (from_line(line) for line in reversed(file.read().splitlines()))
                found = next((report[0] for report in reports if report is not None), None)
                if found is not None:
                    return found
    except OSError:
        pass
    return None


def read_detail(directory: PathLike) -> list[Record]:
    """Return what the monitor recorded of an attempt beside its learning curve, in bounded number."""
    from dhflow.monitor.keeper import Keeper
    from dhflow.monitor.line import from_line as record_from_line

    keeper = Keeper()
    with contextlib.suppress(OSError), Path(directory, RECORDS).open("rb") as file:
        for line in file:
            record = record_from_line(line)
            if record is not None:
                keeper.add([record])
    return list(keeper.brief())


def read_output(directory: PathLike) -> str:
    """Return what the attempt printed, as far as it was kept."""
    try:
        return Path(directory, OUTPUT).read_text(errors="replace")
    except OSError:
        return ""
