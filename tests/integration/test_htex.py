"""Searches on real HighThroughputExecutor workers of this machine."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import objectives
import psutil
import pytest

from dhflow import Budget, Float, SearchSpace, Study, Trial, TrialStatus, load, search
from dhflow.errors import ExecutionError

pytestmark = pytest.mark.integration

SPACE = SearchSpace({"x": Float(-2.0, 2.0)})
TWO = {"workers": 2}


@pytest.fixture(autouse=True)
def _no_orphans(monkeypatch: pytest.MonkeyPatch) -> object:
    """Whatever a search starts ends with it; its processes are known by a mark that they inherit."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("DHFLOW_TEST_MARK", mark)
    yield
    deadline = time.monotonic() + 10
    while left := [each for each in psutil.process_iter(["cmdline", "environ"]) if _has_mark(each, mark)]:
        assert time.monotonic() < deadline, f"still there: {[each.info['cmdline'] for each in left]}"
        time.sleep(0.1)


def _has_mark(process: psutil.Process, mark: str) -> bool:
    return process.pid != os.getpid() and (process.info["environ"] or {}).get("DHFLOW_TEST_MARK") == mark


def test_a_search_with_objectives_of_a_file_a_lambda_and_a_closure(tmp_path: Path) -> None:
    factor = 3.0
    study = Study(SPACE, searcher="random", seed=1, history=tmp_path / "h.h5")
    study.run(objectives.slow_square, site="laptop", site_set=TWO, max_trials=6)
    study.run(lambda config: factor * config["x"], site="laptop", site_set=TWO, max_trials=10)
    study.close()
    trials = load(tmp_path / "h.h5").trials
    assert all(each.status is TrialStatus.COMPLETED for each in trials)
    assert trials[3].objective == pytest.approx(trials[3].config["x"] ** 2)
    assert trials[8].objective == pytest.approx(3.0 * trials[8].config["x"])
    assert {each.attempts[0].host for each in trials} == {socket.gethostname()}
    assert all(int(each.attempts[0].worker) != os.getpid() for each in trials)


def test_promotions_go_on_from_checkpoints_and_pass_what_waits(tmp_path: Path) -> None:
    study = Study(SPACE, searcher="asha", seed=1, history=tmp_path / "h.h5", budget=Budget("steps", 1, 9))
    study.run(objectives.counts_on, site="laptop", site_set={"workers": 1}, workers=6, max_trials=40)
    assert [each.failure for each in study.trials if each.failure] == []
    waits: dict[bool, list[float]] = {True: [], False: []}
    for trial in study.trials[10:]:
        attempt = trial.attempts[-1]
        waits[trial.parent_id is not None].append(attempt.started_at - attempt.submitted_at)
    study.close()
    assert len(waits[True]) > 5
    assert statistics.median(waits[True]) < statistics.median(waits[False])


