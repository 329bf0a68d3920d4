"""How a trial becomes a call on an executor, and what its future means when it is done."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from dhflow.errors import ExecutionError, ObjectiveError
from dhflow.flow.message import Finished, Lost
from dhflow.flow.pool import Pool
from dhflow.flow.run_directory import RunDirectory
from dhflow.objective import Objective, read_returned
from dhflow.train import (
    EvaluationSettings,
    Task,
    evaluate,
    last_step,
    read_measurements,
    read_result,
    read_start,
    timeout_failure,
)
from dhflow.train.packed import evaluate_packed, pack_task, unpack_result
from dhflow.trial import Trial, TrialFailure, TrialResult, TrialStatus

_FATAL = ("BadStateException", "ScalingFailed", "DataFlowKernelShutdownError")
"""Parsl's errors after which no task of the executor will ever run."""

HARVEST_AFTER_S = 3.0
"""A result that lies in its file for so long and has not come home will not come any more."""

THREAD_GRACE_S = 0.5
UNHEARD_S = 30.0
"""Beyond its limit and the grace, a trial whose worker says nothing counts as ended."""


class Call(ABC):
    """Runs trials through one executor."""

    @abstractmethod
    def submit(self, trial: Trial, deadline: float | None) -> Future[Any]:
        """Hand a trial's current attempt to the executor; `deadline` (epoch seconds) is when the session ends."""

    @abstractmethod
    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:
        """Say what a done future means.

        Raises
        ------
        ExecutionError
            If no trial can run any more.
        """

    def look_after(self, trial: Trial) -> Finished | Lost | None:
        """Say what is known of a running attempt whose future is not done: its result, its end, or nothing."""
        del trial
        return None


class EvaluateCall(Call):
    """Calls the user's function or command through :func:`dhflow.train.evaluate`.

    Parameters
    ----------
    pool : Pool
    settings : EvaluationSettings
    run_directory : RunDirectory
    """

    def __init__(self, pool: Pool, settings: EvaluationSettings, run_directory: RunDirectory) -> None:
        self._pool = pool
        self._settings = settings
        self._directory = run_directory

    def submit(self, trial: Trial, deadline: float | None) -> Future[Any]:  # noqa: D102 - see Call
        number = len(trial.attempts)
        parent = trial.parent_id
        task = Task(
            trial_id=trial.trial_id,
            attempt=number,
            config=trial.config,
            budget=trial.budget,
            seed=trial.seed,
            directory=self._directory.attempt(trial.trial_id, number),
            continues=None if parent is None else self._directory.attempt(parent, 1),
            deadline=deadline,
            settings=self._settings,
        )
        if self._pool.is_in_process:
            return self._pool.executor.submit(evaluate, task)
        return self._pool.executor.submit(evaluate_packed, pack_task(task))

    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:  # noqa: D102 - see Call
        error = future.exception()
        if error is None:
            result = future.result()
            return Finished(result if self._pool.is_in_process else unpack_result(result))
        directory = self._directory.last_attempt(trial)
        harvested = read_result(directory)
        if harvested is not None:  # the worker died after its work was done
            return Finished(harvested)
        _refuse_fatal(error)
        return self._lost(trial, directory, error)

    def look_after(self, trial: Trial) -> Finished | Lost | None:
        """Harvest a result that the executor lost, and notice an attempt that outlived its limit unheard."""
        directory = self._directory.last_attempt(trial)
        result = read_result(directory)
        if result is not None:
            # A worker killed in its next trial takes the last result with it: HTEX sends from a thread of the worker.
            return Finished(result) if time.time() - result.ended_at > HARVEST_AFTER_S else None
        if self._settings.timeout_s is None:
            return None
        start = read_start(directory)
        grace_s = THREAD_GRACE_S if self._pool.is_in_process else self._settings.timeout_grace_s + UNHEARD_S
        if start is None or time.time() - start.time < self._settings.timeout_s + grace_s:
            return None
        failure = TrialFailure(
            "TrialTimeoutError",
            f"did not end after {self._settings.timeout_s:g} s, and nothing can end it",
            host=start.host,
            last_step=last_step(directory),
        )
        measurements = read_measurements(directory)
        number, worker = len(trial.attempts), str(start.pid)
        return Lost(
            trial.trial_id, number, failure, start.time, worker, measurements, keeps_slot=self._pool.is_in_process
        )

    def _lost(self, trial: Trial, directory: Path, error: BaseException) -> Lost:
        start = read_start(directory)
        host = start.host if start else str(getattr(error, "hostname", ""))
        signal = self._pool.exit_signal(host, start.pid) if start else ""
        how = f" ({signal})" if signal else ""
        failure = timeout_failure(directory) or TrialFailure(
            "TrialLostError",
            f"the worker was lost{how}: {error}",
            signal=signal,
            last_step=last_step(directory),
        )
        failure = replace(failure, host=host)
        return Lost(
            trial.trial_id,
            len(trial.attempts),
            failure,
            started_at=start.time if start else None,
            worker=str(start.pid) if start else "",
            measurements=read_measurements(directory),
        )


class AppCall(Call):
    """Calls an existing Parsl app as ``app(**config)``: no reports, no timeout, no files.

    Parameters
    ----------
    app : callable
        A ``python_app`` or ``join_app``.
    objectives : tuple of Objective
    arguments : dict
        Further keyword arguments of every call; futures among them are Parsl's to wait for.
    """

    def __init__(self, app: Any, objectives: tuple[Objective, ...], arguments: dict[str, Any]) -> None:
        self._app = app
        self._objectives = objectives
        self._arguments = arguments

    def submit(self, trial: Trial, deadline: float | None) -> Future[Any]:  # noqa: D102 - see Call
        del deadline
        future: Future[Any] = self._app(**trial.config, **self._arguments)
        return future

    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:  # noqa: D102 - see Call
        number, submitted_at = len(trial.attempts), trial.attempts[-1].submitted_at
        error = future.exception()
        if error is not None and _is_loss(error):
            _refuse_fatal(error)
            failure = TrialFailure("TrialLostError", str(error), host=str(getattr(error, "hostname", "")))
            return Lost(trial.trial_id, number, failure)
        # Parsl does not say when the app began; its submission is the nearest known moment.
        result = TrialResult(trial.trial_id, number, TrialStatus.FAILED, submitted_at, time.time())
        try:
            values, metrics = read_returned(future.result(), self._objectives)
        except ObjectiveError as wrong:
            failure = TrialFailure("ObjectiveError", str(wrong))
        except Exception as raised:  # noqa: BLE001 - whatever the user's app raises is that trial's failure
            failure = _failure_of(raised)
        else:
            return Finished(replace(result, status=TrialStatus.COMPLETED, values=values, metrics=metrics))
        return Finished(replace(result, failure=failure))


def _failure_of(error: Exception) -> TrialFailure:
    frames = traceback.extract_tb(error.__traceback__)
    location = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    text = "".join(traceback.format_exception(error))
    return TrialFailure(type(error).__name__, str(error), text, location)


def _is_loss(error: BaseException) -> bool:
    if isinstance(error, BrokenExecutor | CancelledError):
        return True
    return type(error).__module__.startswith("parsl.executors")


def _refuse_fatal(error: BaseException) -> None:
    if isinstance(error, BrokenExecutor) or type(error).__name__ in _FATAL:
        raise ExecutionError(f"no more trials can run: {error}") from error
