"""The completion loop as a pure state machine: events in, instructions out, no I/O and no clock.

One completion frees one slot, and the slot is refilled at once: from the ready queue when the
searcher has worked ahead, else by asking for as many suggestions as slots are free. The driver
(:mod:`dhflow.flow.driver`) carries the instructions out, always in this order::

    record (journal) -> tell -> stop, control -> submit -> announce -> ask -> finish

so nothing is submitted or announced that the history does not hold.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import replace

from dhflow.constraint import Constraint
from dhflow.errors import DhflowError
from dhflow.flow.limits import Limits
from dhflow.flow.loop_settings import LoopSettings
from dhflow.flow.message import (
    Commanded,
    Enqueued,
    Finished,
    Instructions,
    LoopEvent,
    Lost,
    Noted,
    SlotReturned,
    Slots,
    StopAsked,
    Suggested,
)
from dhflow.flow.outcome import attempt_of, count_losses, ended_by, given_up
from dhflow.flow.standing import Standing, standing_of
from dhflow.flow.taking import AUTO, control_in, refusal, suggestion_in, why_not
from dhflow.history.event import AttemptEnded, AttemptSubmitted, Event, StudyRecord, TrialCreated
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.objective import Objective
from dhflow.trial import (
    Attempt,
    Measurement,
    Suggestion,
    Trial,
    TrialFailure,
    TrialResult,
    TrialSource,
    TrialStatus,
    trial_seed,
)

STOP_GRACE_S = 1.0
"""How long running trials may take to come home after they were asked to stop."""

_SMOOTHING = 0.2
"""Weight of the newest duration in the running means of ask and trial time."""

_CHEAP_ASK_SHARE = 0.02
"""Asks count as free while all workers' asks together take less than this share of a trial."""

_RETRY_DELAY_S = 1.0
"""First wait before a trial is retried whose worker could not write (a full disk); doubles each time."""

_MAX_WORKER_REFUSALS = 10

_FULL = "max_trials was reached"


