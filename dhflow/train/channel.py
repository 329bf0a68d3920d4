"""The worker's end of a trial's channel: batches records, bounds them, and picks up controls.

:class:`WorkerChannel` is the same for all three forms; what differs is where lines go and controls come from, a
:class:`Sink`: files in the attempt's directory, a ZeroMQ socket (:mod:`dhflow.train.zmq_sink`), or nowhere, in which
case all comes home with the result.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from dhflow.monitor.control import Control, control_from_line
from dhflow.monitor.keeper import Keeper
from dhflow.monitor.line import to_line
from dhflow.monitor.record import DataFacts, Listening, NetworkFacts, Reading, Record, TimeLimit
from dhflow.train.attempt_directory import CONTROLS, EPOCH_LOOK_INTERVAL_S, STOP
from dhflow.train.records_file import RecordsFile

if TYPE_CHECKING:
    from dhflow.train.local_watch import LocalWatch

FLUSH_INTERVAL_S = 0.25
"""Records that come sooner than this after the last ones wait for the next call."""

RATE_BYTES = 256 << 10
BURST_BYTES = 2 << 20
"""Detail that leaves a worker per second, and what may come at once; more is dropped, the oldest first."""

POLL_INTERVAL_S = 0.1
"""Least time between two looks for controls: a program may ask at every batch."""

MAX_WAITING = 4_000
"""Records of detail that wait to be sent."""

_FACTS = (NetworkFacts, DataFacts, Listening, TimeLimit)


class Sink(Protocol):
    """Where a channel's lines go, and where its controls come from."""

    def write(self, facts: Sequence[bytes], detail: Sequence[bytes]) -> None:
        """Take lines; raises OSError if they cannot be taken now."""

    def controls(self) -> list[Control]:
        """Return new controls."""

    def close(self) -> None:
        """Send what is left."""


class FileSink:
    """Files in the attempt's directory: ``records.jsonl`` out, ``controls.jsonl`` and ``stop`` in.

    Parameters
    ----------
    directory : str
    records : callable
        Returns the file, its directory made; raises OSError.
    """

    def __init__(self, directory: str, records: Callable[[], RecordsFile]) -> None:
        self._records = records
        self._stop = f"{directory}/{STOP}"
        self._controls = f"{directory}/{CONTROLS}"
        self._offset = 0
        self._is_stopped = False

    def write(self, facts: Sequence[bytes], detail: Sequence[bytes]) -> None:
        """Append the lines."""
        file = self._records()
        if facts:
            file.append(b"".join(facts))
        if detail:
            file.append_detail(detail)

    def controls(self) -> list[Control]:
        """Return new controls; the stop file is one."""
        found = self._read()
        if not self._is_stopped and os.path.exists(self._stop):  # noqa: PTH110
            self._is_stopped = True
            if not any(each.kind == "stop" for each in found):
                found.append(Control("stop"))
        return found

    def _read(self) -> list[Control]:
        try:
            if os.stat(self._controls).st_size <= self._offset:  # noqa: PTH116
                return []
            with open(self._controls, "rb") as file:  # noqa: PTH123
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        controls = [control_from_line(each) for each in whole.splitlines()]
        return [each for each in controls if each is not None]

    def close(self) -> None:
        """Nothing is left: files are written at once."""


class HomeSink:
    """Goes nowhere: what is recorded comes home with the result."""

    def write(self, facts: Sequence[bytes], detail: Sequence[bytes]) -> None:
        """Take no line."""

    def controls(self) -> list[Control]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""


