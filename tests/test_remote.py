"""A search as one remote function; here the other side is a process of this machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow import Budget, Float, Problem, SearchSpace, load
from dhflow.errors import ExecutionError, HistoryError, SearchError, SiteError
from dhflow.flow.run_directory import run_path
from dhflow.history import copy_history
from dhflow.remote import Progress, find_search, submit_search
from dhflow.remote_worker import FORGOTTEN_S, fetch_part, run_search

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
BUDGET = Budget("epochs", 1, 9)
THREADS = {"site": "laptop", "site_set": {"executor": "threads", "workers": 2}, "searcher": "random"}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Executor]:
    """Two processes: one runs a search, the other answers."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def history_of(tmp_path: Path) -> str:
    return str(tmp_path / "there" / "h.h5")


def wait_for_trials(run: Any, n_trials: int) -> Progress:
    until = time.monotonic() + 30
    while True:
        progress = run.progress()
        if progress.n_completed >= n_trials:
            return progress
        assert time.monotonic() < until, progress
        time.sleep(0.05)


def test_a_search_comes_home_with_its_history(elsewhere: Executor, tmp_path: Path) -> None:
    offset = 2.0

    def objective(config: dict[str, float]) -> dict[str, float]:
        return {"objective": config["x"] + offset, "pid": os.getpid()}

    run = submit_search(objective, SPACE, executor=elsewhere, history=history_of(tmp_path), max_trials=12, **THREADS)
    result = run.result(tmp_path / "here" / "h.h5", timeout_s=60)
    assert (len(result), result.reason) == (12, "max_trials was reached")
    assert result.history == tmp_path / "here" / "h.h5"
    assert {each.metrics["pid"] for each in result.trials}.isdisjoint({os.getpid()})
    assert [each.name for each in (tmp_path / "here").iterdir()] == ["h.h5"]
    progress = run.progress()
    assert progress == Progress(
        is_running=False,
        n_trials=12,
        n_completed=12,
        best=result.best.values["objective"],
        best_config=result.best.config,
        reason=result.reason,
    )
    assert run.done()
    assert not list(Path(f"{run.history}.run", "fetch").iterdir())


def test_a_running_search_is_watched_fetched_and_stopped(elsewhere: Executor, tmp_path: Path) -> None:
    def slow(config: dict[str, float]) -> float:
        time.sleep(0.05)
        return config["x"]

    history = history_of(tmp_path)
    problem = Problem(SPACE, slow, direction="maximize")
    with submit_search(problem, executor=elsewhere, history=history, max_trials=100_000, **THREADS) as run:
        progress = wait_for_trials(run, 5)
        assert progress.is_running
        assert not run.done()
        assert progress.best is not None
        copy = load(run.fetch_history(tmp_path / "copy.h5"))
        assert len(copy) >= 5
        with pytest.raises(TimeoutError, match="not ended after"):
            run.result(timeout_s=0.1)
        found = find_search(history, executor=elsewhere)
        found.stop()
        result = run.result(timeout_s=30)
    assert result.reason == "stopped from afar"
    assert len(found.result(timeout_s=30)) == len(result)
    again = submit_search(
        problem, executor=elsewhere, history=history, resume=True, max_trials=len(result) + 4, **THREADS
    )
    assert len(again.result(timeout_s=30)) >= len(result) + 4


