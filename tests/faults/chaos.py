"""Rounds of chaos: a search is disturbed at moments that a seed chooses, and nothing may be lost or hang.

A round draws from its seed what the trials do (:mod:`chaos_run`), where they run, and what happens after how many of
them. A seed repeats all of that; what it cannot repeat is which line of code a signal meets.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from chaos_run import FAILURES, Plan, manners
from watched_search import Marked, wait_until

from dhflow import load
from dhflow.errors import HistoryLockedError
from dhflow.history.lock import WriterLock
from dhflow.trial import Trial, TrialStatus

HERE = Path(__file__).parent
N_TRIALS = 24
MAX_ATTEMPTS = 10
PATIENCE_S = 60.0
"""A search that announces nothing for so long hangs."""

EXIT_S = 15.0
_DISK_BYTES = 8_000_000


class Disturbance(NamedTuple):
    """What happens, and when.

    Parameters
    ----------
    name : str
        A method of :class:`Round`.
    after : int
        When so many trials were announced.
    """

    name: str
    after: int


class Span(NamedTuple):
    """When a disturbance took place, in seconds of a clock that none of them sets."""

    name: str
    begin: float
    end: float


ON_PROCESSES = ("kill_worker", "kill_manager", "kill_interchange")
ANYWHERE = ("kill_driver", "interrupt", "suspend", "fill_disk", "lock", "set_clock", "read")
KINDS = (*ON_PROCESSES, *ANYWHERE)
"""The first disturbance of a round is that of its seed's place here, so that ten rounds in a row have all."""

_MAY_END = {"kill_driver", "interrupt", "kill_interchange", "fill_disk"}
"""After these the search may have ended, and is taken up again."""


def planned(seed: int) -> tuple[str, list[Disturbance]]:
    """Return where a round's trials run, and what happens to them."""
    chance = random.Random(seed)
    first = KINDS[seed % len(KINDS)]
    executor = "processes" if first in ON_PROCESSES or chance.random() < 0.4 else "threads"
    names = [first]
    if chance.random() < 0.6:
        names.append(chance.choice(KINDS if executor == "processes" else ANYWHERE))
    chance.shuffle(names)
    moments = sorted(chance.sample(range(2, N_TRIALS - 8), len(names)))
    return executor, [Disturbance(*each) for each in zip(names, moments, strict=True)]


