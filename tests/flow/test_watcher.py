"""The watcher: what it reads of running trials, what it finds, and what it does about it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, load
from dhflow.errors import SearchError
from dhflow.flow import watcher as watcher_module
from dhflow.flow.command_files import CommandInbox, give, wait_for_reply
from dhflow.flow.run_directory import run_path
from dhflow.flow.siblings import MOST_SIBLINGS, Siblings
from dhflow.flow.tail import MOST_DETAIL, MOST_REPORTS, READ_BYTES, Tail
from dhflow.history import read_commands, read_findings, read_records
from dhflow.history.monitor_event import CommandTaken
from dhflow.monitor.finding import finding_from_json
from dhflow.monitor.line import to_line
from dhflow.monitor.record import MachineRecord, Reading, WorstSample
from dhflow.trial import Measurement, Trial, TrialSource

SPACE = SearchSpace({"x": Float(0.0, 1.0), "global_clipnorm": Float(0.01, 10.0, default=10.0)})
THREADS = {"site": "laptop", "site_set": {"executor": "threads", "workers": 2}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watcher_module, "LEAST_AGE_S", 0.0)


def wait_until(is_so: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    until = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)
    return found


# Reading --------------------------------------------------------------------------------------------------


def test_a_tail_gives_each_line_once_and_no_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    tail = Tail(str(path))
    assert tail.read() == []
    lines = [to_line(Reading(step, {"loss": 0.5})) for step in range(1, 6)]
    path.write_bytes(lines[0] + lines[1][:7])
    assert [each.step for each in tail.read()] == [1]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(lines[1][7:] + lines[2] + b"garbage\n")
    assert [each.step for each in tail.read()] == [2, 3]
    aside = tmp_path / "aside"
    aside.write_bytes(lines[2] + lines[3])
    aside.replace(path)
    assert [each.step for each in tail.read()] == [3, 4]
    assert tail.was_replaced


def test_of_a_flood_a_sample_is_read_with_all_that_matters(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("wb") as file:
        for step in range(60_000):
            file.write(to_line(Reading(step, {"loss": math.nan if step == 59_000 else 1.0})))
            file.write(to_line(WorstSample(step, 1, 0.5)))
    assert path.stat().st_size > READ_BYTES
    found = Tail(str(path)).read()
    readings = [each for each in found if isinstance(each, Reading)]
    assert len(readings) <= MOST_REPORTS + 41
    assert len(found) - len(readings) <= MOST_DETAIL
    assert found[-1] == WorstSample(59_999, 1, 0.5)
    assert readings[-1].step == 59_999
    assert any(math.isnan(each.values["loss"]) for each in readings)


def test_siblings_are_few_short_and_no_ancestors() -> None:
    siblings = Siblings()
    for number in range(MOST_SIBLINGS + 5):
        rows = [Measurement(step, 0.0, "loss", 1.0 / step) for step in range(1, 1001)]
        status = TrialStatus.COMPLETED if number % 2 else TrialStatus.STOPPED
        siblings.add_ended(Trial(number, {}, status, parent_id=number - 1 if number == 84 else None), rows)
    assert len(siblings) == MOST_SIBLINGS
    found = siblings.of(Trial(84, {}, parent_id=83), "loss")
    assert {each.trial_id for each in found} == set(range(5, 83))
    assert all(len(each.steps) <= 61 and each.steps[-1] == 1000 for each in found)
    assert all(each.is_finished == bool(each.trial_id % 2) for each in found)
    assert siblings.of(Trial(500, {}), "accuracy") == ()
    assert 84 not in {each.trial_id for each in siblings.of(Trial(83, {}), "loss")}


def test_commands_are_taken_in_order_and_answered_once(tmp_path: Path) -> None:
    folder = tmp_path / "commands"
    inbox = CommandInbox(folder)
    assert inbox.take() == []
    first = give(folder, CommandTaken(0.0, "stop", 3, "me"))
    second = give(folder, CommandTaken(0.0, "pause", None, arguments={"a": 1}))
    (folder / "zz.json").write_text("[1]")
    taken = inbox.take()
    assert [(each.command, each.trial_id, each.command_id) for each in taken] == [
        ("stop", 3, first),
        ("pause", None, second),
    ]
    assert taken[0].origin == "me"
    assert "@" in taken[1].origin
    assert inbox.take() == []
    inbox.reply(first, {"sent": True})
    assert wait_for_reply(folder, first, 5.0) == {"sent": True}
    assert wait_for_reply(folder, second, 0.0) is None
    assert "no command" in json.loads((folder / "zz.reply").read_text())["error"]
    assert [each.name for each in folder.iterdir()] == ["zz.reply"]


# A running search ---------------------------------------------------------------------------------------


def overflowing(config: dict[str, Any], trial: Any) -> float:
    """Overflow unless gradients are clipped; go on until asked to stop."""
    is_clipped = config["global_clipnorm"] <= 1.0
    until = time.monotonic() + 30
    for step in range(1, 10_000):
        trial.report(step, loss=1.0 / step if is_clipped or step < 3 else math.nan)
        trial.channel.send([MachineRecord(step, time.time(), cpu_share=0.5)])
        if trial.should_stop() or (is_clipped and step > 20):
            return 1.0 / step if is_clipped else math.nan
        time.sleep(0.01)
        assert time.monotonic() < until
    return 0.0


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


def test_a_red_trial_is_stopped_and_the_history_says_why(history: Path) -> None:
    space = SearchSpace({"x": Float(0.0, 1.0), "global_clipnorm": Float(2.0, 10.0)})
    with Study(space, searcher="random", seed=1, history=history) as study:
        study.run(overflowing, adapt="stop", max_trials=2, abort_after=None, **THREADS)
    result = load(history)
    for trial in result.trials:
        assert (trial.status, trial.values) == (TrialStatus.STOPPED, {})
        assert trial.budget is not None
        findings = [finding_from_json(each.finding) for each in read_findings(history, trial.trial_id)]
        assert "overflow" in {each.rule for each in findings}
        assert len({(each.rule, each.severity) for each in findings}) == len(findings)
        assert read_records(history, trial.trial_id).machine
        (command,) = (each for each in read_commands(history) if each.trial_id == trial.trial_id)
        assert (command.command, command.origin) == ("stop", "policy:stop")
        assert (command.arguments["rule"], command.reply) == ("overflow", {"sent": True})


def test_only_suggesting_stops_nothing(history: Path) -> None:
    def short(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 15):
            trial.report(step, loss=math.nan)
            time.sleep(0.02)
        return 1.0

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.run(short, max_trials=1, **THREADS)
    assert load(history).trials[0].status is TrialStatus.COMPLETED
    assert read_commands(history) == []
    (event, *_) = read_findings(history, 0)
    assert finding_from_json(event.finding).rule == "overflow"


def test_auto_tries_the_first_change_as_a_new_trial_up_to_its_cap(history: Path) -> None:
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.1, "global_clipnorm": 5.0}, {"x": 0.2, "global_clipnorm": 6.0})
        study.run(overflowing, adapt="auto", max_auto=1, max_trials=3, abort_after=None, **THREADS)
    trials = load(history).trials
    assert len(trials) == 3
    made = [each for each in trials if each.source is TrialSource.ADVICE]
    assert len(made) == 1
    parent = trials[made[0].meta["advice"]["trial"]]
    assert made[0].parent_id is None
    assert made[0].meta["advice"] == {"trial": parent.trial_id, "suggestion": "clip_gradients", "by": "policy:auto"}
    assert dict(made[0].config) == {"x": parent.config["x"], "global_clipnorm": 0.1}
    assert made[0].status is TrialStatus.COMPLETED
    (accepted,) = (each for each in read_commands(history) if each.command == "accept")
    assert accepted.reply == {"trial": made[0].trial_id}


def test_auto_makes_no_trial_beyond_the_limit(history: Path) -> None:
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.1, "global_clipnorm": 5.0}, {"x": 0.2, "global_clipnorm": 6.0})
        study.run(overflowing, adapt="auto", max_trials=2, abort_after=None, **THREADS)
    assert [each.source for each in load(history).trials] == [TrialSource.USER] * 2
    refused = [each.reply["error"] for each in read_commands(history) if each.command == "accept"]
    assert refused == ["no more trials are made by themselves: max_trials was reached"] * 2


def test_the_median_stopper_works_with_any_searcher(history: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        until = time.monotonic() + 30
        step = 0
        while step < (20 if config["x"] < 0.5 else 10_000):
            step += 1
            trial.report(step, loss=config["x"])
            if trial.should_stop():
                break
            time.sleep(0.005)
            assert time.monotonic() < until
        return config["x"]

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        low = [{"x": 0.01 * n, "global_clipnorm": 1.0} for n in range(1, 7)]
        study.enqueue(*low, {"x": 0.9, "global_clipnorm": 1.0})
        study.run(objective, stoppers=["nan", "median"], max_trials=7, **THREADS)
    with Study(SPACE, searcher="random", seed=1, history=history, resume=True) as study:
        # Curves of the earlier session are siblings in the next one.
        study.enqueue({"x": 0.95, "global_clipnorm": 1.0})
        study.run(objective, stoppers=["median"], max_trials=8, **THREADS)
    assert load(history).trials[7].status is TrialStatus.STOPPED
    last = load(history).trials[6]
    assert (last.status, last.values) == (TrialStatus.STOPPED, {"objective": 0.9})
    assert last.budget is not None
    (command,) = (each for each in read_commands(history) if each.trial_id == 6)
    assert (command.command, command.origin) == ("stop", "stopper:median")
    rules = [finding_from_json(each.finding).rule for each in read_findings(history, 6)]
    assert "stopper:median" in rules


def test_commands_from_another_process_reach_a_running_search(history: Path) -> None:
    folder = run_path(history) / "commands"

    def ask(command: str, trial_id: int | None = None, **arguments: Any) -> dict[str, Any]:
        reply = wait_for_reply(folder, give(folder, CommandTaken(0.0, command, trial_id, "me", arguments)), 20.0)
        assert reply is not None
        return reply

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({"x": 0.1, "global_clipnorm": 5.0})
        thread = threading.Thread(
            target=study.run, args=(overflowing,), kwargs={"max_trials": 1, "abort_after": None, **THREADS}
        )
        thread.start()
        board = run_path(history) / "watch.json"
        shown = wait_until(lambda: board.exists() and json.loads(board.read_text())["running"][0])
        assert shown["trial"] == 0
        wait_until(lambda: json.loads(board.read_text())["running"][0]["light"] == "red")
        assert "not suggested" in ask("accept", 0, suggestion="more_layers")["error"]
        assert "there is no trial 77" in ask("accept", 77, suggestion="x")["error"]
        assert "there is no trial 99" in ask("stop", 99)["error"]
        assert "no command 'dance'" in ask("dance")["error"]
        assert "x" in ask("add", config={"x": 7.0, "global_clipnorm": 1.0})["error"]
        assert "there is no control" in ask("control", 0, control="fly")["error"]
        assert "positive number" in ask("control", 0, control="learning_rate", value=-1.0)["error"]
        for control in ({"control": "learning_rate", "value": 0.01}, {"control": "checkpoint"}):
            assert "never asked for controls" in ask("control", 0, **control)["error"]
        assert ask("accept", 0, suggestion="clip_gradients") == {"trial": 1}
        assert ask("add", config={"x": 0.3, "global_clipnorm": 0.5}) == {"trial": 2}
        assert ask("stop", 0) == {"sent": True}
        thread.join(30)
        assert not thread.is_alive()
    trials = load(history).trials
    assert [each.status for each in trials] == [TrialStatus.STOPPED, *[TrialStatus.COMPLETED] * 2]
    assert [each.source for each in trials[1:]] == [TrialSource.ADVICE, TrialSource.USER]
    done = [each.command for each in read_commands(history) if "error" not in each.reply]
    assert done == ["accept", "add", "stop"]
    assert not board.exists()


def test_who_gives_a_command_does_not_wait_for_a_slow_look(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "COST_SHARE", 1e-9)  # whatever the first look costs, there is no second one
    folder = run_path(history) / "commands"
    with Study(SPACE, searcher="random", seed=1, history=history) as study, ThreadPoolExecutor(1) as outer:
        running = outer.submit(study.run, overflowing, max_trials=1, abort_after=None, **THREADS)
        wait_until(lambda: any(each.status is TrialStatus.RUNNING for each in study.trials))
        reply = wait_for_reply(folder, give(folder, CommandTaken(0.0, "stop", 0)), 20.0)
        running.result(timeout=60)
    assert reply == {"sent": True}
    assert load(history).trials[0].status is TrialStatus.STOPPED


def test_a_look_that_had_to_wait_costs_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch, history: Path) -> None:
    looks: list[float] = []

    def wait(*_: Any) -> None:
        time.sleep(0.1)
        looks.append(time.monotonic())

    monkeypatch.setattr("dhflow.flow.judging.Judge.judge_running", wait)
    with Study(SPACE, searcher="random", seed=1, history=history) as study, ThreadPoolExecutor(1) as outer:
        running = outer.submit(study.run, overflowing, max_trials=1, **THREADS)
        wait_until(lambda: len(looks) > 3)
        folder = run_path(history) / "commands"
        wait_for_reply(folder, give(folder, CommandTaken(0.0, "stop", 0)), 20.0)
        running.result(timeout=60)
    assert min(np.diff(looks)) < 0.1 / watcher_module.COST_SHARE


def test_a_paused_search_starts_nothing_until_it_goes_on(history: Path) -> None:
    folder = run_path(history) / "commands"
    gate = threading.Event()

    def objective(config: dict[str, Any]) -> float:
        gate.wait(20)
        return config["x"]

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        thread = threading.Thread(target=study.run, args=(objective,), kwargs={"max_trials": 5, **THREADS})
        thread.start()
        wait_until(lambda: run_path(history).exists())
        reply = wait_for_reply(folder, give(folder, CommandTaken(0.0, "pause", None)), 20.0)
        assert reply == {"paused": True}
        gate.set()
        wait_until(lambda: sum(each.is_finished for each in list(study.record.trials.values())) == 2)
        assert len(study.record.trials) < 5
        assert wait_for_reply(folder, give(folder, CommandTaken(0.0, "go_on", None)), 20.0) == {"paused": False}
        thread.join(20)
    assert len(load(history)) == 5


class BrokenStopper:
    name = "broken"

    def check(self, records: Any, context: Any) -> None:
        raise ZeroDivisionError("on purpose")


def test_a_stopper_that_fails_leaves_the_search_and_the_watcher_alone(
    history: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 10):
            trial.report(step, loss=1.0 / step)
            time.sleep(0.02)
        return config["x"]

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.run(objective, stoppers=[BrokenStopper()], max_trials=3, **THREADS)
    assert [each.status for each in load(history).trials] == [TrialStatus.COMPLETED] * 3
    assert "cannot be judged" in caplog.text
    assert "watches no longer" not in caplog.text


def test_what_is_found_as_the_search_ends_is_recorded(history: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 4):
            trial.report(step, loss=math.nan)
            trial.channel.send([MachineRecord(step, time.time(), cpu_share=0.5)])
        time.sleep(0.05)
        return config["x"]

    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.run(objective, max_trials=4, **THREADS)
    assert {each.trial_id for each in read_findings(history)} == {0, 1, 2, 3}
    assert all(read_records(history, number).machine for number in range(4))


class FarAway(Executor):
    """One worker that shares no files, as far as dhflow knows."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._pool.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@pytest.mark.parametrize("channel", ["auto", "zmq:127.0.0.1"])
