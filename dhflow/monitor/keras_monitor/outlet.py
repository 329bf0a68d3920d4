"""Where a callback's records go: channel, file, memory; and the judgement where nobody else judges."""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dhflow.errors import HistoryError
from dhflow.monitor.channel import Channel
from dhflow.monitor.context import Context
from dhflow.monitor.control import Control
from dhflow.monitor.finding import Finding, Light, Severity
from dhflow.monitor.keeper import Keeper
from dhflow.monitor.keras_monitor.run_file import RunFile
from dhflow.monitor.record import Reading, Record, Records
from dhflow.monitor.rules import Judgement, judge
from dhflow.trial import TrialFailure, TrialStatus

FIRST_INTERVAL_S, WRITE_INTERVAL_S = 5.0, 30.0
"""Between the first two writes of the file, and from the fifth one on; the first epoch and the end are always there."""

INTERRUPTED = "Interrupted"


class Outlet:
    """The way out for one run's records.

    Parameters
    ----------
    trial : object, optional
        With ``channel``, ``report`` and ``should_stop``, or some of them.
    path : path, optional
        Of a file of its own.
    context : Context
    reports : bool
        Whether epochs' numbers are reported to the trial.
    show : callable, optional
        Takes a line for people.
    """

    def __init__(
        self,
        trial: Any,
        path: str | Path | None,
        context: Context,
        *,
        reports: bool,
        show: Callable[[str], None] | None,
    ) -> None:
        self.context = context
        self.light = Light.GREEN
        self._trial = trial
        self._reports = reports
        self._show = show
        self._keeper = Keeper()
        self._file = None if path is None else RunFile(path)
        self._write_at, self._interval_s = -math.inf, FIRST_INTERVAL_S
        self._is_over = False
        self._found: dict[tuple[str, Severity], tuple[float, Finding]] = {}

    @property
    def channel(self) -> Channel | None:
        """The trial's; None without one."""
        return getattr(self._trial, "channel", None)

    @property
    def judges(self) -> bool:
        """Whether the run is judged here; a trial's is by its driver."""
        return self._trial is None

    @property
    def records(self) -> Records:
        """The run so far, thinned evenly where it is long."""
        return self._keeper.records

    @property
    def findings(self) -> Sequence[tuple[float, Finding]]:
        """What was found so far, once for each rule and severity: when first, and as it was last seen."""
        return tuple(self._found.values())

    def send(self, records: Sequence[Record]) -> None:
        """Take records in."""
        self._keeper.add(records)
        if self._reports:
            for each in records:
                if isinstance(each, Reading) and each.per == "epoch":
                    self._trial.report(each.step, **each.values)
        channel = self.channel
        if channel is not None:
            # Whoever reports the epochs' numbers to the trial has sent them: they are its learning curve.
            channel.send([each for each in records if not (isinstance(each, Reading) and each.per == "epoch")])

    def controls(self) -> list[Control]:
        """Return what the run is asked to do."""
        channel = self.channel
        found = [] if channel is None else list(channel.controls())
        if self._reports and not any(each.kind == "stop" for each in found):
            should_stop = getattr(self._trial, "should_stop", None)
            if should_stop is not None and should_stop():
                found.append(Control("stop", reason="the trial was told to stop"))
        return found

    def judgement(self) -> Judgement:
        """Return what the rules say about the run so far."""
        judged = judge(self.records, self.context)
        now = time.time()
        for each in judged.findings:
            key = (each.rule, each.severity)
            self._found[key] = (self._found[key][0] if key in self._found else now, each)
        return judged

    def look(self, step: int) -> Judgement:
        """Judge the run and say so when its light has changed."""
        judged = self.judgement()
        if judged.light is not self.light:
            if self._show is not None:
                why = judged.findings[0].text if judged.findings else "nothing is found any more"
                self._show(f"epoch {step}: {judged.light.value}, was {self.light.value}: {why}")
            self.light = judged.light
        return judged

    def write(self, status: TrialStatus = TrialStatus.RUNNING, failure: TrialFailure | None = None) -> None:
        """Write the file, if there is one and it is time; a disk that is full does not end the training."""
        if self._file is None:
            return
        now = time.monotonic()
        if status is TrialStatus.RUNNING and now < self._write_at:
            return
        self._write_at = now + self._interval_s
        self._interval_s = min(2 * self._interval_s, WRITE_INTERVAL_S)
        try:
            self._file.write(self.records, self.findings, self.context, status, failure)
        except HistoryError as error:
            warnings.warn(f"KerasMonitor: {error}", stacklevel=2)

    def interrupt(self, pid: int, why: str = "") -> None:
        """Close the file of a training that has ended before its time, untold; once, and in the process `pid` alone."""
        if self._is_over or pid != os.getpid():  # a forked child has the file of its parent
            return
        why = why or "an exception, Ctrl-C, or the end of its process"
        message = f"the training has ended after epoch {self.records.last_step}, before its end: {why}"
        if self._show is not None:
            self._show(message)
        self.end(TrialStatus.FAILED, TrialFailure(INTERRUPTED, message))

    def end(self, status: TrialStatus, failure: TrialFailure | None = None) -> None:
        """Write what is left, and say what was found."""
        self._is_over = True
        if self.judges:
            judged = self.judgement()
            self.light = judged.light
            if self._show is not None:
                self._show(summary(judged, self.records.last_step))
        self.write(status, failure)

    def with_budget(self, epochs: float | None) -> None:
        """Take the steps of the whole run, where the context does not know them."""
        if self.context.full_budget is None and epochs:
            self.context = replace(self.context, full_budget=float(epochs))


def summary(judged: Judgement, step: int) -> str:
    """Return a judgement for people: the light, and each finding with its advice."""
    lines = [f"{judged.light.value} after {step} epochs" + ("" if judged.findings else ": nothing to say")]
    for finding in judged.findings:
        lines.append(f"  {finding.text}")
        lines += [f"    - {each.text}: {each.expected}" for each in finding.suggestions]
    return "\n".join(lines)


def write_line(line: str) -> None:
    """Write a line to the standard output."""
    sys.stdout.write(f"dhflow monitor: {line}\n")
    sys.stdout.flush()
