"""Evaluations that come to a time limit, or are told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluated import failed, line_of, noted_result

from dhflow.train import Task, evaluate
from dhflow.trial import TrialStatus

TaskMaker = Callable[..., Task]


def sleeper(config: dict[str, Any], trial: Any) -> float:
    trial.report(2, loss=1.0)
    time.sleep(30)
    return 1.0


def test_a_timeout_interrupts_and_names_the_line(make_task: TaskMaker) -> None:
    began = time.monotonic()
    failure = failed(make_task(sleeper, timeout_s=0.05))
    assert time.monotonic() - began < 10
    assert failure.kind == "TrialTimeoutError"
    assert "0.05 s" in failure.message
    assert failure.location == line_of(sleeper, 2)
    assert failure.last_step == 2


def test_an_exception_in_answer_to_the_timeout_is_the_timeouts(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        try:
            time.sleep(30)
        except Exception:
            raise RuntimeError("training was interrupted") from None
        return 1.0

    failure = failed(make_task(objective, timeout_s=0.05))
    assert failure.kind == "TrialTimeoutError"
    assert "RuntimeError: training was interrupted" in failure.message
    assert failure.location == line_of(objective, 4)


def test_a_value_that_comes_too_late_is_a_timeout(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        with contextlib.suppress(TimeoutError):
            time.sleep(30)
        return 1.0

    assert failed(make_task(objective, timeout_s=0.05)).kind == "TrialTimeoutError"


def test_an_objective_with_alarms_of_its_own_is_still_timed(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.1)
        return 1.0

    before = signal.getsignal(signal.SIGALRM)
    failure = failed(make_task(objective, timeout_s=0.05))
    assert failure.kind == "TrialTimeoutError"
    assert "returned after 0.1" in failure.message
    assert signal.getsignal(signal.SIGALRM) is before


def test_the_alarm_never_strikes_outside_the_objective(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        ends = time.perf_counter() + float(config["x"])
        while time.perf_counter() < ends:
            pass
        return 1.0

    # Objectives that end within microseconds of their limit: each is one result, of one kind or the other.
    kinds = set()
    for shift in range(-20, 20):
        result = evaluate(make_task(objective, config={"x": 0.004 + shift * 1e-6}, timeout_s=0.004))
        kinds.add(result.failure.kind if result.failure else "")
        assert result.status in (TrialStatus.COMPLETED, TrialStatus.FAILED), result
    assert kinds <= {"", "TrialTimeoutError"}


def test_loading_and_preparing_do_not_count_against_the_limit(make_task: TaskMaker) -> None:
    task = make_task(lambda config: 1.0, per_worker=lambda: time.sleep(0.1), timeout_s=0.05)
    assert evaluate(task).status is TrialStatus.COMPLETED


def test_in_a_thread_a_late_value_is_a_timeout_and_nothing_is_interrupted(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        while not trial.should_stop():
            time.sleep(0.01)
        return float(trial.time_left_s < 0)

    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        result = pool.submit(evaluate, make_task(objective, timeout_s=0.05)).result()
    assert result.failure is not None
    assert result.failure.kind == "TrialTimeoutError"
    assert result.worker == f"{os.getpid()}-pool_0"


def until_told(config: dict[str, Any], trial: Any) -> float:
    for step in range(int(config["first"]), 100):
        trial.report(step, loss=1.0)
        if trial.should_stop():
            return 0.5
    return 1.0


@pytest.mark.parametrize(
    ("first", "budget", "status", "reached"),
    [
        (1, 81.0, TrialStatus.STOPPED, 1.0),
        (0, 81.0, TrialStatus.STOPPED, 1.0),
        (27, 81.0, TrialStatus.STOPPED, 27.0),
        (1, None, TrialStatus.STOPPED, 1.0),
        (1, 1.0, TrialStatus.COMPLETED, None),
    ],
)
def test_a_trial_told_to_stop_says_how_far_it_came(
    make_task: TaskMaker, first: int, budget: float | None, status: TrialStatus, reached: float | None
) -> None:
    task = make_task(until_told, config={"first": first}, budget=budget, deadline=time.time() - 1)
    result = evaluate(task)
    assert (result.status, result.budget, result.values) == (status, reached, {"objective": 0.5})
    assert noted_result(task) == replace(result, measurements=())


def test_the_drivers_stop_file_is_seen(make_task: TaskMaker) -> None:
    task = make_task(until_told, config={"first": 1}, budget=50.0)
    Path(task.directory or "").mkdir(parents=True)
    (Path(task.directory or "") / "stop").touch()
    assert evaluate(task).status is TrialStatus.STOPPED


def test_a_trial_that_stops_without_reports_has_no_budget(make_task: TaskMaker) -> None:
    task = make_task(lambda config, trial: float(trial.should_stop()), deadline=0.0, budget=3.0)
    result = evaluate(task)
    assert (result.status, result.budget) == (TrialStatus.STOPPED, None)