def test_without_shared_files_red_trials_are_stopped_too(
    history: Path, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    monkeypatch.setattr("dhflow.flow.pool.is_globus", lambda executor: isinstance(executor, FarAway))
    space = SearchSpace({"x": Float(0.0, 1.0), "global_clipnorm": Float(2.0, 10.0)})
    executor = FarAway()
    with Study(space, searcher="random", seed=1, history=history) as study:
        options: Any = {"site": executor, "workers": 1, "channel": channel, "max_trials": 1, "abort_after": None}
        study.run(overflowing, adapt="stop", **options)
    executor.shutdown()
    (trial,) = load(history).trials
    assert (trial.status, trial.values) == (TrialStatus.STOPPED, {})
    findings = [finding_from_json(each.finding) for each in read_findings(history, 0)]
    assert "overflow" in {each.rule for each in findings}
    assert read_records(history, 0).machine
    assert load(history).record.sessions[0][0].info["adapt"] == "stop"


def test_options_are_checked_before_anything_starts() -> None:
    study = Study(SPACE, searcher="random", seed=1)
    for wrong, why in (({"adapt": "yes"}, "suggest"), ({"stoppers": ["none"]}, "median"), ({"channel": "tcp"}, "zmq")):
        with pytest.raises(SearchError, match=why):
            study.run(overflowing, max_trials=1, **THREADS, **wrong)
