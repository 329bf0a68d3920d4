"""What runs on a worker: from a task to a trial's result, whatever the user's objective does.

The driver makes a source of the user's objective (:func:`make_source`), puts it into a :class:`Task` and
has :func:`evaluate` called on a worker. What an attempt leaves on disk, :class:`WorkerNotes` and the readers of
:mod:`dhflow.train.attempt_directory` find, also after its worker died. Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.train.attempt_directory import last_step as last_step
    from dhflow.train.attempt_directory import read_measurements as read_measurements
    from dhflow.train.attempt_directory import read_output as read_output
    from dhflow.train.context import TrialContext as TrialContext
    from dhflow.train.evaluation import evaluate as evaluate
    from dhflow.train.failure import timeout_failure as timeout_failure
    from dhflow.train.network.build import build as build
    from dhflow.train.network.build import load_model as load_model
    from dhflow.train.network.data import TrainingData as TrainingData
    from dhflow.train.network.data import load_once as load_once
    from dhflow.train.network.fit import NetworkObjective as NetworkObjective
    from dhflow.train.network.fit import train_and_validate as train_and_validate
    from dhflow.train.network.replicas import prepare_replicas as prepare_replicas
    from dhflow.train.network.schedule import Schedule as Schedule
    from dhflow.train.network.settings import TrainingSettings as TrainingSettings
    from dhflow.train.ship import make_source as make_source
    from dhflow.train.ship import pack_objective as pack_objective
    from dhflow.train.task import CommandSource as CommandSource
    from dhflow.train.task import EvaluationSettings as EvaluationSettings
    from dhflow.train.task import FunctionSource as FunctionSource
    from dhflow.train.task import Task as Task
    from dhflow.train.threads import limit_threads as limit_threads
    from dhflow.train.threads import thread_environment as thread_environment
    from dhflow.train.user_module import load_file_module as load_file_module
    from dhflow.train.worker_notes import WorkerNotes as WorkerNotes

_HOMES = {
    "build": "network.build",
    "CommandSource": "task",
    "EvaluationSettings": "task",
    "evaluate": "evaluation",
    "FunctionSource": "task",
    "last_step": "attempt_directory",
    "limit_threads": "threads",
    "load_file_module": "user_module",
    "load_model": "network.build",
    "load_once": "network.data",
    "make_source": "ship",
    "NetworkObjective": "network.fit",
    "pack_objective": "ship",
    "prepare_replicas": "network.replicas",
    "read_measurements": "attempt_directory",
    "read_output": "attempt_directory",
    "Schedule": "network.schedule",
    "Task": "task",
    "thread_environment": "threads",
    "timeout_failure": "failure",
    "train_and_validate": "network.fit",
    "TrainingData": "network.data",
    "TrainingSettings": "network.settings",
    "TrialContext": "context",
    "WorkerNotes": "worker_notes",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
