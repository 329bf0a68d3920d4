"""A trial's channel on its worker: files, and home with the result."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from dhflow.errors import SearchError
from dhflow.monitor.control import Control, control_to_line
from dhflow.monitor.finding import finding_from_json
from dhflow.monitor.keeper import Keeper, KeeperLimits, Thinned
from dhflow.monitor.line import from_json, from_lines, to_line
from dhflow.monitor.policy import Policy
from dhflow.monitor.record import DataFacts, Listening, MachineRecord, NetworkFacts, Reading, TensorRecord, WorstSample
from dhflow.monitor.stopper import make_stoppers
from dhflow.train import evaluate, last_step, read_measurements
from dhflow.train.attempt_directory import CONTROLS, EPOCH_LOOK_INTERVAL_S, RECORDS, STOP, make_directory, read_detail
from dhflow.train.channel import (
    BURST_BYTES,
    POLL_INTERVAL_S,
    RATE_BYTES,
    FileSink,
    WorkerChannel,
)
from dhflow.train.packed import _pack_result, unpack_result
from dhflow.train.records_file import RecordsFile
from dhflow.trial import TrialStatus

TENSOR = TensorRecord(1, "dense", "weight", "kernel", 20, 1.5, time=2.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_sent_lies_in_the_attempts_one_file(make_task) -> None:
    def objective(config, trial):
        trial.channel.send([NetworkFacts(loss="mse"), TENSOR, Reading(1, {"loss": 0.5}, 3.0)])
        trial.report(2, loss=0.25)
        trial.channel.send([MachineRecord(2, 4.0, cpu_share=0.5), Reading(9, {"loss": 0.2}, per="batch")])
        return 1.0

    task = make_task(objective)
    result = evaluate(task)
    assert (result.status, result.records, result.findings) == (TrialStatus.COMPLETED, (), ())
    assert [(each.step, each.value) for each in result.measurements] == [(1, 0.5), (2, 0.25)]
    assert read_measurements(task.directory) == result.measurements
    assert last_step(task.directory) == 2
    lines = (Path(task.directory) / RECORDS).read_bytes().splitlines()
    assert {type(each) for each in from_lines(lines)} == {NetworkFacts, TensorRecord, Reading, MachineRecord}
    assert {type(each) for each in read_detail(task.directory)} == {NetworkFacts, TensorRecord, Reading, MachineRecord}


def test_controls_come_once_and_a_stop_ends_the_trial(make_task, monkeypatch) -> None:
    for each in ("POLL_INTERVAL_S", "EPOCH_LOOK_INTERVAL_S"):
        monkeypatch.setattr(f"dhflow.train.channel.{each}", 0.0)

    def objective(config, trial):
        directory = trial.dir
        (directory / "controls.jsonl").write_bytes(
            control_to_line(Control("learning_rate", 0.01)) + b"torn" + b"\n" + control_to_line(Control("checkpoint"))
        )
        first = [each.kind for each in trial.channel.controls()]
        with (directory / "controls.jsonl").open("ab") as file:
            file.write(control_to_line(Control("stop", reason="red")))
        second = [(each.kind, each.reason) for each in trial.channel.controls()]
        assert first == ["learning_rate", "checkpoint"]
        assert second == [("stop", "red")]
        assert not trial.channel.controls()
        assert trial.should_stop()
        trial.report(1, loss=0.5)
        return 1.0

    result = evaluate(make_task(objective, budget=5.0))
    assert result.failure is None
    assert (result.status, result.budget, result.values) == (TrialStatus.STOPPED, 1.0, {"objective": 1.0})


def test_controls_are_looked_up_after_each_epoch_and_else_now_and_then(channel) -> None:
    channel, clock, path = channel
    assert not channel.controls()
    (path.parent / CONTROLS).write_bytes(control_to_line(Control("checkpoint")))
    assert not channel.controls()
    channel.is_epoch_over = True
    clock.now += 1.5 * EPOCH_LOOK_INTERVAL_S
    assert [each.kind for each in channel.controls()] == ["checkpoint"]
    with (path.parent / CONTROLS).open("ab") as file:
        file.write(control_to_line(Control("stop")))
    clock.now += 1.5 * EPOCH_LOOK_INTERVAL_S
    assert not channel.controls()
    clock.now += POLL_INTERVAL_S
    assert [each.kind for each in channel.controls()] == ["stop"]


def test_a_run_that_asks_for_controls_says_so_once(channel) -> None:
    channel, clock, path = channel
    for _ in range(3):
        clock.now += 1.0
        channel.controls()
    channel.close()
    assert [type(each) for each in from_lines(path.read_bytes().splitlines())] == [Listening]


def test_the_stop_file_is_a_control_too(tmp_path: Path) -> None:
    sink = FileSink(str(tmp_path), lambda: RecordsFile(str(tmp_path / RECORDS)))
    assert sink.controls() == []
    (tmp_path / STOP).touch()
    assert sink.controls() == [Control("stop")]
    assert sink.controls() == []
    assert CONTROLS == "controls.jsonl"


def test_an_overflow_that_the_driver_has_stopped_is_no_failure(make_task) -> None:
    def objective(config, trial):
        trial.report(2, loss=math.nan)
        (trial.dir / "stop").touch()
        assert trial.should_stop()
        return math.nan

    def unasked(config, trial):
        return math.nan

    result = evaluate(make_task(objective, budget=5.0))
    assert (result.status, result.budget, result.values, result.failure) == (TrialStatus.STOPPED, 2.0, {}, None)
    assert evaluate(make_task(unasked)).status is TrialStatus.FAILED


@pytest.fixture
def channel(tmp_path: Path) -> tuple[WorkerChannel, Clock, Path]:
    clock, path = Clock(), tmp_path / RECORDS
    file = RecordsFile(str(path), max_bytes=200_000, kept_bytes=100_000)
    return WorkerChannel(FileSink(str(tmp_path), lambda: file), lambda _: None, monotonic=clock), clock, path


def test_a_flood_is_bounded_and_keeps_the_newest_and_the_facts(channel) -> None:
    channel, clock, path = channel
    channel.send([NetworkFacts(loss="mse")])
    for step in range(60_000):
        clock.now += 1e-4
        channel.send([WorstSample(step, 1, 0.5)])
    channel.close()
    assert path.stat().st_size < 300_000
    found = from_lines(path.read_bytes().splitlines())
    assert found[0] == NetworkFacts(loss="mse")
    steps = [each.step for each in found[1:]]
    assert steps == sorted(steps)
    assert steps[-1] == 59_999
    n_bytes = sum(len(to_line(each)) for each in found)
    assert n_bytes <= BURST_BYTES + 7 * RATE_BYTES


def test_reports_outlive_any_flood_of_detail(tmp_path: Path) -> None:
    file = RecordsFile(str(tmp_path / RECORDS), max_bytes=20_000, kept_bytes=5_000)
    for step in range(1, 101):
        file.append(to_line(Reading(step, {"loss": 0.5})))
        file.append_detail([to_line(WorstSample(step, each, 0.5)) for each in range(100)])
    assert [each.step for each in read_measurements(tmp_path)] == list(range(1, 101))
    assert (tmp_path / RECORDS).stat().st_size < 30_000
    assert not list(tmp_path.glob("*.tmp"))
    assert last_step(tmp_path) == 100


def test_a_disk_that_takes_nothing_does_not_stop_the_training(tmp_path: Path) -> None:
    clock = Clock()

    def refuse() -> RecordsFile:
        raise OSError("full")

    channel = WorkerChannel(FileSink(str(tmp_path), refuse), lambda _: None, monotonic=clock)
    channel.send([TENSOR, DataFacts(10)])
    channel.close()
    make_directory(str(tmp_path / "later"))


def test_without_files_records_and_findings_come_home(make_task) -> None:
    def objective(config, trial):
        step = 0
        while not trial.should_stop() and step < config["most"]:
            step += 1
            trial.channel.send([MachineRecord(step, step, cpu_share=0.5)])
            trial.report(step, loss=math.nan if step > 3 else 1.0 / step)
            time.sleep(0.01)
        return math.nan if step < config["most"] else 1.0

    endless = {"config": {"most": 10_000}, "budget": 10_000.0}
    task = make_task(objective, **endless, has_directory=False, policy=Policy("stop"))
    result = unpack_result(_pack_result(evaluate(task)))
    assert result.status is TrialStatus.STOPPED
    assert result.budget is not None
    assert 3 < result.budget < 10_000
    assert any(isinstance(from_json(each), MachineRecord) for each in result.records)
    assert [finding_from_json(each).rule for each in result.findings] == ["overflow"]
    shown = evaluate(make_task(objective, config={"most": 9}, budget=9.0, has_directory=False, policy=Policy()))
    assert shown.status is TrialStatus.COMPLETED
    assert {finding_from_json(each).rule for each in shown.findings} >= {"overflow"}


def test_a_trial_without_files_that_records_nothing_brings_nothing(make_task) -> None:
    result = evaluate(make_task(lambda config, trial: 1.0, has_directory=False, policy=Policy()))
    assert (result.records, result.findings, result.measurements) == ((), (), ())


def test_a_command_is_judged_where_it_ran_without_files(make_task) -> None:
    line = '{{\\"step\\": %d, \\"loss\\": \\"nan\\"}}\\n'
    script = f'for n in 1 2 3 4; do printf "{line}" $n >> "$DHFLOW_RECORDS"; done; echo {{x}}'
    result = evaluate(make_task(script, has_directory=False, policy=Policy()))
    assert result.failure is None
    assert [each.step for each in result.measurements] == [1, 2, 3, 4]
    assert [finding_from_json(each).rule for each in result.findings] == ["overflow"]


def test_a_command_finds_its_stop_file(make_task) -> None:
    script = 'touch "$DHFLOW_STOP"; test -e "$DHFLOW_TRIAL_DIR/stop" && echo {x}'
    result = evaluate(make_task(script, budget=3.0))
    assert (result.status, result.values) == (TrialStatus.STOPPED, {"objective": 1.5})


@pytest.mark.parametrize("n", [0, 1, 5, 100, 1001])
def test_thinning_keeps_both_ends(n: int) -> None:
    thinned: Thinned[int] = Thinned(10)
    for each in range(n):
        thinned.add(each)
    items = thinned.items()
    assert len(items) <= 11
    assert items == sorted(set(items))
    if n:
        assert (items[0], items[-1]) == (0, n - 1)


def test_the_first_overflow_is_never_thinned_out() -> None:
    keeper = Keeper(KeeperLimits(n_readings=10))
    for step in range(1, 1000):
        keeper.add([Reading(step, {"loss": math.inf if step == 333 else 1.0})])
    steps = [each.step for each in keeper.records.readings]
    assert 333 in steps
    assert steps == sorted(steps)
    assert len(steps) < 14


def test_a_history_gets_few_steps_of_many_tensors() -> None:
    keeper = Keeper()
    for step in range(1, 21):
        keeper.add(TensorRecord(step, f"layer_{n}", "weight", "kernel") for n in range(100))
    keeper.add([DataFacts(10)])
    kept = [each for each in keeper.brief() if isinstance(each, TensorRecord)]
    assert len(keeper.records.tensors) == 2_000
    assert len(kept) == 400
    assert {each.step for each in kept} >= {1, 20}
    assert DataFacts(10) in keeper.brief()
    assert len([each for each in keeper.brief(1) if isinstance(each, TensorRecord)]) == 200


def test_a_closed_channel_takes_nothing_and_says_nothing(channel) -> None:
    channel, clock, path = channel
    channel.send([TENSOR])
    channel.close()
    size = path.stat().st_size
    clock.now += 10
    channel.send([TENSOR])
    channel.put_report(Reading(1, {"loss": 0.5}), b"x")
    channel.close()
    assert (path.stat().st_size, list(channel.controls())) == (size, [])


def test_unknown_words_are_errors() -> None:
    with pytest.raises(SearchError, match="suggest, stop, auto"):
        Policy("always")  # type: ignore[arg-type]
    with pytest.raises(SearchError, match="nan, median, extrapolation, time"):
        make_stoppers(["mediam"])
    with pytest.raises(SearchError, match="list"):
        make_stoppers("nan")
    with pytest.raises(SearchError, match="check"):
        make_stoppers([3])  # type: ignore[list-item]
    assert [each.name for each in make_stoppers(["nan", "time"])] == ["nan", "time"]
