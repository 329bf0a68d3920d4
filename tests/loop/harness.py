"""A completion loop under a fake clock, with its invariants checked after every step."""

from __future__ import annotations

from collections.abc import Sequence

from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop, LoopSettings
from dhflow.flow.message import Finished, Instructions, LoopEvent, Lost, Slots, Suggested
from dhflow.history.event import StudyRecord, fold
from dhflow.objective import parse_direction
from dhflow.trial import Measurement, Suggestion, Trial, TrialFailure, TrialResult, TrialStatus

WALL = 1_000_000.0


class LoopBench:
    """Feeds a loop, keeps what it told to do, and answers its asks with numbered configs."""

    def __init__(self, *, limits: Limits | None = None, direction: str = "minimize", **settings: object) -> None:
        record = settings.pop("record", StudyRecord())
        self.loop = CompletionLoop(
            record,
            parse_direction(direction),
            limits or Limits(),
            LoopSettings(**settings),  # type: ignore[arg-type]
        )
        self.now = 0.0
        self.journal: list[object] = []
        self.submitted: list[tuple[int, int]] = []
        self.told: list[Trial] = []
        self.announced: list[Trial] = []
        self.asked: list[int] = []
        self.stopped: list[int] = []
        self.finished: str | None = None
        self.wake_at: float | None = None
        self._n_configs = 0
        self._n_told = 0

    def step(self, *events: LoopEvent, advance: float = 0.0) -> Instructions:
        self.now += advance
        todo = self.loop.handle(list(events), now=self.now, wall=WALL + self.now)
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
        return self.answer(self.step(Slots(n_slots, n_nodes)))

    def answer(self, todo: Instructions, *, took_s: float = 0.0, limit: int | None = None) -> Instructions:
        """Answer asks until the loop has enough; `limit` is how many configs the searcher still has."""
        while todo.ask:
            n = todo.ask if limit is None else min(todo.ask, limit - self._n_configs)
            suggestions = [Suggestion({"x": self._n_configs + each}) for each in range(n)]
            self._n_configs += n
            todo = self.step(Suggested(suggestions, len(self.asked) - 1, len(self.told), took_s))
        return todo

    def complete(self, trial_id: int, value: float = 1.0, *, advance: float = 1.0, answer: bool = True) -> Instructions:
        self.now += advance
        result = TrialResult(
            trial_id,
            self.loop.running[trial_id],
            TrialStatus.COMPLETED,
            WALL + self.now - advance,
            WALL + self.now,
            values={"objective": value},
        )
        todo = self.step(Finished(result))
        return self.answer(todo) if answer else todo

    def fail(self, trial_id: int, kind: str = "ValueError", location: str = "user.py:3") -> Instructions:
        result = TrialResult(
            trial_id,
            self.loop.running[trial_id],
            TrialStatus.FAILED,
            WALL,
            WALL + 1,
            failure=TrialFailure(kind, "bad", location=location),
        )
        return self.answer(self.step(Finished(result)))

    def lose(
        self, trial_id: int, kind: str = "TrialLostError", measurements: Sequence[Measurement] = ()
    ) -> Instructions:
        failure = TrialFailure(kind, "gone")
        event = Lost(trial_id, self.loop.running[trial_id], failure, measurements=tuple(measurements))
        return self.answer(self.step(event))

    def check(self) -> None:
        """What must hold after every step."""
        loop = self.loop
        assert len(loop.running) <= max(loop.n_slots, len(loop.running) if loop.n_abandoned else 0)
        assert set(loop.running) <= set(loop.open)
        assert all(not each.is_finished for each in loop.open.values())
        for trial_id, number in loop.running.items():
            assert loop.open[trial_id].status is TrialStatus.RUNNING
            assert len(loop.open[trial_id].attempts) == number
        # The journal alone leads to the same state: a kill at any moment loses nothing.
        if self.journal and not self._resumed:
            assert fold(self.journal).trials == loop.record.trials  # type: ignore[arg-type]
        outcomes = [each.outcome_number for each in self.told]
        assert outcomes == list(range(outcomes[0], outcomes[0] + len(outcomes))) if outcomes else True

    @property
    def _resumed(self) -> bool:
        return min(self.loop.record.trials, default=0) not in {
            each.trial.trial_id for each in self.journal if hasattr(each, "trial")
        }
