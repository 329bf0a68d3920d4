"""What is known of a history, as plain values: the ground of ``dhflow show`` in both its forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.cli.report import spread
from dhflow.constraint import is_feasible
from dhflow.errors import UnknownTrialError
from dhflow.flow.outcome import INTERRUPTED
from dhflow.flow.run_directory import attempt_path, owner_of, run_path
from dhflow.flow.standing import FULL_BUDGET
from dhflow.trial import TrialFailure, TrialStatus

if TYPE_CHECKING:
    from dhflow.result import Result
    from dhflow.trial import Attempt, Trial


@dataclass(slots=True)
class FailureGroup:
    """Failures of one kind at one line of the user's.

    Parameters
    ----------
    example : TrialFailure
        The first of them.
    trial_ids : list of int
        Trials that ended so.
    n_retried : int
        Attempts that ended so and were made again.
    """

    example: TrialFailure
    trial_ids: list[int] = field(default_factory=list)
    n_retried: int = 0


def find_trial(result: Result, trial_id: int) -> Trial:
    """Return a trial by its id.

    Raises
    ------
    UnknownTrialError
        If there is none; says which there are.
    """
    trial = result.record.trials.get(trial_id)
    if trial is None:
        there = f"it has trials 0 to {max(result.record.trials)}" if len(result) else "it has no trials yet"
        raise UnknownTrialError(f"{result.history} has no trial {trial_id}: {there}", trial_id)
    return trial


def best_trials(result: Result, top: int) -> list[Trial]:
    """Return the completed trials: those that meet the constraints first, of the highest budget, then by objective.

    With several objectives, those of the Pareto set that lie furthest apart, by the first one.
    """
    if len(result.objectives) > 1:
        return spread(result.pareto, top)
    completed = [each for each in result.trials if each.status is TrialStatus.COMPLETED and each.losses]
    constraints = result.constraints

    def rank(trial: Trial) -> tuple[bool, float, float, int]:
        return (not is_feasible(trial, constraints), -_budget_rank(trial), trial.losses[0], trial.trial_id)

    return sorted(completed, key=rank)[:top]


def failure_groups(result: Result) -> list[FailureGroup]:
    """Return what failed, by kind and line, the most frequent first; attempts given up at a session's end left out."""
    groups: dict[tuple[str, str], FailureGroup] = {}
    for trial in result.trials:
        for attempt in trial.attempts:
            failure = attempt.failure
            if failure is None or failure.kind == INTERRUPTED:
                continue
            group = groups.setdefault((failure.kind, failure.location), FailureGroup(failure))
            if attempt is trial.attempts[-1] and trial.is_finished:
                group.trial_ids.append(trial.trial_id)
            else:
                group.n_retried += 1
    return sorted(groups.values(), key=lambda each: -len(each.trial_ids))


def owner(result: Result) -> dict[str, Any] | None:
    """Return who runs the study now, as its run directory says: host and process id; None if nobody does."""
    sessions = result.record.sessions
    is_open = bool(sessions) and sessions[-1][1] is None
    return owner_of(result.history) if is_open and result.history is not None else None


def attempt_directory(result: Result, trial: Trial, attempt: Attempt) -> Path | None:
    """Return where an attempt's files lie, if they are kept."""
    if result.history is None:
        return None
    path = attempt_path(run_path(result.history), trial.trial_id, attempt.number)
    return path if path.is_dir() else None


def study_json(result: Result, *, top: int) -> dict[str, Any]:
    """Return the whole study for a program."""
    header = result.record.header
    found = result.utilisation
    return {
        "history": str(result.history),
        "study_id": header.study_id if header else None,
        "created_at": header.created_at if header else None,
        "seed": header.seed if header else None,
        "space": header.space if header else None,
        "objectives": [asdict(each) for each in result.objectives],
        "constraints": [each.text for each in result.constraints],
        "running": owner(result),
        "status": status_counts(result.trials),
        "summary": result.summary(),
        "default": None if result.default is None else trial_json(result.default, result),
        "top": [trial_json(each, result) for each in best_trials(result, top)],
        "failures": [
            {**asdict(each.example), "trials": each.trial_ids, "retried": each.n_retried}
            for each in failure_groups(result)
        ],
        "utilisation": None if found is None else asdict(found),
        "sessions": [
            {"began": began.at, "ended": None if end is None else end.at, **began.info, **(end.info if end else {})}
            for began, end in result.record.sessions
        ],
    }


def trial_json(trial: Trial, result: Result, *, with_files: bool = False) -> dict[str, Any]:
    """Return a trial for a program; if `with_files`, also its learning curve and where its files lie."""
    data: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "status": trial.status.value,
        "source": trial.source.value,
        "config": dict(trial.config),
        "budget": trial.budget,
        "parent_id": trial.parent_id,
        "objective": trial.objective,
        "values": dict(trial.values),
        "metrics": {name: _finite_or_none(value) for name, value in trial.metrics.items()},
        "duration_s": trial.duration_s,
        "seed": trial.seed,
        "attempts": [{**asdict(each), "status": each.status.value} for each in trial.attempts],
    }
    if result.constraints:
        data["feasible"] = result.is_feasible(trial) if trial.values else None
    if with_files and result.history is not None:
        data["curve"] = [each._asdict() for each in result.measurements(trial.trial_id)]
        for each, attempt in zip(data["attempts"], trial.attempts, strict=True):
            where = attempt_directory(result, trial, attempt)
            each["directory"] = None if where is None else str(where)
    return data


def status_counts(trials: Sequence[Trial]) -> dict[str, int]:
    """Return how many trials have each status, none left out."""
    counts = {each.value: 0 for each in TrialStatus}
    for trial in trials:
        counts[trial.status.value] += 1
    return counts


def _budget_rank(trial: Trial) -> float:
    return FULL_BUDGET if trial.budget is None else trial.budget


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
