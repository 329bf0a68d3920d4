"""A completion loop under a fake clock, with its invariants asserted after every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop
from dhflow.flow.loop_settings import LoopSettings
from dhflow.flow.message import Finished, Instructions, LoopEvent, Lost, Slots, Suggested
from dhflow.history.event import Event, StudyRecord, fold
from dhflow.objective import parse_direction
from dhflow.testing.clock import FakeClock
from dhflow.trial import Measurement, Suggestion, Trial, TrialFailure, TrialResult, TrialStatus

WALL = 1_000_000.0
"""UTC epoch seconds when the bench's monotonic clock stands at 0."""


class LoopBench:
    """Feeds a completion loop, keeps what it told to do, and answers its asks with numbered configs.

    After every step the loop's invariants are asserted: no more trials in flight than slots, and the
    events that it wanted recorded lead, alone, to the state that it is in.

    Parameters
    ----------
    limits : Limits, optional
    direction : {"minimize", "maximize"}
    record : StudyRecord, optional
        Of earlier sessions.
    **settings
        Of :class:`~dhflow.flow.loop_settings.LoopSettings`.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        direction: str = "minimize",
        record: StudyRecord | None = None,
        **settings: Any,
    ) -> None:
        self._before = StudyRecord() if record is None else record.copy()
        self.loop = CompletionLoop(
            record or StudyRecord(), parse_direction(direction), limits or Limits(), LoopSettings(**settings)
        )
        self.clock = FakeClock()
        self.journal: list[Event] = []
        self.submitted: list[tuple[int, int]] = []
        self.told: list[Trial] = []
        self.announced: list[Trial] = []
        self.asked: list[int] = []
        self.stopped: list[int] = []
        self.finished: str | None = None
        self.wake_at: float | None = None
        self._n_configs = 0

    def step(self, *events: LoopEvent, advance: float = 0.0) -> Instructions:
        """Let time pass, hand events in, and note the instructions."""
        self.clock.advance(advance)
        todo = self.loop.handle(events, now=self.clock.now, wall=WALL + self.clock.now)
        self.journal += todo.records
        self.submitted += [(each.trial_id, len(each.attempts)) for each in todo.submit]
        self.told += todo.tell
        self.announced += todo.announce
        self.stopped += [each.trial_id for each in todo.stop]
        self.wake_at = todo.wake_at
        if todo.ask:
            self.asked.append(todo.ask)
        self.finished = todo.finish
        self.check()
        return todo

    def start(self, n_slots: int, n_nodes: int = 1) -> Instructions:
        """Open the slots and answer the first ask."""
        return self.answer(self.step(Slots(n_slots, n_nodes)))

    def answer(self, todo: Instructions, *, took_s: float = 0.0, limit: int | None = None) -> Instructions:
        """Answer asks until the loop has enough; `limit` is how many configs the searcher has in all."""
        while todo.ask:
            n = todo.ask if limit is None else min(todo.ask, limit - self._n_configs)
            suggestions = [Suggestion({"x": self._n_configs + each}) for each in range(n)]
            self._n_configs += n
            todo = self.step(Suggested(suggestions, len(self.asked) - 1, len(self.told), took_s))
        return todo

    def complete(self, trial_id: int, value: float = 1.0, *, advance: float = 1.0, answer: bool = True) -> Instructions:
        """Bring a running trial home with a value, after `advance` seconds."""
        self.clock.advance(advance)
        now = WALL + self.clock.now
        number = self.loop.running[trial_id]
        values = {each.name: value for each in self.loop.objectives}
        todo = self.step(
            Finished(TrialResult(trial_id, number, TrialStatus.COMPLETED, now - advance, now, values=values))
        )
        return self.answer(todo) if answer else todo

    def fail(self, trial_id: int, kind: str = "ValueError", location: str = "user.py:3") -> Instructions:
        """Bring a running trial home without a value."""
        number, now = self.loop.running[trial_id], WALL + self.clock.now
        failure = TrialFailure(kind, "bad", location=location)
        return self.answer(
            self.step(Finished(TrialResult(trial_id, number, TrialStatus.FAILED, now, now, failure=failure)))
        )

    def lose(
        self, trial_id: int, kind: str = "TrialLostError", measurements: Sequence[Measurement] = ()
    ) -> Instructions:
        """Lose a running trial's worker."""
        event = Lost(
            trial_id, self.loop.running[trial_id], TrialFailure(kind, "gone"), measurements=tuple(measurements)
        )
        return self.answer(self.step(event))

    def check(self) -> None:
        """Assert what must hold after every step."""
        loop = self.loop
        assert len(loop.running) <= loop.n_slots, "more trials in flight than slots"
        assert set(loop.running) <= set(loop.open), "a trial in flight is not open"
        for trial_id, number in loop.running.items():
            trial = loop.open[trial_id]
            assert trial.status is TrialStatus.RUNNING, f"trial {trial_id} is in flight and {trial.status}"
            assert len(trial.attempts) == number, f"trial {trial_id} is in flight with another attempt"
        assert all(not each.is_finished for each in loop.open.values()), "an open trial has ended"
        replayed = fold(self.journal, self._before.copy())
        assert replayed.trials == loop.record.trials, "the journal does not lead to the loop's state"
        numbers = [each.outcome_number for each in self.told]
        assert numbers == list(range(self._before.n_outcomes, self._before.n_outcomes + len(numbers)))
