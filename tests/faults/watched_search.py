"""A ``dhflow search`` in a process of its own, to be disturbed, whose trials write down when they begin and end.

What the trials write lies apart from dhflow's own files, so that the history can be held against it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from dhflow import load
from dhflow.trial import Trial, TrialStatus

MARK = "DHFLOW_TEST_MARK"
ORPHANS_S = 15.0
"""So long after a driver has gone its processes may live."""

PROBLEM = """
import json, os, time
from dhflow import Float, Problem, SearchSpace

def note(what, trial):
    line = json.dumps([trial.trial_id, trial.attempt, what, time.time(), os.getpid(), trial.time_left_s])
    with open({log!r}, "ab", buffering=0) as file:
        file.write(line.encode() + b"\\n")

def objective(config, trial):
    note("begin", trial)
    time.sleep({trial_s!r})
    note("end", trial)
    return config["x"]

problem = Problem(SearchSpace({{"x": Float(0.0, 1.0)}}), objective)
"""


class Note(NamedTuple):
    """What a trial wrote of itself."""

    trial_id: int
    attempt: int
    what: str
    time: float
    pid: int
    time_left_s: float | None


class Marked:
    """Processes that are known by a mark which they inherit, and what the first of them says.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.mark = uuid.uuid4().hex

    def start(self, *command: object, start_new_session: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command in the folder; what it says goes to a file."""
        paths = os.pathsep.join(each for each in sys.path if each)
        with self.output.open("ab") as output:
            return subprocess.Popen(
                list(map(str, command)),
                cwd=self.folder,
                env={**os.environ, MARK: self.mark, "PYTHONPATH": paths, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=start_new_session,
            )

    @property
    def said(self) -> str:
        """What has been said so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_for_exit(self, process: subprocess.Popen[bytes], patience_s: float = 50.0) -> int:
        """Wait for a process's end; say what it said if it does not come."""
        try:
            return process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.said}") from None

    def processes(self) -> list[psutil.Process]:
        """Return the living processes with the mark, wherever they hang now."""
        found = psutil.process_iter(["environ", "status"])
        return [
            each
            for each in found
            if each.pid != os.getpid()
            and (each.info["environ"] or {}).get(MARK) == self.mark
            and each.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def wait_for_no_process(self, patience_s: float = ORPHANS_S) -> None:
        """Wait until nothing is left."""
        wait_until(lambda: not self.processes(), patience_s, lambda: f"still there: {self._commands()}")

    def _commands(self) -> list[tuple[int, list[str]]]:
        found = []
        for each in self.processes():
            with suppress(psutil.NoSuchProcess):
                found.append((each.pid, each.cmdline()))
        return found

    def end_all(self) -> None:
        """Kill what is left: the processes with the mark and no others."""
        for each in self.processes():
            with suppress(psutil.NoSuchProcess):
                each.kill()


class WatchedSearch(Marked):
    """A search's folder and the process that runs it.

    Parameters
    ----------
    folder : Path
    trial_s : float
        How long a trial takes.
    problem : str
        Text of the problem's file; ``{log!r}`` and ``{trial_s!r}`` are filled in.
    """

    def __init__(self, folder: Path, *, trial_s: float = 0.3, problem: str = PROBLEM) -> None:
        super().__init__(folder)
        self.history = folder / "h.h5"
        self.log = folder / "notes.jsonl"
        (folder / "problem.py").write_text(problem.format(log=str(self.log), trial_s=trial_s))

    def search(self, *arguments: object, start_new_session: bool = False) -> subprocess.Popen[bytes]:
        """Start the search."""
        more = ["--searcher", "random", "--seed", "1", "--history", self.history]
        return self.dhflow("search", "problem.py", *more, *arguments, start_new_session=start_new_session)

    def resume(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Go on with the search as a user would."""
        return self.dhflow("resume", self.history, *arguments)

    def dhflow(self, *arguments: object, start_new_session: bool = False) -> subprocess.Popen[bytes]:
        """Start the command line in the search's folder."""
        return self.start(sys.executable, "-m", "dhflow", *arguments, start_new_session=start_new_session)

    @property
    def notes(self) -> list[Note]:
        """What the trials have written down."""
        if not self.log.exists():
            return []
        return [Note(*json.loads(line)) for line in self.log.read_text().splitlines()]

    def n_ended(self) -> int:
        """Return how many attempts have come to their end."""
        return sum(each.what == "end" for each in self.notes)

    def wait_for_ended(self, n: int, patience_s: float = 40.0) -> None:
        """Wait until so many attempts have come to their end."""
        wait_until(lambda: self.n_ended() >= n, patience_s, lambda: f"{self.n_ended()} of {n} trials: {self.said}")

    @contextmanager
    def cleaned_up(self) -> Iterator[WatchedSearch]:
        """End what is left, also after a failure: the processes of this search and no others."""
        try:
            yield self
        finally:
            self.end_all()

    def check(self, n_trials: int) -> list[Trial]:
        """Check that every trial is in the history once, with its reason, and that no result was computed again."""
        trials = load(self.history).trials
        assert [each.trial_id for each in trials] == list(range(n_trials)), self.said
        assert not self.history.with_name(self.history.name + ".journal").exists()
        for each in trials:
            check_trial(each)
        self.check_reruns(trials)
        return trials

    def check_reruns(self, trials: list[Trial]) -> None:
        """Check that an attempt that came to its end before it was given up is the one in the history."""
        ends = {(each.trial_id, each.attempt): each.time for each in self.notes if each.what == "end"}
        for trial in trials:
            for attempt in trial.attempts[:-1]:
                ended_at = ends.get((trial.trial_id, attempt.number))
                given_up_at = attempt.received_at or 0.0
                assert ended_at is None or ended_at > given_up_at, f"trial {trial.trial_id} ran again: {attempt}"


def check_trial(trial: Trial) -> None:
    """Check that a trial has ended, and that every attempt before the last says why it was none."""
    assert trial.is_finished, trial
    assert [each.number for each in trial.attempts] == list(range(1, len(trial.attempts) + 1))
    for attempt in trial.attempts[:-1]:
        assert attempt.status is TrialStatus.LOST, trial
        assert attempt.failure is not None, trial
    if trial.status is TrialStatus.COMPLETED:
        assert trial.objective == trial.config["x"]
    else:
        assert trial.failure is not None, trial


def wait_until(condition: Callable[[], Any], patience_s: float, describe: Callable[[], str]) -> None:
    """Wait for a condition; fail with a description when it does not come."""
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, describe()
        time.sleep(0.1)
