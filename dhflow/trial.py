"""The records of a trial: frozen values that go from the searcher to a worker and back to the history.

All times are UTC epoch seconds, taken once per event; objective values are in the user's sign
except ``losses``, which are minimised and are all that a searcher looks at.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dhflow.objective import MetricValue

Config = Mapping[str, Any]


class TrialStatus(str, enum.Enum):
    """Where a trial stands."""

    PENDING = "pending"
    """Suggested, not on a worker: waiting, or given back after its worker was lost."""
    RUNNING = "running"
    """Handed to the executor."""
    COMPLETED = "completed"
    """Finished with a value for every objective."""
    FAILED = "failed"
    """Finished without a value; the last attempt's ``failure`` says why."""
    STOPPED = "stopped"
    """Stopped early on purpose; its value belongs to the budget that it reached."""
    LOST = "lost"
    """Of an attempt: the worker went away. Of a trial: lost in every attempt that was allowed."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to a trial of this status."""
        return self not in _OPEN


_OPEN = frozenset({TrialStatus.PENDING, TrialStatus.RUNNING})


class TrialSource(str, enum.Enum):
    """Who proposed a trial."""

    SEARCHER = "searcher"
    DEFAULT = "default"
    """A default or starting point of the space or the problem, evaluated first."""
    USER = "user"
    """Added with ``enqueue``."""
    ADVICE = "advice"
    """Another trial's config with a change that the monitor suggested."""
    ADDED = "added"
    """Loaded as finished with ``add_trials``."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a searcher wants to be tried.

    Parameters
    ----------
    config : mapping
        One config of the search space; inactive parameters are absent.
    budget : float, optional
        Units of the problem's budget; None for the full one.
    parent_id : int, optional
        The trial that this one goes on from: a promotion, or a child that takes over its weights.
    priority : int
        Lower runs sooner.
    meta : mapping
        JSON values, stored with the trial and handed back at tell.
    """

    config: Config
    budget: float | None = None
    parent_id: int | None = None
    priority: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """Why an attempt failed.

    Parameters
    ----------
    kind : str
        Name of the exception type, for example ``"ValueError"`` or ``"TrialTimeoutError"``.
    message : str
    traceback : str
        As Python prints it, starting at the user's own code.
    location : str
        ``file:line`` of the user's line that raised, or "".
    host : str
    signal : str
        Name of the signal that killed the worker ("SIGKILL"), or "".
    last_step : int, optional
        The last step that the trial had reported.
    """

    kind: str
    message: str
    traceback: str = ""
    location: str = ""
    host: str = ""
    signal: str = ""
    last_step: int | None = None


class Measurement(NamedTuple):
    """One number that a running trial reported with ``trial.report(step, name=value)``."""

    step: int
    time: float
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a worker sends home after one attempt; its worker notes it as a line of JSON.

    Parameters
    ----------
    trial_id, attempt : int
    status : TrialStatus
        COMPLETED, FAILED, STOPPED, or LOST (the worker could not do its part: retry).
    values : mapping
        Objective values by name, in the user's sign.
    metrics : mapping
        Further values that the objective returned.
    measurements : tuple of Measurement
        The learning curve.
    failure : TrialFailure, optional
    started_at, ended_at : float
    host : str
    worker : str
        Identifies the worker on its host; begins with the process id.
    budget : float, optional
        The budget that was reached, when it is less than asked.
    records, findings : tuple of dict
        JSON forms of what the monitor recorded and found, where they had no other way home.
    """

    trial_id: int
    attempt: int
    status: TrialStatus
    started_at: float
    ended_at: float
    values: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    failure: TrialFailure | None = None
    host: str = ""
    worker: str = ""
    budget: float | None = None
    records: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a trial, as the history keeps it.

    Parameters
    ----------
    number : int
        From 1.
    status : TrialStatus
        RUNNING, COMPLETED, FAILED, STOPPED or LOST.
    submitted_at : float
        Handed to the executor.
    started_at, ended_at : float, optional
        On the worker.
    received_at : float, optional
        Back in the driver.
    host, worker : str
    failure : TrialFailure, optional
    """

    number: int
    status: TrialStatus
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    received_at: float | None = None
    host: str = ""
    worker: str = ""
    failure: TrialFailure | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """The driver's record of one trial: a config, what became of it, and what the searcher knew.

    Parameters
    ----------
    trial_id : int
        From 0, in the order of creation.
    config : mapping
    status : TrialStatus
    budget : float, optional
        None is the problem's full budget.
    parent_id : int, optional
    priority : int
    meta : mapping
        The suggestion's.
    seed : int
        In [0, 2**31), derived from the study's seed and `trial_id`.
    source : TrialSource
    ask_number : int, optional
        Which ask of the searcher proposed it, from 0.
    ask_saw : int, optional
        How many outcomes had been told before that ask.
    created_at : float
    values : mapping
        Objective values by name, in the user's sign; empty before completion.
    losses : tuple of float
        The same in the objectives' order, minimised.
    metrics : mapping
    attempts : tuple of Attempt
    outcome_number : int, optional
        Place in the order in which outcomes reached the searcher, from 0.
    """

    trial_id: int
    config: Config
    status: TrialStatus = TrialStatus.PENDING
    budget: float | None = None
    parent_id: int | None = None
    priority: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    source: TrialSource = TrialSource.SEARCHER
    ask_number: int | None = None
    ask_saw: int | None = None
    created_at: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    outcome_number: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to this trial."""
        return self.status.is_finished

    @property
    def objective(self) -> float | None:
        """The (first) objective's value in the user's sign, or None."""
        return next(iter(self.values.values()), None)

    @property
    def failure(self) -> TrialFailure | None:
        """Why the last attempt failed, or None."""
        return self.attempts[-1].failure if self.attempts else None

    @property
    def duration_s(self) -> float | None:
        """Seconds that the last attempt spent on its worker, or None."""
        last = self.attempts[-1] if self.attempts else None
        if last is None or last.started_at is None or last.ended_at is None:
            return None
        return last.ended_at - last.started_at


def trial_seed(study_seed: int, trial_id: int) -> int:
    """Return the seed of a trial, in [0, 2**31): the same on every machine and in every session."""
    digest = hashlib.blake2b(f"{study_seed}:{trial_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFF_FFFF
