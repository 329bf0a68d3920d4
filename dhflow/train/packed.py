"""The same evaluation for executors that carry bytes far more cheaply than objects.

Parsl pickles arguments and results with dill, which takes ten times as long for a task as pickle does; for bytes
the two cost the same. What is in the bytes are plain tuples, and what all tasks of a study share is unpickled once
per worker: a worker that wakes for a short trial runs with cold caches, where all code is several times dearer.
"""

from __future__ import annotations

import functools
import pickle
from dataclasses import replace
from operator import attrgetter

from dhflow.train.evaluation import evaluate
from dhflow.train.task import EvaluationSettings, Task
from dhflow.trial import Measurement, TrialFailure, TrialResult, TrialStatus

_TASK_FIELDS = attrgetter("trial_id", "attempt", "config", "budget", "seed", "directory", "continues", "deadline")
_RESULT_FIELDS = attrgetter(
    "trial_id", "attempt", "started_at", "ended_at", "values", "metrics", "host", "worker", "budget"
)
TOO_LARGE_ADVICE = "write large things to a file where the trial runs, and return its path"

_FAILURE_FIELDS = attrgetter("kind", "message", "traceback", "location", "host", "signal", "last_step")


def pack_settings(settings: EvaluationSettings) -> bytes:
    """Return what :func:`pack_task` takes."""
    return pickle.dumps(settings, pickle.HIGHEST_PROTOCOL)


def pack_task(task: Task, settings: bytes) -> bytes:
    """Return what :func:`evaluate_packed` takes; `settings` are the task's own, packed once for all."""
    return pickle.dumps((settings, _TASK_FIELDS(task)), pickle.HIGHEST_PROTOCOL)


def evaluate_packed(task: bytes, parsl_resource_specification: object = None) -> bytes:
    """Run one attempt of a trial, as :func:`~dhflow.train.evaluation.evaluate` does.

    A result over the study's ``result_limit_bytes`` becomes the trial's failure. The second argument is
    for Parsl, which hands the priority of a task to its function too.
    """
    del parsl_resource_specification
    settings, (trial_id, attempt, config, budget, seed, directory, continues, deadline) = pickle.loads(task)
    unpacked = _unpack_settings(settings)
    result = evaluate(Task(trial_id, attempt, config, budget, seed, directory, continues, deadline, unpacked))
    packed, limit = _pack_result(result), unpacked.result_limit_bytes
    if limit is not None and len(packed) > limit and result.records:
        packed = _pack_result(replace(result, records=()))
    return packed if limit is None or len(packed) <= limit else _pack_result(_refused(result, len(packed), limit))


def _pack_result(result: TrialResult) -> bytes:
    measurements = [tuple(each) for each in result.measurements]
    failure = None if result.failure is None else _FAILURE_FIELDS(result.failure)
    monitored = (result.records, result.findings) if result.records or result.findings else ()
    packed = result.status.value, measurements, failure, _RESULT_FIELDS(result), monitored
    return pickle.dumps(packed, pickle.HIGHEST_PROTOCOL)


def _refused(result: TrialResult, n_bytes: int, limit: int) -> TrialResult:
    sizes = {name: len(value) for name, value in result.metrics.items() if isinstance(value, str)}
    largest = max(sizes, key=lambda name: sizes[name], default="")
    what = f", most of it {largest!r}" if largest and sizes[largest] > n_bytes / 2 else ""
    failure = TrialFailure(
        "ObjectiveError",
        f"the trial's result weighs {n_bytes / 1e6:.1f} MB{what}, and at most {limit / 1e6:g} MB come home: "
        f"{TOO_LARGE_ADVICE}",
        host=result.host,
    )
    return replace(result, status=TrialStatus.FAILED, values={}, metrics={}, measurements=(), failure=failure)


def unpack_result(result: bytes) -> TrialResult:
    """Return what the worker packed: our own function on our own worker, as trusted as the executor itself."""
    status, measurements, failure, fields, monitored = pickle.loads(result)
    trial_id, attempt, started_at, ended_at, values, metrics, host, worker, budget = fields
    return TrialResult(
        trial_id=trial_id,
        attempt=attempt,
        status=TrialStatus(status),
        started_at=started_at,
        ended_at=ended_at,
        values=values,
        metrics=metrics,
        measurements=tuple(Measurement._make(each) for each in measurements),
        failure=None if failure is None else TrialFailure(*failure),
        host=host,
        worker=worker,
        budget=budget,
        records=monitored[0] if monitored else (),
        findings=monitored[1] if monitored else (),
    )


@functools.lru_cache(maxsize=4)
def _unpack_settings(settings: bytes) -> EvaluationSettings:
    unpacked: EvaluationSettings = pickle.loads(settings)
    return unpacked
