"""Stoppers in real searches: which trials they end, and which they leave alone."""

from __future__ import annotations

import math
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow import Budget, Float, Problem, SearchSpace, Study, TrialStatus, commands, load
from dhflow.cli.watching import advice_lines
from dhflow.flow import watcher as watcher_module
from dhflow.flow.watched import Watched
from dhflow.history import read_commands
from dhflow.monitor.finding import Severity
from dhflow.monitor.record import NetworkFacts, Reading, TimeLimit
from dhflow.trial import Trial

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
ONE = {"executor": "threads", "workers": 1}
THREADS = {"site": "laptop", "site_set": {"executor": "threads", "workers": 2}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watcher_module, "LEAST_AGE_S", 0.0)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


def stops_of(history: Path) -> dict[int | None, str]:
    """Return which trials were told to stop, and by whom."""
    return {each.trial_id: each.origin for each in read_commands(history) if each.command == "stop"}


class Queued(Executor):
    """A site whose workers come late, as those of a batch queue do."""

    def __init__(self, wait_s: float) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._from = time.monotonic() + wait_s

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._pool.submit(self._wait_and_call, function, *args, **kwargs)

    def _wait_and_call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        time.sleep(max(0.0, self._from - time.monotonic()))
        return function(*args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def thirty_epochs(config: dict[str, Any], trial: Any) -> float:
    for step in range(1, 31):
        time.sleep(config["x"])
        trial.report(step, val_loss=1.0 + math.exp(-step / 5))
        if trial.should_stop():
            break
    return 1.0


@pytest.mark.parametrize("channel", ["auto", "zmq:127.0.0.1"])
def test_waiting_in_a_queue_is_not_a_trial_s_time(history: Path, channel: str) -> None:
    problem = Problem(SPACE, thirty_epochs, budget=Budget("epochs", 1, 30))
    executor = Queued(3.0)
    with Study(problem, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.02})
        options: Any = {"site": executor, "workers": 1, "timeout_s": 3.0, "channel": channel}
        study.run(stoppers=["time"], max_trials=1, **options)
    executor.shutdown()
    (trial,) = load(history).trials
    assert (trial.status, stops_of(history)) == (TrialStatus.COMPLETED, {})


@pytest.mark.parametrize("channel", ["auto", "zmq:127.0.0.1"])
def test_what_will_not_be_done_in_time_is_stopped(history: Path, channel: str) -> None:
    problem = Problem(SPACE, thirty_epochs, budget=Budget("epochs", 1, 30))
    with Study(problem, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.5})  # 15 seconds
        study.run(stoppers=["time"], max_trials=1, timeout_s=8.0, channel=channel, **THREADS)
    (trial,) = load(history).trials
    assert (trial.status, stops_of(history)) == (TrialStatus.STOPPED, {0: "stopper:time"})
    assert trial.budget is not None
    assert trial.budget < 10


def test_a_command_that_will_not_be_done_in_time_is_stopped(history: Path) -> None:
    line = r'echo "{{\"step\": $n, \"time\": $(date +%s.%N), \"val_loss\": 1.0}}" >> $DHFLOW_RECORDS'
    command = f"for n in $(seq 30); do test -e $DHFLOW_STOP && break; sleep {{x}}; {line}; done; echo 1.0"
    problem = Problem(SPACE, command, budget=Budget("epochs", 1, 30))
    with Study(problem, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.5})
        study.run(stoppers=["time"], max_trials=1, timeout_s=8.0, **THREADS)
    assert (load(history).trials[0].status, stops_of(history)) == (TrialStatus.STOPPED, {0: "stopper:time"})


def test_what_will_not_beat_the_best_is_stopped(history: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        until = time.monotonic() + 60
        value = math.nan
        for step in range(1, 41):
            value = config["x"] + math.exp(-step / 3)
            trial.report(step, val_loss=value)
            if trial.should_stop():
                break
            time.sleep(0.01 if config["x"] < 0.1 else 0.1)
            assert time.monotonic() < until
        return value

    problem = Problem(SPACE, objective, budget=Budget("epochs", 1, 40))
    with Study(problem, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.01}, {"x": 0.02})
        study.run(stoppers=["extrapolation"], max_trials=2, **THREADS)
        study.enqueue({"x": 0.9}, {"x": 0.0})
        study.run(stoppers=["extrapolation"], max_trials=4, **THREADS)
    trials = load(history).trials
    assert [each.status.value for each in trials] == ["completed", "completed", "stopped", "completed"]
    assert stops_of(history) == {2: "stopper:extrapolation"}
    assert trials[2].budget is not None
    assert trials[2].budget < 40


