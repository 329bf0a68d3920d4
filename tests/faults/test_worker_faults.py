"""Workers that hang, are killed, or fill the disk: what the driver finds afterwards."""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dhflow.objective import Objective
from dhflow.train import (
    EvaluationSettings,
    Task,
    WorkerNotes,
    evaluate,
    last_step,
    make_source,
    read_measurements,
    read_output,
    timeout_failure,
)
from dhflow.trial import TrialStatus

pytestmark = pytest.mark.faults

HERE = str(Path(__file__))
PATIENCE_S = 30.0


def task_of(objective: Any, directory: Path, *, blobs: Path | None = None, **settings: Any) -> Task:
    source = make_source(objective, names=["x"], directory=blobs or directory / "objective")
    workers = directory / "workers" / "0"
    workers.mkdir(parents=True, exist_ok=True)
    attempt = str(directory / "trials" / "0" / "1")
    evaluation = EvaluationSettings((Objective(),), source, workers=str(workers), **settings)
    return Task(0, 1, {"x": 1.0}, None, 1, attempt, None, None, evaluation)


def notes_of(task: Task) -> WorkerNotes:
    notes = WorkerNotes(Path(task.settings.workers or "").parent)
    notes.refresh({task.trial_id: task.attempt})
    return notes


@contextlib.contextmanager
def running(task: Task) -> Iterator[Any]:
    process = multiprocessing.get_context("spawn").Process(target=evaluate, args=(task,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def exit_code(task: Task) -> int | None:
    with running(task) as process:
        process.join(PATIENCE_S)
        code: int | None = process.exitcode
        return code


def holds_the_lock(config: dict[str, Any], trial: Any) -> float:
    trial.report(3, loss=0.5)
    collections.deque(itertools.repeat(0), maxlen=0)  # runs for ever inside one call of C
    return 1.0


def swallows_everything(config: dict[str, Any], trial: Any) -> float:
    trial.report(3, loss=0.5)
    while True:
        try:
            time.sleep(60)
        except Exception:
            print("not now")


@pytest.mark.parametrize("objective", [holds_the_lock, swallows_everything])
def test_a_trial_that_cannot_be_interrupted_is_killed_and_names_its_line(tmp_path: Path, objective: Any) -> None:
    task = task_of(objective, tmp_path, timeout_s=0.1, timeout_grace_s=0.3)
    assert exit_code(task) == 1
    notes = notes_of(task)
    assert notes.result(0, 1) is None
    text, start = notes.last_words(0, 1), notes.start(0, 1)
    assert "most recent call first" in text
    assert start is not None
    failure = timeout_failure(text, start, last_step(task.directory or ""))
    first = objective.__code__.co_firstlineno
    file, _, line = failure.location.rpartition(":")
    assert file == HERE
    assert first < int(line) <= first + 7
    assert failure.last_step == 3


def test_a_trial_that_answers_in_its_grace_is_not_killed(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        try:
            time.sleep(60)
        finally:
            time.sleep(0.1)
            (trial.dir / "checkpoint").write_text("saved")
        return 1.0

    task = task_of(objective, tmp_path, timeout_s=0.1, timeout_grace_s=20.0)
    assert exit_code(task) == 0
    notes = notes_of(task)
    result = notes.result(0, 1)
    assert result is not None
    assert result.failure is not None
    assert result.failure.kind == "TrialTimeoutError"
    assert Path(task.directory or "", "checkpoint").read_text() == "saved"
    assert notes.last_words(0, 1) == ""


def test_the_hard_limit_is_taken_down_after_the_trial(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        return 1.0

    task = task_of(objective, tmp_path, timeout_s=0.2, timeout_grace_s=0.0)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=evaluate_and_linger, args=(task,))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    process.close()


def evaluate_and_linger(task: Task) -> None:
    evaluate(task)
    time.sleep(0.5)


def test_a_killed_worker_leaves_start_curve_and_output(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 6):
            print("epoch", step)
            trial.report(step, loss=1.0 / step)
        os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    task = task_of(objective, tmp_path, timeout_s=30.0)
    assert exit_code(task) == -signal.SIGKILL
    directory = task.directory or ""
    notes = notes_of(task)
    assert notes.result(0, 1) is None
    assert notes.last_words(0, 1) == ""
    start = notes.start(0, 1)
    assert start is not None
    assert start.pid != os.getpid()
    assert last_step(directory) == 5
    assert [each.step for each in read_measurements(directory)] == [1, 2, 3, 4, 5]
    assert read_output(directory) == "".join(f"epoch {step}\n" for step in range(1, 6))


def test_a_worker_killed_at_any_moment_leaves_a_whole_result_or_none(tmp_path: Path) -> None:
    script = tmp_path / "stream.py"
    script.write_text(
        "import pickle, sys\nfrom dataclasses import replace\nfrom dhflow.train import evaluate\n"
        "task = pickle.load(open(sys.argv[1], 'rb'))\nnumber = 0\nprint('ready', flush=True)\n"
        "settings = replace(task.settings, workers=sys.argv[3])\nwhile True:\n"
        "    directory = f'{sys.argv[2]}/{number}/1'\n"
        "    evaluate(replace(task, trial_id=number, directory=directory, settings=settings))\n"
        "    number += 1\n"
    )

    def objective(config: dict[str, Any], trial: Any) -> float:
        trial.report(1, loss=2.0)
        print("some output")
        return 1.0

    (tmp_path / "task").write_bytes(pickle.dumps(task_of(objective, tmp_path, timeout_s=5.0)))
    environment = {**os.environ, "PYTHONPATH": str(Path(evaluate.__code__.co_filename).parents[2])}
    n_whole = 0
    for moment in range(5):
        trials, workers = tmp_path / f"run{moment}", tmp_path / f"workers{moment}" / "0"
        workers.mkdir(parents=True)
        command = [sys.executable, str(script), str(tmp_path / "task"), str(trials), str(workers)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            wait_for((trials / str(10 + moment)).exists)
            process.kill()
        numbers = [int(each.name) for each in trials.iterdir()]
        notes = WorkerNotes(workers.parent)
        notes.refresh(dict.fromkeys(numbers, 1))
        for number in numbers:
            assert notes.start(number, 1) is not None
            result = notes.result(number, 1)
            if result is not None:
                n_whole += 1
                assert result.status is TrialStatus.COMPLETED
                assert result.values == {"objective": 1.0}
                assert len(read_measurements(trials / str(number) / "1")) == 1
                assert read_output(trials / str(number) / "1") == "some output\n"
    assert n_whole >= 5 * 10


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_command_dies_with_its_worker(tmp_path: Path) -> None:
    task = task_of("echo $$ > $DHFLOW_TRIAL_DIR/pid; exec sleep 60 #{x}", tmp_path)
    file = Path(task.directory or "", "pid")
    with running(task) as process:
        pid = int(wait_for(lambda: file.exists() and file.read_text().strip()))
        assert is_alive(pid)
        process.kill()
        wait_for(lambda: not is_alive(pid))


def test_a_hundred_megabytes_of_output_are_no_failure(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        line = "x" * 999
        for _ in range(50_000):
            print(line)
        subprocess.run(["head", "-c", "50000000", "/dev/zero"], check=True)
        print("done")
        return 1.0

    task = task_of(objective, tmp_path, output_limit_bytes=100_000)
    assert exit_code(task) == 0
    result = notes_of(task).result(0, 1)
    assert result is not None
    assert result.status is TrialStatus.COMPLETED
    log = Path(task.directory or "", "output.log")
    assert log.stat().st_size <= 100_000
    assert log.read_text().endswith("done\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    file = disk / "filler"
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4_096))
    return file


def test_a_full_disk_loses_no_result_and_blames_no_trial(small_disk: Path, tmp_path: Path) -> None:
    def quiet(config: dict[str, Any], trial: Any) -> float:
        fill(small_disk)
        trial.report(1, loss=1.0)
        return 1.0

    def loud(config: dict[str, Any], trial: Any) -> float:
        fill(small_disk)
        for _ in range(10_000):
            print("something to say")
        return 1.0

    blobs = tmp_path / "objective"
    another = task_of(quiet, small_disk / "another", blobs=blobs)
    result = evaluate(task_of(quiet, small_disk, blobs=blobs))
    assert result.status is TrialStatus.COMPLETED
    assert len(result.measurements) == 1
    (small_disk / "filler").unlink()
    result = evaluate(task_of(loud, small_disk, blobs=blobs))
    assert result.status is TrialStatus.LOST
    assert "No space left" in str(result.failure)
    result = evaluate(another)
    assert result.status is TrialStatus.LOST
    assert "cannot be written" in str(result.failure)
    (small_disk / "filler").unlink()
    task = task_of(lambda config: 2.0, small_disk, blobs=blobs)
    assert evaluate(task).values == {"objective": 2.0}
    assert notes_of(task).result(0, 1) is not None
