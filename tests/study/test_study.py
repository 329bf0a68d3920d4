from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dhflow import Budget, Categorical, Float, Integer, Problem, SearchSpace, Study, TrialStatus, load, search
from dhflow.errors import (
    ConfigNotInSpaceError,
    ExecutionError,
    HistoryError,
    HistoryFormatError,
    SearchError,
    SpaceExhaustedError,
    UnknownTrialError,
)
from dhflow.train.worker_notes import result_line
from dhflow.trial import Trial, TrialResult, TrialSource

SPACE = SearchSpace({"x": Float(-2.0, 2.0), "n": Integer(1, 5), "kind": Categorical(["a", "b"])})


def square(config: dict) -> float:
    return config["x"] ** 2 + config["n"]


def on_threads(n: int = 2) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n)


# Stepping ---------------------------------------------------------------------------------------


def test_ask_and_tell_finds_the_best_in_the_users_sign() -> None:
    study = Study(SPACE, direction="maximize", searcher="random", seed=1)
    for _ in range(10):
        trial = study.ask()
        study.tell(trial, -square(trial.config))
    assert [each.trial_id for each in study.trials] == list(range(10))
    best = max(-square(each.config) for each in study.trials)
    assert study.best.objective == pytest.approx(best)
    assert study.best.objective < 0


def test_a_seed_fixes_the_asks_and_another_seed_changes_them() -> None:
    def configs(seed: int) -> list[dict]:
        study = Study(SPACE, searcher="random", seed=seed)
        return [dict(study.tell(study.ask(), 1.0).config) for _ in range(5)]

    assert configs(1) == configs(1)
    assert configs(1) != configs(2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, [1.0, 2.0], True, {"loss": 1.0}])
def test_telling_what_is_no_number_makes_a_failed_trial(value: object) -> None:
    study = Study(SPACE, searcher="random", seed=1)
    trial = study.tell(study.ask(), value)
    assert trial.status is TrialStatus.FAILED
    assert trial.failure is not None
    assert trial.failure.kind == "ObjectiveError"


def test_tell_takes_metrics_and_reasons() -> None:
    study = Study(SPACE, direction={"accuracy": "maximize"}, searcher="random", seed=1)
    done = study.tell(study.ask(), {"accuracy": 0.5, "size": 3})
    assert done.values == {"accuracy": 0.5}
    assert done.metrics == {"size": 3}
    failed = study.tell(study.ask(), failed="no memory")
    assert failed.failure is not None
    assert failed.failure.message == "no memory"


def test_telling_strangers_or_twice_is_an_error() -> None:
    study = Study(SPACE, searcher="random", seed=1)
    with pytest.raises(UnknownTrialError, match="trial 7"):
        study.tell(7, 1.0)
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(SearchError, match="ended already"):
        study.tell(trial, 2.0)


def test_loaded_trials_teach_the_searcher_and_compete_for_best() -> None:
    study = Study(SPACE, searcher="random", seed=1)
    study.add_trials([{"x": 0.0, "n": 1, "kind": "a"}], [0.5])
    assert study.best.objective == 0.5
    assert study.best.source is TrialSource.ADDED
    with pytest.raises(ConfigNotInSpaceError):
        study.add_trials([{"x": 0.0, "n": 1, "kind": "a"}, {"x": 9.0, "n": 1, "kind": "a"}], [1.0, 1.0])
    assert len(study.trials) == 1
    with pytest.raises(SearchError, match="2 configs with 1"):
        study.add_trials([{}, {}], [1.0])


def test_asking_an_exhausted_space_says_so() -> None:
    study = Study(SearchSpace({"kind": Categorical(["a", "b"])}), searcher="random", seed=1)
    first, second = study.ask(), study.ask()
    assert first.config != second.config
    with pytest.raises(SpaceExhaustedError):
        study.ask()


# Running ----------------------------------------------------------------------------------------


def test_a_run_counts_trials_and_reports_its_end() -> None:
    with on_threads() as pool:
        result = search(square, SPACE, site=pool, searcher="random", seed=1, max_trials=12)
    assert len(result) == 12
    assert result.reason == "max_trials was reached"
    assert result.best.objective == min(square(each.config) for each in result)
    assert all(each.attempts[0].received_at >= each.attempts[0].started_at for each in result)


