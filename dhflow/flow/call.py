"""How a trial becomes a call on an executor, and what its future means when it is done."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import replace
from typing import Any

from dhflow.constraint import Constraint
from dhflow.errors import ExecutionError, ObjectiveError
from dhflow.flow import globus
from dhflow.flow.message import Finished, Lost
from dhflow.flow.overtaken import Overtaken
from dhflow.flow.pool import Pool
from dhflow.flow.resources import Resources, resources_of
from dhflow.flow.run_directory import RunDirectory, workers_path
from dhflow.objective import Objective, read_returned
from dhflow.train import (
    EvaluationSettings,
    Task,
    WorkerNotes,
    evaluate,
    last_step,
    read_measurements,
    timeout_failure,
)
from dhflow.train.packed import evaluate_packed, pack_settings, pack_task, unpack_result
from dhflow.trial import Trial, TrialFailure, TrialResult, TrialStatus

_FATAL = ("BadStateException", "ScalingFailed", "DataFlowKernelShutdownError")
"""Parsl's errors after which no task of the executor will ever run."""

HARVEST_AFTER_S = 3.0
"""A result that lies in its file for so long and has not come home will not come any more."""

THREAD_GRACE_S = 0.5
UNHEARD_S = 30.0
"""Beyond its limit and the grace, a trial whose worker says nothing counts as ended."""


_FIRST_LOOK_S = 10.0
"""An attempt is first looked at this long after its begin, or sooner."""

_LONGEST_GAP_S, _LONGEST_GAP_PER_TRIAL_S = 3.5, 0.01
"""When the last look was longer ago than this, the driver was stopped, and its threads with it (Ctrl-Z)."""


class Call(ABC):
    """Runs trials through one executor."""

    @abstractmethod
    def submit(self, trial: Trial, parent: Trial | None, deadline: float | None) -> Future[Any]:
        """Hand a trial's current attempt to the executor.

        Parameters
        ----------
        trial : Trial
        parent : Trial, optional
            The trial that it goes on from.
        deadline : float, optional
            UTC epoch seconds when the session ends.
        """

    @abstractmethod
    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:
        """Say what a done future means.

        Raises
        ------
        ExecutionError
            If no trial can run any more.
        """

    def look_after(self, running: Sequence[Trial]) -> list[Finished | Lost]:
        """Find those of the running attempts, whose futures are not done, that have ended all the same."""
        del running
        return []


