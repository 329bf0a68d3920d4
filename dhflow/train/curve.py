"""The learning curve of one trial: what it reported, in bounded memory, and the lines of ``records.jsonl``."""

from __future__ import annotations

import json
import math

from dhflow.trial import Measurement

MAX_MEASUREMENTS = 10_000
"""Numbers kept of one attempt: a curve finer than any figure, under a megabyte in a history."""

Report = tuple[int, float, dict[str, float]]
"""Step, time (UTC epoch seconds) and the numbers reported for it."""


class Curve:
    """Reports of one trial, thinned evenly so that at most `limit` numbers are kept.

    When the limit is passed, every second kept report is dropped and from then on only every second
    (fourth, eighth, …) new one is kept; the first and the last report always are.

    Parameters
    ----------
    limit : int
        Numbers, not reports: a report with three metrics counts three.
    """

    def __init__(self, limit: int = MAX_MEASUREMENTS) -> None:
        self._limit = limit
        self._kept: list[Report] = []
        self._n_numbers = 0
        self._n_reports = 0
        self._stride = 1
        self._last: Report | None = None
        self._from_zero = False

    def add(self, step: int, time: float, values: dict[str, float]) -> bool:
        """Take a report in; the result says whether it was kept (a thinned curve skips some)."""
        report = (step, time, values)
        self._last = report
        self._from_zero |= step == 0
        is_kept = self._n_reports % self._stride == 0
        self._n_reports += 1
        if is_kept:
            self._kept.append(report)
            self._n_numbers += len(values)
            while self._n_numbers > self._limit and len(self._kept) > 1:
                self._kept = self._kept[::2]
                self._stride *= 2
                self._n_numbers = sum(len(each[2]) for each in self._kept)
        return is_kept

    @property
    def skipped_last(self) -> Report | None:
        """The last report if thinning left it out."""
        return self._last if self._kept and self._last is not self._kept[-1] else None

    @property
    def last_step(self) -> int | None:
        """The step of the last report."""
        return None if self._last is None else self._last[0]

    @property
    def budget_reached(self) -> float | None:
        """How many units of budget the reported steps stand for, or None without reports.

        A step is the number of units finished when it is reported: 1 after the first epoch. A trial that
        reports a step 0 counts from 0, so its step k stands for k + 1 units.
        """
        return None if self._last is None else float(self._last[0] + self._from_zero)

    def measurements(self) -> tuple[Measurement, ...]:
        """Return the kept numbers, in the order of the reports."""
        reports = self._kept if self.skipped_last is None else [*self._kept, self.skipped_last]
        return tuple(
            Measurement(step, time, name, value) for step, time, values in reports for name, value in values.items()
        )


def to_line(report: Report) -> bytes:
    """Return a report as a line of ``records.jsonl``: strict JSON, so NaN and infinities are strings."""
    step, time, values = report
    strict = {name: value if math.isfinite(value) else str(value) for name, value in values.items()}
    return json.dumps({"step": step, "time": time, "values": strict}).encode() + b"\n"


def time_limit_line(time: float, left_s: float) -> bytes:
    """Return the line that says how long an attempt may go on; a :class:`~dhflow.monitor.record.TimeLimit`."""
    data = {"record": "time_limit", "time": time, "left_s": left_s}
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Report | None:
    """Return the report in a line of ``records.jsonl``, or None if the line is torn or is no report.

    What else the monitor writes there is none: a report is a reading of an epoch
    (:mod:`dhflow.monitor.line`). A training script may leave out ``time`` and write its numbers beside the step:
    ``{"step": 3, "val_loss": 0.5}``.
    """
    # Here: a worker that only writes reports does without NumPy.
    from dhflow.monitor.line import from_line as record_from_line
    from dhflow.monitor.record import Reading

    record = record_from_line(line)
    if not isinstance(record, Reading) or record.per != "epoch":
        return None
    return record.step, record.time, dict(record.values)
