"""Signals that meet a session while it starts, runs and closes; real ones, sent to this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, TrialStatus, load, search
from dhflow.flow.interrupts import Interrupts

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
THREADS = {"site": "laptop", "site_set": {"workers": 2, "executor": "threads"}}


def objective(config: dict[str, Any]) -> float:
    return float(config["x"])


class Sender:
    """An observer that sends signals to its own process at one moment of a session."""

    def __init__(self, moment: str, *numbers: signal.Signals) -> None:
        self.moment = moment
        self.numbers = numbers
        self.went_on = False

    def begin(self) -> None:
        self._at("begin")

    def trial_ended(self, trial: object) -> None:
        self._at("trial_ended")

    def tick(self, driver: object) -> None:
        pass

    def close(self) -> None:
        self._at("close")

    def _at(self, moment: str) -> None:
        if moment == self.moment:
            numbers, self.numbers = self.numbers, ()
            for each in numbers:
                os.kill(os.getpid(), each)
            self.went_on = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["begin", "trial_ended", "close"])
def test_a_signal_at_any_moment_leaves_a_whole_history_and_the_handlers_of_before(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    before = {each: signal.getsignal(each) for each in signal.Signals if each not in (signal.SIGKILL, signal.SIGSTOP)}
    sender = Sender(moment, number)
    history = tmp_path / "h.h5"
    with pytest.raises(KeyboardInterrupt, match=f"interrupted by {number.name}") as stopped:
        search(objective, SPACE, max_trials=40, seed=1, history=history, observers=[sender], **THREADS)
    if sys.version_info >= (3, 11):
        assert ("resume=True" in "".join(getattr(stopped.value, "__notes__", []))) == (moment != "begin")
    assert sender.went_on == (moment != "begin")
    assert not history.with_name("h.h5.journal").exists()
    kept = history.exists()
    assert kept == (moment != "begin"), "a search without any trial leaves nothing"
    if kept:
        assert (sum(each.is_finished for each in load(history).trials) == 40) == (moment == "close")
    result = search(objective, SPACE, max_trials=40, seed=1, history=history, resume=kept, **THREADS)
    assert [each.status for each in result.trials] == [TrialStatus.COMPLETED] * 40
    assert {each: signal.getsignal(each) for each in before} == before


def test_a_second_signal_does_not_wait_for_the_closing(tmp_path: Path) -> None:
    sender = Sender("close", signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        search(objective, SPACE, max_trials=3, history=tmp_path / "h.h5", observers=[sender], **THREADS)
    assert not sender.went_on


def test_in_another_thread_no_handler_is_touched() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def enter() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_hangup_that_nohup_keeps_away_stays_away() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.caught == []
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("arrange", "expected"), [(Interrupts.keep, []), (None, ["interrupted by SIGTERM"])])
def test_what_a_signal_does_is_what_was_arranged_last(
    arrange: Callable[[Interrupts], None] | None, expected: list[str]
) -> None:
    said: list[str] = []
    with Interrupts() as interrupts:
        interrupts.stop_with(said.append)
        if arrange is not None:
            arrange(interrupts)
        os.kill(os.getpid(), signal.SIGTERM)
    assert said == expected
    assert interrupts.reason == "interrupted by SIGTERM"