class EvaluateCall(Call):
    """Calls the user's function or command through :func:`dhflow.train.evaluate`.

    Parameters
    ----------
    pool : Pool
    settings : EvaluationSettings
    run_directory : RunDirectory
    resources : mapping or callable, optional
        What each trial asks of a Parsl executor; see :mod:`dhflow.flow.resources`.
    """

    def __init__(
        self,
        pool: Pool,
        settings: EvaluationSettings,
        run_directory: RunDirectory,
        resources: Resources | None = None,
    ) -> None:
        self._pool = pool
        self._resources = resources
        self._settings = settings
        self._packed_settings = pack_settings(settings)
        self._directory = run_directory
        self._notes = WorkerNotes(workers_path(run_directory.path))
        self._open: dict[int, int] = {}
        self._begun: dict[int, float] = {}
        self._submitted: dict[int, float] = {}
        self._looked_at = time.monotonic()
        self._awake_s = 0.0
        self._overtaken = Overtaken()

    def submit(self, trial: Trial, parent: Trial | None, deadline: float | None) -> Future[Any]:  # noqa: D102 - see Call
        number = self._open[trial.trial_id] = len(trial.attempts)
        self._submitted[trial.trial_id] = self._awake_s
        shares_files = self._pool.shares_files
        task = Task(
            trial_id=trial.trial_id,
            attempt=number,
            config=trial.config,
            budget=trial.budget,
            seed=trial.seed,
            directory=self._directory.attempt(trial.trial_id, number) if shares_files else None,
            # Its last attempt is the one that ended it: an earlier one was lost.
            continues=str(self._directory.last_attempt(parent)) if shares_files and parent is not None else None,
            deadline=deadline,
            settings=self._settings,
        )
        if self._pool.is_in_process:
            return self._pool.executor.submit(evaluate, task)
        packed = pack_task(task, self._packed_settings)
        asked = {} if self._resources is None else resources_of(self._resources, trial.config)
        if trial.priority and self._pool.takes_priority:
            asked["priority"] = trial.priority
        specification = {"parsl_resource_specification": asked} if asked else {}
        future = self._pool.executor.submit(evaluate_packed, packed, **specification)
        if not shares_files:
            self._overtaken.submitted(trial.trial_id, number, future)
        return future

    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:  # noqa: D102 - see Call
        error = future.exception()
        self._overtaken.ended(trial.trial_id, len(trial.attempts))
        if error is None:
            self._forget(trial.trial_id)
            result = future.result()
            return Finished(result if self._pool.is_in_process else unpack_result(result))
        self._notes.refresh(self._open)
        harvested = self._harvest(trial)
        if harvested is not None:  # the worker died after its work was done
            return Finished(harvested)
        _refuse_fatal(error)
        if self._pool.failure:  # an executor that was given up refuses what it is handed with errors of many kinds
            raise ExecutionError(f"no more trials can run: {self._pool.failure}") from error
        failure = globus.too_large(error)
        return self._lost(trial, error) if failure is None else Finished(_failed(trial, failure))

    def look_after(self, running: Sequence[Trial]) -> list[Finished | Lost]:
        """Harvest results that the executor lost, and notice attempts that outlived their limit unheard.

        Raises
        ------
        ExecutionError
            If no trial can run any more.
        """
        if self._pool.failure:
            raise ExecutionError(f"no more trials can run: {self._pool.failure}")
        self._pool.mind_clock()
        self._follow_time(len(running))
        now = time.time()
        if not any(abs(now - each.attempts[-1].submitted_at) > HARVEST_AFTER_S for each in running):
            return []
        self._notes.refresh(self._open)
        found = (self._look_after(each, now) for each in running)
        return [each for each in found if each is not None]

    def _forget(self, trial_id: int) -> None:
        for each in (self._open, self._submitted, self._begun):
            each.pop(trial_id, None)

    def _follow_time(self, n_running: int) -> None:
        before, self._looked_at = self._looked_at, time.monotonic()
        gap_s = self._looked_at - before
        if gap_s < _LONGEST_GAP_S + _LONGEST_GAP_PER_TRIAL_S * n_running:
            self._awake_s += gap_s

    def _look_after(self, trial: Trial, now: float) -> Finished | Lost | None:
        noted = self._notes.result(trial.trial_id, len(trial.attempts))
        if noted is None:
            return self._unheard(trial)
        # A worker killed in its next trial takes the last result with it: HTEX sends from a thread of the worker.
        # Either way: a clock that was put back must not keep the result for as long.
        result = self._harvest(trial) if abs(now - noted.ended_at) > HARVEST_AFTER_S else None
        return None if result is None else Finished(result)

    def _harvest(self, trial: Trial) -> TrialResult | None:
        number = len(trial.attempts)
        result = self._notes.result(trial.trial_id, number)
        if result is None:
            return None
        self._forget(trial.trial_id)
        return replace(result, measurements=read_measurements(self._directory.last_attempt(trial)))

    def _unheard(self, trial: Trial) -> Lost | None:
        limit_s, number = self._settings.timeout_s, len(trial.attempts)
        if limit_s is None:
            return None
        if not self._pool.shares_files:
            return self._forgotten(trial, limit_s)
        start = self._notes.start(trial.trial_id, number)
        if start is None:
            return None
        grace_s = THREAD_GRACE_S if self._pool.is_in_process else self._settings.timeout_grace_s + UNHEARD_S
        # From when we first saw it begin, by a clock that does not jump: a laptop may sleep, a clock be set.
        since_submitted_s = self._awake_s - self._submitted.get(trial.trial_id, 0.0)
        age_s = min(max(0.0, time.time() - start.time), _FIRST_LOOK_S, since_submitted_s)
        begun = self._begun.setdefault(trial.trial_id, self._awake_s - age_s)
        if self._awake_s - begun < limit_s + grace_s:
            return None
        directory = self._directory.last_attempt(trial)
        failure = TrialFailure(
            "TrialTimeoutError",
            f"did not end after {limit_s:g} s, and nothing can end it",
            host=start.host,
            last_step=last_step(directory),
        )
        self._forget(trial.trial_id)
        return Lost(
            trial.trial_id,
            number,
            failure,
            started_at=start.time,
            worker=str(start.pid),
            measurements=read_measurements(directory),
            keeps_slot=self._pool.is_in_process,
        )

    def _forgotten(self, trial: Trial, limit_s: float) -> Lost | None:
        """Give up an attempt that began so long ago that its worker would have ended it."""
        if self._overtaken.overtaken_for_s(trial.trial_id) < limit_s + self._settings.timeout_grace_s + UNHEARD_S:
            return None
        number = len(trial.attempts)
        self._overtaken.ended(trial.trial_id, number)
        self._forget(trial.trial_id)
        failure = TrialFailure(
            "TrialLostError", f"no word of it, though its limit is {limit_s:g} s and later trials came home long ago"
        )
        return Lost(trial.trial_id, number, failure)

    def _lost(self, trial: Trial, error: BaseException) -> Lost:
        number, directory = len(trial.attempts), self._directory.last_attempt(trial)
        start = self._notes.start(trial.trial_id, number)
        self._notes.save_output(trial.trial_id, number, directory)
        self._forget(trial.trial_id)
        reached = last_step(directory)
        host = start.host if start else str(getattr(error, "hostname", ""))
        signal = self._pool.exit_signal(host, start.pid) if start else ""
        how = f" ({signal})" if signal else ""
        failure = TrialFailure(
            "TrialLostError",
            f"the worker was lost{how}: {globus.text_of(error)}",
            host=host,
            signal=signal,
            last_step=reached,
        )
        last_words = self._notes.last_words(trial.trial_id, number)
        if start and last_words:
            failure = timeout_failure(last_words, start, reached)
        return Lost(
            trial.trial_id,
            number,
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
    constraints : tuple of Constraint
    arguments : dict
        Further keyword arguments of every call; futures among them are Parsl's to wait for.
    """

    def __init__(
        self,
        app: Any,
        objectives: tuple[Objective, ...],
        constraints: tuple[Constraint, ...],
        arguments: dict[str, Any],
    ) -> None:
        self._app = app
        self._objectives = objectives
        self._constraints = constraints
        self._arguments = arguments

    def submit(self, trial: Trial, parent: Trial | None, deadline: float | None) -> Future[Any]:  # noqa: D102 - see Call
        del parent, deadline
        future: Future[Any] = self._app(**trial.config, **self._arguments)
        return future

    def read(self, trial: Trial, future: Future[Any]) -> Finished | Lost:  # noqa: D102 - see Call
        error = future.exception()
        if error is not None and _is_loss(error):
            _refuse_fatal(error)
            failure = TrialFailure("TrialLostError", str(error), host=str(getattr(error, "hostname", "")))
            return Lost(trial.trial_id, len(trial.attempts), failure)
        try:
            values, metrics = read_returned(future.result(), self._objectives, self._constraints)
        except ObjectiveError as wrong:
            failure = TrialFailure("ObjectiveError", str(wrong))
        except Exception as raised:  # noqa: BLE001 - whatever the user's app raises is that trial's failure
            failure = _failure_of(raised)
        else:
            ended = _failed(trial, None)
            return Finished(replace(ended, status=TrialStatus.COMPLETED, values=values, metrics=metrics))
        return Finished(_failed(trial, failure))


def _failed(trial: Trial, failure: TrialFailure | None) -> TrialResult:
    # Nobody says when the attempt began; its submission is the nearest known moment.
    begun = trial.attempts[-1].submitted_at
    return TrialResult(trial.trial_id, len(trial.attempts), TrialStatus.FAILED, begun, time.time(), failure=failure)


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
    globus.refuse_fatal(error)
