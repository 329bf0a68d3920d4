"""Searches that are interrupted in the ways in which people do it: nothing is lost, nothing stays, and it goes on."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from watched_search import MARK, PROBLEM, WatchedSearch

from dhflow import TrialStatus, load

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.slow, pytest.mark.long]

THREADS = ["--site-set", "executor=threads", "--site-set", "workers=2"]
PROCESSES = ["--site-set", "workers=2", "--site-set", "heartbeat_s=1"]
PLACES = pytest.mark.parametrize("site", [THREADS, PROCESSES], ids=["threads", "processes"])
ENOUGH = 10**6
EXIT_S = 10.0
HANGS = PROBLEM.replace('note("end", trial)', 'note("end", trial)\n    time.sleep(600 if trial.trial_id == 3 else 0)')


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., WatchedSearch]]:
    made: list[WatchedSearch] = []

    def make(**options: Any) -> WatchedSearch:
        made.append(WatchedSearch(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.end_all()


def to_the_group(pid: int, number: int) -> None:
    """Send a signal as a terminal does: to every process of the group in its foreground."""
    os.killpg(pid, number)


@pytest.mark.parametrize(
    ("site", "send", "number", "code"),
    [
        (THREADS, os.kill, signal.SIGTERM, 143),
        (THREADS, to_the_group, signal.SIGHUP, 129),
        (PROCESSES, to_the_group, signal.SIGINT, 130),
        (PROCESSES, to_the_group, signal.SIGHUP, 129),
    ],
    ids=["SIGTERM-threads", "closed terminal-threads", "Ctrl-C-processes", "closed terminal-processes"],
)
def test_an_interrupted_search_ends_soon_and_goes_on(
    watch: Callable[..., WatchedSearch], site: list[str], send: Any, number: signal.Signals, code: int
) -> None:
    watched = watch(trial_s=0.1)
    process = watched.search("--max-trials", ENOUGH, *site, start_new_session=True)
    watched.wait_for_ended(4)
    began = time.monotonic()
    send(process.pid, number)
    assert watched.wait_for_exit(process, EXIT_S) == code, watched.said
    print(f"{number.name} to exit: {time.monotonic() - began:.1f} s")
    assert f"go on with: dhflow resume {watched.history}" in watched.said
    assert "Traceback" not in watched.said
    watched.wait_for_no_process()
    assert not watched.history.with_name("h.h5.journal").exists()
    n_so_far = len(load(watched.history).trials)
    assert watched.wait_for_exit(watched.resume("--max-trials", n_so_far + 2, *THREADS)) == 0, watched.said
    trials = watched.check(n_so_far + 2)
    assert {each.status for each in trials} == {TrialStatus.COMPLETED}


@PLACES
@pytest.mark.parametrize("n_times", [1, 2])
def test_a_trial_that_hangs_does_not_keep_an_interrupted_search(
    watch: Callable[..., WatchedSearch], site: list[str], n_times: int
) -> None:
    watched = watch(trial_s=0.1, problem=HANGS)
    process = watched.search("--max-trials", ENOUGH, *site, start_new_session=True)
    watched.wait_for_ended(8)
    for _ in range(n_times):
        to_the_group(process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert watched.wait_for_exit(process, EXIT_S) == 130, watched.said
    watched.wait_for_no_process()
    trials = load(watched.history).trials
    assert not trials[3].is_finished
    if n_times == 1:
        failure = trials[3].attempts[0].failure
        assert failure is not None
        assert failure.kind == "Interrupted"


# -- a script

SCRIPT = """
import os, signal, sys, threading
from problem import problem
from dhflow import search

class Late:
    def trial_ended(self, trial): pass
    def tick(self, driver): pass
    def close(self): threading.Timer({delay_s}, os.kill, [os.getpid(), signal.SIGTERM]).start()

search(problem, searcher="random", seed=1, max_trials=4, history={history!r}, site="laptop",
       site_set={{"workers": 2, "heartbeat_s": 1}}, observers=[Late()])
