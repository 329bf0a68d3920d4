from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhflow.constraint import Constraint
from dhflow.objective import Objective
from dhflow.train import CommandSource, Task, evaluate, read_output
from dhflow.trial import TrialStatus

TaskMaker = Callable[..., Task]


def failure_of(task: Task) -> Any:
    result = evaluate(task)
    assert result.status is TrialStatus.FAILED, result
    assert result.failure is not None
    return result.failure


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_result_is_the_last_line_of_its_output(make_task: TaskMaker) -> None:
    task = make_task("echo epoch 1; echo 0.25; echo; echo warning >&2; exec true {x}")
    result = evaluate(task)
    assert result.status is TrialStatus.COMPLETED
    assert result.values == {"objective": 0.25}
    assert sorted(read_output(task.directory or "").split()) == ["0.25", "1", "epoch", "warning"]


def test_the_last_line_may_be_a_mapping(make_task: TaskMaker) -> None:
    task = make_task("""echo '{{"accuracy": 0.5, "epochs": {x}}}'""", objectives=(Objective("accuracy", "maximize"),))
    result = evaluate(task)
    assert result.values == {"accuracy": 0.5}
    assert result.metrics == {"epochs": 1.5}


def test_what_a_constraint_needs_must_be_in_the_mapping(make_task: TaskMaker) -> None:
    constraints = (Constraint("memory_gb", "<=", 16.0),)
    task = make_task("""echo '{{"objective": 0.5, "memory_gb": {x}}}'""", constraints=constraints)
    assert evaluate(task).metrics == {"memory_gb": 1.5}
    failure = failure_of(make_task("echo 0.5; exec true {x}", constraints=constraints))
    assert failure.kind == "ObjectiveError"
    assert "the constraint 'memory_gb <= 16' needs 'memory_gb'" in failure.message


def test_the_result_file_comes_first(make_task: TaskMaker) -> None:
    result = evaluate(make_task("""echo '{{"objective": {x}, "n": 3}}' > $DHFLOW_RESULT; echo 7"""))
    assert result.values == {"objective": 1.5}
    assert result.metrics == {"n": 3}


def test_an_earlier_runs_result_file_does_not_count(make_task: TaskMaker, tmp_path: Path) -> None:
    task = make_task("echo 7 {x}; echo 7")
    evaluate(task)
    (Path(task.directory or "") / "returned.json").write_text("1")
    assert evaluate(task).values == {"objective": 7.0}


def test_the_environment_says_everything(make_task: TaskMaker, tmp_path: Path) -> None:
    code = "import json,os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('DHFLOW')}))"
    (tmp_path / "show.py").write_text(code + "\nprint(os.getcwd())\nprint(1)\n")
    task = make_task(f"{sys.executable} {tmp_path}/show.py {{x}}", budget=3.0, continues="/before/1")
    assert isinstance(task.settings.source, CommandSource)
    moved = replace(task.settings, source=replace(task.settings.source, cwd=str(tmp_path)))
    task = replace(task, settings=moved)
    evaluate(task)
    shown, cwd, _ = read_output(task.directory or "").splitlines()
    assert cwd == str(tmp_path)
    environment = json.loads(shown)
    assert environment["DHFLOW_TRIAL_ID"] == str(task.trial_id)
    assert environment["DHFLOW_TRIAL_DIR"] == task.directory
    assert environment["DHFLOW_SEED"] == "7"
    assert environment["DHFLOW_BUDGET"] == "3"
    assert environment["DHFLOW_CONTINUES"] == "/before/1"
    assert environment["DHFLOW_TIME_LEFT_S"] == ""
    assert json.loads(Path(environment["DHFLOW_CONFIG"]).read_text()) == {"x": 1.5}


def test_a_command_knows_the_time_that_is_left(make_task: TaskMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DHFLOW_BLOCK_ENDS", str(time.time() + 100))
    command = "echo $DHFLOW_TIME_LEFT_S #{x}"
    assert 90 <= evaluate(make_task(command)).values["objective"] < 100
    assert evaluate(make_task(command, timeout_s=50.0)).values == {"objective": 50.0}


def test_special_names_are_filled_in(make_task: TaskMaker) -> None:
    task = make_task("echo {x} {trial_id} {seed} {budget} {dir} {result}; echo 1", full_budget=2.5)
    evaluate(task)
    words = read_output(task.directory or "").split()
    assert words[:4] == ["1.5", str(task.trial_id), "7", "2.5"]
    assert words[4:6] == [task.directory, f"{task.directory}/returned.json"]


def test_records_become_the_curve(make_task: TaskMaker) -> None:
    lines = '{{"step": 1, "loss": 0.5}}\\n{{"step": 2, "loss": 0.25}}\\n'
    result = evaluate(make_task(f"printf '{lines}' >> $DHFLOW_RECORDS; echo 0.25 {{x}} | cut -c 1-4"))
    assert [(each.step, each.name, each.value) for each in result.measurements] == [(1, "loss", 0.5), (2, "loss", 0.25)]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3 #{x}", "exit code 3"),
        ("no-such-command {x}", r"exit code 127 \(command not found\)"),
        ("kill -SEGV $$ #{x}", "killed by SIGSEGV"),
        ("sh -c 'kill -KILL $$' #{x}", "killed by SIGKILL"),
    ],
)
def test_a_command_that_fails_says_how(make_task: TaskMaker, command: str, message: str) -> None:
    failure = failure_of(make_task(f"echo before the end; {command}"))
    assert failure.kind == "CommandError"
    assert re.search(message, failure.message)
    assert failure.traceback.startswith("before the end")
    assert failure.signal == ("" if "code" in message else failure.message.split()[-1])


