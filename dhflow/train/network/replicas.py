"""Data-parallel training in one trial: copies of a network that share each batch (Egele et al. 2021, sec. III-B).

Notation
--------
n : replicas;  a batch of n × ``batch_size`` examples is shared evenly, gradients are averaged, and the learning rate is
n × ``learning_rate``, to which it rises from ``learning_rate`` in the first :data:`WARM_UP_EPOCHS` epochs (the linear
scaling rule and the gradual warm-up of Goyal et al. 2017).

Replicas run on the GPUs that a worker sees, or, where it sees none, on logical CPU devices, into which TensorFlow
divides a process once, before it is first used: :func:`prepare_replicas`. Several logical CPU devices are run
by the tests; GPUs have not been run yet.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from dhflow.errors import BuildError
from dhflow.train.network.framework import load_tensorflow
from dhflow.train.network.settings import TrainingSettings

WARM_UP_EPOCHS = 5.0
"""Egele et al. 2021, sec. III-B, as Goyal et al. 2017."""


def prepare_replicas(n: int) -> list[str]:
    """Make sure that this process has as many devices as replicas, and return their names.

    Parameters
    ----------
    n : int
        The most replicas that any trial in this process will have.

    Raises
    ------
    BuildError
        If there are too few: fewer GPUs, or a process whose TensorFlow was in use before.
    """
    tf = load_tensorflow()
    if tf.config.list_physical_devices("GPU"):
        found = [each.name for each in tf.config.list_logical_devices("GPU")]
        if len(found) < n:
            raise BuildError(
                f"{n} replicas need {n} GPUs, and this worker sees {len(found)}: give a worker more of the node "
                "(one worker per node, or available_accelerators), or search fewer replicas"
            )
        return found[:n]
    if n > 1:
        # Refused where TensorFlow is in use; that it was divided before is what the next line finds out.
        with contextlib.suppress(RuntimeError, ValueError):
            whole = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(whole, [tf.config.LogicalDeviceConfiguration()] * n)
    found = [each.name for each in tf.config.list_logical_devices("CPU")]
    if len(found) < n:
        raise BuildError(
            f"{n} replicas need {n} logical CPU devices, and this process has {len(found)}: TensorFlow divides "
            "a process once, before anything else uses it, and workers are used again. Give "
            f"TrainingSettings(max_replicas=…) the most of all trials, or call "
            f"dhflow.train.prepare_replicas({n}) first in the per_worker function"
        )
    return found[:n]


def strategy_for(settings: TrainingSettings) -> Any:
    """Return what a network is to be built and compiled under, or None where one device does.

    Raises
    ------
    BuildError
        If there are too few devices, or `replicas` is above `max_replicas`.
    """
    most = settings.replicas if settings.max_replicas is None else settings.max_replicas
    if settings.replicas > most:
        raise BuildError(f"{settings.replicas} replicas are more than max_replicas, {most}")
    devices = prepare_replicas(most) if most > 1 else []
    if settings.replicas == 1:
        return None
    tf = load_tensorflow()
    # TensorFlow's usual collective operations know a process by its first number of replicas: a trial with another
    # one fails ("joining a group with size 2, but that group has size 4"), and so do all after it.
    return tf.distribute.MirroredStrategy(devices[: settings.replicas], tf.distribute.ReductionToOneDevice())


def scaled(settings: TrainingSettings) -> TrainingSettings:
    """Return settings whose batch size and learning rate are those of all replicas together."""
    n = settings.replicas
    if n == 1:
        return settings
    schedule = settings.decay
    if schedule.warm_up_epochs < WARM_UP_EPOCHS:
        schedule = replace(schedule, warm_up_epochs=WARM_UP_EPOCHS, warm_up_from=1.0 / n)
    return replace(
        settings,
        batch_size=n * settings.batch_size,
        learning_rate=n * settings.learning_rate,
        schedule=schedule,
    )