"""


@pytest.mark.parametrize("delay_s", [0.01, 0.1])
def test_a_signal_while_a_script_closes_its_site_or_history_waits_for_that(
    watch: Callable[..., WatchedSearch], delay_s: float
) -> None:
    watched = watch(trial_s=0.1)
    script = watched.folder / "script.py"
    script.write_text(SCRIPT.format(history=str(watched.history), delay_s=delay_s))
    process = watched.start(sys.executable, script)
    watched.wait_for_exit(process)
    assert process.returncode == -signal.SIGINT, watched.said
    assert "KeyboardInterrupt: interrupted by SIGTERM" in watched.said
    assert watched.processes() == []
    watched.check(4)


# -- a notebook

CELL = """
import sys
sys.path.insert(0, {folder!r})
from problem import problem
from dhflow import search
search(problem, searcher="random", seed=1, max_trials=10**6, history={history!r}, site="laptop",
       site_set={{"workers": 2, "executor": {executor!r}, "heartbeat_s": 1}})
"""


class Notebook:
    """A kernel of Jupyter in which a cell searches."""

    def __init__(self, watched: WatchedSearch, executor: str) -> None:
        from jupyter_client import KernelManager

        paths = os.pathsep.join(each for each in sys.path if each)
        self.manager = KernelManager(kernel_name="python3")
        self.manager.shutdown_wait_time = 8.0
        environment = {**os.environ, MARK: watched.mark, "PYTHONPATH": paths}
        self.manager.start_kernel(env=environment, cwd=str(watched.folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        cell = CELL.format(folder=str(watched.folder), history=str(watched.history), executor=executor)
        self.client.execute(textwrap.dedent(cell))

    def answer(self) -> dict[str, Any]:
        """Return what the cell came to."""
        while (reply := self.client.get_shell_msg(timeout=30))["msg_type"] != "execute_reply":
            pass
        content: dict[str, Any] = reply["content"]
        return content

    def close(self, *, now: bool) -> None:
        """End the kernel, at once or as the user interface asks for it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)


@pytest.fixture
def notebook(watch: Callable[..., WatchedSearch]) -> Iterator[Callable[[str], tuple[WatchedSearch, Notebook]]]:
    pytest.importorskip("ipykernel")
    opened: list[Notebook] = []

    def open_(executor: str) -> tuple[WatchedSearch, Notebook]:
        watched = watch(trial_s=0.1)
        opened.append(Notebook(watched, executor))
        watched.wait_for_ended(4)
        return watched, opened[-1]

    yield open_
    for each in opened:
        if each.manager.has_kernel:
            each.close(now=True)


def goes_on(watched: WatchedSearch) -> None:
    """Check that the history of a notebook is whole, by going on with it on the command line."""
    n_so_far = len(load(watched.history).trials)
    more = ["--max-trials", n_so_far + 2, "--history", watched.history, "--resume", *THREADS]
    again = watched.dhflow("search", "problem.py", "--searcher", "random", *more)
    assert watched.wait_for_exit(again) == 0, watched.said
    watched.check(n_so_far + 2)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_kernels_interrupt_ends_the_cell_and_says_how_to_go_on(notebook: Any, executor: str) -> None:
    watched, opened = notebook(executor)
    opened.manager.interrupt_kernel()
    answer = opened.answer()
    assert answer["ename"] == "KeyboardInterrupt"
    if sys.version_info >= (3, 11):
        assert "resume=True" in "\n".join(answer["traceback"])
    assert not watched.history.with_name("h.h5.journal").exists()
    opened.close(now=False)
    watched.wait_for_no_process()
    goes_on(watched)


@pytest.mark.parametrize(
    ("executor", "now"),
    [("threads", False), ("processes", False), ("processes", True)],
    ids=["threads-closed", "processes-closed", "processes-killed"],
)
def test_a_notebook_that_is_closed_leaves_nothing_behind(notebook: Any, executor: str, now: bool) -> None:
    watched, opened = notebook(executor)
    n_before = sum(each.is_finished for each in load(watched.history).trials)
    opened.close(now=now)
    watched.wait_for_no_process()
    assert sum(each.is_finished for each in load(watched.history).trials) >= n_before
    goes_on(watched)
