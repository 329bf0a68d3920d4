from __future__ import annotations

import io
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dhflow.constraint import Constraint
from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop
from dhflow.flow.loop_settings import LoopSettings
from dhflow.flow.message import Finished, Lost, Slots, Suggested
from dhflow.flow.progress import MIN_INTERVAL_S, ProgressDisplay
from dhflow.flow.progress_view import LineView, TerminalView, facts, make_view, plain_line
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.snapshot import Snapshot, Speed, Tally
from dhflow.history.event import StudyRecord, TrialCreated
from dhflow.objective import Objective
from dhflow.trial import Suggestion, Trial, TrialFailure, TrialResult, TrialSource, TrialStatus

NOTHING = Snapshot(0.0, 0, 30, 0.0, None, None, None, "accuracy", None, 0, 2, 0, 0)


@dataclass
class Session:
    """A driver's visible part around a real completion loop, moved by hand."""

    loop: CompletionLoop
    run_directory: RunDirectory
    began: float = 100.0
    message: str = ""
    pool: Any = field(default_factory=lambda: SimpleNamespace(description="site 'laptop'", blocks=None))
    n_suggested: int = 0

    def start(self, now: float = 100.0, n_slots: int = 2) -> None:
        self.loop.handle([Slots(n_slots)], now=now, wall=now)
        self.suggest(n_slots, now)

    def suggest(self, n: int, now: float) -> None:
        self.loop.handle([Suggested([Suggestion({"x": 1.0})] * n, self.n_suggested, 0, 0.0)], now=now, wall=now)
        self.n_suggested += 1

    def end(self, trial_id: int, now: float, value: float | None = 0.5) -> Trial:
        status = TrialStatus.FAILED if value is None else TrialStatus.COMPLETED
        failure = TrialFailure("ValueError", "no") if value is None else None
        values = {} if value is None else {"accuracy": value}
        number = self.loop.running[trial_id]
        result = TrialResult(trial_id, number, status, now - 1, now, values=values, failure=failure)
        todo = self.loop.handle([Finished(result)], now=now, wall=now)
        self.suggest(max(1, todo.ask), now)
        return todo.announce[0]


@pytest.fixture
def make_session(tmp_path: Path) -> Iterator[Any]:
    made: list[Session] = []

    def make(
        limits: Limits | None = None,
        record: StudyRecord | None = None,
        full_budget: float = 1.0,
        constraints: tuple[Constraint, ...] = (),
    ) -> Session:
        loop = CompletionLoop(
            record or StudyRecord(),
            (Objective("accuracy", "maximize"),),
            limits or Limits(max_trials=10),
            LoopSettings(abort_after=None, full_budget=full_budget),
            constraints,
        )
        made.append(Session(loop, RunDirectory(tmp_path / f"h{len(made)}.h5")))
        return made[-1]

    yield make
    for each in made:
        each.run_directory.close()


# What is known -----------------------------------------------------------------------------------


def test_a_session_waits_for_workers_until_one_has_begun(make_session: Any) -> None:
    session = make_session()
    session.start()
    tally = Tally(session)
    before = tally.look(101.0)
    assert before.phase == "waiting for the workers of site 'laptop'"
    assert (before.n_busy, before.n_workers, before.rate, before.left_s) == (0, 2, None, None)
    (session.run_directory.workers / "node-7.jsonl").touch()
    after = tally.look(102.0)
    assert (after.phase, after.n_busy) == ("", 2)


def test_counts_best_rate_and_time_left_follow_the_trials(make_session: Any) -> None:
    session = make_session(Limits(max_trials=10))
    session.start()
    tally = Tally(session)
    tally.look(101.0)
    tally.add(session.end(0, 130.0, 0.7))
    first = tally.look(130.0)  # the other worker still imports what the first trial needs
    assert (first.rate, first.left_s) == (None, None)
    tally.add(session.end(1, 132.0, None))
    tally.look(132.0)
    tally.add(session.end(2, 134.0, 0.9))
    seen = tally.look(134.0)
    assert (seen.n_ended, seen.n_failed, seen.best, seen.best_trial) == (3, 1, 0.9, 2)
    assert seen.share == pytest.approx(0.3)
    assert seen.rate == pytest.approx(1 / 2)
    assert seen.left_s == pytest.approx(7 / 0.5)
    assert seen.elapsed_s == pytest.approx(34.0)