def test_the_objective_may_take_the_trial() -> None:
    def objective(config: dict, trial: object) -> dict:
        trial.report(1, loss=0.5)  # type: ignore[attr-defined]
        return {"objective": config["x"], "seed": trial.seed}  # type: ignore[attr-defined]

    with on_threads() as pool:
        result = search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=3)
    assert [each.metrics["seed"] for each in result] == [each.seed for each in result]


def test_objectives_on_threads_share_what_they_capture() -> None:
    lock, seen = threading.Lock(), []

    def objective(config: dict) -> float:
        with lock:
            seen.append(config["x"])
        return 0.0

    with on_threads() as pool:
        search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=5)
    assert len(seen) == 5


def test_failures_are_data_and_name_the_users_line() -> None:
    def objective(config: dict) -> float:
        if config["kind"] == "a":
            raise ValueError("a is not allowed")
        return 1.0

    with on_threads() as pool:
        result = search(objective, SPACE, site=pool, searcher="random", seed=3, max_trials=10, abort_after=None)
    failed = [each for each in result if each.status is TrialStatus.FAILED]
    assert failed
    assert all(each.config["kind"] == "a" for each in failed)
    assert failed[0].failure.kind == "ValueError"
    assert Path(__file__).name in failed[0].failure.location


def test_a_study_that_fails_from_the_start_is_stopped_with_the_users_line() -> None:
    def objective(config: dict) -> float:
        return config["misspelt"]

    with on_threads(1) as pool, pytest.raises(SearchError, match=r"(?s)first 3 trials.*KeyError.*misspelt"):
        search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=100)


def test_defaults_run_first_and_once() -> None:
    default = {"x": 1.0, "n": 2, "kind": "b"}
    problem = Problem(SPACE, square, defaults=default)
    with on_threads(1) as pool:
        study = Study(problem, searcher="random", seed=1)
        result = study.run(site=pool, max_trials=3)
        again = study.run(site=pool, max_trials=5)
    assert result.trials[0].config == default
    assert result.default.trial_id == 0
    assert sum(each.source is TrialSource.DEFAULT for each in again) == 1
    assert len(again) == 5


def test_enqueued_configs_run_before_the_searchers() -> None:
    mine = {"x": 0.25, "n": 3, "kind": "a"}
    study = Study(SPACE, searcher="random", seed=1)
    study.enqueue(mine)
    with on_threads(1) as pool:
        result = study.run(square, site=pool, max_trials=2)
    assert result.trials[0].config == mine
    assert result.trials[0].source is TrialSource.USER
    with pytest.raises(ConfigNotInSpaceError):
        study.enqueue({"x": 99.0, "n": 3, "kind": "a"})


def test_enqueue_reaches_a_running_search() -> None:
    mine = {"x": 0.25, "n": 3, "kind": "a"}
    study = Study(SPACE, searcher="random", seed=1)

    def objective(config: dict, trial: object) -> float:
        if trial.trial_id == 0:  # type: ignore[attr-defined]
            study.enqueue(mine)
        return 1.0

    with on_threads(1) as pool:
        result = study.run(objective, site=pool, max_trials=6)
    assert mine in [each.config for each in result]


def test_target_and_plateau_end_a_run() -> None:
    with on_threads(1) as pool:
        result = search(square, SPACE, site=pool, searcher="random", seed=1, max_trials=500, target=3.0)
        assert result.reason == "the target was reached"
        assert result.best.objective <= 3.0
        result = search(lambda _: 1.0, SPACE, site=pool, searcher="random", seed=1, max_trials=500, plateau=5)
    assert result.reason == "no better value in 5 trials"
    assert len(result) == 6


def test_the_wall_time_ends_a_run_with_a_hanging_thread_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def objective(config: dict, trial: object) -> float:
        if trial.trial_id == 1:  # type: ignore[attr-defined]
            release.wait(30)
        time.sleep(0.05)
        return 1.0

    pool = on_threads(2)
    began = time.monotonic()
    try:
        result = search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=10**6, wall_time_s=2.0)
        took = time.monotonic() - began
    finally:
        release.set()
        pool.shutdown()
    assert result.reason == "the wall-time limit was reached"
    assert took < 8
    assert result.trials[1].status is TrialStatus.PENDING
    assert "threads that nothing can end" in caplog.text


def test_a_thread_that_outlives_its_timeout_loses_its_slot_and_its_trial_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()

    def objective(config: dict, trial: object) -> float:
        if trial.trial_id == 0:  # type: ignore[attr-defined]
            release.wait(60)
        time.sleep(0.3)
        return 1.0

    pool = on_threads(2)
    try:
        result = search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=12, timeout_s=1.0)
    finally:
        release.set()
        pool.shutdown()
    assert result.trials[0].status is TrialStatus.FAILED
    assert result.trials[0].failure.kind == "TrialTimeoutError"
    assert all(each.status is TrialStatus.COMPLETED for each in result.trials[1:])
    assert "its slot is lost" in caplog.text


