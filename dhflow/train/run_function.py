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
from dhflow.train.attempt_directory import OUTPUT, TIMEOUT
from dhflow.train.capture import capture_output
from dhflow.train.context import TrialContext, begin_limit
from dhflow.train.failure import message_of
from dhflow.train.loading import Loaded
from dhflow.train.task import EvaluationSettings, FunctionSource, Task
from dhflow.train.timeout import TimeLimit


def run_function(
    source: FunctionSource, task: Task, context: TrialContext
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
    output, timeout = _files(task.directory)
    with _same_working_directory(), _captured(output, settings.output_limit_bytes):
        loaded = loading.load(source)
        context.prepared = loading.prepare(source.per_worker)
        if settings.timeout_s is None:
            returned = loaded(dict(task.config), context)
        else:
            returned = _call_limited(loaded, context, settings, settings.timeout_s, timeout)
        return read_returned(returned, settings.objectives)


def _call_limited(
    loaded: Loaded, context: TrialContext, settings: EvaluationSettings, limit_s: float, path: str | None
) -> object:
    limit = TimeLimit(limit_s, settings.timeout_grace_s, path) if _is_main_thread() else None
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


def _files(directory: str | None) -> tuple[str | None, str | None]:
    return (None, None) if directory is None else (f"{directory}/{OUTPUT}", f"{directory}/{TIMEOUT}")


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _captured(path: str | None, limit_bytes: int) -> Iterator[None]:
    capture = capture_output(path, limit_bytes)
    try:
        capture.__enter__()
    except OSError as error:
        raise TrialLostError(f"the attempt's directory cannot be written: {error}") from error
    try:
        yield
    finally:
        capture.__exit__(None, None, None)


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