def test_a_search_that_has_not_begun_cannot_be_stopped_and_says_so(elsewhere: Executor, tmp_path: Path) -> None:
    class Waiting(Executor):
        """Lets the search wait for a worker, and answers."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return Future() if fn is run_search else elsewhere.submit(fn, *args, **kwargs)

    run = submit_search(lambda config: 0.0, SPACE, executor=Waiting(), history=history_of(tmp_path), max_trials=1)
    with pytest.raises(ExecutionError, match="has not begun yet"):
        run.stop()
    with pytest.raises(HistoryError, match=r"nothing runs with .*h\.h5 there"):
        find_search(history_of(tmp_path), executor=elsewhere).stop()
    assert not (tmp_path / "there").exists()
    done = submit_search(
        lambda config: 0.0, SPACE, executor=elsewhere, history=history_of(tmp_path), max_trials=3, **THREADS
    )
    assert len(done.result(timeout_s=30)) == 3
    done.stop()
    find_search(history_of(tmp_path), executor=elsewhere).stop()


def test_what_the_search_raises_there_is_raised_here(elsewhere: Executor, tmp_path: Path) -> None:
    def breaks(config: dict[str, float]) -> float:
        raise ZeroDivisionError("on purpose")

    run = submit_search(breaks, SPACE, executor=elsewhere, history=history_of(tmp_path), max_trials=9, **THREADS)
    with pytest.raises(SearchError, match=r"failed in the same way[\s\S]*on purpose"):
        run.result(timeout_s=30)
    assert run.progress().n_failed >= 3


class Here(Executor):
    """Answers in this process, up to a number of parts of a history."""

    def __init__(self, n_parts: int = 10**6) -> None:
        self.n_parts = n_parts

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if fn is not fetch_part or self.n_parts:
            self.n_parts -= fn is fetch_part
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture
def of_many_parts(elsewhere: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the history of a search, which travels in several parts."""
    history = history_of(tmp_path)
    run = submit_search(lambda config: config["x"], SPACE, executor=elsewhere, history=history, max_trials=5, **THREADS)
    run.result(timeout_s=30)
    monkeypatch.setattr("dhflow.remote_worker.CHUNK_BYTES", 1_000)
    return history


def copies_of(history: str) -> list[str]:
    return [each.name for each in Path(f"{history}.run", "fetch").iterdir()]


def test_a_history_larger_than_one_answer(of_many_parts: str, tmp_path: Path) -> None:
    copy = find_search(of_many_parts, executor=Here()).fetch_history(tmp_path / "copy.h5")
    assert copy.stat().st_size > 5_000
    assert len(load(copy)) == 5
    assert not copies_of(of_many_parts)


def test_a_fetch_that_is_broken_off_leaves_no_copy(of_many_parts: str, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="does not answer"):
        find_search(of_many_parts, executor=Here(2)).fetch_history(tmp_path / "copy.h5", timeout_s=0.05)
    assert not copies_of(of_many_parts)
    assert not (tmp_path / "copy.h5").exists()


def test_what_a_killed_fetch_left_is_removed_by_the_next(of_many_parts: str, tmp_path: Path) -> None:
    fetch_part(of_many_parts, "forgotten")
    fetch_part(of_many_parts, "another")
    being_made = run_path(Path(of_many_parts)) / "fetch" / "third.abc"
    being_made.mkdir()
    for each in (being_made, being_made.with_name("forgotten")):
        os.utime(each, (time.time() - 2 * FORGOTTEN_S,) * 2)
    find_search(of_many_parts, executor=Here()).fetch_history(tmp_path / "copy.h5")
    assert copies_of(of_many_parts) == ["another"]
    with pytest.raises(HistoryError, match=r"copy of .*h\.h5 is gone.*fetch it again"):
        fetch_part(of_many_parts, "forgotten", 1_000)


def test_without_a_history_there_is_nothing_to_fetch(elsewhere: Executor, tmp_path: Path) -> None:
    run = find_search(history_of(tmp_path), executor=elsewhere)
    assert run.progress() == Progress(is_running=False)
    assert "on ProcessPoolExecutor" in repr(run)
    with pytest.raises(HistoryError, match="there is no history"):
        run.fetch_history(tmp_path / "copy.h5")