def test_trials_know_the_time_left_and_see_the_stop() -> None:
    def objective(config: dict, trial: object) -> float:
        assert 0 < trial.time_left_s <= 2.0  # type: ignore[attr-defined]
        while not trial.should_stop():  # type: ignore[attr-defined]
            time.sleep(0.01)
        return 1.0

    with on_threads(2) as pool:
        result = search(objective, SPACE, site=pool, searcher="random", seed=1, max_trials=2, wall_time_s=2.0)
    assert [each.status for each in result] == [TrialStatus.STOPPED] * 2


def test_stream_yields_each_trial_and_stops_when_left() -> None:
    with on_threads(2) as pool:
        study = Study(SPACE, searcher="random", seed=1)
        seen: list[Trial] = []
        for trial in study.stream(square, site=pool, max_trials=500):
            seen.append(trial)
            if len(seen) == 5:
                break
        assert len(study.trials) < 500
        rest = list(study.stream(square, site=pool, max_trials=len(study.trials) + 3))
    assert len({each.trial_id for each in seen}) == 5
    assert all(each.is_finished for each in seen)
    assert len(rest) >= 3


def test_stream_raises_what_the_run_raises() -> None:
    with on_threads(1) as pool, pytest.raises(SearchError, match="first 3 trials"):
        list(Study(SPACE, searcher="random", seed=1).stream(lambda _: None, site=pool, max_trials=10))


