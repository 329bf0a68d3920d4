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
from dhflow.history import read_commands, read_findings
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


def test_a_command_stops_a_trial_within_an_epoch_and_advice_makes_another(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    with running(history, objectives.trains, {"x": 1.0}):
        red = shown(history, 0, lambda each: each["light"] == "red")
        assert red["findings"][0]["rule"] == "overflow"
        assert commands.accept(history, "0/clip_gradients") == 1
        with pytest.raises(SearchError, match="is not suggested"):
            commands.accept(history, "0/more_data")
        before = len(load(history).trials)
        epoch = shown(history, 0, lambda each: True)["step"]
        commands.stop(history, 0)
    trials = load(history).trials
    assert before == 2
    assert trials[0].status is TrialStatus.STOPPED
    # What is shown lags by a look of a second, two epochs; then the epoch that it was in, and its end.
    assert trials[0].budget is not None
    assert trials[0].budget <= epoch + 5
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
