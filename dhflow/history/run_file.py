"""The file of one training run without a search: a history with one trial, which the same commands read."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from dhflow.history.disk import PathLike, history_error, real_path, write_whole
from dhflow.history.event import StudyHeader, StudyRecord
from dhflow.history.journal import Place
from dhflow.history.owner import is_alive
from dhflow.monitor.finding import Finding
from dhflow.monitor.record import Records
from dhflow.objective import Direction, Objective
from dhflow.trial import Attempt, Trial, TrialFailure, TrialSource, TrialStatus

_RUN_ID = "single-run"

_SILENT_S = 3600.0
"""Without a word for so long, and for as long as the run had taken by then, a run of another host counts as over."""


def write_run(
    path: PathLike,
    records: Records,
    findings: Iterable[tuple[float, Finding]] = (),
    *,
    metric: str = "val_loss",
    direction: Direction = "minimize",
    config: Mapping[str, Any] | None = None,
    budget: float | None = None,
    status: TrialStatus = TrialStatus.RUNNING,
    failure: TrialFailure | None = None,
    started_at: float | None = None,
) -> None:
    """Write a run to a file of its own, whole and in one step; called again as the run goes on.

    Parameters
    ----------
    path : path
        An older file is replaced.
    records : Records
    findings : iterable of (float, Finding)
        With the time of each, UTC epoch seconds; as it was last seen. Of a run that has ended, one of an earlier
        step than the last holds no longer.
    metric : str
        What the run is judged by; its best value is the trial's.
    direction : {"minimize", "maximize"}
    config : mapping, optional
        JSON values.
    budget : float, optional
        Epochs of the whole run.
    status : TrialStatus
        RUNNING until the run has ended; this process is taken for the one that runs it.
    failure : TrialFailure, optional
        Why a run that has FAILED did.
    started_at : float, optional
        UTC epoch seconds.

    Raises
    ------
    HistoryError
        If it cannot be written; ``errno`` says why.
    """
    from dhflow.history import hdf5, table
    from dhflow.history.monitor_tables import run_detail

    objective = Objective(metric, direction)
    began = time.time() if started_at is None else started_at
    header = StudyHeader(
        study_id=_RUN_ID,
        space={"version": 1, "parameters": []},
        objectives=(objective,),
        seed=0,
        created_at=began,
        budget=None if budget is None else {"name": "epochs", "low": 1, "high": budget},
    )
    trial = _trial(records, objective, dict(config or {}), budget=budget, status=status, failure=failure, began=began)
    detail = run_detail(records, findings)
    tables = table.from_record(StudyRecord(header, [], {0: trial}), detail.tables, detail.array_values)
    path = real_path(path)
    try:
        write_whole(path, hdf5.to_bytes(tables, Place()))
    except OSError as error:
        raise history_error(error, f"{path} cannot be written", path) from error


def is_written(path: PathLike, trial: Trial) -> bool:
    """Tell whether the run in a file still goes on, as far as can be known from outside.

    A process that was killed could not say that it ended. One of this host can be looked up; of one elsewhere the age
    of the file tells, which is written after an epoch, so that it may be as old as some of them take.
    """
    if trial.status is not TrialStatus.RUNNING:
        return False
    attempt = trial.attempts[-1]
    pid = int(attempt.worker) if attempt.worker.isdecimal() else None
    alive = is_alive({"host": attempt.host, "pid": pid})
    if alive is not None:
        return alive
    written_at = real_path(path).stat().st_mtime
    spent_s = written_at - (attempt.started_at or written_at)
    return time.time() - written_at < max(_SILENT_S, spent_s)


def _trial(
    records: Records,
    objective: Objective,
    config: dict[str, Any],
    *,
    budget: float | None,
    status: TrialStatus,
    failure: TrialFailure | None,
    began: float,
) -> Trial:
    is_over = status.is_finished
    ended_at = records.last_time or began
    end = ended_at if is_over else None
    losses = [objective.to_loss(float(each)) for each in records.series(objective.name).finite.values]
    has_value = is_over and failure is None and bool(losses)
    if status is TrialStatus.COMPLETED and not has_value:
        status = TrialStatus.FAILED
    return Trial(
        0,
        config,
        status,
        budget=float(records.last_step) if status is TrialStatus.STOPPED else budget,
        source=TrialSource.USER,
        created_at=began,
        values={objective.name: objective.from_loss(min(losses))} if has_value else {},
        losses=(min(losses),) if has_value else (),
        attempts=(
            Attempt(
                1, status, began, began, end, end, host=socket.gethostname(), worker=str(os.getpid()), failure=failure
            ),
        ),
        outcome_number=0 if is_over else None,
    )
