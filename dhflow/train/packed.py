"""The same evaluation for executors that carry bytes far more cheaply than objects.

Parsl pickles arguments and results with dill, which takes ten times as long for a task as pickle does;
for bytes the two cost the same.
"""

from __future__ import annotations

import pickle

from dhflow.train.evaluation import evaluate
from dhflow.train.task import Task
from dhflow.trial import TrialResult


def pack_task(task: Task) -> bytes:
    """Return what :func:`evaluate_packed` takes."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def evaluate_packed(task: bytes) -> bytes:
    """Run one attempt of a trial, as :func:`~dhflow.train.evaluation.evaluate` does."""
    return pickle.dumps(evaluate(pickle.loads(task)), pickle.HIGHEST_PROTOCOL)


def unpack_result(result: bytes) -> TrialResult:
    """Return what the worker packed: our own function on our own worker, as trusted as the executor itself."""
    unpacked: TrialResult = pickle.loads(result)
    return unpacked
