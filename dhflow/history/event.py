"""What the journal records, and the fold of those events into a study's state.

The journal is the truth while a study is open: whatever is known about a study is
``fold(events)``. This module is pure; it neither reads nor writes files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dhflow.errors import HistoryCorruptError
from dhflow.history.monitor_event import (
    CommandTaken,
    FindingMade,
    RecordsKept,
    command_from_json,
    command_to_json,
)
from dhflow.objective import MetricValue, Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialSource, TrialStatus

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StudyHeader:
    """What a study is; written once, compared at resume.

    Parameters
    ----------
    study_id : str
        Random, names the study across files.
    space : dict
        JSON form of the search space, ``SearchSpace.to_json()``.
    objectives : tuple of Objective
    seed : int
    created_at : float
    budget : dict, optional
        JSON form of the problem's budget.
    constraints : tuple of str
        Texts of the :class:`~dhflow.constraint.Constraint` on what the objective returns.
    """

    study_id: str
    space: JsonDict
    objectives: tuple[Objective, ...]
    seed: int
    created_at: float
    budget: JsonDict | None = None
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """One process began to run the study; `info` is JSON about searcher, site, objective, versions, host and limits."""

    session: int
    at: float
    info: JsonDict


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The process closed the study in order; `utilisation` and why it stopped are in `info`."""

    session: int
    at: float
    info: JsonDict


@dataclass(frozen=True, slots=True)
class TrialCreated:
    """A trial came into being, PENDING or (source ADDED) already finished."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class AttemptSubmitted:
    """A trial was handed to the executor."""

    trial_id: int
    attempt: int
    at: float
    session: int = 0


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended, and the trial with it unless `trial_status` is PENDING (it will be run again).

    Parameters
    ----------
    trial_id : int
    attempt : Attempt
        Complete, with its ``received_at``.
    trial_status : TrialStatus
        PENDING, COMPLETED, FAILED, STOPPED or LOST.
    values, losses, metrics
        As in :class:`~dhflow.trial.Trial`.
    measurements : tuple of Measurement
    outcome_number : int, optional
        Given when the trial ended.
    budget : float, optional
        The budget reached, when less than asked.
    """

    trial_id: int
    attempt: Attempt
    trial_status: TrialStatus
    values: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    outcome_number: int | None = None
    budget: float | None = None


Event = (
    StudyHeader
    | SessionStarted
    | SessionEnded
    | TrialCreated
    | AttemptSubmitted
    | AttemptEnded
    | RecordsKept
    | FindingMade
    | CommandTaken
)


@dataclass(slots=True)
class StudyRecord:
    """Everything a history knows of a study, without the learning curves and what the monitor keeps.

    Parameters
    ----------
    header : StudyHeader, optional
    sessions : list of (SessionStarted, SessionEnded or None)
    trials : dict from trial id to Trial
    n_outcomes : int
        How many trials have ended.
    """

    header: StudyHeader | None = None
    sessions: list[tuple[SessionStarted, SessionEnded | None]] = field(default_factory=list)
    trials: dict[int, Trial] = field(default_factory=dict)
    n_outcomes: int = 0

    def copy(self) -> StudyRecord:
        """Return a record that later events of this one do not change."""
        return StudyRecord(self.header, list(self.sessions), dict(self.trials), self.n_outcomes)

    def apply(self, event: Event) -> None:
        """Take one event in, in the order of the journal.

        Raises
        ------
        HistoryCorruptError
            If the event contradicts what came before it.
        """
        match event:
            case TrialCreated(trial):
                if trial.trial_id in self.trials:
                    raise HistoryCorruptError(f"trial {trial.trial_id} is created a second time")
                self.trials[trial.trial_id] = trial
                self.n_outcomes += trial.outcome_number is not None
            case AttemptSubmitted(trial_id, number, at):
                self.trials[trial_id] = submitted(self._known(trial_id), Attempt(number, TrialStatus.RUNNING, at))
            case AttemptEnded():
                self.trials[event.trial_id] = ended(self._known(event.trial_id), event)
                self.n_outcomes += event.outcome_number is not None
            case RecordsKept(trial_id) | FindingMade(trial_id):
                self._known(trial_id)
            case CommandTaken():
                pass
            case StudyHeader():
                self.header = event
            case SessionStarted():
                self.sessions.append((event, None))
            case SessionEnded():
                if not self.sessions or self.sessions[-1][0].session != event.session:
                    raise HistoryCorruptError(f"session {event.session} ends without having started")
                self.sessions[-1] = (self.sessions[-1][0], event)

    def _known(self, trial_id: int) -> Trial:
        if trial_id not in self.trials:
            raise HistoryCorruptError(f"the journal speaks of trial {trial_id} before it was created")
        return self.trials[trial_id]


