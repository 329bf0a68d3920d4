"""Calling one trial's objective: output redirected, the time limit armed around the call and nothing else."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from dhflow.errors import TrialLostError, TrialTimeoutError
from dhflow.objective import MetricValue, read_returned
from dhflow.train import loading
from dhflow.train.attempt_directory import OUTPUT
from dhflow.train.capture import Capture, ProcessCapture, ThreadCapture
from dhflow.train.context import TrialContext, begin_limit
from dhflow.train.failure import message_of
from dhflow.train.loading import Loaded
from dhflow.train.task import EvaluationSettings, FunctionSource, Task
from dhflow.train.timeout import TimeLimit, is_worker_process
from dhflow.train.worker_files import WorkerFiles


def run_function(
    source: FunctionSource, task: Task, context: TrialContext, files: WorkerFiles | None
) -> tuple[dict[str, float], dict[str, MetricValue]]:
    """Call a trial's objective and return its values and metrics.

    Loading the objective and preparing the worker are not counted against the time limit: they happen
    once per worker, and importing a framework may take longer than a trial.

    Raises
    ------
    TrialLostError
        If the log cannot be opened or the objective cannot be read.
    TrialTimeoutError
        If the objective outlived its limit, whether it was interrupted or returned too late.
    ObjectiveError
        If it returned something else than it should.
    BaseException
        Whatever the objective raises.
    """
    settings = task.settings
    with _same_working_directory(), _captured(task, files):
        loaded = loading.load(source)
        context.prepared = loading.prepare(source.per_worker)
        if settings.timeout_s is None:
            returned = loaded(dict(task.config), context)
        else:
            returned = _call_limited(loaded, context, settings, settings.timeout_s, files)
        return read_returned(returned, settings.objectives, settings.constraints)


def _call_limited(
    loaded: Loaded,
    context: TrialContext,
    settings: EvaluationSettings,
    limit_s: float,
    files: WorkerFiles | None,
) -> object:
    limit = _time_limit(limit_s, settings.timeout_grace_s, files) if _is_main_thread() else None
    config = dict(context.config)
    begin_limit(context, limit_s)
    started_at = time.monotonic()
    try:
        try:  # twice, since the alarm may ring in the inner finally
            if limit is not None:
                limit.start()
            returned: object = loaded(config, context)
        finally:
            if limit is not None:
                limit.disarm()
    except BaseException as error:
        if limit is None or not limit.fired or isinstance(error, TrialTimeoutError):
            raise
        text = f"outlived its time limit of {limit_s:g} s, and then raised {type(error).__name__}: {message_of(error)}"
        raise TrialTimeoutError(text) from error
    finally:
        if limit is not None:
            limit.stop()
    took_s = time.monotonic() - started_at
    if took_s > limit_s:
        raise TrialTimeoutError(f"outlived its time limit of {limit_s:g} s: it returned after {took_s:.3g} s")
    return returned


def _time_limit(limit_s: float, grace_s: float, files: WorkerFiles | None) -> TimeLimit:
    if not is_worker_process():
        return TimeLimit(limit_s)
    try:
        return TimeLimit(limit_s, grace_s, 2 if files is None else files.timeout_fd())
    except OSError as error:
        raise TrialLostError(f"the run directory cannot be written: {error}") from error


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _captured(task: Task, files: WorkerFiles | None) -> Capture:
    if task.directory is None:
        return contextlib.nullcontext()
    path, limit_bytes = f"{task.directory}/{OUTPUT}", task.settings.output_limit_bytes
    if not _is_main_thread():
        return ThreadCapture(path, limit_bytes)
    return ProcessCapture(path, limit_bytes, None if files is None else files.spare_log())


@contextlib.contextmanager
def _same_working_directory() -> Iterator[None]:
    """Undo an objective's ``os.chdir``: the worker's next trial would not find its relative paths."""
    before = _working_directory() if _is_main_thread() else None
    try:
        yield
    finally:
        if before is not None and _working_directory() != before:
            with contextlib.suppress(OSError):
                os.chdir(before)


def _working_directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was removed
        return None
