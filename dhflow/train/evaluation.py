"""One attempt of a trial, from its task to its result; what a worker calls.

Order of events: the start noted; output redirected; the objective loaded and the worker prepared; the time
limit armed; the objective called; everything put back; the result noted; the result returned. Whatever the
objective does short of ending its process becomes a result.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dhflow.errors import ObjectiveError, TrialTimeoutError
from dhflow.objective import MetricValue, read_returned
from dhflow.train.accelerators import number_accelerators_of_worker
from dhflow.train.attempt_directory import STOP, make_directory, read_curve
from dhflow.train.context import Summary, TrialContext, close_context
from dhflow.train.failure import describe, is_interrupt, is_retryable
from dhflow.train.loading import location_of
from dhflow.train.run_command import CommandFailedError, run_command
from dhflow.train.run_function import run_function
from dhflow.train.task import CommandSource, FunctionSource, Task
from dhflow.train.threads import limit_threads_of_worker
from dhflow.train.worker_files import WorkerFiles, worker_files
from dhflow.train.worker_notes import host_name
from dhflow.trial import Measurement, TrialFailure, TrialResult, TrialStatus

_is_prepared = False


@dataclass(slots=True)
class _Outcome:
    status: TrialStatus
    values: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    failure: TrialFailure | None = None
    budget: float | None = None
    records: tuple[dict[str, Any], ...] = ()
    findings: tuple[dict[str, Any], ...] = ()


def evaluate(task: Task) -> TrialResult:
    """Run one attempt of a trial and return what became of it.

    Parameters
    ----------
    task : Task

    Returns
    -------
    TrialResult
        COMPLETED with the objective's values. STOPPED, with the budget that the reported steps reached,
        if the objective was told to stop and then returned a value before the end of its budget.
        FAILED if it raised, called ``sys.exit``, returned no finite number or outlived its limit. LOST,
        to be tried again, if the worker could not do its part: a full disk, a run directory
        that cannot be written, an objective that cannot be read.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C in the main thread; an objective that raises it itself has failed. No Exception is raised.
    """
    started_at = time.time()
    files = None if task.settings.workers is None else worker_files(task.settings.workers)
    try:
        outcome = _begin_and_run(task, files)
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver must hear of it
        outcome = _Outcome(TrialStatus.LOST, failure=describe(error))
    result = TrialResult(
        trial_id=task.trial_id,
        attempt=task.attempt,
        status=outcome.status,
        started_at=started_at,
        ended_at=time.time(),
        values=outcome.values,
        metrics=outcome.metrics,
        measurements=outcome.measurements,
        failure=outcome.failure,
        host=host_name(),
        worker=_worker_name(),
        budget=outcome.budget,
        records=outcome.records,
        findings=outcome.findings,
    )
    if files is not None:
        # The result goes home in any case; the note is for a driver that is not there to hear it.
        with contextlib.suppress(OSError, ValueError, TypeError):
            files.end(result)
    return result


def _begin_and_run(task: Task, files: WorkerFiles | None) -> _Outcome:
    _prepare_process()
    if files is not None:
        try:
            files.begin(task)
        except OSError as error:
            failure = describe(error, message=f"the run directory cannot be written: {error}")
            return _Outcome(TrialStatus.LOST, failure=failure)
    source = task.settings.source
    return _run_command(source, task) if isinstance(source, CommandSource) else _run_function(source, task, files)


def _prepare_process() -> None:
    global _is_prepared  # noqa: PLW0603 - once per process, before anything heavy is imported
    if not _is_prepared:
        _is_prepared = True
        limit_threads_of_worker()
        number_accelerators_of_worker()


def _worker_name() -> str:
    thread = threading.current_thread()
    return str(os.getpid()) if thread is threading.main_thread() else f"{os.getpid()}-{thread.name}"


def _run_function(source: FunctionSource, task: Task, files: WorkerFiles | None) -> _Outcome:
    context = TrialContext(task)
    try:
        values, metrics = run_function(source, task, context, files)
    except BaseException as error:
        summary = close_context(context)
        if is_interrupt(error) and threading.current_thread() is threading.main_thread():
            raise
        return _failed(error, summary, location_of(source))
    return _ended(values, metrics, task.full_or_own_budget, close_context(context))


def _run_command(source: CommandSource, task: Task) -> _Outcome:
    with _attempt_files(task) as directory:
        try:
            returned, settings = run_command(source, task, directory), task.settings
            values, metrics = read_returned(returned, settings.objectives, settings.constraints)
        except CommandFailedError as error:
            summary = _summary(directory, task)
            status = TrialStatus.LOST if error.is_disk_full else TrialStatus.FAILED
            failure = error.to_failure(summary.last_step)
            return _Outcome(
                status,
                measurements=summary.measurements,
                failure=failure,
                records=summary.records,
                findings=summary.findings,
            )
        except Exception as error:  # noqa: BLE001 - as for a function
            return _failed(error, _summary(directory, task))
        return _ended(values, metrics, task.full_or_own_budget, _summary(directory, task))


@contextlib.contextmanager
def _attempt_files(task: Task) -> Iterator[Path]:
    if task.directory is not None:
        make_directory(task.directory)
        yield Path(task.directory)
    else:
        with tempfile.TemporaryDirectory(prefix=f"dhflow-trial-{task.trial_id}-") as directory:
            yield Path(directory)


def _summary(directory: Path, task: Task) -> Summary:
    # A command that found its stop file ends early; one that ignores it reports the whole budget.
    curve = read_curve(directory)
    is_asked = (directory / STOP).exists()
    summary = Summary(curve.measurements(), curve.last_step, curve.budget_reached, is_asked, is_asked)
    if task.directory is not None or task.settings.policy is None:
        return summary
    from dhflow.train.local_watch import judged_files

    records, findings = judged_files(task, directory)
    return summary._replace(records=records, findings=findings)


def _ended(
    values: dict[str, float], metrics: dict[str, MetricValue], budget: float | None, summary: Summary
) -> _Outcome:
    outcome = _Outcome(
        TrialStatus.COMPLETED,
        values,
        metrics,
        summary.measurements,
        records=summary.records,
        findings=summary.findings,
    )
    reached = summary.budget_reached
    has_spent_all = reached is not None and budget is not None and reached >= budget
    if summary.was_told_to_stop and not has_spent_all:
        outcome.status = TrialStatus.STOPPED
        outcome.budget = reached
    return outcome


def _failed(error: BaseException, summary: Summary, location: str = "") -> _Outcome:
    outcome = _Outcome(
        TrialStatus.FAILED,
        measurements=summary.measurements,
        records=summary.records,
        findings=summary.findings,
    )
    # A loss that has overflowed is what it was stopped for.
    if summary.was_asked_to_stop and isinstance(error, ObjectiveError):
        outcome.status, outcome.budget = TrialStatus.STOPPED, summary.budget_reached
        return outcome
    if not isinstance(error, TrialTimeoutError) and is_retryable(error):
        outcome.status = TrialStatus.LOST
    outcome.failure = describe(error, last_step=summary.last_step, location=location)
    return outcome