def test_a_killed_worker_is_recorded_with_its_signal_and_the_trial_runs_again(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    result = search(
        objectives.killed_once, SPACE, site="laptop", site_set=TWO, searcher="random", max_trials=4, history=history
    )
    first, second = result.trials[1].attempts
    assert first.status is TrialStatus.LOST
    assert first.failure.signal == "SIGKILL"
    assert first.failure.host
    assert first.failure.last_step == 7
    assert second.status is TrialStatus.COMPLETED
    assert load(history).trials == result.trials


def test_a_trial_that_kills_its_worker_every_time_is_lost_and_the_others_go_on() -> None:
    result = search(
        objectives.killed_always, SPACE, site="laptop", site_set=TWO, searcher="random", max_trials=4, max_attempts=2
    )
    assert result.trials[0].status is TrialStatus.LOST
    assert [each.failure.signal for each in result.trials[0].attempts] == ["SIGSEGV"] * 2
    assert all(each.status is TrialStatus.COMPLETED for each in result.trials[1:])


class KillsWorkers:
    """Kills the worker of every third trial when it waits for another one."""

    n_killed = 0

    def trial_ended(self, trial: Trial) -> None:
        if trial.trial_id % 3 == 2:
            time.sleep(0.5)  # what it has got meanwhile is done by then, and there is no more
            os.kill(int(trial.attempts[-1].worker), signal.SIGKILL)
            self.n_killed += 1

    def tick(self, driver: object) -> None:
        pass


def test_workers_that_are_killed_as_they_wait_for_a_trial_are_replaced() -> None:
    killer = KillsWorkers()
    result = search(
        objectives.slow_square,
        SPACE,
        site="laptop",
        site_set={"workers": 1, "heartbeat_s": 1},
        searcher="random",
        max_trials=6,
        wall_time_s=60,
        prefetch=0,
        observers=[killer],
    )
    assert killer.n_killed == 2
    assert [each.status for each in result] == [TrialStatus.COMPLETED] * 6


def test_the_wall_time_returns_within_three_seconds_of_a_hanging_trial() -> None:
    began = time.monotonic()
    result = search(
        objectives.hangs, SPACE, site="laptop", site_set=TWO, searcher="random", max_trials=10**6, wall_time_s=6.0
    )
    # From the first slot on the clock runs; starting the workers comes before it.
    last = max(each.attempts[-1].received_at for each in result if each.attempts)
    assert result.reason == "the wall-time limit was reached"
    session = result.record.sessions[-1][0]
    assert last - session.at < 6.0 + 3.0
    assert time.monotonic() - began < 6.0 + 3.0 + 8.0
    assert result.trials[0].status is TrialStatus.PENDING
    assert result.trials[0].attempts[0].failure.kind == "Interrupted"


@pytest.mark.parametrize("objective", [objectives.hangs, objectives.holds_the_interpreter])
def test_a_trial_that_outlives_its_timeout_fails_with_the_users_line(objective: object) -> None:
    from dhflow.train.task import DEFAULT_TIMEOUT_GRACE_S

    result = search(objective, SPACE, site="laptop", site_set=TWO, searcher="random", max_trials=3, timeout_s=1.0)
    failed = result.trials[0]
    assert failed.status is TrialStatus.FAILED
    assert failed.failure.kind == "TrialTimeoutError"
    assert "objectives.py" in failed.failure.location
    assert failed.attempts[0].received_at - failed.attempts[0].started_at < 1.0 + DEFAULT_TIMEOUT_GRACE_S + 5.0
    assert len(failed.attempts) == 1
    assert all(each.status is TrialStatus.COMPLETED for each in result.trials[1:])


def test_every_kind_of_misbehaviour_is_one_failed_trial(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    result = search(
        objectives.misbehaves, SPACE, site="laptop", site_set=TWO, searcher="random", max_trials=7, history=history
    )
    kinds = [each.failure.kind if each.failure else None for each in result]
    assert kinds == ["ZeroDivisionError", "ObjectiveError", "ObjectiveError", "SystemExit", None, None, None]
    log = history.with_name("h.h5.run") / "trials" / "4" / "1" / "output.log"
    assert 500_000 < log.stat().st_size < 2_000_000
    assert "objectives.py" in result.trials[0].failure.location


def test_an_unpicklable_objective_stops_before_any_worker_starts(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()

    def objective(config: dict) -> float:
        with lock:
            return 0.0

    began = time.monotonic()
    with pytest.raises(ExecutionError, match="lock"):
        search(objective, SPACE, site="laptop", searcher="random", max_trials=2, history=tmp_path / "h.h5")
    assert time.monotonic() - began < 2.0
    assert not list(tmp_path.glob("h.h5")), "a history without a trial would stand in the way of the mended call"


def test_objectives_of_main_work_on_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import math
            from dhflow import Float, SearchSpace, search
            OFFSET = 2.0
            class Helper:
                def value(self, x): return math.cos(x) + OFFSET
            def objective(config): return Helper().value(config["x"])
            result = search(objective, SearchSpace({"x": Float(0, 1)}), site="laptop",
                            site_set={"workers": 2}, searcher="random", max_trials=4)
            print(len(result), result.best.objective > 2.0)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.stdout.split() == ["4", "True"], done.stderr


def test_the_site_file_serves_a_script_without_dhflow_and_without_an_activated_environment(tmp_path: Path) -> None:
    site = Path(__file__).parents[2] / "site_configs" / "laptop.py"
    script = tmp_path / "plain.py"
    script.write_text(
        "import runpy, sys, parsl\n"
        f"make_config = runpy.run_path({str(site)!r})['make_config']\n"
        "with parsl.load(make_config(workers=1)):\n"
        "    print(parsl.python_app(abs)(-7).result(), 'dhflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.stdout.split() == ["7", "False"], done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_records_everything_and_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    history, process = _search_in_a_process(tmp_path)
    _wait_for_trials(history, 4)
    process.send_signal(number)
    assert process.wait(timeout=15) != 0
    looked = load(history)
    assert not (history.with_name("h.h5.journal")).exists()
    assert "interrupted" in looked.reason
    assert sum(each.status is TrialStatus.COMPLETED for each in looked.trials) >= 4
    _resume_completes(history, len(looked.trials) + 3)


def test_a_killed_driver_leaves_no_process_and_resume_completes(tmp_path: Path) -> None:
    history, process = _search_in_a_process(tmp_path)
    _wait_for_trials(history, 4)
    process.kill()
    process.wait(timeout=10)
    acknowledged = {each.trial_id: each for each in load(history).trials if each.is_finished}
    assert len(acknowledged) >= 4
    resumed = _resume_completes(history, len(load(history).trials) + 3)
    for trial_id, trial in acknowledged.items():
        assert resumed[trial_id] == trial


def _search_in_a_process(folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    history = folder / "h.h5"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import objectives\n"
        "from dhflow import Float, SearchSpace, search\n"
        f"search(objectives.slow_square, SearchSpace({{'x': Float(-2.0, 2.0)}}), site='laptop',"
        f" site_set={{'workers': 2}}, searcher='random', max_trials=10**6, history={str(history)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.DEVNULL)
    return history, process


def _wait_for_trials(history: Path, n: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if Study and history.with_name(history.name + ".journal").exists():
            finished = [each for each in load(history).trials if each.is_finished]
            if len(finished) >= n:
                return
        time.sleep(0.2)
    raise AssertionError("the search did not get going")


def _resume_completes(history: Path, max_trials: int) -> dict:
    result = search(
        objectives.square,
        SPACE,
        site="laptop",
        site_set=TWO,
        searcher="random",
        max_trials=max_trials,
        history=history,
        resume=True,
    )
    assert len(result) == max_trials
    assert all(each.status is TrialStatus.COMPLETED for each in result)
    return result.record.trials
