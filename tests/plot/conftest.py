"""Studies made up for figures: no search is run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dhflow import Categorical, Float, Integer, Ordinal, SearchSpace, Trial
from dhflow.history.event import (
    AttemptEnded,
    AttemptSubmitted,
    Event,
    SessionEnded,
    SessionStarted,
    StudyHeader,
    StudyRecord,
    TrialCreated,
    fold,
)
from dhflow.objective import Objective
from dhflow.result import Result
from dhflow.trial import Attempt, TrialFailure, TrialSource, TrialStatus

SPACE = SearchSpace(
    {
        "learning_rate": Float(1e-5, 1e-1, log=True),
        "batch_size": Ordinal.geometric(8, 512, 2),
        "epochs": Integer(5, 60),
        "optimizer": Categorical(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0.0, 0.99, when={"optimizer": "sgd"}),
        "batch_norm": Categorical([True, False]),
    }
)
BEGAN = 1_700_000_000.0

Outcome = float | str | None
MakeResult = Callable[..., Result]


@pytest.fixture
def make_result() -> MakeResult:
    return made_result


def made_result(
    outcomes: list[Outcome],
    *,
    space: SearchSpace = SPACE,
    direction: str = "maximize",
    n_workers: int = 4,
    default: bool = True,
    host: str = "node1",
    duration_s: Callable[[int], float] = lambda i: 10.0 + 7 * (i % 5),
) -> Result:
    """Make a study whose trials had `outcomes`: a value, "failed", "lost", or None for one that still runs."""
    objective = Objective("accuracy", direction)  # type: ignore[arg-type]
    rng = random.Random(1)
    configs = _configs(space, len(outcomes))
    free = [BEGAN + 5.0 + 0.1 * i for i in range(n_workers)]
    events: list[Event] = [
        StudyHeader("s", space.to_json(), (objective,), 1, BEGAN),
        SessionStarted(0, BEGAN, {"n_slots": n_workers, "site": "test"}),
    ]
    for i, outcome in enumerate(outcomes):
        worker = min(range(n_workers), key=lambda each: free[each])
        begin = free[worker]
        source = TrialSource.DEFAULT if default and i == 0 else TrialSource.SEARCHER
        events.append(TrialCreated(Trial(i, configs[i], source=source, created_at=begin)))
        events.append(AttemptSubmitted(i, 1, begin - 0.01))
        if outcome is None:
            continue
        end = begin + (0.01 if outcome == "failed" else duration_s(i) * rng.uniform(0.7, 1.3))
        free[worker] = end + 0.02
        events.append(_end(i, outcome, objective, (begin, end), f"{host} {4000 + worker}", i))
    if None not in outcomes:
        events.append(SessionEnded(0, max(free), {"reason": "max_trials was reached"}))
    return Result(fold(events, StudyRecord()), "max_trials was reached")


def _configs(space: SearchSpace, n: int) -> list[Mapping[str, Any]]:
    import numpy as np

    return [space.default_config(), *space.sample(max(0, n - 1), np.random.default_rng(3))]


def _end(
    trial_id: int, outcome: float | str, objective: Objective, times: tuple[float, float], worker: str, number: int
) -> AttemptEnded:
    begin, end = times
    host, _, name = worker.partition(" ")
    status = TrialStatus(outcome) if isinstance(outcome, str) else TrialStatus.COMPLETED
    failure = TrialFailure("ValueError", "no", location="p.py:3") if isinstance(outcome, str) else None
    values = {} if isinstance(outcome, str) else {objective.name: outcome}
    return AttemptEnded(
        trial_id,
        Attempt(1, status, begin - 0.01, begin, end, end + 0.01, host, name, failure),
        status,
        values=values,
        losses=tuple(objective.to_loss(each) for each in values.values()),
        outcome_number=number,
    )
