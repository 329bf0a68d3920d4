from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluated import failed, line_of, noted_result, notes_of

from dhflow.errors import TrialLostError
from dhflow.objective import Objective
from dhflow.train import Task, evaluate, read_measurements, read_output
from dhflow.train.worker_files import worker_files
from dhflow.train.worker_notes import host_name
from dhflow.trial import TrialResult, TrialStatus

TaskMaker = Callable[..., Task]
HERE = str(Path(__file__))


def good(config: dict[str, Any]) -> float:
    print("working on", config["x"])
    return float(config["x"]) * 2


def with_metrics(config: dict[str, Any], trial: Any) -> dict[str, Any]:
    for step in (1, 2, 3):
        trial.report(step, loss=1.0 / step)
    (trial.dir / "checkpoint").write_text("weights")
    return {"accuracy": 0.5, "loss": 0.25, "name": "net", "seed": trial.seed}


def test_a_value_comes_home_and_stays_in_the_directory(make_task: TaskMaker) -> None:
    task = make_task(good)
    before = time.time()
    result = evaluate(task)
    assert result.status is TrialStatus.COMPLETED
    assert result.values == {"objective": 3.0}
    assert result.worker == str(os.getpid())
    assert before <= result.started_at <= result.ended_at <= time.time()
    assert task.directory is not None
    assert noted_result(task) == result
    assert read_output(task.directory) == "working on 1.5\n"
    start = notes_of(task).start(task.trial_id, 1)
    assert start is not None
    assert (start.pid, start.host) == (os.getpid(), result.host)


def test_metrics_reports_and_files(make_task: TaskMaker) -> None:
    task = make_task(with_metrics, objectives=(Objective("accuracy", "maximize"), Objective("loss", "minimize")))
    result = evaluate(task)
    assert result.values == {"accuracy": 0.5, "loss": 0.25}
    assert result.metrics == {"name": "net", "seed": 7}
    assert [each.step for each in result.measurements] == [1, 2, 3]
    assert task.directory is not None
    assert read_measurements(task.directory) == result.measurements
    assert noted_result(task) == replace(result, measurements=())
    assert (Path(task.directory) / "checkpoint").read_text() == "weights"


def test_silent_trials_leave_their_workers_notes_and_nothing_else(make_task: TaskMaker, tmp_path: Path) -> None:
    tasks = [make_task(lambda config: 1.0, timeout_s=limit_s) for limit_s in (None, 50.0, None)]
    for task in tasks:
        evaluate(task)
    assert not (tmp_path / "trials").exists()
    name = f"{host_name()}-{os.getpid()}"
    assert sorted(each.name for each in (tmp_path / "workers" / "0").iterdir()) == [f"{name}.jsonl", f"{name}.log"]
    assert len((tmp_path / "workers" / "0" / f"{name}.jsonl").read_text().splitlines()) == 2 * len(tasks)


def test_without_a_directory_only_the_result_remains(make_task: TaskMaker, tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> dict[str, Any]:
        trial.report(1, loss=1.0)
        (trial.dir / "x").write_text("")
        return {"objective": 1.0, "dir": str(trial.dir)}

    result = evaluate(make_task(objective, has_directory=False))
    assert result.status is TrialStatus.COMPLETED
    assert len(result.measurements) == 1
    assert not Path(str(result.metrics["dir"])).exists()


def test_the_config_may_be_changed_by_the_objective(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        config.pop("x")
        return float(trial.config["x"])

    task = make_task(objective)
    assert evaluate(task).values == evaluate(task).values == {"objective": 1.5}


def test_prepared_data_and_arguments_reach_the_objective(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any], trial: Any, scale: float) -> float:
        return float(trial.prepared[0]) * scale

    result = evaluate(make_task(objective, arguments={"scale": 10.0}, per_worker=lambda: [4]))
    assert result.values == {"objective": 40.0}


def raises(config: dict[str, Any], trial: Any) -> float:
    trial.report(4, loss=1.0)
    raise ValueError("learning rate too large")


def test_an_exception_names_the_users_line_and_the_last_step(make_task: TaskMaker) -> None:
    task = make_task(raises)
    failure = failed(task)
    assert (failure.kind, failure.message) == ("ValueError", "learning rate too large")
    assert failure.location == line_of(raises, 2)
    assert failure.last_step == 4
    assert failure.traceback.splitlines()[1].startswith(f'  File "{HERE}"')
    assert noted_result(task).failure == failure


def nan(config: dict[str, Any]) -> float:
    return float("nan")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType None"),
        ("0.5", "returned str '0.5'"),
        (True, "returned bool True"),
        ({"loss": 1.0}, "without 'objective'"),
        ({"objective": float("inf")}, "'objective' is inf"),
        ({1: 2, "loss": 1.0}, ""),
        ([0.5], "returned list"),
    ],
)
def test_a_wrong_return_value_is_a_failed_trial(make_task: TaskMaker, returned: Any, message: str) -> None:
    assert message in failed(make_task(lambda config: returned)).message