def submitted(trial: Trial, attempt: Attempt) -> Trial:
    """Return `trial` as it stands when `attempt` has been handed to the executor."""
    return _changed(
        trial,
        TrialStatus.RUNNING,
        attempt,
        values=trial.values,
        losses=trial.losses,
        metrics=trial.metrics,
        outcome_number=trial.outcome_number,
    )


def ended(trial: Trial, event: AttemptEnded) -> Trial:
    """Return `trial` as it stands after `event`."""
    return _changed(
        trial,
        event.trial_status,
        event.attempt,
        values=event.values,
        losses=event.losses,
        metrics=event.metrics,
        outcome_number=event.outcome_number,
        budget=event.budget,
    )


def _changed(
    trial: Trial,
    status: TrialStatus,
    attempt: Attempt,
    *,
    values: Mapping[str, float],
    losses: tuple[float, ...],
    metrics: Mapping[str, MetricValue],
    outcome_number: int | None,
    budget: float | None = None,
) -> Trial:
    # Written out: dataclasses.replace takes three times as long, and every trial comes here twice.
    return Trial(
        trial.trial_id,
        trial.config,
        status,
        trial.budget if budget is None else budget,
        trial.parent_id,
        trial.priority,
        trial.meta,
        trial.seed,
        trial.source,
        trial.ask_number,
        trial.ask_saw,
        trial.created_at,
        values,
        losses,
        metrics,
        (*trial.attempts[: attempt.number - 1], attempt),
        outcome_number,
    )


def fold(events: Iterable[Event], onto: StudyRecord | None = None) -> StudyRecord:
    """Return the state that `events` lead to, starting from an empty record or from `onto` (changed in place)."""
    record = StudyRecord() if onto is None else onto
    for event in events:
        record.apply(event)
    return record


def to_json(event: Event) -> JsonDict:  # noqa: PLR0911 - one for each kind
    """Return the JSON form of an event; :func:`from_json` is its inverse. Default values are left out."""
    match event:
        case TrialCreated(trial):
            return {"e": "trial", **_trial_to_json(trial)}
        case AttemptSubmitted(trial_id, attempt, at, session):
            return {"e": "submit", "id": trial_id, "n": attempt, "t": at, "s": session}
        case AttemptEnded():
            return {"e": "end", **_ended_to_json(event)}
        case SessionStarted(session, at, info):
            return {"e": "session", "s": session, "t": at, "info": info}
        case SessionEnded(session, at, info):
            return {"e": "session_end", "s": session, "t": at, "info": info}
        case RecordsKept(trial_id, attempt, records):
            return {"e": "records", "id": trial_id, "n": attempt, "records": list(records)}
        case FindingMade(trial_id, attempt, at, finding):
            return {"e": "finding", "id": trial_id, "n": attempt, "t": at, "finding": finding}
        case CommandTaken():
            return {"e": "command", **command_to_json(event)}
        case StudyHeader():
            return {"e": "study", **_header_to_json(event)}
    raise TypeError(f"{event!r} is no event of a history")


