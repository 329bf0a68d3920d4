"""The completion loop's language: the events that it takes in and the instructions that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dhflow.history.event import Event
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.control import Control
from dhflow.trial import Config, Measurement, Suggestion, Trial, TrialFailure, TrialResult, TrialSource


@dataclass(frozen=True, slots=True)
class Slots:
    """So many trials may be in flight at once, on so many nodes; the first one starts the session's clock."""

    n_slots: int
    n_nodes: int = 1


@dataclass(frozen=True, slots=True)
class Suggested:
    """The answer to ``ask``: its number, how many outcomes it had seen, and what it cost in seconds."""

    suggestions: Sequence[Suggestion]
    ask_number: int
    saw: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt came home."""

    result: TrialResult


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt will never come home; `keeps_slot` if it still hangs in a thread that nothing can end."""

    trial_id: int
    attempt: int
    failure: TrialFailure
    started_at: float | None = None
    worker: str = ""
    measurements: tuple[Measurement, ...] = ()
    keeps_slot: bool = False


@dataclass(frozen=True, slots=True)
class SlotReturned:
    """An attempt that was given up has left its slot after all."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The user adds trials of their own; they run before the searcher's."""

    configs: Sequence[Config]
    source: TrialSource = TrialSource.USER
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """End the session now: running trials are asked to stop and given up after a grace."""

    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What the monitor has to say about trials; it only goes into the history."""

    events: Sequence[FindingMade | RecordsKept]


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command to carry out: what became of it is recorded as its reply.

    ``stop`` and ``control`` (``arguments["control"]``, with a ``"value"``) are for a running trial; ``accept`` and
    ``add`` make a trial of ``arguments["config"]``; ``pause`` starts no more trials until ``go_on``.
    """

    command: CommandTaken


LoopEvent = Slots | Suggested | Finished | Lost | SlotReturned | Enqueued | StopAsked | Noted | Commanded


@dataclass(slots=True)
class Instructions:
    """What the driver has to do, in the order of the fields."""

    records: list[Event] = field(default_factory=list)
    tell: list[Trial] = field(default_factory=list)
    stop: list[Trial] = field(default_factory=list)
    control: list[tuple[Trial, Control]] = field(default_factory=list)
    submit: list[Trial] = field(default_factory=list)
    announce: list[Trial] = field(default_factory=list)
    ask: int = 0
    finish: str | None = None
    wake_at: float | None = None
