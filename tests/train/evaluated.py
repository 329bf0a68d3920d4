"""What evaluations leave behind, for the tests of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhflow.train import Task, WorkerNotes, evaluate
from dhflow.trial import TrialFailure, TrialResult, TrialStatus


def notes_of(task: Task) -> WorkerNotes:
    """Return what the workers noted of the task's trial."""
    notes = WorkerNotes(Path(task.settings.workers or "").parent)
    notes.refresh({task.trial_id: task.attempt})
    return notes


def noted_result(task: Task) -> TrialResult:
    """Return the result as it was noted."""
    result = notes_of(task).result(task.trial_id, task.attempt)
    assert result is not None
    return result


def line_of(function: Any, offset: int = 1) -> str:
    """Return the place of a line of a function, as failures name it."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno + offset}"


def failed(task: Task) -> TrialFailure:
    """Evaluate a task that must fail."""
    result = evaluate(task)
    assert result.status is TrialStatus.FAILED, result
    assert result.failure is not None
    assert result.values == {}
    return result.failure
