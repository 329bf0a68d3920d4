"""The watcher: judges running trials in a thread of its own, and hands the driver what is to be recorded or done.

The driver gives it every event that it records (:meth:`Watcher.take`, a put into a queue); it gives the driver
:class:`~dhflow.flow.message.Noted` and :class:`~dhflow.flow.message.Commanded` through the inbox. It reads what
running trials have recorded, in bounded portions, at an interval that keeps it under a twentieth of one core; commands
it takes every second. Trials shorter than a second are not looked at while they run.
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

from dhflow.flow.advice import BOARD
from dhflow.flow.command_desk import CommandDesk, WatchedStudy
from dhflow.flow.command_files import FOLDER, CommandInbox
from dhflow.flow.judging import MOST_ENDED, Judge
from dhflow.flow.message import Commanded, LoopEvent, Noted
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.tail import Tail
from dhflow.flow.watched import Watched, readings_of
from dhflow.history.event import AttemptEnded, AttemptSubmitted, Event
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.control import Control
from dhflow.monitor.finding import Finding, finding_from_json
from dhflow.monitor.line import from_json
from dhflow.monitor.rules.reports import UNKNOWN_METRIC
from dhflow.train.attempt_directory import RECORDS
from dhflow.trial import Trial

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
        self._directory = directory
        self._post = post
        self._server = server
        self._reads_files = reads_files and server is None
        self._events: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[CommandTaken | tuple[int, int, Control]] = queue.SimpleQueue()
        # Not a copy: with a state of each trial of its own a long study would take half as much memory again.
        self._trials = trials
        self._running: dict[int, _Running] = {}
        self._ended: list[Watched] = []
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
        self._judge = Judge(
            study,
            self._hand_over,
            trials=self._trials,
            findings=self._findings,
            deadline=deadline,
        )
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
                began, cpu_s = time.perf_counter(), time.thread_time()
                self._look()
                cpu_s = time.thread_time() - cpu_s
                interval_s = max(INTERVAL_S, time.perf_counter() - began, cpu_s / COST_SHARE)
            self._finish()
        except Exception:  # noqa: BLE001 - a watcher that fails must not take the study along
            self._has_failed = True
            _log.exception("the monitor has failed and watches no longer; the search goes on")
        finally:
            if self._server is not None:
                self._server.close()

    def _wait(self, interval_s: float) -> bool:
        """Wait for the next look, and tell whether it is the last; who gives a command does not wait for a slow one."""
        until = time.monotonic() + interval_s
        while not self._closing.is_set() and (left_s := until - time.monotonic()) > 0:
            if self._server is None:
                self._closing.wait(min(INTERVAL_S, left_s))
            else:
                self._listen(self._server, min(INTERVAL_S, left_s))
            self._hear()
        return self._closing.is_set()

    def _listen(self, server: ChannelServer, for_s: float) -> None:
        until = time.monotonic() + for_s
        while not self._closing.is_set() and time.monotonic() < until:
            # Not longer: a control must not wait for a worker to say something.
            for (trial_id, attempt), records in server.look(_POLL_S, _POLL_S * COST_SHARE):
                running = self._running.get(trial_id)
                if running is not None and running.attempt == attempt:
                    self._watched(running).add(records)
            self._take_events()
            self._take_orders()

    def _hear(self) -> None:
        self._take_events()
        self._desk.look()
        self._take_orders()

    def _look(self) -> None:
        if self._reads_files:
            self._read_files()
        until = time.perf_counter() + JUDGE_BUDGET_S
        self._judge.judge_ended(self._ended, until)
        self._judge.judge_running((each.watched for each in self._running.values() if each.watched is not None), until)
        self._show()

    def _finish(self) -> None:
        posted: list[LoopEvent] = []
        self._post = posted.append
        self._take_events()
        for running in list(self._running.values()):
            if running.watched is not None:  # given up with the session
                self._end(running)
        self._judge.judge_ended(self._ended, time.perf_counter() + CLOSE_BUDGET_S)
        for watched in self._ended:  # whoever asks for advice on them has them judged
            self._judge.keep(watched)
        self._closed_noted = [each for event in posted if isinstance(event, Noted) for each in event.events]
        self._desk.close()
        (self._directory.path / BOARD).unlink(missing_ok=True)

    def _hand_over(self, event: LoopEvent) -> None:
        # Looked up each time: what comes while the watch ends is collected.
        self._post(event)

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
            self._judge.take_sibling(trial, event)
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
            del self._ended[:-MOST_ENDED]

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
            while len(each) > MOST_ENDED:
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


def _is_long(event: AttemptEnded) -> bool:
    attempt = event.attempt
    if attempt.started_at is None or attempt.ended_at is None:
        return False
    return attempt.ended_at - attempt.started_at >= LEAST_AGE_S