class Round(Marked):
    """One search, from its start through all that happens to the check of its history.

    Parameters
    ----------
    seed : int
    folder : Path
    """

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(folder)
        self.seed = seed
        self.executor, self.disturbances = planned(seed)
        self.chance = random.Random(f"{seed}, while it runs")
        self.spans: list[Span] = []
        self.left_out: list[str] = []
        self.n_starts = 0
        self.disk = folder / "disk"
        self.history = self.disk / "h.h5"
        self.notes = folder / "notes.jsonl"
        self.acknowledged = folder / "acknowledged.jsonl"
        self.clock = folder / "clock"
        self._driver: subprocess.Popen[bytes] | None = None
        self._may_have_ended = False

    def __str__(self) -> str:
        happens = ", ".join(f"{each.name} after {each.after}" for each in self.disturbances)
        left_out = f" (left out: {'; '.join(self.left_out)})" if self.left_out else ""
        return f"round {self.seed}: {self.executor}; {happens}{left_out}"

    def run(self) -> list[str]:
        """Go through the round; return what was lost, was done twice or hung, nothing if all is well."""
        self.disk.mkdir()
        with self._small_disk():
            try:
                self._go_through()
            except AssertionError as error:
                # A history that is still being written says nothing of what would have been lost.
                return ["".join(traceback.format_exception(error))]
            finally:
                self.end_all()
            return list(self.findings())

    def _go_through(self) -> None:
        self._write_plan()
        self.start_driver()
        for each in self.disturbances:
            self.wait_for_announced(each.after)
            self._disturb(each.name)
        self.wait_for_announced(N_TRIALS)
        self._wait_for_the_end()
        self.wait_for_no_process()

    def _write_plan(self) -> None:
        plan = Plan(
            seed=self.seed,
            executor=self.executor,
            history=str(self.history),
            notes=str(self.notes),
            acknowledged=str(self.acknowledged),
            stacks=str(self.folder / "stacks"),
            n_trials=N_TRIALS,
            n_workers=2 if self.executor == "processes" else 4,
            trial_s=0.08,
            timeout_s=2.5,
        )
        (self.folder / "plan.json").write_text(json.dumps(plan))

    # The driver ----------------------------------------------------------------------------

    def start_driver(self) -> None:
        """Start the search, or go on with it."""
        self.n_starts += 1
        self._driver = self.start(sys.executable, HERE / "chaos_run.py", "plan.json", **self._clock_environment())

    @property
    def driver(self) -> subprocess.Popen[bytes]:
        """The process that runs the search now, or did last."""
        assert self._driver is not None
        return self._driver

    def announced(self) -> list[tuple[int, str, float | None, float]]:
        """Return what the search has announced: trial, status, objective and when."""
        return [(*each,) for each in read_lines(self.acknowledged)]

    def wait_for_announced(self, n: int) -> None:
        """Wait until so many trials were announced; a driver that could have ended is started again."""
        if self.driver.poll() not in (None, 0):
            # What comes next is meant for one that runs.
            self._start_again()
            n = min(N_TRIALS, max(n, len(self.announced()) + 1))
        patient_until, n_known = time.monotonic() + PATIENCE_S, -1
        while (n_now := len(self.announced())) < n:
            if n_now > n_known:
                patient_until, n_known = time.monotonic() + PATIENCE_S, n_now
            if self.driver.poll() is not None:
                if self.driver.returncode == 0:
                    return  # what the killed driver had in hand was not announced, and is in the history
                self._start_again()
            assert time.monotonic() < patient_until, f"nothing ends after {n_now} trials: {self._state()}"
            time.sleep(0.02)

    def _start_again(self) -> None:
        assert self._may_have_ended, f"it ended with {self.driver.returncode}: {self.said[-3000:]}"
        self._may_have_ended = False
        self.start_driver()

    def _wait_for_the_end(self) -> None:
        while self.wait_for_exit(self.driver, PATIENCE_S) != 0:
            self._start_again()

    def wait_for_exit(self, process: subprocess.Popen[bytes], patience_s: float = EXIT_S) -> int:
        """Wait for a process's end; show where it stands if it does not come."""
        try:
            return process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self._state()}") from None

    def _state(self) -> str:
        """Return what can be known of a driver that hangs."""
        with suppress(ProcessLookupError):
            os.kill(self.driver.pid, signal.SIGUSR1)
            time.sleep(0.5)
        stacks = self.folder / "stacks"
        return f"{self.said[-3000:]}\n{stacks.read_text()[-6000:] if stacks.exists() else ''}"

    # What happens --------------------------------------------------------------------------

    def _disturb(self, name: str) -> None:
        begin = time.monotonic()
        self._may_have_ended = self._may_have_ended or name in _MAY_END
        getattr(self, name)()
        self.spans.append(Span(name, begin, time.monotonic()))

    def kill_driver(self) -> None:
        """SIGKILL; now and then while somebody else holds the history when it is taken up again."""
        self.driver.kill()
        self.driver.wait(timeout=EXIT_S)
        if self.chance.random() < 0.3:
            self._refused_while_locked()

    def kill_worker(self) -> None:
        """SIGKILL to the worker of a trial that runs."""
        pid = self._worker()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def kill_manager(self) -> None:
        """SIGKILL to the parent of the workers."""
        pid = self._worker()
        with suppress(psutil.NoSuchProcess):
            manager = None if pid is None else psutil.Process(pid).parent()
            if manager is not None and manager.pid != self.driver.pid:
                manager.kill()

    def kill_interchange(self) -> None:
        """SIGKILL to the process between the driver and the managers: no trial can run any more."""
        for each in self.processes():
            with suppress(psutil.NoSuchProcess):
                if "interchange" in " ".join(each.cmdline()):
                    each.kill()

    def interrupt(self) -> None:
        """Ctrl-C or its like; the driver must end soon."""
        is_closing = len(self.announced()) == N_TRIALS
        self.driver.send_signal(self.chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
        self.wait_for_exit(self.driver)
        # One that is closing may be cut short: what is left in the journal is not lost.
        is_closed = not self.history.with_name("h.h5.journal").exists()
        assert is_closed or is_closing, "an interrupted search leaves a closed history"

    def suspend(self) -> None:
        """Stop the driver for a while, as Ctrl-Z does."""
        self.driver.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(1.0, 4.0))
        self.driver.send_signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Take all room on the disk of the history for a while; without the right to mount, forbid longer files."""
        if os.path.ismount(self.disk):
            ballast = fill(self.disk)
            time.sleep(self.chance.uniform(1.0, 3.0))
            ballast.unlink()
        else:
            before = resource.prlimit(self.driver.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.driver.pid, resource.RLIMIT_FSIZE, (1_000, before[1]))
            time.sleep(self.chance.uniform(1.0, 3.0))
            with suppress(ProcessLookupError):
                resource.prlimit(self.driver.pid, resource.RLIMIT_FSIZE, before)

    def lock(self) -> None:
        """A second driver on the same history must be refused; when the first is dead, it too, while another writes."""
        other = self.start(sys.executable, HERE / "chaos_run.py", "plan.json")
        code = self.wait_for_exit(other, PATIENCE_S)
        if self.driver.poll() is None:  # it may have come to its end before the other one stood
            assert code != 0, "two drivers write to one history"
            assert "HistoryLockedError" in self.said
        self._may_have_ended = True
        self.kill_driver()
        self._refused_while_locked()

    def _refused_while_locked(self) -> None:
        wait_until(self._can_lock, 5.0, lambda: "the lock of a dead driver is held")
        lock = WriterLock(self.history)
        try:
            self.start_driver()
            assert self.wait_for_exit(self.driver, PATIENCE_S) != 0, "it went on with a locked history"
            assert "HistoryLockedError" in self.said
        finally:
            lock.release()

    def _can_lock(self) -> bool:
        try:
            WriterLock(self.history).release()
        except HistoryLockedError:
            return False
        return True

    def set_clock(self) -> None:
        """Set the clock of all Python processes of the search, back and forth (:mod:`sitecustomize` beside this)."""
        for _ in range(2):
            ahead_s = self.chance.choice([-1, 1]) * self.chance.uniform(30, 200_000)
            # In place: who reads a mapped file that is empty for a moment, as one opened for writing is, gets SIGBUS.
            with self.clock.open("r+b", buffering=0) as file:
                file.write(struct.pack("d", ahead_s))
            time.sleep(1.5)

    def read(self) -> None:
        """Read the history all the time for a while; it is always whole."""
        until, n_before = time.monotonic() + 2.0, 0
        while time.monotonic() < until:
            n_now = sum(each.is_finished for each in load(self.history).trials)
            assert n_now >= n_before, "a result was there and is no more"
            n_before = n_now

    def _worker(self) -> int | None:
        """Return the process of an attempt that runs, or None."""
        open_: dict[tuple[int, int], int] = {}
        for trial_id, attempt, what, _, pid in read_lines(self.notes):
            if what == "begin":
                open_[trial_id, attempt] = pid
            else:
                open_.pop((trial_id, attempt), None)
        ours = {each.pid for each in self.processes()} - {self.driver.pid}
        return next((each for each in reversed(open_.values()) if each in ours), None)

    # Surroundings --------------------------------------------------------------------------

    @contextmanager
    def _small_disk(self) -> Iterator[None]:
        if not any(each.name == "fill_disk" for each in self.disturbances):
            yield
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(self.disk)]
        is_mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0
        if not is_mounted:
            self.left_out.append("no right to mount: the limit on file sizes stands in for the full disk")
        try:
            yield
        finally:
            if is_mounted:
                subprocess.run(["umount", "-l", str(self.disk)], check=False)

    def _clock_environment(self) -> dict[str, str]:
        if not any(each.name == "set_clock" for each in self.disturbances):
            return {}
        if not self.clock.exists():
            self.clock.write_bytes(bytes(8))
        paths = [str(HERE / "jumping_clock"), *filter(None, sys.path)]
        return {"DHFLOW_TEST_CLOCK": str(self.clock), "PYTHONPATH": os.pathsep.join(paths)}

    # What must hold ------------------------------------------------------------------------

    def findings(self) -> Iterator[str]:
        """Yield what is wrong: each trial is in the history once, as what it was announced, and none ran again."""
        trials = load(self.history).trials
        if [each.trial_id for each in trials] != list(range(N_TRIALS)):
            yield f"the history holds the trials {[each.trial_id for each in trials]}: {self.said[-3000:]}"
            return
        if self.history.with_name("h.h5.journal").exists():
            yield "the history is not closed: its journal is there"
        for each in trials:
            yield from (f"{what}: {each}" for what in self._of_attempts(each))
            yield from (f"{what}: {each}" for what in self._of_outcome(each))
        yield from self._of_announced(trials)
        yield from self._of_notes(trials)

    def _of_attempts(self, trial: Trial) -> Iterator[str]:
        if [each.number for each in trial.attempts] != list(range(1, len(trial.attempts) + 1)):
            yield "its attempts are not numbered from 1"
        for attempt in trial.attempts[:-1]:
            if attempt.status is not TrialStatus.LOST or attempt.failure is None:
                yield f"attempt {attempt.number} was not lost, and is not the last one"

    def _of_outcome(self, trial: Trial) -> Iterator[str]:
        how = manners(self.seed, trial.trial_id, in_processes=self.executor == "processes")
        if not trial.is_finished:
            yield "it has no end"
        elif trial.status is TrialStatus.LOST:
            if len(trial.attempts) < MAX_ATTEMPTS:
                yield "it was given up too soon"
        elif how in FAILURES:
            # On a busy machine a trial takes longer to use the memory up than it may take at all.
            allowed = {FAILURES[how], *(["TrialTimeoutError"] if how == "leaks" else [])}
            if trial.failure is None or trial.failure.kind not in allowed or not trial.failure.message:
                yield f"it {how}, which is none of {sorted(allowed)}"
        elif trial.failure is not None and self._outlived_a_suspension(trial):
            # A thread that was stopped with the driver took longer than its limit, and says so itself.
            if trial.failure.kind != "TrialTimeoutError" or "it returned after" not in trial.failure.message:
                yield "it outlived a suspension and says something else"
        elif trial.status is not TrialStatus.COMPLETED or trial.objective != trial.config["x"]:
            yield f"it {how}, and its objective should be its x"

    def _outlived_a_suspension(self, trial: Trial) -> bool:
        begins = [each[3] for each in read_lines(self.notes) if each[0] == trial.trial_id and each[2] == "begin"]
        stops = [each for each in self.spans if each.name == "suspend"]
        return self.executor == "threads" and any(s.begin - 2.5 < b < s.end for s in stops for b in begins)

    def _of_announced(self, trials: list[Trial]) -> Iterator[str]:
        announced = self.announced()
        twice = {each: n for each, n in Counter(each[0] for each in announced).items() if n > 1}
        if twice:
            yield f"announced more than once: {twice}"
        for trial_id, status, objective, _ in announced:
            if (trials[trial_id].status.value, trials[trial_id].objective) != (status, objective):
                yield f"announced as {status} with {objective}: {trials[trial_id]}"

    def _of_notes(self, trials: list[Trial]) -> Iterator[str]:
        """Yield what ran without need, by what the trials wrote down."""
        announced_at = {each[0]: each[3] for each in self.announced()}
        begun: Counter[tuple[int, int]] = Counter()
        for trial_id, attempt, what, at, _ in read_lines(self.notes):
            if what == "begin":
                begun[trial_id, attempt] += 1
                if at >= announced_at.get(trial_id, at + 1.0):
                    yield f"trial {trial_id} ran after its result was known"
            elif attempt < len(trials[trial_id].attempts) and not self._was_disturbed(at):
                yield f"attempt {attempt} of trial {trial_id} came to its end for nothing"
        twice = {each: n for each, n in begun.items() if n > 1}
        if twice:
            yield f"ran more than once as one attempt: {twice}"

    def _was_disturbed(self, at: float) -> bool:
        return any(each.begin - 1.0 < at < each.end + 1.0 for each in self.spans)


def read_lines(path: Path) -> list[Any]:
    """Return what was written down; a line that a kill has torn is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def fill(folder: Path) -> Path:
    """Take all the room that there is."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))
    return ballast