def from_json(data: JsonDict) -> Event:  # noqa: PLR0911 - one for each kind
    """Return the event that :func:`to_json` wrote.

    Raises
    ------
    HistoryCorruptError
        If `data` is no event, or lacks a field.
    """
    try:
        match data["e"]:
            case "trial":
                return TrialCreated(_trial_from_json(data))
            case "submit":
                return AttemptSubmitted(data["id"], data["n"], data["t"], data["s"])
            case "end":
                return _ended_from_json(data)
            case "session":
                return SessionStarted(data["s"], data["t"], data["info"])
            case "session_end":
                return SessionEnded(data["s"], data["t"], data["info"])
            case "records":
                return RecordsKept(data["id"], data["n"], tuple(data["records"]))
            case "finding":
                return FindingMade(data["id"], data["n"], data["t"], data["finding"])
            case "command":
                return command_from_json(data)
            case "study":
                objectives = tuple(Objective(**each) for each in data["objectives"])
                rest = {name: data[name] for name in ("study_id", "space", "seed", "created_at", "budget")}
                return StudyHeader(objectives=objectives, **rest, constraints=tuple(data.get("constraints", ())))
            case other:
                raise HistoryCorruptError(f"unknown event {other!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise HistoryCorruptError(f"a damaged event: {error!r}") from error


def attempt_to_json(attempt: Attempt) -> JsonDict:
    """Return the JSON form of an attempt."""
    data: JsonDict = {
        "n": attempt.number,
        "status": attempt.status.value,
        "at": [attempt.submitted_at, attempt.started_at, attempt.ended_at, attempt.received_at],
        "host": attempt.host,
        "worker": attempt.worker,
    }
    if attempt.failure is not None:
        data["failure"] = asdict(attempt.failure)
    return data


def attempt_from_json(data: JsonDict) -> Attempt:
    """Return the attempt that :func:`attempt_to_json` wrote."""
    failure = TrialFailure(**data["failure"]) if data.get("failure") else None
    submitted, started, end, received = data["at"]
    status = TrialStatus(data["status"])
    return Attempt(data["n"], status, submitted, started, end, received, data["host"], data["worker"], failure)


def _header_to_json(header: StudyHeader) -> JsonDict:
    data = asdict(header)
    constraints = data.pop("constraints")
    return {**data, "constraints": list(constraints)} if constraints else data


def _trial_to_json(trial: Trial) -> JsonDict:
    data: JsonDict = {"id": trial.trial_id, "config": dict(trial.config), "t": trial.created_at, "seed": trial.seed}
    if trial.source is not TrialSource.SEARCHER:
        data["source"] = trial.source.value
    if trial.ask_number is not None:
        data["ask"] = [trial.ask_number, trial.ask_saw]
    if trial.budget is not None:
        data["budget"] = trial.budget
    if trial.parent_id is not None:
        data["parent_id"] = trial.parent_id
    if trial.priority:
        data["priority"] = trial.priority
    if trial.meta:
        data["meta"] = dict(trial.meta)
    if trial.status is not TrialStatus.PENDING:
        data["status"] = trial.status.value
    if trial.values or trial.metrics or trial.losses or trial.attempts or trial.outcome_number is not None:
        data |= _outcome_to_json(trial)
    return data


def _outcome_to_json(trial: Trial) -> JsonDict:
    whole: JsonDict = {
        "values": dict(trial.values),
        "losses": list(trial.losses),
        "metrics": dict(trial.metrics),
        "attempts": [attempt_to_json(each) for each in trial.attempts],
    }
    data = {key: value for key, value in whole.items() if value}
    if trial.outcome_number is not None:
        data["out"] = trial.outcome_number
    return data


def _trial_from_json(data: JsonDict) -> Trial:
    ask_number, ask_saw = data.get("ask", (None, None))
    return Trial(
        trial_id=data["id"],
        config=data["config"],
        status=TrialStatus(data.get("status", "pending")),
        budget=data.get("budget"),
        parent_id=data.get("parent_id"),
        priority=data.get("priority", 0),
        meta=data.get("meta", {}),
        seed=data["seed"],
        source=TrialSource(data.get("source", "searcher")),
        ask_number=ask_number,
        ask_saw=ask_saw,
        created_at=data["t"],
        values=data.get("values", {}),
        losses=tuple(data.get("losses", ())),
        metrics=data.get("metrics", {}),
        attempts=tuple(attempt_from_json(each) for each in data.get("attempts", ())),
        outcome_number=data.get("out"),
    )


def _ended_to_json(event: AttemptEnded) -> JsonDict:
    data: JsonDict = {"id": event.trial_id, "status": event.trial_status.value, "a": attempt_to_json(event.attempt)}
    if event.values:
        data["values"] = dict(event.values)
    if event.losses:
        data["losses"] = list(event.losses)
    if event.metrics:
        data["metrics"] = dict(event.metrics)
    if event.measurements:
        data["curve"] = [list(each) for each in event.measurements]
    if event.outcome_number is not None:
        data["out"] = event.outcome_number
    if event.budget is not None:
        data["budget"] = event.budget
    return data


def _ended_from_json(data: JsonDict) -> AttemptEnded:
    return AttemptEnded(
        trial_id=data["id"],
        attempt=attempt_from_json(data["a"]),
        trial_status=TrialStatus(data["status"]),
        values=data.get("values", {}),
        losses=tuple(data.get("losses", ())),
        metrics=data.get("metrics", {}),
        measurements=tuple(Measurement(*each) for each in data.get("curve", ())),
        outcome_number=data.get("out"),
        budget=data.get("budget"),
    )
