from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import load
from dhflow.trial import TrialStatus

THREADS = ["--site-set", "executor=threads", "--site-set", "workers=2"]
RANDOM = ["--searcher", "random", "--no-progress"]


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_search_in_a_process_of_its_own_says_all_that_one_needs(
    folder: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("search", "digits.py", *THREADS, "--searcher", "random", "--seed", "3", "--max-trials", "12",
                    "--plot", "digits.png", cwd=folder)  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "searching digits.py with random on laptop; history digits.h5" in err
    assert re.search(r"dhflow .*: 12/12 trials, best accuracy 0\.\d+ \(trial \d+\)", err)
    result = load(folder / "digits.h5")
    assert len(result) == 12
    best = result.best
    lines = dict(re.findall(r"^ *(\w+)  +(.*)$", out, re.MULTILINE))
    assert f"best: trial {best.trial_id}" in out
    assert lines["accuracy"].split()[0] == f"{best.objective:.6g}"
    for name, value in best.config.items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        assert lines[name].split()[0] == shown
    assert lines["trials"].startswith("12: ")
    assert "busy" in lines["workers"]
    assert lines["history"] == "digits.h5"
    assert lines["figure"] == "digits.png"
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert lines["look"] == "dhflow show digits.h5"
    assert "dhflow resume digits.h5 --max-trials 24" in out


def test_the_best_stands_beside_the_default(folder: Path, dhflow: Any) -> None:
    ran = dhflow("search", "digits.py", *THREADS, *RANDOM, "--seed", "3", "--max-trials", "15")
    result = load("digits.h5")
    assert result.default is not None
    assert result.best.trial_id != result.default.trial_id
    (row,) = re.findall(r"^  accuracy +(\S+) +(\S+)$", ran.out, re.MULTILINE)
    assert row == (f"{result.best.objective:.6g}", f"{result.default.objective:.6g}")
    assert re.search(r"^ +best +default$", ran.out, re.MULTILINE)


def test_an_existing_history_is_not_touched_without_resume(folder: Path, dhflow: Any) -> None:
    search = ["search", "digits.py", *THREADS, *RANDOM, "--max-trials", "3", "--history", "mine.h5"]
    assert dhflow(*search).code == 0
    again = dhflow(*search)
    assert again.code == 1
    assert "mine.h5 exists already" in again.err
    assert "dhflow resume mine.h5, or this command with --resume" in again.err
    assert len(load("mine.h5")) == 3
    more = dhflow(*search, "--resume", "--max-trials", "5")
    assert more.code == 0
    assert len(load("mine.h5")) == 5


def test_the_command_of_a_chained_job_starts_a_search_and_goes_on_when_the_job_was_cut_off(
    folder: Path, dhflow: Any
) -> None:
    head = "def objective(config, trial):\n"
    cut = "    import os, pathlib\n    cut = pathlib.Path('cut')\n"
    cut += "    if trial.trial_id == 3 and not cut.exists():\n        cut.touch()\n        os._exit(9)\n"
    edit(folder / "digits.py", head, head + cut)
    line = f"dhflow search digits.py --history h.h5 --resume --seed 3 --max-trials 8 --no-progress {shlex.join(RANDOM)}"
    command = [sys.executable, "-m", *shlex.split(line), "--site-set", "executor=threads", "--site-set", "workers=1"]
    ends = [subprocess.run(command, capture_output=True, text=True, timeout=60, check=False) for _ in range(3)]
    assert [each.returncode for each in ends] == [9, 0, 0], [each.stderr for each in ends]
    assert "nothing is left to do" in ends[2].stdout
    result = load("h.h5")
    assert [each.trial_id for each in result] == list(range(8))
    assert all(each.is_finished for each in result)
    assert [len(each.attempts) for each in result] == [1, 1, 1, 2, 1, 1, 1, 1]
    reasons = [(end.info["reason"] if end else None) for _, end in result.record.sessions]
    assert reasons == ["its driver died", "max_trials was reached"]


def test_nothing_is_started_where_nothing_is_left_to_do(folder: Path, dhflow: Any) -> None:
    search = ["search", "digits.py", *THREADS, *RANDOM, "--max-trials", "3"]
    dhflow(*search)
    done = dhflow("resume", "digits.h5")
    assert done.code == 0
    assert "3 finished trials, and --max-trials is 3: nothing is left to do" in done.out
    assert len(load("digits.h5").record.sessions) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--site", "laptpo"], "did you mean 'laptop'?"),
        (["--site-set", "workrs=2"], "did you mean 'workers'?"),
        (["--site-set", "workers=many"], "workers must be int"),
        ([*THREADS, "--executors", "gpu"], "no executor 'gpu'"),
    ],
)
def test_a_mended_command_just_works(folder: Path, dhflow: Any, options: list[str], complaint: str) -> None:
    wrong = dhflow("search", "digits.py", *RANDOM, "--max-trials", "2", *options)
    assert wrong.code == 1
    assert complaint in wrong.err
    assert not (folder / "digits.h5").exists()
    assert dhflow("search", "digits.py", *RANDOM, "--max-trials", "2", *THREADS).code == 0


