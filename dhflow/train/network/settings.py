"""How a network is trained: what every trial of a study shares, and what its config replaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dhflow.errors import SearchError
from dhflow.train.network.build import PRECISIONS
from dhflow.train.network.schedule import Schedule

SUMMARIES = ("last", "best", "mean")

OPTIMIZER_ARGUMENTS = ("momentum", "nesterov", "weight_decay", "beta_1", "beta_2", "rho", "epsilon", "clipnorm")
"""Hyperparameters of these names are the optimizer's."""

_SCHEDULE_ARGUMENTS = tuple(each.name for each in fields(Schedule) if each.name != "kind")

_SEARCHABLE = (
    "batch_size",
    "class_weight",
    "epochs",
    "learning_rate",
    "loss",
    "optimizer",
    "patience",
    "precision",
    "replicas",
)
"""Fields that a hyperparameter of the same name replaces; of the schedule there is ``schedule``, its kind, too."""

_LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "nll", "crossentropy", "absolute_error", "squared_error")
_MORE_IS_BETTER = ("accuracy", "acc", "auc", "r2", "r2_score", "f1_score", "precision", "recall", "similarity", "iou")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train a network.

    Parameters
    ----------
    objective : str
        What the search looks at: a name that Keras reports, such as ``"val_accuracy"`` or ``"val_loss"``.
    direction : {"minimize", "maximize"}, optional
        What is good; known of losses, errors and the usual scores.
    summary : {"last", "best", "mean"}
        The objective's value after the last epoch, after the best one, or the mean over the last `n_last` epochs.
    n_last : int
    loss : str, callable or mapping
        As ``compile`` takes it; ``"normal_nll"`` is that of a :class:`~dhflow.nas.NormalHead`.
    metrics : sequence
        As ``compile`` takes it: names, or functions; a metric's state would not go to a worker.
    epochs : int
        Of a whole training; a trial with a budget trains so many epochs as that says.
    batch_size : int
        Of one replica.
    optimizer : str
        A name that Keras knows.
    optimizer_arguments : mapping
        Further ones, such as ``{"momentum": 0.9}``.
    learning_rate : float
        Of one replica.
    schedule : Schedule or str
        A string is its kind. Its length is `epochs`, also for a trial with a smaller budget.
    class_weight : "balanced" or mapping, optional
        ``"balanced"``: classes weigh as if all had equally many examples.
    patience : int, optional
        Training ends when the objective has not got better for so many epochs.
    min_delta : float
        What counts as better.
    precision : {"float32", "mixed_float16", "mixed_bfloat16", "float64"}
    replicas : int
        Copies of the network that share each batch, on as many devices; see :mod:`dhflow.train.network.replicas`.
        Batch size and learning rate are multiplied by it, and the learning rate rises to that in 5 epochs.
    max_replicas : int, optional
        The most that any trial of the study will have: what a worker prepares itself for. None is `replicas`.
    time_limit_s : float, optional
        Seconds of training, after which it ends with what it has; a trial's own limits are kept in any case.
    checkpoint_interval_s : float, optional
        Between two checkpoints; one is written at the end in any case. None: none at all, and no trial can go on
        from this one.
    keep_model : bool
        Whether to leave the network as ``model.keras`` in the trial's directory: that of the best epoch where
        `summary` is ``"best"``, else that of the last.
    inherit_weights : bool
        Whether a trial with a parent of another architecture begins with the parent's weights, in layers of the same
        name and shape. A parent of the same one is gone on from, weights, optimizer and epoch.
    max_memory_bytes : int, optional
        A network that needs more at least is not built; None is what the worker has.
    monitor : bool or mapping
        Whether :class:`~dhflow.monitor.KerasMonitor` watches the training, with the validation data as its probe; it
        takes at most 3 % of the time. A mapping has options for it, such as ``{"interval": 5}``.

    Raises
    ------
    SearchError
        If something makes no sense; says which.
    """

    objective: str = "val_loss"
    direction: str | None = None
    summary: str = "last"
    n_last: int = 5
    loss: Any = "sparse_categorical_crossentropy"
    metrics: Any = ()
    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adam"
    optimizer_arguments: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    schedule: Schedule | str = "fixed"
    class_weight: Any = None
    patience: int | None = None
    min_delta: float = 0.0
    precision: str = "float32"
    replicas: int = 1
    max_replicas: int | None = None
    time_limit_s: float | None = None
    checkpoint_interval_s: float | None = 60.0
    keep_model: bool = False
    inherit_weights: bool = False
    max_memory_bytes: int | None = None
    monitor: bool | Mapping[str, Any] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", self.decay)
        object.__setattr__(self, "optimizer_arguments", dict(self.optimizer_arguments))
        if self.direction is None:
            object.__setattr__(self, "direction", _usual_direction(self.objective))
        if self.direction not in ("minimize", "maximize"):
            raise SearchError(f'TrainingSettings: direction is "minimize" or "maximize", not {self.direction!r}')
        if self.summary not in SUMMARIES:
            raise SearchError(f"TrainingSettings: summary is one of {', '.join(SUMMARIES)}, not {self.summary!r}")
        if self.precision not in PRECISIONS:
            raise SearchError(f"TrainingSettings: precision is one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        for name in ("n_last", "epochs", "batch_size", "replicas"):
            _check_whole(name, getattr(self, name))
        for name in ("patience", "max_replicas"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name))
        for name in ("learning_rate", "time_limit_s"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise SearchError(f"TrainingSettings: {name} must be positive, not {value}")

    def for_config(self, config: Mapping[str, Any]) -> TrainingSettings:
        """Return these settings with a config's hyperparameters in place of those of the same name.

        Parameters
        ----------
        config : mapping
            ``learning_rate``, ``batch_size``, ``epochs``, ``optimizer``, ``replicas``, ``patience``, ``precision``,
            ``loss``, ``class_weight``; ``schedule`` (its kind) and the schedule's arguments, such as
            ``warm_up_epochs``; arguments of optimizers, such as ``momentum``. Anything else is passed over.
        """
        given: dict[str, Any] = {name: config[name] for name in _SEARCHABLE if name in config}
        of_schedule = {name: config[name] for name in _SCHEDULE_ARGUMENTS if name in config}
        if "schedule" in config:
            of_schedule["kind"] = config["schedule"]
        if of_schedule:
            given["schedule"] = replace(self.decay, **of_schedule)
        of_optimizer = {name: config[name] for name in OPTIMIZER_ARGUMENTS if name in config}
        if of_optimizer:
            given["optimizer_arguments"] = {**self.optimizer_arguments, **of_optimizer}
        if "replicas" in given and self.max_replicas is None:
            raise SearchError(
                "the number of replicas is a hyperparameter: give TrainingSettings(max_replicas=…), the most that any "
                "trial will have, because a worker prepares itself for that once"
            )
        return replace(self, **given)

    @property
    def decay(self) -> Schedule:
        """How the learning rate changes."""
        return Schedule(self.schedule) if isinstance(self.schedule, str) else self.schedule

    def loss_of(self, value: float) -> float:
        """Return a value of the objective as something to minimise."""
        return -value if self.direction == "maximize" else value


def _usual_direction(objective: str) -> str:
    name = objective.removeprefix("val_").lower()
    if any(name == each or name.endswith(f"_{each}") for each in _LESS_IS_BETTER):
        return "minimize"
    if any(name == each or name.endswith(f"_{each}") for each in _MORE_IS_BETTER):
        return "maximize"
    raise SearchError(f'TrainingSettings: is a large {objective!r} good? say direction="maximize" or "minimize"')


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SearchError(f"TrainingSettings: {name} must be a whole number above 0, not {value!r}")