class WorkerChannel:
    """A :class:`~dhflow.monitor.channel.Channel` of one attempt.

    Parameters
    ----------
    sink : Sink
    report : callable
        Takes the readings of epochs: they are the trial's learning curve.
    keeper : Keeper, optional
        Takes everything that is to come home with the result.
    watch : LocalWatch, optional
        Judges the run here.
    lock : RLock, optional
        Its owner's.
    monotonic : callable, optional
        A clock that never jumps.
    """

    def __init__(
        self,
        sink: Sink,
        report: Callable[[Reading], None],
        keeper: Keeper | None = None,
        *,
        watch: LocalWatch | None = None,
        lock: threading.RLock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keeper = keeper
        self.watch = watch
        self.stop: Control | None = None
        """The control that asked for the trial's end, once it came."""
        self.is_epoch_over = False
        """Whether an epoch was reported since the last look for controls."""
        self._sink = sink
        self._report = report
        self._lock = lock or threading.RLock()
        self._monotonic = monotonic
        self._facts: list[Record] = []
        self._detail: deque[Record] = deque(maxlen=MAX_WAITING)
        self._came: deque[Control] = deque()
        self._flushed_at = self._polled_at = -math.inf
        self._is_closed = self._has_listened = False
        self._allowance = float(BURST_BYTES)
        self._allowed_at = monotonic()

    def send(self, records: Sequence[Record]) -> None:
        """Take records in; see :class:`~dhflow.monitor.channel.Channel`."""
        with self._lock:
            rest = []
            for each in records:
                if isinstance(each, Reading) and each.per == "epoch":
                    self._report(each)
                else:
                    rest.append(each)
            self._add(rest)

    def _add(self, records: Sequence[Record]) -> None:
        if self._is_closed:  # a thread that outlived its trial
            return
        for each in records:
            (self._facts if isinstance(each, _FACTS) else self._detail).append(each)
        if self.keeper is not None:
            self.keeper.add(records)
        if self.watch is not None and records:
            self._judge(records)
        if self._monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            self.flush()

    def put_report(self, reading: Reading, line: bytes) -> None:
        """Take in a reading of an epoch that its owner has reported; `line` is its line."""
        with self._lock:
            if self._is_closed:
                return
            with contextlib.suppress(OSError):
                self._sink.write([line], ())
            if self.watch is not None:
                self._judge([reading])

    def _judge(self, records: Sequence[Record]) -> None:
        control = None if self.watch is None else self.watch.add(records)
        if control is not None:
            self.take(control)

    def controls(self) -> Sequence[Control]:
        """Return the controls that came since the last call."""
        with self._lock:
            if not self._has_listened:
                self._has_listened = True
                self._add([Listening(time.time())])
                self.flush()  # until it is known the trial is refused controls, and the next call may be an epoch away
            self.poll()
            found = list(self._came)
            self._came.clear()
            return found

    def poll(self) -> None:
        """Look for controls, and send what waits, if it is time."""
        now = self._monotonic()
        least_s = EPOCH_LOOK_INTERVAL_S if self.is_epoch_over else POLL_INTERVAL_S
        if self._is_closed or now - self._polled_at < least_s:
            return
        self._polled_at, self.is_epoch_over = now, False
        for each in self._sink.controls():
            self.take(each)
        if (self._detail or self._facts) and self._monotonic() - self._flushed_at >= FLUSH_INTERVAL_S:
            self.flush()

    def take(self, control: Control) -> None:
        """Take a control in."""
        self._came.append(control)
        if control.kind == "stop":
            self.stop = control

    def flush(self) -> None:
        """Send what waits, as much as may leave now."""
        if not (self._detail or self._facts):
            return
        now = self._flushed_at = self._monotonic()
        self._allowance = min(BURST_BYTES, self._allowance + RATE_BYTES * (now - self._allowed_at))
        self._allowed_at = now
        facts = [to_line(each) for each in self._facts]
        lines = self._newest()
        # What cannot be sent is worth less than the training; facts are tried again.
        with contextlib.suppress(OSError):
            self._sink.write(facts, lines)
            self._facts.clear()

    def _newest(self) -> list[bytes]:
        """Return the lines of the newest detail that may leave, in their order, and forget the others."""
        lines = []
        while self._detail and self._allowance > 0:
            lines.append(to_line(self._detail.pop()))
            self._allowance -= len(lines[-1])
        self._detail.clear()
        return lines[::-1]

    def close(self) -> None:
        """Send what is left."""
        with self._lock:
            self.flush()
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._sink.close()