def test_nan_names_the_objective(make_task: TaskMaker) -> None:
    failure = failed(make_task(nan))
    assert failure.kind == "ObjectiveError"
    assert failure.location == line_of(nan, 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SystemExit(2), "SystemExit"), (KeyboardInterrupt(), "KeyboardInterrupt"), (GeneratorExit(), "GeneratorExit")],
)
def test_an_objective_cannot_end_its_worker_by_raising(make_task: TaskMaker, error: BaseException, kind: str) -> None:
    def objective(config: dict[str, Any]) -> float:
        raise error

    assert failed(make_task(objective)).kind == kind


def test_sys_exit_is_a_failure_with_its_line(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        sys.exit("no data")

    failure = failed(make_task(objective))
    assert failure.message == "the objective called sys.exit('no data')"
    assert failure.location == line_of(objective)


def test_a_wrong_report_is_a_failure_at_the_users_line(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        trial.report("first", loss=1.0)
        return 1.0

    failure = failed(make_task(objective))
    assert failure.kind == "ObjectiveError"
    assert failure.location == line_of(objective)


def test_ctrl_c_is_not_the_objectives_failure(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        signal.raise_signal(signal.SIGINT)
        return 1.0

    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        evaluate(make_task(objective))
    assert sys.stdout is stdout


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_to_be_tried_again(make_task: TaskMaker, number: int) -> None:
    def objective(config: dict[str, Any]) -> float:
        raise OSError(number, os.strerror(number))

    result = evaluate(make_task(objective))
    assert result.status is TrialStatus.LOST
    assert result.failure is not None
    assert result.failure.location == line_of(objective)


def test_an_objective_may_say_itself_that_it_is_to_be_tried_again(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        raise TrialLostError("the data server is down")

    assert evaluate(make_task(objective)).status is TrialStatus.LOST


def test_any_other_os_error_is_the_objectives(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        return float(Path("/no/such/data").read_text())

    failure = failed(make_task(objective))
    assert (failure.kind, failure.location) == ("FileNotFoundError", line_of(objective))


def test_notes_that_cannot_be_made_are_the_workers_trouble(make_task: TaskMaker, tmp_path: Path) -> None:
    result = evaluate(make_task(good, workers=tmp_path / "gone"))
    assert result.status is TrialStatus.LOST
    assert result.failure is not None
    assert "cannot be written" in result.failure.message
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_directory_that_cannot_be_made_is_the_workers_trouble(
    make_task: TaskMaker, tmp_path: Path, in_thread: bool
) -> None:
    (tmp_path / "trials").write_text("")
    with ThreadPoolExecutor(1) as pool:
        task = make_task(good)
        result = pool.submit(evaluate, task).result() if in_thread else evaluate(task)
    assert result.status is TrialStatus.LOST
    assert "trials" in str(result.failure)
    assert evaluate(make_task(lambda config: 1.0)).status is TrialStatus.COMPLETED


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_output_of_an_earlier_start_is_kept_beside(make_task: TaskMaker, in_thread: bool) -> None:
    task = make_task(good)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            if in_thread:
                pool.submit(evaluate, task).result()
            else:
                evaluate(task)
    names = ["output.log", "output.log.1", "output.log.2"]
    assert sorted(each.name for each in Path(task.directory or "").iterdir()) == names
    assert {Path(task.directory or "", each).read_text() for each in names} == {"working on 1.5\n"}


def test_an_objective_that_is_gone_is_the_workers_trouble(make_task: TaskMaker, tmp_path: Path) -> None:
    task = make_task(lambda config: 1.0)
    for each in (tmp_path / "objective").iterdir():
        each.unlink()
    result = evaluate(task)
    assert result.status is TrialStatus.LOST
    assert "cannot read the objective" in str(result.failure)


def test_a_result_that_cannot_be_noted_still_comes_home(make_task: TaskMaker, tmp_path: Path) -> None:
    import shutil

    def objective(config: dict[str, Any]) -> float:
        shutil.rmtree(tmp_path / "workers")
        worker_files(str(tmp_path / "workers" / "0")).close()
        return 1.0

    assert evaluate(make_task(objective)).values == {"objective": 1.0}


def test_an_objective_may_remove_its_directory(make_task: TaskMaker) -> None:
    import shutil

    def objective(config: dict[str, Any], trial: Any) -> float:
        trial.report(1, loss=1.0)
        shutil.rmtree(trial.dir)
        trial.report(2, loss=1.0)
        print("on we go")
        return 1.0

    result = evaluate(make_task(objective))
    assert result.status is TrialStatus.COMPLETED
    assert len(result.measurements) == 2


def test_the_working_directory_is_put_back(make_task: TaskMaker, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        os.chdir(tmp_path)
        return 1.0

    before = Path.cwd()
    evaluate(make_task(objective))
    assert Path.cwd() == before


def test_the_last_words_of_a_trial_that_fails_are_in_its_log(make_task: TaskMaker) -> None:
    def objective(config: dict[str, Any]) -> float:
        sys.stdout.write("no newline")
        raise ValueError

    task = make_task(objective)
    evaluate(task)
    assert read_output(task.directory or "") == "no newline"


def test_many_trials_in_threads_at_once(make_task: TaskMaker) -> None:
    together = threading.Barrier(8)

    def objective(config: dict[str, Any], trial: Any) -> float:
        print("trial", trial.trial_id)
        trial.report(1, loss=float(trial.trial_id))
        return float(trial.trial_id)

    def run(task: Task) -> TrialResult:
        together.wait(5)
        return evaluate(task)

    tasks = [make_task(objective) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, tasks))
    for task, result in zip(tasks, results, strict=True):
        assert result.values == {"objective": float(task.trial_id)}
        assert read_output(task.directory or "") == f"trial {task.trial_id}\n"


def test_a_task_runs_in_a_worker_process(make_task: TaskMaker, worker: ProcessPoolExecutor) -> None:
    offset = 5.0

    def objective(config: dict[str, Any], trial: Any) -> dict[str, float]:
        print("from", trial.trial_id)
        return {"objective": config["x"] + offset, "pid": os.getpid()}

    task = make_task(objective, timeout_s=30.0)
    result = worker.submit(evaluate, task).result()
    assert result.values == {"objective": 6.5}
    assert result.metrics["pid"] == int(result.worker) != os.getpid()
    assert read_output(task.directory or "") == f"from {task.trial_id}\n"
    assert notes_of(task).last_words(task.trial_id, 1) == ""


def test_a_package_that_a_worker_lacks_is_a_failed_trial(
    make_task: TaskMaker, worker: ProcessPoolExecutor, tmp_path: Path
) -> None:
    def objective(config: dict[str, Any]) -> float:
        import no_such_package  # type: ignore[import-not-found]

        return float(no_such_package.value)

    result = worker.submit(evaluate, make_task(objective)).result()
    assert result.failure is not None
    assert result.failure.kind == "ModuleNotFoundError"
    assert result.failure.location == line_of(objective)


def test_a_result_is_plain_json(make_task: TaskMaker) -> None:
    task = make_task(with_metrics, objectives=(Objective("accuracy"),))
    evaluate(task)
    (notes,) = Path(task.settings.workers or "").glob("*.jsonl")
    data = json.loads(notes.read_text().splitlines()[-1])
    assert data["status"] == "completed"
    assert data["values"] == {"accuracy": 0.5}
    assert "measurements" not in data