def test_a_search_without_a_second_worker_says_so(tmp_path: Path) -> None:
    class Busy(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            return Future()

    run = submit_search(lambda config: 0.0, SPACE, executor=Busy(), history=history_of(tmp_path), max_trials=1)
    with pytest.raises(ExecutionError, match=r"Busy does not answer within 0\.05 s.*needs a second"):
        run.progress(timeout_s=0.05)


def test_a_search_that_is_lost_says_where_its_trials_are(tmp_path: Path) -> None:
    class Dying(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("the worker is gone"))
            return future

    run = submit_search(lambda config: 0.0, SPACE, executor=Dying(), history="~/h.h5", max_trials=1)
    with pytest.raises(ExecutionError, match=r"lost: the worker is gone; .* lies in ~/h.h5 there.*resume=True"):
        run.result(timeout_s=1)
    with pytest.raises(ExecutionError, match="Dying cannot answer: the worker is gone"):
        run.stop()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "endpoint=UUID, or executor="),
        ({"endpoint": "mine"}, "must be the UUID of an endpoint, not 'mine'"),
        ({"history": "h.h5"}, "must be an absolute path"),
        ({"executor": "e", "max_trial": 3}, "did you mean 'max_trials'"),
        ({"executor": "e", "max_trials": None}, "would never end"),
        ({"executor": "e", "progress": True}, "cannot be sent along"),
        ({"executor": "e", "observers": [object()]}, "observers cannot be sent along"),
        ({"executor": "e", "searcher": "randon"}, "did you mean 'random'"),
        ({"executor": "e", "searcher": "random", "searcher_options": {"kapa": 1}}, "kapa"),
        ({"executor": "e", "direction": "up"}, "up"),
        ({"executor": "e", "direction": {"a": "minimize", "b": "minimize"}, "target": 0.5}, "one objective"),
        ({"executor": "e", "stoppers": ["medium"]}, "medium"),
        ({"executor": "e", "site": "laptob"}, "did you mean 'laptop'"),
        ({"executor": "e", "site_set": {"executor": "fibres"}}, "executor must be"),
        ({"executor": "e", "site": "slurm", "site_set": {"node": 2}}, "did you mean 'nodes'"),
        ({"executor": "e", "site": ThreadPoolExecutor()}, "site cannot be a ThreadPoolExecutor.*name"),
        ({"executor": "e", "space": None}, "space is missing"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_sent(arguments: dict[str, Any], match: str) -> None:
    arguments = {"space": SPACE, "history": "/h.h5", "max_trials": 3, **arguments}
    with pytest.raises((SearchError, SiteError), match=match):
        submit_search(lambda config: 0.0, **arguments)


def test_what_is_of_this_process_and_asks_for_nothing_is_not_sent(elsewhere: Executor, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"observers": (), "progress": False, **THREADS}
    run = submit_search(
        lambda config: config["x"], SPACE, executor=elsewhere, history=history_of(tmp_path), max_trials=3, **nothing
    )
    assert len(run.result(timeout_s=30)) == 3


def test_an_objective_that_cannot_be_sent_names_what_it_captures(elsewhere: Executor) -> None:
    lock = threading.Lock()
    with pytest.raises(ExecutionError, match="captures 'lock'"):
        submit_search(
            lambda config: float(lock.locked()), SPACE, executor=elsewhere, history="/h.h5", max_trials=3, **THREADS
        )


def test_an_owner_that_has_died_runs_nothing(elsewhere: Executor, tmp_path: Path) -> None:
    run_directory = run_path(Path(history_of(tmp_path)))
    run_directory.mkdir(parents=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as gone:
        pid = gone.submit(os.getpid).result()
    (run_directory / "owner.json").write_text(json.dumps({"host": socket.gethostname(), "pid": pid}))
    assert not find_search(history_of(tmp_path), executor=elsewhere).progress().is_running


def test_a_copy_needs_a_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no history"):
        copy_history(tmp_path / "h.h5", tmp_path / "copy.h5")


def test_budgets_travel_with_their_problem(elsewhere: Executor, tmp_path: Path) -> None:
    problem = Problem(SPACE, lambda config, trial: config["x"], budget=BUDGET)
    options = {**THREADS, "searcher": "asha"}
    run = submit_search(problem, executor=elsewhere, history=history_of(tmp_path), max_trials=12, **options)
    assert run.result(timeout_s=30).budget == problem.budget


def test_budgets_travel_as_an_argument(elsewhere: Executor, tmp_path: Path) -> None:
    options = {**THREADS, "searcher": "asha", "max_trials": 4, "history": history_of(tmp_path)}
    run = submit_search(lambda config, trial: config["x"], SPACE, executor=elsewhere, budget=BUDGET, **options)
    assert run.result(timeout_s=30).budget == BUDGET