def test_the_async_forms_run_beside_the_event_loop() -> None:
    async def main() -> tuple[int, int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        with on_threads(2) as pool:
            slow = Study(SPACE, searcher="random", seed=1)
            result = await slow.run_async(lambda _: time.sleep(0.02) or 1.0, site=pool, max_trials=6)
            streamed = [each async for each in slow.stream_async(square, site=pool, max_trials=10)]
        ticking.cancel()
        return len(result), len(streamed), ticks

    n_trials, n_streamed, ticks = asyncio.run(main())
    assert (n_trials, n_streamed) == (6, 4)
    assert ticks > 3


def test_a_run_cancelled_before_it_began_stops(tmp_path: Path) -> None:
    async def main() -> int:
        study = Study(SPACE, searcher="random", seed=1)
        with on_threads(1) as pool:
            run = asyncio.create_task(study.run_async(lambda _: time.sleep(0.05) or 1.0, site=pool, max_trials=10**6))
            await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            for _ in range(100):
                await asyncio.sleep(0.1)
                if not any(each.name == "dhflow-run" for each in threading.enumerate()):
                    return len(study.trials)
        return -1

    assert 0 <= asyncio.run(main()) < 100


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "never end"),
        ({"max_trial": 3}, "did you mean 'max_trials'"),
        ({"max_trials": -1}, "negative"),
        ({"max_trials": 3, "keep": "some"}, "keep must be"),
        ({"max_trials": 3, "timeout_s": 0}, "positive"),
    ],
)
def test_wrong_options_are_errors_before_anything_starts(options: dict, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        Study(SPACE, searcher="random").run(square, **options)


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(SearchError, match="space is missing"):
        search(square, max_trials=1)
    with pytest.raises(SearchError, match="leave `space` out"):
        search(Problem(SPACE, square), SPACE, max_trials=1)
    with pytest.raises(SearchError, match="resume=True needs a history"):
        Study(SPACE, resume=True)
    with pytest.raises(SearchError, match="minimize"):
        Study(SPACE, direction="up")
    with pytest.raises(SearchError, match=r'budget must be a Budget, such as Budget\("epochs", 1, 81\), not 81'):
        search(square, SPACE, budget=81, max_trials=1)  # type: ignore[arg-type]
    with pytest.raises(ExecutionError):
        search(lambda a, b, c: 0.0, SPACE, site=on_threads(1), searcher="random", max_trials=1)


def test_a_search_takes_the_budget_that_a_problem_would_declare() -> None:
    budgets: list[float] = []

    def objective(config: dict, trial: Trial) -> float:
        budgets.append(trial.budget or 0.0)
        return config["x"]

    options = {"searcher": "asha", "seed": 1, "max_trials": 12, "site": on_threads(1)}
    result = search(objective, SPACE, budget=Budget("epochs", 2, 18), **options)
    assert result.budget == Budget("epochs", 2, 18)
    assert min(budgets) == 2.0
    assert set(budgets) <= {2.0, 6.0, 18.0}


# Histories --------------------------------------------------------------------------------------


def test_a_history_keeps_everything_and_an_existing_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.h5"
    with on_threads() as pool:
        result = search(square, SPACE, site=pool, searcher="random", seed=1, max_trials=8, history=file)
        with pytest.raises(HistoryError, match="already"):
            search(square, SPACE, site=pool, searcher="random", max_trials=8, history=file)
    looked = load(file)
    assert looked.trials == result.trials
    assert looked.best == result.best
    assert looked.space == SPACE
    assert looked.reason == "max_trials was reached"
    frame = looked.to_pandas()
    assert len(frame) == 8


def test_resume_goes_on_and_is_the_search_that_would_have_been(tmp_path: Path) -> None:
    file = tmp_path / "study.h5"
    with on_threads(1) as pool:
        whole = search(square, SPACE, site=pool, searcher="ambs", seed=5, max_trials=24)
        search(square, SPACE, site=pool, searcher="ambs", seed=5, max_trials=15, history=file, resume=True)
        resumed = search(square, SPACE, site=pool, searcher="ambs", seed=5, max_trials=24, history=file, resume=True)
    assert [each.config for each in resumed] == [each.config for each in whole]
    assert len(resumed.record.sessions) == 2


def test_a_history_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.h5"
    with on_threads() as pool:
        search(square, SPACE, site=pool, searcher="random", max_trials=2, history=file)
    other = SearchSpace({"x": Float(-2.0, 2.0), "n": Integer(1, 6), "kind": Categorical(["a", "b"])})
    with pytest.raises(HistoryFormatError, match="n"):
        Study(other, history=file, resume=True)
    with pytest.raises(HistoryFormatError):
        Study(SPACE, direction="maximize", history=file, resume=True)


def test_curves_are_read_back_from_the_history(tmp_path: Path) -> None:
    def objective(config: dict, trial: object) -> float:
        for step in range(3):
            trial.report(step, loss=1.0 / (step + 1))  # type: ignore[attr-defined]
        return 0.0

    file = tmp_path / "study.h5"
    with on_threads() as pool:
        result = search(objective, SPACE, site=pool, searcher="random", max_trials=2, history=file)
    assert [(each.step, each.value) for each in result.measurements(1)] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_closed_study_can_be_looked_at_and_not_changed(tmp_path: Path) -> None:
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "study.h5")
    study.tell(study.ask(), 1.0)
    study.close()
    assert study.best.objective == 1.0
    with pytest.raises(HistoryError, match="closed"):
        study.ask()


def test_results_without_a_completed_trial_say_why() -> None:
    study = Study(SPACE, searcher="random", seed=1)
    study.tell(study.ask(), failed="out of memory")
    with pytest.raises(SearchError, match="out of memory"):
        _ = study.best


def test_a_study_that_never_began_leaves_no_history(tmp_path: Path) -> None:
    file = tmp_path / "study.h5"
    Study(SPACE, searcher="random", history=file).close()
    with on_threads(1) as pool, pytest.raises(ExecutionError):
        search(lambda a, b, c: 0.0, SPACE, site=pool, searcher="random", max_trials=1, history=file)
    assert not file.exists()
    with on_threads(1) as pool:
        assert len(search(square, SPACE, site=pool, searcher="random", max_trials=1, history=file)) == 1
    with Study(SPACE, searcher="random", history=file, resume=True):
        pass
    assert len(load(file)) == 1


def test_results_left_by_a_deleted_history_are_not_harvested(tmp_path: Path) -> None:
    file = tmp_path / "study.h5"
    with on_threads(1) as pool:
        search(lambda config: -1.0, SPACE, site=pool, searcher="random", seed=1, max_trials=2, history=file)
        file.unlink()
        stale = TrialResult(0, 1, TrialStatus.COMPLETED, 1.0, 2.0, values={"objective": -1.0})
        workers = tmp_path / "study.h5.run" / "workers" / "0"
        workers.mkdir(parents=True)
        (workers / "node-1.jsonl").write_bytes(result_line(stale))
        result = search(
            lambda config: time.sleep(5) or 1.0, SPACE, site=pool, searcher="random", seed=1, max_trials=1, history=file
        )
    assert result.best.objective == 1.0
