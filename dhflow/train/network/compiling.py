"""Optimizer, loss and metrics of a training."""

from __future__ import annotations

import math
from typing import Any

from dhflow.errors import BuildError
from dhflow.train.network.framework import load_keras, load_tensorflow
from dhflow.train.network.settings import TrainingSettings

NORMAL_NLL = "normal_nll"


def compile_model(model: Any, settings: TrainingSettings, n_train: int) -> None:
    """Compile a model; its optimizer has its variables then.

    Parameters
    ----------
    model : keras.Model
    settings : TrainingSettings
        With the batch size and the learning rate of all replicas.
    n_train : int
        Examples of an epoch.

    Raises
    ------
    BuildError
        If there is no such optimizer, loss or metric, or it does not take its arguments.
    """
    has_gpu = bool(load_tensorflow().config.list_physical_devices("GPU"))
    try:
        model.compile(
            optimizer=_optimizer(settings, n_train),
            loss=_loss(settings.loss),
            metrics=settings.metrics or None,
            # Every network of a search is compiled anew; on a CPU its training is too short to win that back.
            jit_compile="auto" if has_gpu else False,
        )
        model.optimizer.build(model.trainable_variables)
    except (ValueError, TypeError) as error:
        raise BuildError(f"the network cannot be compiled: {error}") from error


def _optimizer(settings: TrainingSettings, n_train: int) -> Any:
    kind = type(load_keras().optimizers.get(settings.optimizer))
    return kind(learning_rate=_learning_rate(settings, n_train), **settings.optimizer_arguments)


def _learning_rate(settings: TrainingSettings, n_train: int) -> Any:
    if settings.decay.is_constant:
        return settings.learning_rate
    from dhflow.train.network.custom import ScheduledRate

    steps_per_epoch = math.ceil(n_train / settings.batch_size)
    return ScheduledRate(settings.decay, settings.learning_rate, steps_per_epoch, settings.epochs)


def _loss(loss: Any) -> Any:
    if loss != NORMAL_NLL:
        return loss
    from dhflow.train.network.custom import normal_nll

    return normal_nll