class CompletionLoop:
    """State of one session.

    Parameters
    ----------
    record : StudyRecord
        The study so far; kept up to date. Its unfinished trials run first.
    objectives : tuple of Objective
    limits : Limits
    settings : LoopSettings
    constraints : tuple of Constraint
        A trial that violates one counts as completed, and never as the best.
    """

    def __init__(
        self,
        record: StudyRecord,
        objectives: tuple[Objective, ...],
        limits: Limits | None = None,
        settings: LoopSettings | None = None,
        constraints: tuple[Constraint, ...] = (),
    ) -> None:
        self.record = record
        self.objectives = objectives
        self.limits = limits or Limits()
        self.settings = settings or LoopSettings()
        self.running: dict[int, int] = {}
        self.open: dict[int, Trial] = {}
        self.n_slots = 0
        self.n_abandoned = 0
        self.mean_ask_s = 0.0
        self.mean_trial_s = math.inf
        self.stop_reason: str | None = None
        self.aborting: TrialFailure | None = None
        self.is_paused = False
        self._exhausted = False
        self._has_news = False
        self._n_asked = 0
        self._ready: list[tuple[int, int, int]] = []
        self._delayed: list[tuple[float, int]] = []
        self._give_up_at: float | None = None
        self._asked_to_stop: set[int] = set()
        self.deadline: float | None = None
        self._next_id = max(record.trials, default=-1) + 1
        self.standing = standing_of(objectives, record.trials.values(), constraints)
        self._failures: list[TrialFailure] = []
        self._starts_no_more = False
        self._wall = 0.0
        self._n_counted = 0
        self._budget_spent = 0.0
        for trial in record.trials.values():
            self._count(trial)
            if not trial.is_finished:
                self.open[trial.trial_id] = trial
                self._push_ready(trial)

    @property
    def pending(self) -> tuple[Trial, ...]:
        """Every trial that was created and has not ended."""
        return tuple(self.open.values())

    @property
    def is_draining(self) -> bool:
        """Whether no more trials are started."""
        return self.stop_reason is not None

    def handle(self, events: Iterable[LoopEvent], *, now: float, wall: float) -> Instructions:
        """Take events in, in their order, and return what to do; no event is a tick: time has passed.

        Parameters
        ----------
        events : iterable of LoopEvent
        now : float
            Seconds of a monotonic clock: limits and delays go by it.
        wall : float
            UTC epoch seconds: what the records say.

        Returns
        -------
        Instructions
        """
        self._wall = wall
        out = Instructions()
        for event in events:
            self._take(event, now, out)
        self._check_abort(now)
        self._check_limits(now)
        self._give_up(now, out)
        self._refill(now, out)
        out.finish = self._finish_reason()
        out.wake_at = self._next_wake()
        return out

    def _take(self, event: LoopEvent, now: float, out: Instructions) -> None:
        match event:
            case Finished(result):
                self._take_result(result, now, out)
            case Suggested():
                self._take_suggestions(event, now, out)
            case Lost():
                self._take_loss(event, now, out)
            case SlotReturned():
                self.n_abandoned -= 1
            case Enqueued(configs, source, budget):
                for config in configs:
                    self._create(Suggestion(config, budget), now, out, source=source)
            case Slots(n_slots, n_nodes):
                self.n_slots = n_slots
                limit = self.limits.wall_limit_s(n_nodes)
                # The clock of the wall limit runs from the first Slots: queue wait counts.
                if self.deadline is None and limit is not None:
                    self.deadline = now + limit
            case StopAsked(reason):
                self._end_session(reason, now)
            case Noted() | Commanded():
                self._take_watchers(event, now, out)

    # Outcomes ------------------------------------------------------------------------------

    def _take_result(self, result: TrialResult, now: float, out: Instructions) -> None:
        trial = self.open.get(result.trial_id)
        if trial is None or self.running.get(result.trial_id) != result.attempt:
            return  # an attempt that was given up, or is known already
        self._learn_duration(result.ended_at - result.started_at)
        if result.status is TrialStatus.LOST:
            attempt = attempt_of(trial, result, self._wall)
            delay = _RETRY_DELAY_S * 2 ** min(count_losses(trial.attempts), 6)
            self._retry(trial, attempt, out, limit=_MAX_WORKER_REFUSALS, at=now + delay)
            return
        n_outcomes = self.record.n_outcomes
        event = ended_by(trial, result, self.objectives, outcome_number=n_outcomes, received_at=self._wall)
        self._end(trial, event, out)
        for finding in result.findings:
            self._note(FindingMade(result.trial_id, result.attempt, result.ended_at, dict(finding)), out)
        if result.records:
            self._note(RecordsKept(result.trial_id, result.attempt, tuple(map(dict, result.records))), out)

    def _take_loss(self, event: Lost, now: float, out: Instructions) -> None:
        trial = self.open.get(event.trial_id)
        if trial is None or self.running.get(event.trial_id) != event.attempt:
            return
        self.n_abandoned += event.keeps_slot
        attempt = replace(
            trial.attempts[-1],
            status=TrialStatus.LOST,
            started_at=event.started_at,
            received_at=self._wall,
            host=event.failure.host,
            worker=event.worker,
            failure=event.failure,
        )
        if event.failure.kind == "TrialTimeoutError":
            attempt = replace(attempt, status=TrialStatus.FAILED, ended_at=attempt.received_at)
            self._end(trial, self._without_value(trial, attempt, TrialStatus.FAILED, event.measurements), out)
            return
        self._retry(trial, attempt, out, limit=self.settings.max_attempts, measurements=event.measurements)

    def _retry(
        self,
        trial: Trial,
        attempt: Attempt,
        out: Instructions,
        *,
        limit: int,
        at: float | None = None,
        measurements: tuple[Measurement, ...] = (),
    ) -> None:
        """Put a trial back whose attempt was lost (to run from time `at`), unless it was lost `limit` times."""
        if 1 + count_losses(trial.attempts[:-1]) >= limit:
            self._end(trial, self._without_value(trial, attempt, TrialStatus.LOST, measurements), out)
            return
        event = AttemptEnded(trial.trial_id, attempt, TrialStatus.PENDING, measurements=measurements)
        self._note(event, out)
        del self.running[trial.trial_id]
        again = self.open[trial.trial_id] = self.record.trials[trial.trial_id]
        if at is None:
            self._push_ready(again)
        else:
            heapq.heappush(self._delayed, (at, trial.trial_id))

    def _without_value(
        self, trial: Trial, attempt: Attempt, status: TrialStatus, measurements: tuple[Measurement, ...]
    ) -> AttemptEnded:
        number = self.record.n_outcomes
        return AttemptEnded(trial.trial_id, attempt, status, measurements=measurements, outcome_number=number)

    def _end(self, trial: Trial, event: AttemptEnded, out: Instructions) -> None:
        self._note(event, out)
        ended = self.record.trials[trial.trial_id]
        del self.running[trial.trial_id]
        del self.open[trial.trial_id]
        out.tell.append(ended)
        self._has_news = True
        out.announce.append(ended)
        self.standing.add(ended)
        has_failed = ended.status in (TrialStatus.FAILED, TrialStatus.LOST)
        if has_failed and ended.failure and ended.failure.kind != "TrialTimeoutError":
            self._failures.append(ended.failure)

    def _check_abort(self, now: float) -> None:
        """Decide whether the study fails from the start; once a trial has completed, never."""
        after = self.settings.abort_after
        if after is None or self.standing.n_completed or self.aborting is not None or len(self._failures) < after:
            return
        if len({(each.kind, each.location) for each in self._failures}) == 1:
            self.aborting = self._failures[-1]
            self._end_session(f"the first {len(self._failures)} trials failed in the same way", now)

    # The monitor and commands --------------------------------------------------------------

    def _take_watchers(self, event: Noted | Commanded, now: float, out: Instructions) -> None:
        if isinstance(event, Commanded):
            self._take_command(event.command, now, out)
            return
        for each in event.events:
            if each.trial_id in self.record.trials:
                self._note(each, out)

    def _take_command(self, command: CommandTaken, now: float, out: Instructions) -> None:
        try:
            reply = self._obey(command, now, out)
        except (DhflowError, LookupError, TypeError, ValueError) as error:
            reply = refusal(error)
        self._note(replace(command, at=self._wall, reply=reply), out)

    def _obey(self, command: CommandTaken, now: float, out: Instructions) -> dict[str, object]:
        match command.command:
            case "accept" | "add":
                if command.origin == AUTO and not self._has_room:
                    return {"error": f"no more trials are made by themselves: {self.stop_reason or _FULL}"}
                suggestion, source = suggestion_in(command)
                self._create(suggestion, now, out, source=source)
                return {"trial": self._next_id - 1}
            case "stop" | "control":
                trial = self.open.get(-1 if command.trial_id is None else command.trial_id)
                if trial is None or trial.trial_id not in self.running:
                    return why_not(command.trial_id, self.record.trials)
                if command.command == "stop":
                    out.stop.append(trial)
                else:
                    out.control.append((trial, control_in(command)))
                return {"sent": True}
            case "pause" | "go_on":
                self.is_paused = command.command == "pause"
                return {"paused": self.is_paused}
        return {"error": f"there is no command {command.command!r}"}

    @property
    def _has_room(self) -> bool:
        """Whether a trial that nobody has asked for may be made beside those that the searcher is asked for."""
        most = self.limits.max_trials
        return not self.is_draining and (most is None or self._n_counted + self._n_asked < most)

    # Suggestions and submission ------------------------------------------------------------

    def _take_suggestions(self, event: Suggested, now: float, out: Instructions) -> None:
        self._n_asked = 0
        self.mean_ask_s += _SMOOTHING * (event.took_s - self.mean_ask_s) if self.mean_ask_s else event.took_s
        # An empty answer means "nothing before the next tell"; with nothing open no tell will ever come.
        self._exhausted = not event.suggestions
        for each in event.suggestions:
            self._create(each, now, out, ask_number=event.ask_number, saw=event.saw)

    def _create(
        self,
        suggestion: Suggestion,
        now: float,
        out: Instructions,
        *,
        source: TrialSource = TrialSource.SEARCHER,
        ask_number: int | None = None,
        saw: int | None = None,
    ) -> None:
        trial = Trial(
            trial_id=self._next_id,
            config=suggestion.config,
            budget=suggestion.budget,
            parent_id=suggestion.parent_id,
            priority=suggestion.priority,
            meta=suggestion.meta,
            seed=trial_seed(self.settings.seed, self._next_id),
            source=source,
            ask_number=ask_number,
            ask_saw=saw,
            created_at=self._wall,
        )
        self._next_id += 1
        self._note(TrialCreated(trial), out)
        self._count(trial)
        self.open[trial.trial_id] = trial
        self._push_ready(trial)

    def _push_ready(self, trial: Trial) -> None:
        # A lost trial goes first, then the user's, then the searcher's by priority.
        rank = 0 if trial.attempts else 1 if trial.source is not TrialSource.SEARCHER else 2
        heapq.heappush(self._ready, (rank, trial.priority, trial.trial_id))

    def _refill(self, now: float, out: Instructions) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._push_ready(self.open[heapq.heappop(self._delayed)[1]])
        if self._give_up_at is not None or self._starts_no_more or self.is_paused:
            return
        while self._ready and self.n_free > 0:
            self._submit(self.open[heapq.heappop(self._ready)[2]], now, out)
        if not self._n_asked and (self._has_news or not self._exhausted):
            out.ask = self._n_asked = self._how_many_to_ask()
            self._has_news = self._has_news and not self._n_asked

    def _submit(self, trial: Trial, now: float, out: Instructions) -> None:
        number = len(trial.attempts) + 1
        self._note(AttemptSubmitted(trial.trial_id, number, self._wall, self.settings.session), out)
        self.running[trial.trial_id] = number
        self.open[trial.trial_id] = self.record.trials[trial.trial_id]
        out.submit.append(self.open[trial.trial_id])

    @property
    def n_free(self) -> int:
        """Slots without a trial; an abandoned slot is not free."""
        return self.n_slots - len(self.running) - self.n_abandoned

    def _how_many_to_ask(self) -> int:
        if self.is_draining or self.n_slots == 0:
            return 0
        wanted = self.n_free + self._ready_target() - len(self._ready) - len(self._delayed)
        if self.limits.max_trials is not None:
            wanted = min(wanted, self.limits.max_trials - self._n_counted)
        if self.limits.max_budget is not None:
            left = (self.limits.max_budget - self._budget_spent) / self.settings.full_budget
            wanted = min(wanted, math.ceil(left))
        return max(0, wanted)

    def _ready_target(self) -> int:
        """How many suggestions to keep ready (decided by what an ask costs against a trial)."""
        if self.settings.prefetch is not None:
            return self.settings.prefetch
        # One worker: a suggestion made ahead would be one tell stale, and timing would change the search.
        if self.n_slots <= 1 or not math.isfinite(self.mean_trial_s):
            return 0
        load = self.n_slots * self.mean_ask_s / max(self.mean_trial_s, 1e-9)
        if load < _CHEAP_ASK_SHARE:
            return 0
        return min(self.n_slots, 1 + math.ceil(2 * load))

    # Limits and the end --------------------------------------------------------------------

    def _check_limits(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline and self._give_up_at is None:
            self._end_session("the wall-time limit was reached", now)
        if self.stop_reason is not None:
            return
        limits, standing = self.limits, self.standing
        if limits.max_trials is not None and self._n_counted >= limits.max_trials:
            self.stop_reason = _FULL
        elif limits.max_budget is not None and self._budget_spent >= limits.max_budget:
            self.stop_reason = "max_budget was reached"
        elif limits.target is not None and isinstance(standing, Standing) and standing.has_reached(limits.target):
            self.stop_reason, self._starts_no_more = "the target was reached", True
        elif limits.plateau is not None and standing.n_since_best >= limits.plateau:
            self.stop_reason, self._starts_no_more = f"{standing.no_news} in {standing.n_since_best} trials", True

    def _end_session(self, reason: str, now: float) -> None:
        if self._give_up_at is None:
            self.stop_reason, self._give_up_at = reason, now + STOP_GRACE_S

    def _give_up(self, now: float, out: Instructions) -> None:
        """Ask running trials to stop; when their grace is over, give them up."""
        if self._give_up_at is None:
            return
        if now < self._give_up_at:
            out.stop.extend(self.open[each] for each in self.running if each not in self._asked_to_stop)
            self._asked_to_stop.update(self.running)
            return
        out.records += self.give_up_all(f"given up when the session ended: {self.stop_reason}", wall=self._wall)

    def give_up_all(self, reason: str, *, wall: float) -> list[Event]:
        """Give every running attempt up; return what to record. Their trials stay open for a later session."""
        events: list[Event] = []
        for trial_id in list(self.running):
            event = given_up(self.open[trial_id], reason, wall)
            self.record.apply(event)
            events.append(event)
            self.open[trial_id] = self.record.trials[trial_id]
            del self.running[trial_id]
            self.n_abandoned += 1
        return events

    def _finish_reason(self) -> str | None:
        if self.running:
            return None
        if self._give_up_at is not None or self._starts_no_more:
            return self.stop_reason
        if self.n_slots and self.n_abandoned >= self.n_slots:
            return "every worker hangs in a trial that nothing can end"
        if self._ready or self._delayed or self._n_asked:
            return None
        # What ended while the searcher was answering, or while the study was paused, may give it something to suggest.
        if self.stop_reason is None and self._exhausted and not self._has_news and self.n_slots:
            return "the searcher has nothing left to suggest"
        return self.stop_reason

    def _next_wake(self) -> float | None:
        times = [self.deadline if self._give_up_at is None else self._give_up_at]
        if self._delayed:
            times.append(self._delayed[0][0])
        return min((each for each in times if each is not None), default=None)

    # Bookkeeping ---------------------------------------------------------------------------

    def _note(self, event: Event, out: Instructions) -> None:
        self.record.apply(event)
        out.records.append(event)

    def _count(self, trial: Trial) -> None:
        if trial.source is not TrialSource.ADDED:
            self._n_counted += 1
            self._budget_spent += self.settings.full_budget if trial.budget is None else trial.budget

    def _learn_duration(self, seconds: float) -> None:
        known = math.isfinite(self.mean_trial_s)
        self.mean_trial_s = self.mean_trial_s + _SMOOTHING * (seconds - self.mean_trial_s) if known else seconds
