"""Suggestions that are followed on the trial itself, while it runs."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, commands, load
from dhflow.cli.main import run
from dhflow.errors import SearchError
from dhflow.flow import watcher as watcher_module
from dhflow.flow.advice import BOARD
from dhflow.flow.applying import applying, changes_rate_only
from dhflow.flow.run_directory import run_path
from dhflow.flow.tail import MOST_REPORTS, chosen
from dhflow.flow.watched import Watched
from dhflow.history import read_commands
from dhflow.monitor import Finding, Severity, Suggestion
from dhflow.monitor.line import from_lines, to_line
from dhflow.monitor.record import Listening, NetworkFacts, Reading
from dhflow.trial import Trial

SPACE = SearchSpace({"learning_rate": Float(1e-4, 10.0, log=True), "global_clipnorm": Float(0.01, 10.0)})
CONFIG = {"learning_rate": 0.3, "global_clipnorm": 5.0}
LOWER = Suggestion("lower_learning_rate", "change", "divide by 3", changes={"learning_rate": 0.1})
CLIP = Suggestion("clip_gradients", "change", "clip", changes={"global_clipnorm": 0.1})
BOTH = Suggestion("both", "change", "both", changes={"learning_rate": 0.1, "global_clipnorm": 0.1})
WORDS = Suggestion("double_batch", "advice", "double the batch")
STOP = Suggestion("stop", "stop", "stop")
FOUND = [Finding("oscillation", Severity.WARNING, "it swings", suggestions=(LOWER, CLIP, BOTH, WORDS, STOP))]


def watched(*records: Any) -> Watched:
    found = Watched(RUNNING, 1)
    found.add(records)
    return found


RUNNING = Trial(3, CONFIG, TrialStatus.RUNNING)


def test_the_suggested_factor_is_applied_to_the_rate_that_the_trial_has() -> None:
    listening = watched(Listening())
    command = applying(RUNNING, "lower_learning_rate", FOUND, listening, origin="me")
    expected = {"control": "learning_rate", "value": 0.1, "was": 0.3}
    assert (command.command, command.trial_id, command.origin) == ("control", 3, "me")
    assert command.arguments == {**expected, "suggestion": "lower_learning_rate", "text": "it swings"}
    known = watched(Listening(), NetworkFacts(learning_rate=0.06))
    assert applying(RUNNING, "lower_learning_rate", FOUND, known, origin="").arguments["value"] == 0.02
    known.asked_rate = 0.015
    assert applying(RUNNING, "lower_learning_rate", FOUND, known, origin="").arguments["value"] == 0.005
    assert applying(RUNNING, "stop", FOUND, None, origin="me").command == "stop"


@pytest.mark.parametrize(
    ("trial", "name", "is_listening", "why"),
    [
        (RUNNING, "lower_learning_rate", False, r"never asked for controls.*without --running"),
        (RUNNING, "clip_gradients", True, "another learning rate, and no other global_clipnorm"),
        (RUNNING, "both", True, "no other learning_rate, global_clipnorm"),
        (RUNNING, "double_batch", True, "no machine can follow: double the batch"),
        (RUNNING, "more_layers", True, "not suggested for trial 3"),
        (Trial(3, CONFIG, TrialStatus.COMPLETED), "lower_learning_rate", True, "does not run: it is completed"),
        (Trial(3, CONFIG), "lower_learning_rate", True, "does not run: it is pending"),
    ],
)
def test_what_cannot_be_applied_is_refused(trial: Trial, name: str, is_listening: bool, why: str) -> None:
    found = watched(Listening()) if is_listening else watched(Reading(1, {"loss": 1.0}))
    with pytest.raises(SearchError, match=why):
        applying(trial, name, FOUND, found, origin="me")


def test_a_trial_that_is_being_stopped_is_left_alone() -> None:
    found = watched(Listening())
    found.is_stopping = True
    with pytest.raises(SearchError, match="is being stopped"):
        applying(RUNNING, "lower_learning_rate", FOUND, found, origin="me")


def test_another_learning_rate_is_told_by_the_name_of_its_parameter() -> None:
    assert [each.name for each in (LOWER, CLIP, BOTH, WORDS) if changes_rate_only(each)] == ["lower_learning_rate"]
    assert changes_rate_only(Suggestion("raise", "change", "", changes={"optimizer_lr": 0.1}))


def test_a_flood_does_not_hide_that_a_trial_listens() -> None:
    lines = [to_line(Reading(step, {"loss": 1.0})) for step in range(10 * MOST_REPORTS)]
    lines[1234:1234] = [to_line(NetworkFacts(loss="mse")), to_line(Listening(7.0))]
    found = from_lines(chosen(lines))
    assert [each for each in found if not isinstance(each, Reading)] == [NetworkFacts(loss="mse"), Listening(7.0)]


# A running search ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watcher_module, "LEAST_AGE_S", 0.0)


def swings(config: dict[str, Any], trial: Any) -> dict[str, Any]:
    """Swing until the learning rate is low or the trial is stopped; if gradients are clipped it never listens."""
    rate, rates, until, step = config["learning_rate"], [], time.monotonic() + 120, 0
    is_deaf = config["global_clipnorm"] < 1.0
    while rate > 0.05 and not trial.should_stop():
        step += 1
        trial.report(step, loss=1.8 - 0.8 * (step % 2), learning_rate=rate)
        for each in () if is_deaf else trial.channel.controls():
            if each.kind == "learning_rate":
                rate = each.value
                rates.append(rate)
        time.sleep(0.01)
        assert time.monotonic() < until
    return {"objective": rate, "rates": " ".join(map(str, rates))}


@contextmanager
def running(history: Path, objective: Callable[..., Any] = swings, **changes: float) -> Iterator[Study]:
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({**CONFIG, **changes})
        options: Any = {"site": "laptop", "site_set": {"executor": "threads", "workers": 2}, "max_trials": 1}
        thread = threading.Thread(target=study.run, args=(objective,), kwargs=options)
        thread.start()
        try:
            yield study
        finally:
            thread.join(150)
        assert not thread.is_alive()


def wait_for_advice(history: Path, *, listens: bool = True) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            (row,) = json.loads((run_path(history) / BOARD).read_text())["running"]
        except (OSError, ValueError):
            row = {}
        rules = [each["rule"] for each in row.get("findings", ())]
        if "oscillation" in rules and row["listens"] is listens:
            return
        assert time.monotonic() < until, row
        time.sleep(0.02)


def said_by(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    capfd.readouterr()
    assert run([str(each) for each in arguments]) == 0
    return capfd.readouterr().out


def test_a_running_trial_takes_the_learning_rate_that_is_accepted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "h.h5"
    with running(history):
        wait_for_advice(history)
        advised = said_by(capfd, "advise", history, "--trial", 0)
        assert f"dhflow accept {history} 0/lower_learning_rate --running" in advised
        assert commands.accept(history, "0/lower_learning_rate", running=True) is None
        said = said_by(capfd, "accept", history, "0/lower_learning_rate", "--running")
        assert (
            said == "trial 0 is asked to go on with a learning rate of 0.0333 instead of 0.1, from its next epoch on\n"
        )
    (trial,) = load(history).trials
    assert (trial.status, trial.metrics["rates"]) == (TrialStatus.COMPLETED, "0.1 0.0333")
    taken = read_commands(history)
    assert [(each.command, each.trial_id, each.reply) for each in taken] == [("control", 0, {"sent": True})] * 2
    assert [each.arguments["suggestion"] for each in taken] == ["lower_learning_rate"] * 2
    assert [(each.arguments["was"], each.arguments["value"]) for each in taken] == [(0.3, 0.1), (0.1, 0.0333)]
    shown = said_by(capfd, "show", history, "--trial", 0)
    assert "learning_rate 0.1 (lower_learning_rate), by " in shown
    with pytest.raises(SearchError, match="nobody runs"):
        commands.accept(history, "0/lower_learning_rate", running=True)


def test_a_trial_that_does_not_listen_goes_on_as_it_is(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with running(history, global_clipnorm=0.5) as study:
        wait_for_advice(history, listens=False)
        with pytest.raises(SearchError, match="never asked for controls"):
            commands.accept(history, "0/lower_learning_rate", running=True)
        with pytest.raises(SearchError, match="would not hear of another learning rate"):
            commands.set_learning_rate(history, 0, 0.01)
        with pytest.raises(SearchError, match="would not hear of a wish for a checkpoint"):
            commands.checkpoint(history, 0)
        study.accept("0/lower_learning_rate", running=True)  # only logged
        commands.stop(history, 0)
    (trial,) = load(history).trials
    assert (trial.status, trial.metrics["rates"], math.isfinite(trial.objective)) == (TrialStatus.STOPPED, "", True)
    assert [each.command for each in read_commands(history)] == ["stop"]


def test_a_study_tells_its_own_trial(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with running(history, learning_rate=0.1) as study:
        wait_for_advice(history)
        study.accept("0/lower_learning_rate", running=True)
    (trial,) = load(history).trials
    assert trial.metrics["rates"] == "0.0333"
    assert [(each.command, each.origin) for each in read_commands(history)] == [("control", "study")]


def settles(config: dict[str, Any], trial: Any) -> float:
    """Swing until a warning has been found, and then no more."""
    until, step = time.monotonic() + 120, 0
    while not trial.should_stop():
        step += 1
        swing = 0.8 * (step % 2) if not (trial.dir / "calm").exists() else 0.0
        trial.report(step, loss=1.0 + 5.0 / step + swing)
        time.sleep(0.01)
        assert time.monotonic() < until
    return 1.0


def test_what_was_found_earlier_can_be_followed_while_the_search_runs(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"

    def wait_for(is_so: Callable[[commands.Advice], bool]) -> None:
        until = time.monotonic() + 60
        while not is_so(advice := commands.advise(history, 0)):
            assert time.monotonic() < until, advice
            time.sleep(0.1)

    with running(history, settles) as study:
        until = time.monotonic() + 60
        while not study.record.trials or study.record.trials[0].status is not TrialStatus.RUNNING:
            assert time.monotonic() < until
            time.sleep(0.02)
        wait_for(lambda advice: "oscillation" in {each.rule for each in advice.findings})
        (run_path(history) / "trials" / "0" / "1" / "calm").touch()
        wait_for(lambda advice: "oscillation" in {each.rule for each in advice.earlier})
        with pytest.raises(SearchError, match="not suggested"):
            commands.accept(history, "0/lower_learning_rate", running=True)
        assert commands.accept(history, "0/lower_learning_rate") == 1
        commands.stop(history, 0)
        wait_for(lambda advice: not advice.is_live)
        commands.stop(history, 1)
    assert load(history).record.trials[1].config["learning_rate"] == pytest.approx(0.1)
