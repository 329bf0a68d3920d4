"""The handle that an objective gets: what it is to do, and how it talks back while it runs."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dhflow.errors import ObjectiveError
from dhflow.train.attempt_directory import EPOCH_LOOK_INTERVAL_S, RECORDS, STOP, make_directory
from dhflow.train.curve import Curve, time_limit_line, to_line
from dhflow.train.deadline import block_ends
from dhflow.train.records_file import RecordsFile
from dhflow.train.task import Task
from dhflow.trial import Measurement

if TYPE_CHECKING:
    from dhflow.monitor.channel import Channel
    from dhflow.train.channel import WorkerChannel

STOP_CHECK_INTERVAL_S = 0.2
"""Least time between two looks for the driver's stop file: a step of training may take microseconds."""


class TrialContext:
    """One trial as its objective sees it, on a worker.

    Made by dhflow and given to an objective that takes two positional parameters,
    ``objective(config, trial)``. Its methods may be called from several threads.

    Parameters
    ----------
    task : Task
    prepared : object, optional
        What the study's ``per_worker`` function returned in this process.
    clock, monotonic : callable, optional
        UTC epoch seconds and a clock that never jumps.
    """

    def __init__(
        self,
        task: Task,
        *,
        prepared: Any = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        self._clock = clock
        self._monotonic = monotonic
        # Re-entrant: a timeout's exception may strike between taking the lock and entering its block.
        self._lock = threading.RLock()
        self._curve = Curve()
        self._records: RecordsFile | None = None
        self._channel: WorkerChannel | None = None
        # Elsewhere each report is a line in a file, and the channel is made for those who ask for it.
        self._needs_channel = task.settings.channel is not None or (
            task.directory is None and task.settings.policy is not None
        )
        self._is_last_written = True
        self._is_closed = False
        self._has_directory = False
        self._temporary: Path | None = None
        self._limit_ends: float | None = None
        self._block_ends = block_ends()
        self._checked_at = -math.inf
        self._is_epoch_over = False
        self._was_told_to_stop = False
        self._was_asked_to_stop = False
        self.config: dict[str, Any] = dict(task.config)
        """The trial's config, a copy of its own; inactive parameters are absent."""
        self.prepared: Any = prepared
        """What the study's ``per_worker`` function returned in this process, or None."""

    def __repr__(self) -> str:
        return f"TrialContext(trial_id={self.trial_id}, attempt={self.attempt}, budget={self.budget})"

    @property
    def trial_id(self) -> int:
        """The trial's number in its study, from 0."""
        return self._task.trial_id

    @property
    def attempt(self) -> int:
        """Which try of the trial this is, from 1."""
        return self._task.attempt

    @property
    def budget(self) -> float | None:
        """Units of the problem's budget to spend; None if the problem declares no budget."""
        return self._task.full_or_own_budget

    @property
    def seed(self) -> int:
        """The trial's own seed, in [0, 2**31); the same in every attempt."""
        return self._task.seed

    @property
    def dir(self) -> Path:
        """The attempt's directory, for checkpoints and other files; made when first asked for.

        In a study without files it is temporary and removed when the trial ends.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        with self._lock:
            if self._task.directory is not None:
                self._make_directory(self._task.directory)
                return Path(self._task.directory)
            if self._temporary is None:
                self._temporary = Path(tempfile.mkdtemp(prefix=f"dhflow-trial-{self.trial_id}-"))
            return self._temporary

    @property
    def continues(self) -> Path | None:
        """The directory of the attempt that this trial goes on from, or None; absent if that kept no files."""
        return None if self._task.continues is None else Path(self._task.continues)

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the trial's time limit, the study's end or that of the worker's batch job, whichever is first.

        Negative once it has passed; None when nothing of it is known.
        """
        left = []
        if self._block_ends is not None:
            left.append(self._block_ends - self._clock())
        if self._task.deadline is not None:
            left.append(self._task.deadline - self._clock())
        if self._limit_ends is not None:
            left.append(self._limit_ends - self._monotonic())
        return min(left, default=None)

    @property
    def channel(self) -> Channel:
        """The way for records of the monitor to the driver, and for what the driver asks of the trial.

        Readings of epochs that are sent here count as reported.
        """
        with self._lock:
            if self._channel is None:
                from dhflow.train.trial_channel import make_channel

                self._channel = make_channel(self._task, self)
            return self._channel

    def report(self, step: int, **metrics: float) -> None:
        """Report numbers of the running trial; they become its learning curve.

        Each report is on disk when this returns, so that a trial that is killed keeps its curve. At most
        10,000 numbers of a trial are kept; a longer curve is thinned evenly.

        Parameters
        ----------
        step : int
            Units of budget finished so far: 1 after the first epoch. Counting from 0 is understood too.
        **metrics : float
            Any numbers, NaN and infinities too.

        Raises
        ------
        ObjectiveError
            If `step` is no integer of at least 0 or a metric is no number.
        """
        checked = _step(step)
        values = {name: _number(name, value) for name, value in metrics.items()}
        now = self._clock()
        with self._lock:
            # Not after the end, in a thread that outlived its trial.
            self._take_report(checked, now, values)

    def _take_report(self, step: int, at: float, values: dict[str, float]) -> None:
        if self._is_closed:
            return
        self._is_epoch_over = True
        if self._channel is not None:
            self._channel.is_epoch_over = True
        self._is_last_written = self._curve.add(step, at, values)
        if self._is_last_written:
            self._append(to_line((step, at, values)))
        if self._needs_channel:
            from dhflow.train.trial_channel import put_report

            put_report(self, step, at, values)

    def should_stop(self, *, needs_s: float = 0.0) -> bool:
        """Tell whether the trial should end now and return its value so far.

        True once the driver asked for it (looked up after an epoch was reported, else at most five times a
        second) or :attr:`time_left_s` is used up, and ever after. A trial that was told so and then returns a value is
        STOPPED: its value belongs to the budget that it reported, unless that is the whole budget.

        Parameters
        ----------
        needs_s : float
            How long the trial's next step takes: whether it still fits in before :attr:`time_left_s` is used up,
            where a trial that returns too late has no value.
        """
        if self._was_told_to_stop:
            return True
        now = self._monotonic()
        if now - self._checked_at >= (EPOCH_LOOK_INTERVAL_S if self._is_epoch_over else STOP_CHECK_INTERVAL_S):
            self._checked_at, self._is_epoch_over = now, False
            left = self.time_left_s
            self._was_asked_to_stop = self._was_asked_to_stop or self._has_stop_file() or self._has_stop_control()
            self._was_told_to_stop = (left is not None and left <= needs_s) or self._was_asked_to_stop
        return self._was_told_to_stop

    def _has_stop_file(self) -> bool:
        return self._task.directory is not None and os.path.exists(f"{self._task.directory}/{STOP}")  # noqa: PTH110

    def _has_stop_control(self) -> bool:
        if self._channel is None and not self._needs_channel:
            return False
        from dhflow.train.trial_channel import is_asked_to_stop

        return is_asked_to_stop(self)

    def _make_directory(self, directory: str) -> None:
        # Once: an objective may remove it, as scripts do that clean up.
        if not self._has_directory:
            make_directory(directory)
            self._has_directory = True

    def _append(self, line: bytes) -> None:
        if self._task.directory is None:
            return
        # A report is worth less than the trial: on a full disk it stays in memory and goes home with the result.
        with contextlib.suppress(OSError):
            self._records_file(self._task.directory).append(line)

    def _records_file(self, directory: str) -> RecordsFile:
        if self._records is None:
            self._make_directory(directory)
            records = RecordsFile(f"{directory}/{RECORDS}")
            left_s = self.time_left_s
            if left_s is not None:
                # The driver does not know when a queue has let the trial begin, nor when the worker's job ends.
                records.append(time_limit_line(self._clock(), left_s))
            self._records = records
        return self._records


class Summary(NamedTuple):
    """What a trial's context knows at its end."""

    measurements: tuple[Measurement, ...]
    last_step: int | None
    budget_reached: float | None
    was_told_to_stop: bool
    was_asked_to_stop: bool = False
    records: tuple[dict[str, Any], ...] = ()
    findings: tuple[dict[str, Any], ...] = ()


def begin_limit(context: TrialContext, limit_s: float) -> None:
    """Let the trial's time limit run from now on."""
    context._limit_ends = context._monotonic() + limit_s


def close_context(context: TrialContext) -> Summary:
    """End a trial's reporting and remove its directory if that is temporary; may be called again."""
    with context._lock:
        if not context._is_closed:
            if context._channel is not None:
                from dhflow.train.trial_channel import close_channel

                close_channel(context)
            context._is_closed = True
            last = context._curve.skipped_last
            if last is not None and not context._is_last_written:
                context._append(to_line(last))
            if context._records is not None:
                context._records.close()
            if context._temporary is not None:
                shutil.rmtree(context._temporary, ignore_errors=True)
        curve = context._curve
        summary = Summary(
            curve.measurements(),
            curve.last_step,
            curve.budget_reached,
            context._was_told_to_stop,
            context._was_asked_to_stop,
        )
        if context._channel is None:
            return summary
        from dhflow.train.trial_channel import brought_home

        records, findings = brought_home(context._channel)
        return summary._replace(records=records, findings=findings)


def _step(step: int) -> int:
    if not isinstance(step, bool):
        try:
            index = operator.index(step)
        except TypeError:
            pass
        else:
            if index >= 0:
                return index
    raise ObjectiveError(f"trial.report: the step must be an integer of at least 0, not {step!r}")


def _number(name: str, value: object) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        raise ObjectiveError(f"trial.report: {name!r} must be a number, not {type(value).__name__} {value!r:.80}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"trial.report: {name!r} must be one number, not {type(value).__name__} {value!r:.80}"
        raise ObjectiveError(message) from error
