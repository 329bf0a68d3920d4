"""The thin driver: carries the loop's instructions out over an executor, a searcher and a history.

One thread owns the loop and the history. Futures, the searcher's thread and signals only put
messages into its inbox; it sleeps until one comes or the loop wants to be woken.
"""

from __future__ import annotations

import errno
import logging
import queue
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dhflow.errors import DhflowError, ExecutionError, HistoryError, SearchError
from dhflow.flow.asker import Asker
from dhflow.flow.call import Call
from dhflow.flow.loop import CompletionLoop
from dhflow.flow.message import Commanded, Instructions, LoopEvent, Lost, Noted, SlotReturned, Slots, StopAsked
from dhflow.flow.pool import Pool
from dhflow.flow.run_directory import RunDirectory
from dhflow.history.event import Event
from dhflow.monitor.control import Control
from dhflow.searcher.base import Searcher
from dhflow.trial import Trial

if TYPE_CHECKING:
    from dhflow.flow.watcher import Watcher

_log = logging.getLogger(__name__)

TICK_S = 1.0
"""The driver looks up at least this often: progress, checkpoints, limits."""

LOOK_INTERVAL_S = 2.0
LOOK_COST_S = 0.005
"""Running attempts are looked after so often, and no more often than this many seconds for each of them."""

_STOP = Control("stop")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK_RETRY_S = 1.0


class Journal(Protocol):
    """What the driver needs of a history."""

    def append(self, events: Sequence[Event]) -> None:
        """Make events durable, all or none; raises HistoryError with its errno."""

    def maybe_checkpoint(self) -> None:
        """Renew the HDF5 file when it is time."""


class Observer(Protocol):
    """Whoever watches a running study; called in the driver's thread, so it must be quick."""

    def trial_ended(self, trial: Trial) -> None:
        """Take note of a finished trial."""

    def tick(self, driver: Driver) -> None:
        """Look at the state, about once a second."""


@dataclass(frozen=True, slots=True)
class _Done:
    trial_id: int
    attempt: int
    future: Future[Any]


