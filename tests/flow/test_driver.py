"""The driver over an executor whose calls end as the test says."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, load
from dhflow.errors import ExecutionError, HistoryError, SearchError
from dhflow.flow import driver as driver_module
from dhflow.history import History
from dhflow.history.event import Event
from dhflow.searcher import Searcher
from dhflow.testing.executor import FakeExecutor
from dhflow.train import TrialContext
from dhflow.trial import Suggestion, Trial

SPACE = SearchSpace({"x": Float(0.0, 1.0)})


class Run:
    """A study running in a thread, on a fake executor."""

    def __init__(
        self, study: Study, executor: FakeExecutor, objective: Callable[..., float] | None = None, **options: object
    ) -> None:
        self.study, self.executor = study, executor
        self._pool = ThreadPoolExecutor(1)
        self._future: Future = self._pool.submit(
            study.run, objective or (lambda config: config["x"]), site=executor, **options
        )

    def result(self):
        try:
            return self._future.result(timeout=20)
        finally:
            self._pool.shutdown()


def test_each_completion_is_refilled_at_once() -> None:
    executor = FakeExecutor(3)
    run = Run(Study(SPACE, searcher="random", seed=1), executor, max_trials=5)
    executor.wait_for(3)
    executor.take().run()
    executor.wait_for(3)
    assert executor.n_submitted == 4
    for _ in range(4):
        executor.take().run()
    assert len(run.result()) == 5


def test_a_lost_future_is_resubmitted_as_a_new_attempt() -> None:
    executor = FakeExecutor(1)
    run = Run(Study(SPACE, searcher="random", seed=1), executor, max_trials=2)
    executor.take().lose(RuntimeError("the node is gone"))
    for _ in range(2):
        executor.take().run()
    first = run.result().trials[0]
    assert [each.status for each in first.attempts] == [TrialStatus.LOST, TrialStatus.COMPLETED]
    assert "the node is gone" in first.attempts[0].failure.message


def test_a_broken_executor_ends_the_study_in_order(tmp_path: Path) -> None:
    executor = FakeExecutor(2)
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5")
    run = Run(study, executor, max_trials=5)
    executor.take().run()
    executor.take().lose(BrokenProcessPool("a process died"))
    with pytest.raises(ExecutionError, match="a process died"):
        run.result()
    study.close()
    kept = load(tmp_path / "h.h5")
    assert kept.trials[0].status is TrialStatus.COMPLETED
    assert {each.status for each in kept.trials[1:]} == {TrialStatus.PENDING}


def test_an_executor_that_refuses_ends_the_study_in_order(tmp_path: Path) -> None:
    executor = FakeExecutor(1)
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5")
    executor.shutdown()
    with pytest.raises(ExecutionError, match="shutdown"):
        study.run(lambda config: config["x"], site=executor, max_trials=2)
    study.close()
    assert [each.status for each in load(tmp_path / "h.h5").trials] == [TrialStatus.PENDING]


class BrokenSearcher(Searcher):
    name = "broken"

    def _ask(self, n: int, pending: Sequence[Trial], rng: object) -> list[Suggestion]:
        if self.n_asks:
            raise ValueError("no idea")
        return [Suggestion({"x": 0.5})]


def test_a_searcher_that_fails_ends_the_study_in_order(tmp_path: Path) -> None:
    executor = FakeExecutor(1)
    study = Study(SPACE, searcher=BrokenSearcher(SPACE), history=tmp_path / "h.h5")
    run = Run(study, executor, max_trials=5)
    executor.take().run()
    with pytest.raises(SearchError, match="no idea"):
        run.result()
    study.close()
    assert load(tmp_path / "h.h5").trials[0].status is TrialStatus.COMPLETED


class PromotingSearcher(Searcher):
    name = "promoting"

    def _ask(self, n: int, pending: Sequence[Trial], rng: object) -> list[Suggestion]:
        if self.n_asks == 0:
            return [Suggestion({"x": 0.5})]
        return [] if pending else [Suggestion({"x": 0.5}, parent_id=0)]


def test_a_promotion_goes_on_from_the_attempt_that_completed(tmp_path: Path) -> None:
    def objective(config: dict[str, float], trial: TrialContext) -> float:
        if trial.continues is None:
            (trial.dir / "weights").write_text(f"of attempt {trial.attempt}")
            return 0.0
        return float((trial.continues / "weights").read_text() == "of attempt 2")

    executor = FakeExecutor(1)
    study = Study(SPACE, searcher=PromotingSearcher(SPACE), history=tmp_path / "h.h5")
    run = Run(study, executor, objective, max_trials=2)
    executor.take().lose(RuntimeError("the node is gone"))
    for _ in range(2):
        executor.take().run()
    assert [each.objective for each in run.result().trials] == [0.0, 1.0]
    study.close()


class SlowSearcher(Searcher):
    name = "slow"

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.threads: list[str] = []
        self.go = threading.Event()

    def _ask(self, n: int, pending: Sequence[Trial], rng: object) -> list[Suggestion]:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) == 1:
            threading.Event().wait(0.05)
        elif len(self.threads) == 2:
            self.go.wait(20)
        return [Suggestion({"x": 0.1 * len(self.threads) + 0.01 * each}) for each in range(n)]


def test_dear_asks_move_to_a_thread_and_results_are_taken_meanwhile(tmp_path: Path) -> None:
    executor, searcher = FakeExecutor(2), SlowSearcher(SPACE)
    study = Study(SPACE, searcher=searcher, history=tmp_path / "h.h5")
    run = Run(study, executor, max_trials=4)
    executor.wait_for(2)
    executor.take().run()
    executor.take().run()
    done = [each for each in _wait(lambda: _finished(tmp_path / "h.h5"), 2) if each.is_finished]
    assert len(done) == 2
    searcher.go.set()
    executor.take().run()
    executor.take().run()
    assert len(run.result()) == 4
    assert searcher.threads[1] == "dhflow-searcher"


def _finished(path: Path) -> list[Trial]:
    return [each for each in load(path).trials if each.is_finished]


def _wait(look: object, n: int) -> list[Trial]:
    for _ in range(200):
        found = look()
        if len(found) >= n:
            return found
        threading.Event().wait(0.05)
    raise AssertionError("it did not come")


def test_a_full_disk_pauses_the_search_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_DISK_RETRY_S", 0.01)
    executor = FakeExecutor(1)
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5")
    append, refused = History.append, []

    def full_for_a_while(self: History, events: Sequence[Event]) -> None:
        if executor.n_submitted == 2 and len(refused) < 5:
            refused.append(events)
            raise HistoryError(errno.ENOSPC, "No space left on device")
        append(self, events)

    monkeypatch.setattr(History, "append", full_for_a_while)
    run = Run(study, executor, max_trials=4)
    for _ in range(4):
        executor.take().run()
    assert len(run.result()) == 4
    study.close()
    assert len(refused) == 5
    assert all(each.status is TrialStatus.COMPLETED for each in load(tmp_path / "h.h5").trials)


def test_observers_see_each_trial_once_and_the_state_now_and_then() -> None:
    class Watcher:
        def __init__(self) -> None:
            self.ended: list[int] = []
            self.ticks = 0

        def trial_ended(self, trial: Trial) -> None:
            self.ended.append(trial.trial_id)

        def tick(self, driver: object) -> None:
            self.ticks += 1

    executor, watcher = FakeExecutor(1), Watcher()
    run = Run(Study(SPACE, searcher="random", seed=1), executor, max_trials=3, observers=[watcher])
    for _ in range(3):
        executor.take().run()
    run.result()
    assert watcher.ended == [0, 1, 2]
    assert watcher.ticks >= 1


def test_an_observer_that_raises_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        n_calls = 0

        def trial_ended(self, trial: Trial) -> None:
            self.n_calls += 1
            raise RuntimeError("no")

        def tick(self, driver: object) -> None:
            pass

    executor, broken = FakeExecutor(1), Broken()
    run = Run(Study(SPACE, searcher="random", seed=1), executor, max_trials=3, observers=[broken])
    for _ in range(3):
        executor.take().run()
    assert len(run.result()) == 3
    assert broken.n_calls == 1
    assert "left out" in caplog.text


def test_a_stop_ends_the_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_DISK_RETRY_S", 0.01)
    executor = FakeExecutor(1)
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5")
    append, refused = History.append, threading.Event()

    def full_for_ever(self: History, events: Sequence[Event]) -> None:
        if executor.n_submitted >= 1:
            refused.set()
            raise HistoryError(errno.ENOSPC, "No space left on device")
        append(self, events)

    monkeypatch.setattr(History, "append", full_for_ever)
    run = Run(study, executor, max_trials=4)
    executor.take().run()
    assert refused.wait(10)
    study.stop()
    with pytest.raises(HistoryError, match="No space left"):
        run.result()