def test_infeasible_trials_are_counted_and_are_not_the_best(make_session: Any) -> None:
    session = make_session(constraints=(Constraint("accuracy", "<=", 0.8),))
    session.start()
    tally = Tally(session)
    for trial_id, value in enumerate((0.9, 0.7)):
        tally.add(session.end(trial_id, 110.0 + trial_id, value))
    seen = tally.look(112.0)
    assert (seen.n_infeasible, seen.n_failed, seen.best) == (1, 0, 0.7)
    assert ("1 infeasible", "yellow") in facts(seen)


def test_the_limit_that_comes_first_gives_the_time_left(make_session: Any) -> None:
    session = make_session(Limits(max_trials=1000, wall_time_s=60.0, max_budget=40.0), full_budget=4.0)
    session.start(n_slots=1)
    tally = Tally(session)
    tally.add(session.end(0, 101.0))
    tally.look(101.0)
    for trial_id in range(1, 5):
        tally.add(session.end(trial_id, 101.0 + trial_id))
    seen = tally.look(105.0)
    # One trial of four units a second: 5 of the 10 that the budget allows are done.
    assert seen.left_s == pytest.approx(5.0)
    assert seen.share == pytest.approx(0.5)
    session.loop.limits = replace(session.loop.limits, max_budget=None)
    seen = tally.look(130.0)
    assert seen.left_s == pytest.approx(30.0)
    assert seen.share == pytest.approx(0.5)


def test_a_resumed_study_counts_what_it_had_but_not_what_was_loaded(make_session: Any) -> None:
    record = StudyRecord()
    done: dict[str, Any] = {"status": TrialStatus.COMPLETED, "values": {"accuracy": 0.2}, "losses": (-0.2,)}
    for i in range(3):
        record.apply(TrialCreated(Trial(i, {}, **done, outcome_number=i)))
    record.apply(TrialCreated(Trial(3, {}, **done, source=TrialSource.ADDED, outcome_number=3)))
    session = make_session(record=record)
    session.start()
    tally = Tally(session)
    assert tally.look(100.5).n_ended == 3
    assert tally.look(100.5).phase.startswith("waiting")
    tally.add(session.end(4, 102.0))
    assert tally.look(102.0).n_ended == 4
    assert tally.look(102.0).phase == ""


def test_lost_attempts_are_retries(make_session: Any) -> None:
    session = make_session()
    session.start()
    tally = Tally(session)
    lost = Lost(0, 1, TrialFailure("TrialLostError", "gone"))
    session.loop.handle([lost], now=101.0, wall=101.0)
    assert tally.look(101.0).n_retries == 1
    tally.add(session.end(0, 102.0))
    assert tally.look(102.0).n_retries == 1


def test_what_the_driver_says_comes_before_all_else(make_session: Any) -> None:
    session = make_session(Limits(max_trials=2))
    session.start()
    tally = Tally(session)
    assert tally.look(101.0).phase == "ending: max_trials was reached"
    session.message = "paused: disk full"
    assert (tally.look(102.0).phase, tally.look(102.0).is_paused) == ("paused: disk full", True)


def test_speed_looks_at_the_last_while() -> None:
    speed = Speed()
    for second in range(101):
        speed.add(float(second), second, 0.0)  # one trial a second …
    for second in range(101, 301):
        speed.add(float(second), 100, 0.0)  # … then none
    rate, _ = speed.rates(300.0, 101, 0.0)
    assert rate is not None
    assert rate < 0.02


def test_speed_keeps_few_samples_of_a_long_session() -> None:
    speed = Speed()
    for second in range(100_000):
        speed.add(float(second), second, float(second))
    assert len(speed._samples) < 500
    rates: Any = speed.rates(100_000.0, 100_000, 100_000.0)
    assert rates == pytest.approx((1.0, 1.0))


# Lines ------------------------------------------------------------------------------------------