class Driver:
    """Runs one session of a study.

    Parameters
    ----------
    loop : CompletionLoop
    searcher : Searcher
        That has been told every outcome of the loop's record.
    call : Call
    pool : Pool
    run_directory : RunDirectory
    journal : Journal, optional
        None keeps nothing.
    observers : sequence of Observer
    watch : callable, optional
        Makes the session's watcher, given this driver.
    """

    def __init__(
        self,
        loop: CompletionLoop,
        searcher: Searcher,
        *,
        call: Call,
        pool: Pool,
        run_directory: RunDirectory,
        journal: Journal | None = None,
        observers: Sequence[Observer] = (),
        watch: Callable[[Driver], Watcher] | None = None,
    ) -> None:
        self.loop = loop
        self.pool = pool
        self.message = ""
        self._call = call
        self.run_directory = run_directory
        self._journal = journal
        self._observers = list(observers)
        self._inbox: queue.SimpleQueue[LoopEvent | _Done | Exception] = queue.SimpleQueue()
        self.asker = Asker(searcher, loop.record.n_outcomes, self._inbox.put)
        self._wake_at: float | None = None
        self._next_tick = 0.0
        self._next_look = 0.0
        self._hanging: set[tuple[int, int]] = set()
        self._fatal: DhflowError | None = None
        self._is_stopping = False
        self.began = time.monotonic()
        self.watcher = None if watch is None else watch(self)

    def post(self, event: LoopEvent) -> None:
        """Put an event into the inbox; safe from any thread and from a signal handler."""
        self._inbox.put(event)

    def stop(self, reason: str) -> None:
        """Ask the session to end now; running trials get a short grace."""
        self._is_stopping = True
        self.post(StopAsked(reason))

    def run(self) -> str:
        """Run until a limit is reached; return why the session ended.

        Raises
        ------
        ExecutionError
            If no trial can run any more.
        SearchError
            If the searcher fails, or the first trials all fail in the same way.
        HistoryError
            If the history cannot be written, for another reason than a full disk.
        """
        self.began = time.monotonic()
        if self.watcher is not None:
            self.watcher.start()
        try:
            reason = self._step([Slots(self.pool.n_slots, self.pool.n_nodes), *self._understand(self._drain())])
            while reason is None:
                reason = self._step(self._wait())
        except BaseException as error:
            self._give_up_after(error)
            raise
        finally:
            self.asker.close()
            self._end_watch()
        self._tick()
        if self._fatal is not None:
            raise self._fatal
        return reason

    def _end_watch(self) -> None:
        """Record what the watcher has found last, and refuse the commands that the loop will not take any more."""
        if self.watcher is None:
            return
        last = self.watcher.close()
        waiting = self._drain()
        found: list[Event] = [event for each in waiting if isinstance(each, Noted) for event in each.events]
        for each in waiting:
            if isinstance(each, Commanded):
                self.watcher.refuse(each.command)
        try:
            if self._journal is not None and (found or last):
                self._journal.append([*found, *last])
        except HistoryError as error:
            _log.warning("the monitor's last findings could not be recorded: %s", error)

    def _step(self, events: Iterable[LoopEvent]) -> str | None:
        todo = self._handle(events)
        while todo.ask and self.asker.is_cheap:
            n = todo.ask
            if todo.submit:
                # Workers wait for these; what is asked for now will wait for them.
                todo.ask = 0
                self._carry_out(todo)
                todo = Instructions()
            todo = _joined(todo, self._handle([self._ask(n)]))
        self._carry_out(todo)
        return todo.finish

    def _handle(self, events: Iterable[LoopEvent]) -> Instructions:
        todo = self.loop.handle(events, now=time.monotonic(), wall=time.time())
        self.asker.tell(todo.tell)
        return todo

    def _ask(self, n: int) -> LoopEvent:
        try:
            return self.asker.ask(n, self.loop.pending)
        except Exception as error:  # noqa: BLE001 - any fault of a searcher ends the study in order
            return self._fail(_searcher_failed(error))

    def _fail(self, error: DhflowError) -> LoopEvent:
        """End the session in order; `error` is raised when everything is recorded."""
        self._fatal = self._fatal or error
        return StopAsked(f"the session failed: {error}")

    def _carry_out(self, todo: Instructions) -> None:
        self._record(todo.records)
        if self.watcher is not None and todo.records:
            self.watcher.take(todo.records)
        for trial in todo.stop:
            self._control(trial, _STOP)
        for trial, control in todo.control:
            self._control(trial, control)
        for trial in todo.submit:
            self._submit(trial)
        if todo.ask:
            self.asker.ask_aside(todo.ask, self.loop.pending)
        for trial in todo.announce:
            self.run_directory.tidy(trial)
            self._notify("trial_ended", trial)
        self._wake_at = todo.wake_at
        if time.monotonic() >= self._next_tick:
            self._tick()

    def _control(self, trial: Trial, control: Control) -> None:
        if self.watcher is not None:
            self.watcher.control(trial, control)
        else:
            self.run_directory.send_control(trial, control)

    def seconds_left(self) -> float | None:
        """Return how long the session may go on, or None if nothing limits it."""
        deadline = self.loop.deadline
        return None if deadline is None else deadline - time.monotonic()

    def _submit(self, trial: Trial) -> None:
        number = len(trial.attempts)
        try:
            parent = None if trial.parent_id is None else self.loop.record.trials[trial.parent_id]
            future = self._call.submit(trial, parent, self._deadline())
        except Exception as error:  # noqa: BLE001 - whatever an executor raises, it takes no more trials
            refused = ExecutionError(f"{self.pool.description} takes no trial: {error}")
            refused.__cause__ = error
            self.post(self._fail(refused))
            return
        # The callback runs in the executor's thread and only puts; the result is read in ours.
        future.add_done_callback(lambda done: self._inbox.put(_Done(trial.trial_id, number, done)))

    def _deadline(self) -> float | None:
        deadline = self.loop.deadline
        return None if deadline is None else time.time() + deadline - time.monotonic()

    def _wait(self) -> list[LoopEvent]:
        """Sleep until something comes or the loop wants to look; return all that has come."""
        until = min(self._next_tick, self._wake_at or self._next_tick)
        try:
            first = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return []
        return self._understand([first, *self._drain()])

    def _drain(self) -> list[LoopEvent | _Done | Exception]:
        messages: list[LoopEvent | _Done | Exception] = []
        try:
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _understand(self, messages: Iterable[LoopEvent | _Done | Exception]) -> list[LoopEvent]:
        events = (self._understand_one(each) for each in messages)
        return [each for each in events if each is not None]

    def _understand_one(self, message: LoopEvent | _Done | Exception) -> LoopEvent | None:
        if isinstance(message, Exception):
            return self._fail(_searcher_failed(message))
        if not isinstance(message, _Done):
            return message
        trial = self.loop.record.trials[message.trial_id]
        if self.loop.running.get(message.trial_id) == message.attempt:
            try:
                return self._call.read(trial, message.future)
            except ExecutionError as error:
                return self._fail(error)
        # It was given up, and comes too late; only its slot is of use.
        key = (message.trial_id, message.attempt)
        if key not in self._hanging:
            return None
        self._hanging.remove(key)
        return SlotReturned()

    def _record(self, events: Sequence[Event]) -> None:
        """Journal events; on a full disk, wait for room: nothing goes on that is not recorded."""
        if self._journal is None or not events:
            return
        while True:
            try:
                self._journal.append(events)
            except HistoryError as error:
                if error.errno not in _FULL or self._is_stopping or self._is_overdue():
                    raise
                self._say(f"paused: {error.strerror or error} - make room on the disk of the history; nothing is lost")
                time.sleep(_DISK_RETRY_S)
                self._tick()
            else:
                self._say("")
                return

    def _is_overdue(self) -> bool:
        deadline = self.loop.deadline
        return deadline is not None and time.monotonic() > deadline + TICK_S

    def _say(self, message: str) -> None:
        if message and message != self.message:
            _log.warning(message)
        self.message = message

    def _tick(self) -> None:
        now = time.monotonic()
        self._next_tick = now + TICK_S
        if now >= self._next_look:
            self._next_look = now + max(LOOK_INTERVAL_S, LOOK_COST_S * len(self.loop.running))
            self._look_after_running()
        if self._journal is not None and not self.message:
            self._journal.maybe_checkpoint()
        self._notify("tick", self)

    def _notify(self, what: str, about: object) -> None:
        """Call every observer; one that raises is not called again, and the study goes on."""
        for observer in list(self._observers):
            try:
                getattr(observer, what)(about)
            except Exception:  # noqa: BLE001 - whatever an observer raises, the study goes on
                _log.exception("an observer failed in %s and is left out from now on: %r", what, observer)
                self._observers.remove(observer)

    def _look_after_running(self) -> None:
        """Find attempts that have ended without their futures knowing it."""
        try:
            ended = self._call.look_after([self.loop.record.trials[each] for each in self.loop.running])
        except ExecutionError as error:
            self.post(self._fail(error))
            return
        for found in ended:
            if isinstance(found, Lost) and found.keeps_slot:
                self._hanging.add((found.trial_id, found.attempt))
                _log.warning(
                    "trial %d outlived its limit in a thread that nothing can end: its slot is lost", found.trial_id
                )
            self.post(found)

    def _give_up_after(self, error: BaseException) -> None:
        """Record running trials as given up, so that the history says what happened; resume runs them again."""
        records = self.loop.give_up_all(f"the session failed: {error}", wall=time.time())
        try:
            if self._journal is not None:
                self._journal.append(records)
        except HistoryError as second:
            _log.warning("what was running could not be recorded: %s", second)


def _searcher_failed(error: Exception) -> SearchError:
    failed = SearchError(f"the searcher failed: {error!r}")
    failed.__cause__ = error
    return failed


def _joined(first: Instructions, second: Instructions) -> Instructions:
    """Return two steps' instructions as one: one write to the journal serves both."""
    return Instructions(
        records=first.records + second.records,
        tell=[],
        stop=first.stop + second.stop,
        control=first.control + second.control,
        submit=first.submit + second.submit,
        announce=first.announce + second.announce,
        ask=second.ask,
        finish=second.finish,
        wake_at=second.wake_at,
    )
