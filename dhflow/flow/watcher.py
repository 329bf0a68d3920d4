"""The watcher: judges running trials in a thread of its own, and hands the driver what is to be recorded or done.

The driver gives it every event that it records (:meth:`Watcher.take`, a put into a queue); it gives the driver
:class:`~dhflow.flow.message.Noted` and :class:`~dhflow.flow.message.Commanded` through the inbox. It reads what
running trials have recorded, in bounded portions, at an interval that keeps it under a twentieth of one core.
Trials shorter than a second are not looked at while they run.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dhflow.errors import DhflowError
from dhflow.flow.advice import BOARD, accepting, curves_of, own_budget
from dhflow.flow.command_desk import CommandDesk, WatchedStudy
from dhflow.flow.command_files import FOLDER, CommandInbox
from dhflow.flow.message import Commanded, LoopEvent, Noted
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.siblings import Siblings
from dhflow.flow.tail import Tail
from dhflow.flow.taking import AUTO
from dhflow.flow.watched import Watched, readings_of
from dhflow.history.event import AttemptEnded, AttemptSubmitted, Event
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.control import Control
from dhflow.monitor.finding import Finding, finding_from_json
from dhflow.monitor.line import from_json, to_json
from dhflow.monitor.rules import judge
from dhflow.monitor.rules.reports import UNKNOWN_METRIC
from dhflow.monitor.stopper import STOPPER
from dhflow.monitor.surroundings import context_of
from dhflow.train.attempt_directory import RECORDS
from dhflow.trial import Trial, TrialSource, TrialStatus

if TYPE_CHECKING:
    from dhflow.flow.channel_server import ChannelServer

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
LEAST_AGE_S = 1.0
"""Shorter attempts are not worth a look: they end before anything could be done about them."""

COST_SHARE = 0.05
"""Of the time, that the watcher may compute."""

JUDGE_BUDGET_S = 0.15
"""Of judging at one look; whoever waited longest is first."""

CLOSE_BUDGET_S = 2.0
_POLL_S = 0.2
_MOST_ENDED = 500
"""Ended attempts that wait to be judged; of more, the oldest are left to whoever asks for advice on them."""

_MOST_DEPTH = 3
"""Changes upon changes that ``adapt="auto"`` makes of one trial."""


@dataclass(slots=True)
class _Running:
    trial: Trial
    attempt: int
    since: float
    tail: Tail | None = None
    watched: Watched | None = None


class Watcher:
    """Watches one session.

    Parameters
    ----------
    study : WatchedStudy
    directory : RunDirectory
    post : callable
        Puts an event into the driver's inbox.
    trials : mapping
        Those of the driver, which keeps them up to date; only read.
    deadline : callable
        Seconds that the session has left, or None.
    server : ChannelServer, optional
        With one, running trials are heard through it and not through their files.
    reads_files : bool
        Whether workers write where this process can read.
    """

    def __init__(
        self,
        study: WatchedStudy,
        directory: RunDirectory,
        post: Callable[[LoopEvent], None],
        *,
        trials: Mapping[int, Trial],
        deadline: Callable[[], float | None] = lambda: None,
        server: ChannelServer | None = None,
        reads_files: bool = True,
    ) -> None:
        self._study = study
        self._directory = directory
        self._post = post
        self._deadline = deadline
        self._server = server
        self._reads_files = reads_files and server is None
        self._events: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[CommandTaken | tuple[int, int, Control]] = queue.SimpleQueue()
        # Not a copy: with a state of each trial of its own a long study would take half as much memory again.
        self._trials = trials
        self._running: dict[int, _Running] = {}
        self._ended: list[Watched] = []
        self._siblings: Siblings | None = None
        self._later: list[tuple[Trial, AttemptEnded]] = []
        self._findings: dict[int, list[Finding]] = {}
        self._recorded: dict[int, list[Finding]] = {}
        self._desk = CommandDesk(
            CommandInbox(directory.path / FOLDER),
            lambda command: self._post(Commanded(command)),
            trials=self._trials,
            findings=self._findings,
            recorded=self._recorded,
            study=study,
            watched=self._watched_now,
        )
        self._n_auto = sum(_is_auto(each) for each in study.record.trials.values())
        self._tried = {_tried_by(each) for each in study.record.trials.values()}
        self._n_ended = 0
        self._has_failed = self._has_warned = False
        self._shown = ""
        self._closing = threading.Event()
        self._closed_noted: list[FindingMade | RecordsKept] | None = None
        self._thread = threading.Thread(target=self._run, name="dhflow-watcher", daemon=True)

    # The driver's side

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def take(self, events: list[Event]) -> None:
        """Take note of what was recorded; costs a put."""
        if not self._has_failed:
            self._events.put(events)

    def order(self, command: CommandTaken) -> None:
        """Take a command of this process, as one from another process would be."""
        self._orders.put(command)

    def control(self, trial: Trial, control: Control) -> None:
        """Pass a control on to a running attempt: to its directory, and to its socket."""
        self._directory.send_control(trial, control)
        if self._server is not None:
            self._orders.put((trial.trial_id, len(trial.attempts), control))

    def refuse(self, command: CommandTaken) -> None:
        """Answer a command that has come too late."""
        self._desk.refuse(command)

    def close(self) -> list[FindingMade | RecordsKept]:
        """End the watch; return what is still to be recorded."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_BUDGET_S + 3.0)
        elif self._server is not None:
            self._server.close()
        return self._closed_noted or []

    # The thread

    def _run(self) -> None:
        interval_s = INTERVAL_S
        try:
            while not self._wait(interval_s):
                began = time.perf_counter()
                self._look()
                interval_s = max(INTERVAL_S, (time.perf_counter() - began) / COST_SHARE)
            self._finish()
        except Exception:  # noqa: BLE001 - a watcher that fails must not take the study along
            self._has_failed = True
            _log.exception("the monitor has failed and watches no longer; the search goes on")
        finally:
            if self._server is not None:
                self._server.close()

    def _wait(self, interval_s: float) -> bool:
        if self._server is None:
            return self._closing.wait(interval_s)
        until = time.monotonic() + interval_s
        while not self._closing.is_set() and time.monotonic() < until:
            # Not longer: a control must not wait for a worker to say something.
            for (trial_id, attempt), records in self._server.look(_POLL_S, _POLL_S * COST_SHARE):
                running = self._running.get(trial_id)
                if running is not None and running.attempt == attempt:
                    self._watched(running).add(records)
            self._take_events()
            self._take_orders()
        return self._closing.is_set()

    def _look(self) -> None:
        self._take_events()
        self._desk.look()
        self._take_orders()
        if self._reads_files:
            self._read_files()
        until = time.perf_counter() + JUDGE_BUDGET_S
        self._judge_ended(until)
        self._judge_running(until)
        self._show()

    def _finish(self) -> None:
        posted: list[LoopEvent] = []
        self._post = posted.append
        self._take_events()
        for running in list(self._running.values()):
            if running.watched is not None:  # given up with the session
                self._end(running)
        self._judge_ended(time.perf_counter() + CLOSE_BUDGET_S)
        for watched in self._ended:  # whoever asks for advice on them has them judged
            self._keep(watched)
        self._closed_noted = [each for event in posted if isinstance(event, Noted) for each in event.events]
        self._desk.close()
        (self._directory.path / BOARD).unlink(missing_ok=True)

    def _take_orders(self) -> None:
        try:
            while True:
                order = self._orders.get_nowait()
                if isinstance(order, CommandTaken):
                    self._desk.obey(order)
                elif self._server is not None:
                    self._server.send(order[:2], order[2])
        except queue.Empty:
            return

    # What the driver recorded

    def _take_events(self) -> None:
        try:
            while True:
                for each in self._events.get_nowait():
                    self._take_event(each)
        except queue.Empty:
            return

    def _take_event(self, event: Event) -> None:
        match event:
            case AttemptSubmitted(trial_id, attempt):
                self._running[trial_id] = _Running(self._trials[trial_id], attempt, time.monotonic())
                if attempt > 1:  # what the attempt before did
                    self._findings.pop(trial_id, None)
                    self._recorded.pop(trial_id, None)
            case AttemptEnded():
                self._take_end(event)
            case RecordsKept(trial_id, attempt, records):
                self._take_home(trial_id, attempt, records)
            case FindingMade(trial_id, attempt, _, finding):
                self._remember(trial_id, finding_from_json(finding))
            case CommandTaken():
                self._take_command(event)

    def _take_end(self, event: AttemptEnded) -> None:
        running = self._running.pop(event.trial_id, None)
        self._n_ended += event.outcome_number is not None
        trial = self._trials[event.trial_id]
        if self._server is not None:
            self._server.forget((event.trial_id, event.attempt.number))
        if event.measurements:
            trial = replace(trial, status=event.trial_status)
            self._later.append((trial, event))
            del self._later[:-_MOST_ENDED]
        if running is None or (running.watched is None and not _is_long(event)):
            return
        if running.watched is None and not event.measurements and not self._reads_files:
            return
        running.trial = trial
        if event.measurements:
            # The whole curve; what the watcher has read of a flood is a sample of it.
            self._watched(running).add(readings_of(event.measurements))
        self._end(running)

    def _end(self, running: _Running) -> None:
        if self._reads_files:
            self._read(running)
        if running.watched is not None:
            self._ended.append(running.watched)
            del self._ended[:-_MOST_ENDED]

    def _take_command(self, event: CommandTaken) -> None:
        running = None if event.trial_id is None else self._running.get(event.trial_id)
        if running is not None and running.watched is not None and event.reply.get("sent"):
            running.watched.asked_rate = event.arguments.get("value", running.watched.asked_rate)
        if event.command_id:
            self._desk.reply(event)

    def _take_home(self, trial_id: int, attempt: int, records: Iterable[Mapping[str, Any]]) -> None:
        for each in self._ended:
            if (each.trial.trial_id, each.attempt) == (trial_id, attempt):
                each.keeper_is_home = True
                each.add(record for line in records if (record := from_json(line)) is not None)

    def _remember(self, trial_id: int, finding: Finding) -> None:
        if finding.rule == UNKNOWN_METRIC and not self._has_warned:
            self._has_warned = True
            _log.warning("trial %d is %s", trial_id, finding.text)
        self._recorded.setdefault(trial_id, []).append(finding)
        for each in (self._recorded, self._findings):
            while len(each) > _MOST_ENDED:
                del each[next(iter(each))]

    # What workers record

    def _watched(self, running: _Running) -> Watched:
        if running.watched is None:
            running.watched = Watched(running.trial, running.attempt)
        return running.watched

    def _watched_now(self, trial_id: int) -> Watched | None:
        """Return what a running trial has recorded up to now: it may have asked for controls just before a command."""
        running = self._running.get(trial_id)
        if running is not None and self._reads_files:
            self._read(running)
        return None if running is None else running.watched

    def _read_files(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if now - running.since >= LEAST_AGE_S:
                self._read(running)

    def _read(self, running: _Running) -> None:
        if running.tail is None:
            folder = self._directory.attempt(running.trial.trial_id, running.attempt)
            running.tail = Tail(f"{folder}/{RECORDS}")
        records = running.tail.read()
        if running.tail.was_replaced and running.watched is not None:
            running.watched.restart()
        if records:
            self._watched(running).add(records)

    # Judging

    def _judge_running(self, until: float) -> None:
        every = (each.watched for each in self._running.values())
        due = [each for each in every if each is not None and each.is_due]
        for watched in sorted(due, key=lambda each: each.judged_at):
            if time.perf_counter() > until:
                return
            self._try_to_judge(watched, is_over=False)

    def _judge_ended(self, until: float) -> None:
        while self._ended and time.perf_counter() < until:
            watched = self._ended.pop(0)
            if watched.has_reported:
                self._try_to_judge(watched, is_over=True)
            self._keep(watched)

    def _try_to_judge(self, watched: Watched, *, is_over: bool) -> None:
        try:
            self._judge(watched, is_over=is_over)
        except Exception:  # noqa: BLE001 - a rule or a user's stopper that fails on one run must not blind the watcher
            watched.give_up()
            _log.exception("trial %d cannot be judged: it is left alone", watched.trial.trial_id)

    def _keep(self, watched: Watched) -> None:
        detail = () if watched.keeper_is_home else tuple(map(to_json, watched.keeper.brief()))
        if detail:
            self._post(Noted([RecordsKept(watched.trial.trial_id, watched.attempt, detail)]))

    def _judge(self, watched: Watched, *, is_over: bool) -> None:
        trial, records = watched.trial, watched.keeper.records
        context = context_of(
            records,
            self._study.objectives,
            config=trial.config,
            space=self._study.space,
            target=self._study.target,
            full_budget=own_budget(trial) or self._study.full_budget,
            time_left_s=None if is_over else self._time_left_s(watched),
            now=None if is_over else watched.now,
        )
        siblings = self._known_siblings()
        context = siblings.around(trial, context)
        watched.metric = context.metric
        judgement = judge(records, context)
        reason = None if is_over else self._study.policy.reason_to_stop(judgement, records, context)
        news = watched.judged(judgement, () if reason is None else (reason,))
        if not is_over:
            siblings.add_running(trial, records.readings)
        if news:
            now = time.time()
            self._post(Noted([FindingMade(trial.trial_id, watched.attempt, now, each) for each in news]))
        self._findings[trial.trial_id] = list(judgement.findings)
        if reason is not None and not watched.is_stopping:
            watched.is_stopping = True
            self._post(Commanded(self._stop(trial, reason)))
        self._maybe_try(trial, judgement.findings, is_over=is_over)

    def _stop(self, trial: Trial, reason: Finding) -> CommandTaken:
        origin = reason.rule if reason.rule.startswith(STOPPER) else f"policy:{self._study.policy.adapt}"
        return CommandTaken(
            time.time(), "stop", trial.trial_id, origin, {"rule": reason.rule, "text": reason.text, "step": reason.step}
        )

    def _maybe_try(self, trial: Trial, findings: Iterable[Finding], *, is_over: bool) -> None:
        policy = self._study.policy
        found = policy.change_to_try(list(findings), is_over=is_over)
        if found is None or self._n_auto >= policy.max_auto or self._depth(trial) >= _MOST_DEPTH:
            return
        key = trial.trial_id
        if key in self._tried:
            return
        try:
            command = accepting(trial, found[1].name, [found[0]], self._study.space, origin=AUTO)
        except DhflowError as error:
            _log.debug("a suggestion cannot be followed: %s", error)
            return
        self._tried.add(key)
        self._n_auto += 1
        self._post(Commanded(command))

    def _depth(self, trial: Trial) -> int:
        depth = 0
        advice = trial.meta.get("advice")
        while advice is not None:
            depth += 1
            parent = self._trials.get(advice.get("trial"))
            advice = None if parent is None else parent.meta.get("advice")
        return depth

    def _time_left_s(self, watched: Watched) -> float | None:
        left = (self._deadline(), watched.time_left_s)
        return min((each for each in left if each is not None), default=None)

    def _known_siblings(self) -> Siblings:
        if self._siblings is None:
            self._siblings = Siblings()
            self._add_earlier(self._siblings)
        for trial, event in self._later:
            if trial.is_finished:
                self._siblings.add_ended(trial, event.measurements)
        self._later.clear()
        return self._siblings

    def _add_earlier(self, siblings: Siblings) -> None:
        """Take the curves of earlier sessions; those of this one have come as events."""
        if self._study.history is None or len(self._study.record.sessions) < 2:
            return
        try:
            curves = curves_of(self._study.history)
        except (DhflowError, OSError) as error:
            _log.debug("curves of earlier sessions cannot be read: %s", error)
            return
        for trial_id, rows in curves:
            trial = self._trials.get(trial_id)
            if trial is not None and trial.status in _COMPARABLE:
                siblings.add_ended(trial, rows)

    # What others see

    def _show(self) -> None:
        every = [each.watched for each in self._running.values() if each.watched is not None]
        if not every and not self._shown:
            return
        counts = f'"silent": {len(self._running) - len(every)}, "ended": {self._n_ended}'
        text = f'{counts}, "running": {json.dumps([each.to_json() for each in every])}'
        path = self._directory.path / BOARD
        aside = path.with_name(f".{BOARD}.{os.getpid()}")
        self._shown = text
        try:
            aside.write_text(f'{{"at": {time.time()!r}, {text}}}')
            aside.replace(path)
        except OSError as error:
            _log.debug("the state of running trials cannot be shown: %s", error)


_COMPARABLE = frozenset({TrialStatus.COMPLETED, TrialStatus.STOPPED})


def _is_long(event: AttemptEnded) -> bool:
    attempt = event.attempt
    if attempt.started_at is None or attempt.ended_at is None:
        return False
    return attempt.ended_at - attempt.started_at >= LEAST_AGE_S


def _is_auto(trial: Trial) -> bool:
    return trial.source is TrialSource.ADVICE and trial.meta.get("advice", {}).get("by") == AUTO


def _tried_by(trial: Trial) -> int | None:
    return trial.meta["advice"].get("trial") if _is_auto(trial) else None
