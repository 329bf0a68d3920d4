"""Running trials on real workers: watched, stopped within an epoch, changed by accepted advice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import objectives
import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, commands, load
from dhflow.errors import SearchError
from dhflow.flow.advice import shown_of
from dhflow.flow.channel_server import ChannelServer
from dhflow.flow.run_directory import run_path
from dhflow.history import read_commands, read_findings
from dhflow.monitor.control import Control
from dhflow.monitor.finding import finding_from_json
from dhflow.trial import TrialSource

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SPACE = SearchSpace({"x": Float(-2.0, 2.0), "global_clipnorm": Float(0.01, 10.0)})
TWO = {"site": "laptop", "site_set": {"workers": 2}}


@contextmanager
def running(history: Path, objective: Any, *configs: dict[str, float], **options: Any) -> Iterator[Study]:
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue(*({"global_clipnorm": 5.0, **each} for each in configs))
        failed: list[BaseException] = []

        def run() -> None:
            try:
                study.run(objective, max_trials=len(configs), abort_after=None, wall_time_s=120, **TWO, **options)
            except BaseException as error:  # the test's to raise
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield study
        finally:
            thread.join(150)
        assert not failed, failed
        assert not thread.is_alive()


def shown(history: Path, trial_id: int, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + 60
    while True:
        found = shown_of(history, trial_id)
        if found is not None and is_so(found):
            return found
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_command_stops_a_trial_and_advice_makes_another(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with running(history, objectives.trains, {"x": 1.0}):
        red = shown(history, 0, lambda each: each["light"] == "red")
        assert red["findings"][0]["rule"] == "overflow"
        assert commands.accept(history, "0/clip_gradients") == 1
        with pytest.raises(SearchError, match="is not suggested"):
            commands.accept(history, "0/more_data")
        before = len(load(history).trials)
        commands.stop(history, 0)
    trials = load(history).trials
    assert before == 2
    assert trials[0].status is TrialStatus.STOPPED
    assert trials[1].source is TrialSource.ADVICE
    assert trials[1].config["global_clipnorm"] == 0.1
    assert [each.command for each in read_commands(history)][:2] == ["accept", "stop"]


@pytest.mark.parametrize("channel", ["auto", "zmq"])
def test_red_trials_are_stopped_over_files_and_sockets(tmp_path: Path, channel: str) -> None:
    history = tmp_path / "h.h5"
    with running(history, objectives.trains, {"x": 1.0}, {"x": -1.0}, adapt="stop", channel=channel):
        pass
    red, fine = load(history).trials
    assert (red.status, red.values) == (TrialStatus.STOPPED, {})
    assert red.budget is not None
    assert red.budget < 20
    assert fine.status is TrialStatus.COMPLETED
    assert "overflow" in {finding_from_json(each.finding).rule for each in read_findings(history, 0)}
    (command,) = read_commands(history)
    assert (command.trial_id, command.origin) == (0, "policy:stop")


@pytest.mark.parametrize("channel", ["auto", "zmq"])
def test_a_learning_rate_reaches_a_running_trial(tmp_path: Path, channel: str) -> None:
    history = tmp_path / "h.h5"
    with running(history, objectives.rates, {"x": 1.0}, channel=channel):
        shown(history, 0, lambda each: each["step"] > 1)
        commands.set_learning_rate(history, 0, 0.125)
        commands.stop(history, 0)
    (trial,) = load(history).trials
    assert (trial.status, trial.metrics["rates"]) == (TrialStatus.STOPPED, "0.125")


class Epochs:
    """The epochs of a trial that waits before the end of each until it may go on."""

    def __init__(self, history: Path) -> None:
        self._folder = run_path(history) / "trials" / "0" / "1"
        self.sent: list[str] | None = None

    def let_go(self, first: int, last: int) -> None:
        """Let epochs end, one after another, until the next one has begun."""
        for epoch in range(first, last + 1):
            self._wait(f"begun-{epoch}")
            (self._folder / f"go-{epoch}").touch()
        self._wait(f"begun-{last + 1}")

    def end(self, first: int) -> None:
        """Let all the others end."""
        for epoch in range(first, 101):
            (self._folder / f"go-{epoch}").touch()

    def wait_for_control(self, kind: str) -> None:
        """Wait until the driver has sent a control to the trial, which is in the midst of an epoch."""
        until = time.monotonic() + 30
        while kind not in (self._written() if self.sent is None else self.sent):
            assert time.monotonic() < until
            time.sleep(0.02)

    def _written(self) -> str:
        path = self._folder / "controls.jsonl"
        return path.read_text() if path.exists() else ""

    def note_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the moment at which a control leaves through the socket, which comes after that of the file."""
        sent: list[str] = []
        self.sent = sent
        send = ChannelServer.send

        def noted(server: ChannelServer, key: tuple[int, int], control: Control) -> None:
            send(server, key, control)
            sent.append(control.kind)

        monkeypatch.setattr(ChannelServer, "send", noted)

    def _wait(self, name: str) -> None:
        until = time.monotonic() + 60
        while not (self._folder / name).exists():
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize(("channel", "late"), [("auto", 0), ("zmq", 1)])
def test_controls_reach_a_trial_within_one_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: str, late: int
) -> None:
    """Each is sent in the midst of an epoch; a file is there at its end, a message at the latest one epoch later."""
    history = tmp_path / "h.h5"
    epochs = Epochs(history)
    if channel == "zmq":
        epochs.note_sent(monkeypatch)
    with running(history, objectives.gated, {"x": 1.0}, channel=channel):
        epochs.let_go(1, 2)  # the trial is in epoch 3
        commands.set_learning_rate(history, 0, 0.125)
        epochs.wait_for_control("learning_rate")
        epochs.let_go(3, 5)
        commands.checkpoint(history, 0)
        epochs.wait_for_control("checkpoint")
        epochs.let_go(6, 8)
        commands.stop(history, 0)
        epochs.wait_for_control("stop")
        epochs.end(9)
    result = load(history)
    (trial,) = result.trials
    came = {kind: int(epoch) for kind, _, epoch in (each.partition("@") for each in trial.metrics["came"].split())}
    assert list(came) == ["learning_rate", "checkpoint", "stop"]
    assert all(0 <= came[kind] - sent <= late for kind, sent in (("learning_rate", 3), ("checkpoint", 6), ("stop", 9)))
    assert trial.status is TrialStatus.STOPPED
    # What the trial has reported says the same: no epoch after that at whose end the stop came, and the rate's change.
    rows = result.measurements(0)
    assert max(each.step for each in rows) == trial.budget == came["stop"]
    rates = {each.step: each.value for each in rows if each.name == "learning_rate"}
    assert rates == {step: 1.0 if step <= came["learning_rate"] else 0.125 for step in rates}
    taken = [(each.command, each.arguments.get("control", "")) for each in read_commands(history)]
    assert taken == [("control", "learning_rate"), ("control", "checkpoint"), ("stop", "")]


COMMAND = """
n=0
while test $n -lt 100 && test ! -e "$DHFLOW_STOP"; do
  n=$((n+1)); echo '{{"step": '$n', "loss": "nan"}}' >> "$DHFLOW_RECORDS"; sleep 0.2
done
echo {x} {global_clipnorm} > /dev/null; echo $n.5
"""


def test_a_command_is_watched_and_stopped(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with running(history, COMMAND, {"x": 1.0}, stoppers=["nan"]):
        pass
    (trial,) = load(history).trials
    assert trial.status is TrialStatus.STOPPED
    assert trial.objective is not None
    assert trial.objective < 100
    assert [each.origin for each in read_commands(history)] == ["stopper:nan"]
