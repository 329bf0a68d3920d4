"""Write beside this script a small history with something of everything that format version 1 holds.

``v1.h5`` was closed in order, of ``v1_open.h5`` there is the journal alone. Run this only while version 1 is
being made; once released, the files stay as they are, for good.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dhflow.history import History
from dhflow.history.event import (
    AttemptEnded,
    AttemptSubmitted,
    Event,
    SessionEnded,
    SessionStarted,
    StudyHeader,
    TrialCreated,
)
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.objective import MetricValue, Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialSource, TrialStatus

FOLDER = Path(__file__).parent
T0 = 1_764_000_000.0

HEADER = StudyHeader(
    study_id="00112233445566ff",
    space={
        "version": 1,
        "parameters": [
            {"name": "learning_rate", "type": "float", "low": 1e-5, "high": 0.1, "log": True},
            {"name": "batch_size", "type": "ordinal", "values": [8, 16, 32, 64]},
            {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adam"]},
            {"name": "momentum", "type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
            {"name": "nesterov", "type": "categorical", "choices": [True, False], "when": {"optimizer": ["sgd"]}},
            {"name": "decay", "type": "categorical", "choices": [None, 0.5, "cosine"]},
        ],
    },
    objectives=(Objective("accuracy", "maximize"),),
    seed=42,
    created_at=T0,
    budget={"name": "epochs", "low": 1, "high": 81},
)


def _submitted(number: int, at: float, attempt: int = 1) -> AttemptSubmitted:
    return AttemptSubmitted(number, attempt, T0 + at, 0)


def _attempt(status: TrialStatus, at: float, number: int = 1, **known: Any) -> Attempt:
    times = (T0 + at, T0 + at + 0.25, T0 + at + 5.0, T0 + at + 5.125)
    return Attempt(number, status, *times, **({"host": "nid0001", "worker": "4711.0"} | known))


def _curve(at: float) -> tuple[Measurement, ...]:
    steps = [(step, name) for step in (1, 2, 3) for name in ("loss", "val_loss")]
    return tuple(Measurement(step, T0 + at + step, name, 1.0 / step) for step, name in steps)


def events() -> list[Event]:
    """Return all that the archive records, without its header."""
    sgd = {
        "learning_rate": 0.01, "batch_size": 32, "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "decay": None,
    }  # fmt: skip
    adam = {"learning_rate": 0.001, "batch_size": 8, "optimizer": "adam", "decay": 0.5}
    cosine = {"learning_rate": 0.1, "batch_size": 64, "optimizer": "adam", "decay": "cosine"}
    failure = TrialFailure(
        "ValueError", "η is too large", "Traceback …\nValueError: η is too large", "train.py:12", "nid0001", "", 2
    )
    lost = TrialFailure("TrialLostError", "the worker is gone", host="nid0002", signal="SIGKILL", last_step=1)
    full = {"accuracy": 0.9375}
    metrics: dict[str, MetricValue] = {
        "epochs": 3,
        "note": "über\0",
        "pruned": False,
        "extra": None,
        "n": 2**60,
        "share": math.nan,
    }
    completed = TrialStatus.COMPLETED
    return [
        SessionStarted(0, T0 + 1, {"site": "laptop", "versions": {"dhflow": "0.1.0"}}),
        TrialCreated(Trial(0, sgd, seed=17, source=TrialSource.DEFAULT, created_at=T0 + 2, budget=27.0)),
        _submitted(0, 3),
        TrialCreated(Trial(1, adam, seed=18, ask_number=0, ask_saw=0, created_at=T0 + 3, meta={"rung": [0, 1]})),
        _submitted(1, 4),
        AttemptEnded(0, _attempt(completed, 3), completed, full, (-0.9375,), metrics, _curve(3), 0),
        AttemptEnded(
            1, _attempt(TrialStatus.LOST, 4, failure=lost), TrialStatus.PENDING, measurements=_curve(4)[:2]
        ),
        _submitted(1, 12, attempt=2),
        AttemptEnded(
            1, _attempt(TrialStatus.FAILED, 12, 2, failure=failure), TrialStatus.FAILED, outcome_number=1
        ),
        TrialCreated(Trial(2, sgd, budget=81.0, parent_id=0, priority=-1, seed=19, created_at=T0 + 20)),
        _submitted(2, 21),
        AttemptEnded(
            2,
            _attempt(TrialStatus.STOPPED, 21),
            TrialStatus.STOPPED,
            {"accuracy": 0.5},
            (-0.5,),
            measurements=(Measurement(1, T0 + 22, "loss", math.inf),),
            outcome_number=2,
            budget=9.0,
        ),
        TrialCreated(
            Trial(
                3,
                cosine,
                TrialStatus.COMPLETED,
                source=TrialSource.ADDED,
                values={"accuracy": 0.75},
                losses=(-0.75,),
                outcome_number=3,
            )
        ),
        RecordsKept(
            2,
            1,
            (
                {"record": "reading", "step": 7, "values": {"loss": "nan"}, "time": T0 + 22, "per": "batch"},
                {"record": "tensor", "step": 1, "layer": "a/b", "kind": "weight", "name": "kernel", "size": 4,
                 "norm": 2.0, "edges": [-1.0, 0.0, 1.0], "counts": [1, 3], "time": T0 + 22},
                {"record": "machine", "step": 1, "time": T0 + 22, "cpu_share": 0.5},
                {"record": "classes", "step": 1, "counts": [[3, 1], [0, 4]], "time": T0 + 22},
                {"record": "worst", "step": 1, "index": 17, "loss": 4.5, "time": T0 + 22},
                {"record": "network", "loss": "mse", "layers": [["a/b", "Dense", "relu", 64, 640, True, ""]]},
                {"record": "data", "n_samples": 100, "class_counts": [60, 40]},
            ),
        ),
        FindingMade(
            2,
            1,
            T0 + 23,
            {"rule": "overflow", "severity": "critical", "text": "überlaufen", "evidence": {"step": 1},
             "suggestions": [{"name": "stop", "action": "stop", "text": "stop this run"}], "source": "seen",
             "family": "overflow", "step": 1, "probability": 1.0},
        ),
        CommandTaken(T0 + 24, "stop", 2, "policy", {"rule": "overflow"}, {"stopped": True}),
        CommandTaken(T0 + 25, "pause", None, "user@host", command_id="c1"),
        SessionEnded(0, T0 + 30, {"reason": "max_trials", "utilisation": 0.97}),
        SessionStarted(1, T0 + 40, {"site": "laptop"}),
        TrialCreated(Trial(4, adam, seed=20, source=TrialSource.USER, created_at=T0 + 41)),
        _submitted(4, 42),
        TrialCreated(Trial(5, cosine, seed=21, ask_number=1, ask_saw=4, created_at=T0 + 43)),
    ]  # fmt: skip


if __name__ == "__main__":
    for name in ("v1.h5", "v1_open.h5"):
        for old in FOLDER.glob(f"{name}*"):
            old.unlink()
        history = History.create(FOLDER / name, HEADER, in_process=True)
        history.append(events())
        if name == "v1.h5":
            history.close()
        else:
            history.release()
