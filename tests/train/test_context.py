from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow.errors import ObjectiveError
from dhflow.objective import Objective
from dhflow.train.attempt_directory import EPOCH_LOOK_INTERVAL_S, RECORDS, STOP, read_measurements
from dhflow.train.context import STOP_CHECK_INTERVAL_S, TrialContext, begin_limit, close_context
from dhflow.train.task import CommandSource, EvaluationSettings, Task


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Callable[..., TrialContext]:
    def make_context(*, full_budget: float | None = None, **changes: Any) -> TrialContext:
        fields: dict[str, Any] = {
            "trial_id": 4,
            "attempt": 2,
            "config": {"x": 1},
            "budget": 9.0,
            "seed": 11,
            "directory": str(tmp_path),
            "continues": None,
            "deadline": None,
        }
        settings = EvaluationSettings((Objective(),), CommandSource("true", "/"), full_budget=full_budget)
        task = Task(**{**fields, **changes}, settings=settings)
        return TrialContext(task, prepared="data", clock=clock, monotonic=clock)

    return make_context


def test_it_shows_the_task(make: Callable[..., TrialContext], tmp_path: Path) -> None:
    trial = make(continues="/elsewhere/1")
    assert (trial.trial_id, trial.attempt, trial.budget, trial.seed) == (4, 2, 9.0, 11)
    assert trial.dir == tmp_path
    assert trial.continues == Path("/elsewhere/1")
    assert trial.prepared == "data"
    assert trial.time_left_s is None
    assert "trial_id=4" in repr(trial)


def test_the_config_is_a_copy(make: Callable[..., TrialContext]) -> None:
    trial = make()
    trial.config["x"] = 2
    assert make().config == {"x": 1}


def test_the_full_budget_is_said_in_numbers(make: Callable[..., TrialContext]) -> None:
    assert make(budget=None, full_budget=81.0).budget == 81.0
    assert make(budget=3.0, full_budget=81.0).budget == 3.0
    assert make(budget=None).budget is None


def test_reports_are_on_disk_at_once(make: Callable[..., TrialContext], tmp_path: Path, clock: Clock) -> None:
    trial = make()
    trial.report(1, loss=0.5, accuracy=np.float32(0.25))
    assert [(each.step, each.name, each.value) for each in read_measurements(tmp_path)] == [
        (1, "loss", 0.5),
        (1, "accuracy", 0.25),
    ]
    clock.now += 5
    trial.report(step=np.int64(2), loss=math.nan)
    summary = close_context(trial)
    assert summary.last_step == 2
    assert summary.measurements[-1].time == clock.now
    assert str(summary.measurements) == str(read_measurements(tmp_path))


@pytest.mark.parametrize("step", [1.0, "1", None, True, -1])
def test_a_step_is_a_counting_number(make: Callable[..., TrialContext], step: Any) -> None:
    with pytest.raises(ObjectiveError, match="step"):
        make().report(step, loss=1.0)


@pytest.mark.parametrize("value", ["0.5", None, True, [1.0], np.ones(2), 1j])
def test_a_metric_is_a_number(make: Callable[..., TrialContext], value: Any) -> None:
    with pytest.raises(ObjectiveError, match="'loss'"):
        make().report(1, loss=value)


def test_a_long_curve_is_bounded_in_memory_and_ends_on_disk(
    make: Callable[..., TrialContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dhflow.train.curve.Curve.__init__.__defaults__", (100,))
    trial = make()
    for step in range(1_000):
        trial.report(step, loss=float(step))
    measurements = close_context(trial).measurements
    assert len(measurements) <= 101
    assert measurements[-1].step == 999
    assert read_measurements(tmp_path)[-1].step == 999
    assert len((tmp_path / RECORDS).read_bytes().splitlines()) < 400


def test_a_report_after_the_end_is_dropped(make: Callable[..., TrialContext], tmp_path: Path) -> None:
    trial = make()
    trial.report(1, loss=1.0)
    first = close_context(trial)
    trial.report(2, loss=1.0)
    assert close_context(trial) == first
    assert len(read_measurements(tmp_path)) == 1


def test_reports_from_threads_are_whole_lines(make: Callable[..., TrialContext], tmp_path: Path) -> None:
    trial = make()

    def speak() -> None:
        for step in range(200):
            trial.report(step, loss=0.5)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(close_context(trial).measurements) == 800
    assert len(read_measurements(tmp_path)) == 800


def test_a_report_survives_a_directory_that_is_gone(make: Callable[..., TrialContext], tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("in the way")
    trial = make(directory=str(tmp_path / "gone" / "1"))
    trial.report(1, loss=1.0)
    (tmp_path / "gone").unlink()
    trial.report(2, loss=2.0)
    assert len(close_context(trial).measurements) == 2
    assert [each.step for each in read_measurements(tmp_path / "gone" / "1")] == [2]


def test_stop_file_is_looked_up_now_and_then(make: Callable[..., TrialContext], tmp_path: Path, clock: Clock) -> None:
    trial = make()
    assert not trial.should_stop()
    (tmp_path / STOP).touch()
    assert not trial.should_stop()
    clock.now += STOP_CHECK_INTERVAL_S
    assert trial.should_stop()
    (tmp_path / STOP).unlink()
    assert trial.should_stop()
    assert close_context(trial).was_told_to_stop


def test_time_left_is_the_nearer_of_deadline_and_limit(make: Callable[..., TrialContext], clock: Clock) -> None:
    trial = make(deadline=clock.now + 10)
    assert trial.time_left_s == 10
    begin_limit(trial, 4)
    assert trial.time_left_s == 4
    clock.now += 3
    assert trial.time_left_s == 1
    assert not trial.should_stop()
    clock.now += 1
    assert trial.should_stop()


def test_time_left_minds_the_end_of_the_workers_batch_job(
    make: Callable[..., TrialContext], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DHFLOW_BLOCK_ENDS", str(clock.now + 6))
    assert make().time_left_s == 6
    assert make(deadline=clock.now + 4).time_left_s == 4
    assert make(deadline=clock.now + 9).time_left_s == 6
    monkeypatch.setenv("DHFLOW_BLOCK_ENDS", "soon")
    assert make().time_left_s is None


def test_a_step_that_no_longer_fits_in_is_not_begun(make: Callable[..., TrialContext], clock: Clock) -> None:
    trial = make()
    assert not trial.should_stop(needs_s=1e9)
    trial = make(deadline=clock.now + 10)
    assert not trial.should_stop(needs_s=9)
    clock.now += 2
    assert trial.should_stop(needs_s=9)
    assert close_context(trial).was_told_to_stop


def test_without_a_directory_there_is_a_temporary_one(make: Callable[..., TrialContext]) -> None:
    trial = make(directory=None)
    trial.report(1, loss=1.0)
    folder = trial.dir
    (folder / "checkpoint").write_text("x")
    assert trial.dir == folder
    assert not trial.should_stop()
    assert len(close_context(trial).measurements) == 1
    assert not folder.exists()


def test_after_an_epochs_report_the_stop_file_is_looked_up_at_once(
    make: Callable[..., TrialContext], tmp_path: Path, clock: Clock
) -> None:
    trial = make()
    assert not trial.should_stop()
    (tmp_path / STOP).touch()
    trial.report(1, loss=1.0)
    assert not trial.should_stop()  # an epoch of no time at all
    clock.now += 2 * EPOCH_LOOK_INTERVAL_S
    assert trial.should_stop()