def lines_of(view_snapshots: list[Snapshot]) -> list[str]:
    stream = io.StringIO()
    view = LineView(stream)
    for each in view_snapshots:
        view.show(each)
    view.close()
    return stream.getvalue().splitlines()


def test_a_log_gets_lines_at_growing_intervals() -> None:
    seconds = range(4 * 3600)
    shown = [replace(NOTHING, elapsed_s=float(each), n_ended=each) for each in seconds]
    counts = [int(re.findall(r": (\d+)/30", line)[0]) for line in lines_of(shown)]
    gaps = [after - before for before, after in itertools.pairwise(counts)]
    assert counts[0] == 0
    assert gaps[0] < 15
    assert gaps == sorted(gaps)
    assert gaps[-1] == 600
    assert len(counts) < 40


def test_news_come_at_once_but_a_new_best_not_all_the_time() -> None:
    base = [replace(NOTHING, elapsed_s=float(i), best=0.01 * i, best_trial=i) for i in range(1, 60)]
    lines = lines_of(base)
    assert 4 < len(lines) < 10
    paused = lines_of([NOTHING, replace(NOTHING, elapsed_s=1.0, phase="paused: disk full", is_paused=True)])
    assert len(paused) == 2
    assert paused[1].endswith("paused: disk full")


def test_the_last_state_is_written_once() -> None:
    stream = io.StringIO()
    view = LineView(stream)
    last = replace(NOTHING, elapsed_s=1.0, n_ended=30, phase="max_trials was reached")
    view.show(NOTHING)
    view.show(last)
    view.show(last, is_last=True)
    assert len(stream.getvalue().splitlines()) == 2


def test_a_line_says_it_all() -> None:
    snapshot = Snapshot(92.0, 17, 30, 0.57, 70.0, 0.97222, 12, "accuracy", 0.187, 2, 2, 1, 3)
    assert plain_line(snapshot) == (
        "dhflow  1:32 min, about 1:10 min left: 17/30 trials, best accuracy 0.97222 (trial 12), 11.2 trials/min, "
        "2/2 workers busy, 1 failed, 3 retried"
    )
    assert "left" not in plain_line(replace(snapshot, left_s=None))
    assert plain_line(replace(snapshot, max_trials=None)).startswith("dhflow  1:32 min, about 1:10 min left: 17 trials")


def test_with_several_objectives_a_line_says_the_size_of_the_set() -> None:
    stream = io.StringIO()
    view = LineView(stream)
    first = replace(NOTHING, elapsed_s=1.0, n_ended=1, best_trial=0, n_pareto=1)
    second = replace(first, elapsed_s=90.0, n_ended=9, best_trial=8)
    assert "1/30 trials, Pareto set of 1 trial (newest: trial 0), 0/2 workers busy" in plain_line(first)
    view.show(first)
    view.show(second)
    assert len(stream.getvalue().splitlines()) == 2, "one member in place of another is news"
    assert "Pareto" not in plain_line(replace(NOTHING, n_pareto=0))


def test_a_look_at_a_session_of_several_objectives(tmp_path: Path) -> None:
    loop = CompletionLoop(StudyRecord(), (Objective("a"), Objective("b")))
    loop.handle([Slots(1)], now=0.0, wall=0.0)
    loop.handle([Suggested([Suggestion({"x": 1.0})], 0, 0, 0.0)], now=0.0, wall=0.0)
    session = Session(loop, RunDirectory(tmp_path / "h.h5"))
    tally = Tally(session)  # type: ignore[arg-type]
    assert (tally.look(101.0).n_pareto, tally.look(101.0).best_trial) == (0, None)
    result = TrialResult(0, 1, TrialStatus.COMPLETED, 0.0, 1.0, values={"a": 1.0, "b": 2.0})
    loop.handle([Finished(result)], now=1.0, wall=1.0)
    snapshot = tally.look(102.0)
    assert (snapshot.n_pareto, snapshot.best, snapshot.best_trial) == (1, None, 0)
    session.run_directory.close()


def test_the_stream_decides_between_lines_and_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(make_view(io.StringIO()), LineView)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_view(Terminal()), TerminalView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_view(Terminal()), LineView)