def test_a_run_may_say_itself_how_many_epochs_it_is_to_have(history: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        trial.channel.send([NetworkFacts(n_epochs=30)])
        return thirty_epochs(config, trial)

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.5})
        study.run(objective, stoppers=["time"], max_trials=1, timeout_s=8.0, **THREADS)
    assert (load(history).trials[0].status, stops_of(history)) == (TrialStatus.STOPPED, {0: "stopper:time"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stoppers": ["median", "nan"]}, []),
        ({"stoppers": ["extrapolation"]}, ["'extrapolation': it acts only on"]),
        ({"stoppers": ["time"]}, ["'time': nothing limits", "'time': it acts only on"]),
        ({"stoppers": ["time"], "wall_time_s": 60.0}, ["'time': it acts only on"]),
        ({"stoppers": ["time", "extrapolation"], "timeout_s": 60.0, "budget": Budget("epochs", 1, 5)}, []),
    ],
)
def test_a_stopper_that_cannot_act_is_named_as_the_search_starts(
    options: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    study = Study(SPACE, searcher="random", seed=1, budget=options.get("budget"))
    rest = {name: value for name, value in options.items() if name != "budget"}
    study.run(lambda config: config["x"], max_trials=1, **THREADS, **rest)
    warned = [each.getMessage() for each in caplog.records if "stopper" in each.getMessage()]
    assert len(warned) == len(said)
    assert all(part in text for part, text in zip(said, warned, strict=True))


def test_the_time_left_is_told_by_the_worker_s_clock() -> None:
    watched = Watched(Trial(0, {}), 1)
    watched.add([Reading(1, {"loss": 1.0}, 1_004.0)])
    assert watched.time_left_s is None
    watched.add([TimeLimit(1_000.0, 10.0)])
    assert watched.time_left_s == pytest.approx(6.0, abs=1.0)
    watched.add([Reading(2, {"loss": 1.0}, 1_012.0)])
    assert watched.time_left_s == pytest.approx(-2.0, abs=1.0)


def test_without_times_in_the_records_no_time_left_is_known() -> None:
    watched = Watched(Trial(0, {}), 1)
    watched.add([TimeLimit(1_000.0, 10.0), Reading(1, {"loss": 1.0})])
    assert watched.time_left_s is None


def test_an_accuracy_that_only_validation_names_is_judged(history: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        until = time.monotonic() + 60
        for step in range(1, 400):
            trial.report(step, accuracy=1.0, val_accuracy=config["x"])
            if trial.should_stop() or (config["x"] > 0.5 and step == 5):
                break
            time.sleep(0.01)
            assert time.monotonic() < until
        return config["x"]

    with Study(SPACE, direction="maximize", searcher="random", seed=1, history=history) as study:
        study.enqueue(*({"x": 0.9 + 0.01 * n} for n in range(6)), {"x": 0.1})
        study.run(objective, stoppers=["median"], max_trials=7, site="laptop", site_set=ONE)
    assert load(history).trials[6].status is TrialStatus.STOPPED
    assert stops_of(history) == {6: "stopper:median"}


def test_numbers_of_which_none_is_the_objective_are_said_once(history: Path, caplog: pytest.LogCaptureFixture) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 10):
            trial.report(step, seconds=1.0, share=config["x"])
            time.sleep(0.02)
        return config["x"]

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.run(objective, stoppers=["median"], max_trials=3, **THREADS)
    assert caplog.text.count("none of seconds, share is known to be what the study is about (objective)") == 1
    for trial_id in range(3):
        advice = commands.advise(history, trial_id)
        assert [(each.rule, each.severity) for each in advice.findings] == [("unknown_metric", Severity.NOTE)]
    assert "trial.report(step, objective=...)" in "\n".join(advice_lines(advice, history))
