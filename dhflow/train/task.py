"""What a driver sends to a worker: plain frozen values that pickle small and by reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dhflow.constraint import Constraint
from dhflow.objective import Objective

if TYPE_CHECKING:
    from dhflow.monitor.policy import Policy

DEFAULT_OUTPUT_LIMIT_BYTES = 1_000_000
"""How much of a trial's output is kept: enough for every epoch of a long training with a line per step."""

DEFAULT_TIMEOUT_GRACE_S = 10.0
"""Time between asking a trial that outlived its limit to end and killing it: enough to write a checkpoint."""


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A pickled function and its extra arguments.

    Parameters
    ----------
    sha256 : str
        Of the blob; workers load it once and remember it under this name.
    name : str
        Qualified name of the function, for messages.
    path : str, optional
        File that holds the blob, on a file system that workers share.
    blob : bytes, optional
        The blob itself, where no file system is shared.
    import_paths : tuple of str
        The user's folders; a worker on which they exist puts them on ``sys.path``.
    per_worker : FunctionSource, optional
        A function without arguments, called once per worker process; ``trial.prepared`` is what it returned.
    """

    sha256: str
    name: str = ""
    path: str | None = None
    blob: bytes | None = field(default=None, repr=False)
    import_paths: tuple[str, ...] = ()
    per_worker: FunctionSource | None = None


@dataclass(frozen=True, slots=True)
class CommandSource:
    """A command template, checked by :func:`dhflow.train.command.parse_command`.

    Parameters
    ----------
    template : str
        For example ``"python train.py --lr {learning_rate} [--momentum {momentum}]"``.
    cwd : str
        Absolute path of the directory in which it runs.
    """

    template: str
    cwd: str


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What all trials of a study share.

    Parameters
    ----------
    objectives : tuple of Objective
        Names to find in what the objective returns.
    source : FunctionSource or CommandSource
    timeout_s : float, optional
        Limit of one trial, from the moment its objective is called.
    timeout_grace_s : float
        After the limit, the time until the process that runs the trial is killed.
    output_limit_bytes : int
        At most so much of a trial's output is kept: its head and its tail.
    full_budget : float, optional
        What a trial without a budget of its own spends; None if the problem declares no budget.
    workers : str, optional
        Absolute path of the folder for the workers' own files (:mod:`dhflow.train.worker_notes`). Without
        one, nothing is noted of an attempt, and a result that the executor loses is lost.
    constraints : tuple of Constraint
        What they are on must be among what the objective returns, too.
    result_limit_bytes : int, optional
        The way home carries no result that is larger.
    channel : mapping, optional
        Where the driver listens (:mod:`dhflow.train.zmq_sink`), JSON; without one, records lie in the attempt's
        directory, and where there is none they come home with the result.
    policy : Policy, optional
        What the monitor may do; a worker uses it where nobody else can watch its trials.
    space : mapping, optional
        JSON form of the search space, for what the monitor suggests on a worker.
    """

    objectives: tuple[Objective, ...]
    source: FunctionSource | CommandSource
    timeout_s: float | None = None
    timeout_grace_s: float = DEFAULT_TIMEOUT_GRACE_S
    output_limit_bytes: int = DEFAULT_OUTPUT_LIMIT_BYTES
    full_budget: float | None = None
    workers: str | None = None
    constraints: tuple[Constraint, ...] = ()
    result_limit_bytes: int | None = None
    channel: Mapping[str, Any] | None = None
    policy: Policy | None = None
    space: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one trial.

    Parameters
    ----------
    trial_id, attempt : int
    config : mapping
    budget : float, optional
        Units of the problem's budget; None for the full one.
    seed : int
    directory : str, optional
        Absolute path of the attempt's directory, made by the worker when something goes into it. Without
        one, nothing of the attempt is kept but its result.
    continues : str, optional
        Directory of the attempt that this one goes on from; it is there if that attempt kept anything.
    deadline : float, optional
        UTC epoch seconds when the study ends; only information for the objective.
    settings : EvaluationSettings
    """

    trial_id: int
    attempt: int
    config: Mapping[str, Any]
    budget: float | None
    seed: int
    directory: str | None
    continues: str | None
    deadline: float | None
    settings: EvaluationSettings

    @property
    def full_or_own_budget(self) -> float | None:
        """The budget in numbers, if it is known; a whole one is an int, for ``range(trial.budget)``."""
        budget = self.settings.full_budget if self.budget is None else self.budget
        return int(budget) if budget is not None and float(budget).is_integer() else budget