def test_a_python_script_that_raises_names_its_line(make_task: TaskMaker, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import json\n\njson.loads('{')\n")
    failure = failure_of(make_task(f"{sys.executable} {script} {{x}}"))
    assert failure.location == f"{script}:3"
    assert "JSONDecodeError" in failure.traceback


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo done {x}", "its last line of output is 'done 1.5', neither"),
        ("true {x}", "and no output"),
        ("echo '[[1]]' #{x}", "neither"),
        ("echo oops > {result} #{x}", "no JSON: 'oops"),
        ("echo nan #{x}", "'objective' is nan"),
        ("echo '{{\"loss\": 1}}' #{x}", "without 'objective'"),
    ],
)
def test_a_result_that_cannot_be_read_says_why(make_task: TaskMaker, command: str, message: str) -> None:
    failure = failure_of(make_task(command))
    assert failure.kind == "ObjectiveError"
    assert message in failure.message


def test_an_inactive_parameter_is_a_failed_trial(make_task: TaskMaker) -> None:
    failure = failure_of(make_task("train {x} {momentum}", names=("x", "momentum")))
    assert "'momentum', which is inactive" in failure.message


def test_a_folder_that_is_gone_is_said(make_task: TaskMaker) -> None:
    task = make_task("echo {x}")
    task = replace(task, settings=replace(task.settings, source=CommandSource("echo 1", "/nowhere")))
    assert "cannot be started" in failure_of(task).message


def test_a_full_disk_in_the_command_is_retryable(make_task: TaskMaker) -> None:
    result = evaluate(make_task("LC_ALL=C /bin/echo {x} > /dev/full"))
    assert result.status is TrialStatus.LOST


def test_the_limit_ends_the_whole_group(make_task: TaskMaker) -> None:
    command = "sleep 60 & echo $!; echo $$; sh -c 'trap \"\" TERM; sleep 60; sleep 60' #{x}"
    task = make_task(command, timeout_s=0.3, timeout_grace_s=0.2)
    began = time.monotonic()
    failure = failure_of(task)
    assert time.monotonic() - began < 20
    assert failure.kind == "TrialTimeoutError"
    assert "0.3 s" in failure.message
    pids = [int(each) for each in read_output(task.directory or "").split()]
    assert len(pids) == 2
    wait_for(lambda: not any(is_alive(each) for each in pids))


def test_a_command_that_ends_at_sigterm_is_not_killed(make_task: TaskMaker, tmp_path: Path) -> None:
    script = f"trap 'echo saved > {tmp_path}/saved; exit 0' TERM; sleep 60 & wait #{{x}}"
    assert failure_of(make_task(script, timeout_s=0.3, timeout_grace_s=30)).kind == "TrialTimeoutError"
    assert (tmp_path / "saved").read_text() == "saved\n"


def test_what_a_command_leaves_behind_is_ended(make_task: TaskMaker) -> None:
    task = make_task("sleep 60 & echo $! {x} | cut -d ' ' -f 1")
    began = time.monotonic()
    result = evaluate(task)
    assert result.status is TrialStatus.COMPLETED
    assert time.monotonic() - began < 20
    pid = int(result.values["objective"])
    wait_for(lambda: not is_alive(pid))


def test_a_flood_of_output_is_capped(make_task: TaskMaker) -> None:
    task = make_task(
        "yes {x} | head -c 5000000; yes error | head -c 500000 >&2; echo; echo 3", output_limit_bytes=9_000
    )
    result = evaluate(task)
    assert result.values == {"objective": 3.0}
    log = Path(task.directory or "") / "output.log"
    assert log.stat().st_size <= 9_000
    assert "bytes of output dropped here" in log.read_text()


def test_it_works_in_threads_and_without_a_directory(make_task: TaskMaker) -> None:
    slow = make_task("sleep 60 #{x}", has_directory=False, timeout_s=0.2)
    quick = make_task("echo $DHFLOW_TRIAL_DIR; echo {x}", has_directory=False)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(evaluate, [slow, quick]))
    assert results[0].failure is not None
    assert results[0].failure.kind == "TrialTimeoutError"
    assert results[1].values == {"objective": 1.5}


def test_a_command_told_to_stop_is_stopped_unless_it_spent_all(make_task: TaskMaker) -> None:
    report = "echo '{{\"step\": {x}}}' >> $DHFLOW_RECORDS; touch $DHFLOW_TRIAL_DIR/stop; echo 1"
    stopped = evaluate(make_task(report, config={"x": 2}, budget=5.0))
    assert (stopped.status, stopped.budget) == (TrialStatus.STOPPED, 2.0)
    whole = evaluate(make_task(report, config={"x": 5}, budget=5.0))
    assert (whole.status, whole.budget) == (TrialStatus.COMPLETED, None)


def test_a_directory_that_cannot_be_used_is_the_workers_trouble(make_task: TaskMaker, tmp_path: Path) -> None:
    task = make_task("echo {x}")
    (Path(task.directory or "") / "config.json").mkdir(parents=True)
    result = evaluate(task)
    assert result.status is TrialStatus.LOST
    assert result.failure is not None
    assert "cannot be written" in result.failure.message


def test_no_process_is_left_unreaped(make_task: TaskMaker) -> None:
    evaluate(make_task("echo {x}"))
    zombies = [
        each
        for each in Path("/proc").glob("[0-9]*/stat")
        if each.read_text().rpartition(")")[2].split()[:2] == ["Z", str(os.getpid())]
    ]
    assert zombies == []