# The display ------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_draws_at_most_four_times_a_second(make_session: Any) -> None:
    session = make_session()
    session.start()
    stream, clock, n_drawn = io.StringIO(), Clock(), 0
    display = ProgressDisplay(stream, clock=clock)
    for i in range(100):
        clock.now = 100.0 + i * 0.01
        session.message = f"message {i}"  # news: a line view writes it whenever it is asked to
        display.tick(session)
    n_drawn = len(stream.getvalue().splitlines())
    assert n_drawn == pytest.approx(1.0 / MIN_INTERVAL_S, abs=1)
    display.close()


class Broken(io.StringIO):
    n_writes = 0

    def write(self, text: str) -> int:
        self.n_writes += 1
        raise OSError(32, "Broken pipe")


def test_a_broken_stream_ends_the_display_and_not_the_search(make_session: Any) -> None:
    session = make_session()
    session.start()
    stream, clock = Broken(), Clock()
    display = ProgressDisplay(stream, clock=clock)
    for i in range(5):
        clock.now = 100.0 + i
        display.tick(session)
        display.trial_ended(session.end(i, clock.now))
    display.close()
    assert stream.n_writes == 1


def test_a_mistake_in_the_display_ends_the_display_and_not_the_search() -> None:
    display = ProgressDisplay(io.StringIO())
    no_driver: Any = SimpleNamespace()
    display.tick(no_driver)
    display.trial_ended(Trial(0, {}))
    display.close()


def test_closing_twice_or_before_anything_is_harmless() -> None:
    display = ProgressDisplay(io.StringIO())
    display.close()
    display.close()


# On a real terminal ------------------------------------------------------------------------------

SCRIPT = """
    import sys, time
    from concurrent.futures import ThreadPoolExecutor
    from dhflow import Float, SearchSpace, search

    def objective(config):
        print("noise of a trial")
        time.sleep(float(sys.argv[1]))
        if config["x"] > 0.9:
            raise ValueError("too far")
        return config["x"]

    try:
        search(objective, SearchSpace({"x": Float(0, 1)}), site=ThreadPoolExecutor(2), searcher="random", seed=3,
               max_trials=int(sys.argv[2]), progress=True, abort_after=None)
    except KeyboardInterrupt:
        sys.exit(130)
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A process whose terminal we are."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        script = folder / "script.py"
        script.write_text(textwrap.dedent(SCRIPT))
        self.master, slave = pty.openpty()
        # NO_COLOR leaves the words in one piece; the cursor is still hidden and shown.
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.text = ""

    def read_until(self, wanted: str = "\0") -> str:
        """Read until `wanted` is there, or the process has ended."""
        while wanted not in self.text:
            try:
                got = os.read(self.master, 65536)
            except OSError:  # the other side is closed
                break
            if not got:
                break
            self.text += got.decode(errors="replace")
        return self.text

    def close(self) -> int:
        self.read_until()
        code = self.process.wait(30)
        os.close(self.master)
        return code


def test_on_a_terminal_it_stays_in_place_and_gives_the_cursor_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "0.02", "40")
    assert terminal.close() == 0
    text = terminal.text
    assert text.count(HIDE) == text.count(SHOW) == 1
    assert text.index(HIDE) < text.index("40/40 trials") < text.index(SHOW)
    assert "best objective" in text
    assert "2 workers busy" in text or "/2 workers busy" in text
    assert "\x1b[1A" in text  # drawn over, not again below
    assert "noise of a trial" not in text


def test_ctrl_c_gives_the_cursor_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "0.2", "400")
    terminal.read_until("best objective")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 130
    assert terminal.text.count(HIDE) == terminal.text.count(SHOW) == 1
    assert "interrupted by SIGINT" in terminal.text


@pytest.mark.integration
def test_in_a_notebook_one_output_renews_itself() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = """
    from concurrent.futures import ThreadPoolExecutor
    import time
    from dhflow import Float, SearchSpace, search
    result = search(lambda config: time.sleep(0.1) or config["x"], SearchSpace({"x": Float(0, 1)}),
                    site=ThreadPoolExecutor(2), searcher="random", max_trials=30, progress=True)
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(code))])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    (output,) = notebook.cells[0].outputs
    assert "30/30 trials" in output["data"]["text/plain"]