def test_when_all_fail_the_users_line_and_traceback_are_shown_and_resume_goes_on(folder: Path, dhflow: Any) -> None:
    problem = folder / "digits.py"
    edit(problem, 'print("training", trial.seed)', 'config["width"]')
    ran = dhflow("search", "digits.py", *THREADS, *RANDOM, "--seed", "4", "--max-trials", "8")
    assert ran.code == 1
    assert re.search(r"the first \d+ trials failed in the same way: KeyError: 'width'", ran.err)
    line = problem.read_text().partition('config["width"]')[0].count("\n") + 1
    assert f'File "{problem}", line {line}, in objective' in ran.err
    assert 'config["width"]' in ran.err
    assert "go on with: dhflow resume digits.h5" in ran.err
    edit(problem, 'config["width"]', "pass")
    mended = dhflow("resume", "digits.h5", "--no-progress")
    assert mended.code == 0
    assert "digits.py has changed since the last session" in mended.err
    result = load("digits.h5")
    assert len(result) == 8
    assert result.best.objective is not None


def test_without_a_completed_trial_the_end_says_why(folder: Path, dhflow: Any) -> None:
    edit(folder / "digits.py", 'print("training", trial.seed)', 'config["width"]')
    ran = dhflow("search", "digits.py", *THREADS, *RANDOM, "--max-trials", "4", "--abort-after", "none")
    assert ran.code == 1
    assert "4: 4 failed" in ran.out
    assert "none of 4 trials has completed" in ran.err
    assert "KeyError" in ran.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_search_has_recorded_everything_and_says_how_to_go_on(
    folder: Path, start: Callable[..., subprocess.Popen[str]], dhflow: Any, number: signal.Signals, code: int
) -> None:
    edit(folder / "digits.py", 'print("training", trial.seed)', "import time; time.sleep(0.1)")
    process = start("search", "digits.py", *THREADS, "--searcher", "random", "--max-trials", "400", cwd=folder)
    assert process.stderr is not None
    for line in process.stderr:
        if "best accuracy" in line:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    (said,) = re.findall(rf"dhflow: interrupted by {number.name}\. (\d+) finished trials are in digits\.h5", err)
    assert "go on with: dhflow resume digits.h5" in err
    assert "Traceback" not in err
    result = load("digits.h5")
    n_ended = sum(each.is_finished for each in result)
    assert n_ended == int(said) > 0
    more = dhflow("resume", "digits.h5", "--max-trials", str(len(result) + 3), "--no-progress")
    assert more.code == 0
    again = load("digits.h5")
    assert all(each.is_finished for each in again)
    assert len(again) == len(result) + 3
    assert [dict(each.config) for each in again][: len(result)] == [dict(each.config) for each in result]


def test_resume_keeps_site_searcher_and_limits_unless_told_otherwise(folder: Path, dhflow: Any) -> None:
    dhflow("search", "digits.py", *THREADS, *RANDOM, "--max-trials", "4", "--timeout", "50", "--keep", "failed")
    dhflow("resume", "digits.h5", "--max-trials", "6", "--site-set", "workers=1", "--no-progress")
    first, second = (each.info for each, _ in load("digits.h5").record.sessions)
    assert (first["n_slots"], second["n_slots"]) == (2, 1)
    plan, again = first["reference"], second["reference"]
    assert again["problem"] == plan["problem"]
    assert (plan["searcher"], again["searcher"]) == ("random", "random")
    assert again["options"] == {
        **plan["options"],
        "max_trials": 6,
        "site_set": {"executor": "threads", "workers": "1"},
    }
    assert (second["timeout_s"], again["options"]["keep"]) == (50.0, "failed")
    lifted = dhflow("resume", "digits.h5", "--max-trials", "none")
    assert lifted.code == 2
    assert "never end" in lifted.err


