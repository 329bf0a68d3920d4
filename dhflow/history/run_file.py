"""The file of one training run without a search: a history with one trial, which the same commands read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from dhflow.history.disk import PathLike, history_error, real_path, write_whole
from dhflow.history.event import StudyHeader, StudyRecord
from dhflow.history.journal import Place
from dhflow.monitor.finding import Finding
from dhflow.monitor.record import Records
from dhflow.objective import Direction, Objective
from dhflow.trial import Attempt, Trial, TrialSource, TrialStatus

_RUN_ID = "single-run"


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
        RUNNING until the run has ended.
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
    trial = _trial(records, objective, dict(config or {}), budget=budget, status=status, began=began)
    detail = run_detail(records, findings)
    tables = table.from_record(StudyRecord(header, [], {0: trial}), detail.tables, detail.array_values)
    path = real_path(path)
    try:
        write_whole(path, hdf5.to_bytes(tables, Place()))
    except OSError as error:
        raise history_error(error, f"{path} cannot be written", path) from error


def _trial(
    records: Records,
    objective: Objective,
    config: dict[str, Any],
    *,
    budget: float | None,
    status: TrialStatus,
    began: float,
) -> Trial:
    is_over = status.is_finished
    ended_at = records.last_time or began
    end = ended_at if is_over else None
    losses = [objective.to_loss(float(each)) for each in records.series(objective.name).finite.values]
    has_value = is_over and bool(losses)
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
        attempts=(Attempt(1, status, began, began, end, end),),
        outcome_number=0 if is_over else None,
    )
