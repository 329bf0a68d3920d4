"""Tasks that travel as bytes: what a study's settings say is known to the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dhflow.constraint import Constraint
from dhflow.train import Task, evaluate
from dhflow.train.packed import evaluate_packed, pack_settings, pack_task, unpack_result
from dhflow.trial import TrialResult

CONSTRAINTS = (Constraint("memory_gb", "<=", 16.0),)


def evaluate_as_bytes(task: Task) -> TrialResult:
    return unpack_result(evaluate_packed(pack_task(task, pack_settings(task.settings))))


@pytest.mark.parametrize("run", [evaluate, evaluate_as_bytes])
@pytest.mark.parametrize("returned", [0.5, {"objective": 0.5}, {"objective": 0.5, "memory_gb": float("inf")}])
def test_a_trial_without_what_a_constraint_needs_has_failed(
    make_task: Callable[..., Task], run: Callable[[Task], TrialResult], returned: Any
) -> None:
    failure = run(make_task(lambda _: returned, constraints=CONSTRAINTS)).failure
    assert failure is not None
    assert failure.kind == "ObjectiveError"
    assert "'memory_gb <= 16'" in failure.message


@pytest.mark.parametrize("run", [evaluate, evaluate_as_bytes])
def test_a_trial_that_violates_one_has_completed(
    make_task: Callable[..., Task], run: Callable[[Task], TrialResult]
) -> None:
    result = run(make_task(lambda _: {"objective": 0.5, "memory_gb": 20}, constraints=CONSTRAINTS))
    assert (result.status.value, result.values, result.metrics) == (
        "completed",
        {"objective": 0.5},
        {"memory_gb": 20.0},
    )
