"""``monitor``, ``advise``, ``accept`` and ``stop``: on a running search, on one that has ended, on a single run."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import commands, load
from dhflow.cli.watching import sparkline
from dhflow.errors import SearchError, UnknownTrialError
from dhflow.history import write_run
from dhflow.monitor.finding import Light
from dhflow.monitor.record import Reading, Records
from dhflow.monitor.rules import judge
from dhflow.trial import TrialSource, TrialStatus

from .conftest import THREADS, write

PROBLEM = """
    import math, time
    from dhflow import Float, Problem, SearchSpace

    space = SearchSpace({"learning_rate": Float(1e-4, 1.0, log=True), "global_clipnorm": Float(0.01, 10.0)})

    def objective(config, trial):
        clipped = config["global_clipnorm"] <= 1.0
        for step in range(1, 2000 if not clipped else 12):
            trial.report(step, val_loss=1.0 / step if clipped or step < 4 else math.nan)
            if trial.should_stop():
                return 1.0 / step
            time.sleep(0.03)
        return 1.0 / step

    default = {"learning_rate": 0.01, "global_clipnorm": 5.0}
    problem = Problem(space, objective, direction={"val_loss": "minimize"}, defaults=default)
"""


@pytest.fixture
def overflowing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "clip.py", PROBLEM)


def test_a_running_trial_is_shown_advised_changed_and_stopped(
    overflowing: Path, start: Callable[..., subprocess.Popen[str]], dhflow: Any
) -> None:
    process = start(
        "search", "clip.py", *THREADS, "--searcher", "random", "--seed", "3", "--max-trials", "1",
        "--wall-time", "2m", cwd=overflowing.parent,
    )  # fmt: skip
    history = "clip.h5"
    try:
        until = time.monotonic() + 60
        while " red " not in (shown := dhflow("monitor", history, "--once").out):
            assert time.monotonic() < until, shown
            assert process.poll() is None, process.communicate()
            time.sleep(0.3)
        assert "overflow: val_loss not finite" in shown
        assert "!" in shown
        assert "clip_gradients" in shown
        advised = dhflow("advise", history, "--trial", "0").out
        assert "critical: overflow" in advised
        assert "dhflow accept clip.h5 0/clip_gradients" in advised
        assert "dhflow accept clip.h5 0/stop" in advised
        assert "overflow" in dhflow("monitor", history, "--trial", "0").out
        wrong = dhflow("accept", history, "0/other")
        assert (wrong.code, wrong.out) == (1, "")
        assert "'other' is not suggested for trial 0; suggested: clip_gradients" in wrong.err
        accepted = dhflow("accept", history, "0/clip_gradients")
        assert "trial 1 is enqueued: learning_rate=" in accepted.out
        assert "global_clipnorm=0.1" in accepted.out
        stopped = dhflow("stop", history, "0")
        assert stopped.out == "trial 0 is asked to stop\n"
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate(timeout=60)
    result = load(history)
    assert [each.status for each in result.trials] == [TrialStatus.STOPPED, TrialStatus.COMPLETED]
    again = dhflow("stop", history, "0")
    assert again.code == 1
    assert "nobody runs clip.h5" in again.err
    assert "the monitor's advice 0/clip_gradients" in dhflow("show", history, "--trial", "1").out
    assert "overflow: val_loss not finite" in dhflow("show", history, "--trial", "0").out


@pytest.fixture
def ended(overflowing: Path, dhflow: Any) -> str:
    """A search whose one trial overflowed and was too short to be watched."""
    text = overflowing.read_text().replace("2000", "8").replace("time.sleep(0.03)", "pass")
    overflowing.write_text(text)
    ran = dhflow("search", "clip.py", *THREADS, "--searcher", "random", "--seed", "3", "--max-trials", "1")
    assert ran.code == 0
    return "clip.h5"


def test_advice_on_an_ended_trial_is_accepted_for_the_next_session(ended: str, dhflow: Any) -> None:
    advised = dhflow("advise", ended).out
    assert "dhflow accept clip.h5 0/clip_gradients" in advised
    assert "suggested: stop this run" in advised
    assert "0/stop" not in advised
    data = json.loads(dhflow("advise", ended, "--json").out)
    assert (data["light"], data["findings"][0]["rule"]) == ("red", "overflow")
    refused = dhflow("accept", ended, "0/stop")
    assert (refused.code, "does not run" in refused.err) == (1, True)
    accepted = dhflow("accept", ended, "0/clip_gradients")
    assert "trial 1 will run first" in accepted.out
    assert "dhflow resume clip.h5" in accepted.out
    trial = load(ended).record.trials[1]
    assert (trial.status, trial.source) == (TrialStatus.PENDING, TrialSource.ADVICE)
    assert trial.config["global_clipnorm"] == 0.1
    assert dhflow("resume", ended, "--max-trials", "2").code == 0
    assert load(ended).record.trials[1].status is TrialStatus.COMPLETED
    assert "no trial of clip.h5 runs now; ended: 2" in dhflow("monitor", ended, "--once").out
    assert "--trial N" in dhflow("advise", ended).err
    with pytest.raises(UnknownTrialError, match="trials 0 to 1"):
        commands.advise(ended, 7)
    with pytest.raises(SearchError, match="TRIAL/SUGGESTION"):
        commands.accept(ended, "clip_gradients")
    assert commands.add(ended, {"learning_rate": 0.5, "global_clipnorm": 0.5}) == 2
    assert load(ended).advice(0).light is Light.RED
    with pytest.raises(SearchError, match="nobody runs"):
        commands.pause(ended)


def test_a_single_run_is_read_by_the_same_commands(tmp_path: Path, dhflow: Any) -> None:
    path = tmp_path / "run.h5"
    curve = [Reading(n, {"loss": 1.0, "val_loss": math.inf if n > 2 else 1.0 / n}, 100.0 + n) for n in range(1, 6)]
    records = Records.of(curve)
    findings = [(105.0, each) for each in judge(records).findings]
    write_run(path, records, findings, config={"global_clipnorm": 5.0}, budget=9.0)
    shown = dhflow("monitor", str(path), "--once").out
    assert " red " in shown
    assert "5/9" in shown
    assert "overflow" in dhflow("advise", str(path)).out
    assert "overflow" in dhflow("monitor", str(path), "--trial", "0").out
    refused = dhflow("accept", str(path), "0/clip_gradients")
    assert refused.code == 1
    assert "no machine can follow" in refused.err
    write_run(path, Records.of(curve), config={"global_clipnorm": 5.0})
    refused = dhflow("accept", str(path), "0/clip_gradients")
    assert "train it again with global_clipnorm=0.1" in refused.err


def test_a_sparkline_is_as_high_as_its_curve() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0]) == "▁▂▃█"
    assert sparkline([1.0, math.nan, 1.0]) == "▁!▁"
    assert sparkline([]) == ""
    long = sparkline(range(1000))
    assert len(long) == 20
    assert long[-1] == "█"