def test_resume_uses_what_the_history_withholds_while_its_run_directory_has_it(folder: Path, dhflow: Any) -> None:
    site = ["--site-set", "workers=1", "--site-set", "worker_init=export SECRET_WORD=abc"]
    assert dhflow("search", "digits.py", *site, *RANDOM, "--max-trials", "1", "--no-progress").code == 0
    assert dhflow("resume", "digits.h5", "--max-trials", "2", "--no-progress").code == 0
    plans = [each.info["reference"]["options"]["site_set"] for each, _ in load("digits.h5").record.sessions]
    assert plans == [{"workers": "1", "worker_init": "<withheld>"}] * 2
    (folder / "digits.h5.run" / "site_set.json").unlink()
    asked = dhflow("resume", "digits.h5", "--max-trials", "3")
    assert asked.code == 1
    assert 'give it again, --site-set worker_init="…"' in asked.err
    again = dhflow("resume", "digits.h5", "--max-trials", "3", "--no-progress", "--site-set", "worker_init=true")
    assert again.code == 0
    assert len(load("digits.h5")) == 3


def test_resume_asks_for_a_problem_that_it_cannot_find(folder: Path, dhflow: Any) -> None:
    dhflow("search", "digits.py", *THREADS, *RANDOM, "--max-trials", "2")
    (folder / "digits.py").rename(folder / "renamed.py")
    lost = dhflow("resume", "digits.h5", "--max-trials", "4")
    assert lost.code == 1
    assert f"was in {folder / 'digits.py'}, which is not there any more: give --problem FILE.py" in lost.err
    found = dhflow("resume", "digits.h5", "--max-trials", "4", "--problem", "renamed.py", "--no-progress")
    assert found.code == 0
    assert len(load("digits.h5")) == 4
    # From here on it is known under its new name.
    assert dhflow("resume", "digits.h5", "--max-trials", "5", "--no-progress").code == 0


def test_resume_goes_on_with_a_search_that_the_library_made(folder: Path, dhflow: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from dhflow import search
    from dhflow.cli.problem import Reference, load_problem

    problem, _ = load_problem(Reference.parse("digits.py"))
    search(problem, searcher="random", seed=1, site=ThreadPoolExecutor(2), history="lib.h5", max_trials=3)
    asked = dhflow("resume", "lib.h5", "--max-trials", "5", *THREADS)
    assert asked.code == 1
    assert "does not say in which file its problem is" in asked.err
    ran = dhflow("resume", "lib.h5", "--max-trials", "5", *THREADS, "--problem", "digits.py", "--no-progress")
    assert ran.code == 0
    assert len(load("lib.h5")) == 5


def test_another_space_is_refused(folder: Path, dhflow: Any) -> None:
    dhflow("search", "digits.py", *THREADS, *RANDOM, "--max-trials", "2")
    edit(folder / "digits.py", "Integer(1, 4)", "Integer(1, 5)")
    ran = dhflow("resume", "digits.h5", "--max-trials", "4", "--no-progress")
    assert ran.code == 1
    assert "layers" in ran.err or "space" in ran.err
    assert len(load("digits.h5")) == 2


def test_a_full_target_ends_the_search(folder: Path, dhflow: Any) -> None:
    ran = dhflow("search", "digits.py", *THREADS, *RANDOM, "--target", "0.1", "--max-trials", "1000")
    assert ran.code == 0
    assert "the target was reached" in ran.out
    assert len(load("digits.h5")) < 20


@pytest.mark.integration
def test_functions_of_a_problem_file_run_on_processes(
    folder: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (folder / "helper.py").write_text("def shift(x):\n    return x + 1\n")
    edit(folder / "digits.py", "def objective", "from helper import shift\n\ndef objective")
    edit(folder / "digits.py", '"n": 3}', '"n": shift(2)}')
    process = start("search", "digits.py", "--searcher", "random", "--site-set", "workers=1", "--max-trials", "4",
                    cwd=folder)  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "waiting for the workers of site 'laptop'" in err
    result = load(folder / "digits.h5")
    assert {each.status for each in result} <= {TrialStatus.COMPLETED, TrialStatus.FAILED}
    assert result.best.metrics["n"] == 3
    assert "4: " in out


def test_python_dash_m_is_the_command_line() -> None:
    ran = subprocess.run([sys.executable, "-m", "dhflow", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("dhflow, version")


def test_resources_reach_the_executor_which_may_know_none(folder: Path, dhflow: Any) -> None:
    ran = dhflow("search", "digits.py", *THREADS, *RANDOM, "--max-trials", "1", "--resource", "num_nodes=2")
    assert (ran.code, "knows no resources" in ran.err) == (1, True)
