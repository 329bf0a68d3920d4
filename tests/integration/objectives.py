"""Objectives for real workers."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path


def square(config: dict) -> float:
    return config["x"] ** 2


def slow_square(config: dict) -> float:
    time.sleep(0.2)
    return config["x"] ** 2


def killed_once(config: dict, trial: object) -> float:
    """Kill the worker in trial 1's first attempt, after a report."""
    trial.report(7, loss=0.25)  # type: ignore[attr-defined]
    if trial.trial_id == 1 and trial.attempt == 1:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGKILL)
    return config["x"] ** 2


def killed_always(config: dict, trial: object) -> float:
    if trial.trial_id == 0:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGSEGV)
    return config["x"] ** 2


def hangs(config: dict, trial: object) -> float:
    if trial.trial_id == 0:  # type: ignore[attr-defined]
        time.sleep(600)
    return config["x"] ** 2


def holds_the_interpreter(config: dict, trial: object) -> float:
    """Hang in trial 0 inside a call that never lets go of the interpreter's lock."""
    if trial.trial_id == 0:  # type: ignore[attr-defined]
        ctypes.PyDLL(None).sleep(600)
    return config["x"] ** 2


def misbehaves(config: dict, trial: object) -> object:
    """A different fault in each of the first trials."""
    match trial.trial_id:  # type: ignore[attr-defined]
        case 0:
            raise ZeroDivisionError("on purpose")
        case 1:
            return float("nan")
        case 2:
            return "0.5"
        case 3:
            sys.exit(3)
        case 4:
            for _ in range(20_000):
                print("x" * 5_000)
            return 1.0
    return config["x"] ** 2


def counts_on(config: dict, trial: object) -> float:
    """Go on counting where the parent's checkpoint ends, and fail if a promotion finds none."""
    counted = 0
    if trial.continues is not None:
        counted = int((Path(trial.continues) / "counted").read_text())
    assert (counted > 0) == (trial.budget > 1)
    time.sleep(0.05)
    (trial.dir / "counted").write_text(str(trial.budget))
    trial.report(trial.budget, counted=trial.budget - counted)
    return config["x"] ** 2 + 1 / trial.budget


def trains(config: dict, trial: object) -> float:
    """Train in epochs of half a second; overflow, unless x is negative or clipped, and end when asked to."""
    is_fine = config["x"] < 0 or config["global_clipnorm"] <= 1.0
    loss = 1.0
    for epoch in range(1, 4 if is_fine else 200):
        time.sleep(0.5)
        loss = 1.0 / epoch if is_fine or epoch < 2 else float("nan")
        trial.report(epoch, loss=loss)  # type: ignore[attr-defined]
        if trial.should_stop():  # type: ignore[attr-defined]
            return loss
    return loss


def rates(config: dict, trial: object) -> dict:
    """Train until told to stop, and return the learning rates that were asked for."""
    asked = []
    for epoch in range(1, 200):
        time.sleep(0.2)
        trial.report(epoch, loss=1.0 / epoch)  # type: ignore[attr-defined]
        controls = trial.channel.controls()  # type: ignore[attr-defined]
        asked += [each.value for each in controls if each.kind == "learning_rate"]
        if any(each.kind == "stop" for each in controls):
            break
    return {"objective": 1.0 / epoch, "rates": " ".join(map(str, asked))}


def gated(config: dict, trial: object) -> dict:
    """Train epochs that the test lets go one by one, and note at the end of which of them a control came."""
    rate, came = config["x"], []
    for epoch in range(1, 100):
        (trial.dir / f"begun-{epoch}").touch()  # type: ignore[attr-defined]
        until = time.monotonic() + 60
        while not (trial.dir / f"go-{epoch}").exists():  # type: ignore[attr-defined]
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.05)
        trial.report(epoch, loss=1.0 / epoch, learning_rate=rate)  # type: ignore[attr-defined]
        for each in trial.channel.controls():  # type: ignore[attr-defined]
            came.append(f"{each.kind}@{epoch}")
            rate = each.value if each.kind == "learning_rate" else rate
        if trial.should_stop():  # type: ignore[attr-defined]
            break
    return {"objective": 1.0 / epoch, "came": " ".join(came)}
