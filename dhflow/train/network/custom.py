"""Keras layers for what Keras has no layer for; importing this module loads Keras.

They are registered under ``dhflow>…``: a kept model that has one is read by :func:`dhflow.train.load_model`.
"""

from __future__ import annotations

from typing import Any

import keras  # noqa: TID253 - the layers are classes of Keras; the module is imported when one is built
from keras import ops  # noqa: TID253

from dhflow.nas.shape import Shape

register = keras.saving.register_keras_serializable(package="dhflow")


@register
class Zeros(keras.layers.Layer):  # type: ignore[misc]
    """Zeros, as many examples as its input has.

    Parameters
    ----------
    shape : tuple
        Of an example; an axis of unknown length is as long as the input's.
    """

    def __init__(self, shape: Shape, **options: Any) -> None:
        super().__init__(**options)
        self.shape = tuple(shape)

    def call(self, inputs: Any) -> Any:
        """Return zeros."""
        given = ops.shape(inputs)
        sizes = [given[axis] if size is None else size for axis, size in enumerate(self.shape, 1)]
        return ops.zeros((given[0], *sizes), dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape with the axis of examples."""
        return (input_shape[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "shape": list(self.shape)}


@register
class PadTo(keras.layers.Layer):  # type: ignore[misc]
    """Zeros at the ends of the axes.

    Parameters
    ----------
    shape : tuple
        What an example's shape becomes.
    """

    def __init__(self, shape: Shape, **options: Any) -> None:
        super().__init__(**options)
        self.shape = tuple(shape)

    def call(self, inputs: Any) -> Any:
        """Return the input, padded."""
        pairs = zip(inputs.shape[1:], self.shape, strict=True)
        widths = [(0, 0 if old is None or new is None else new - old) for old, new in pairs]
        return ops.pad(inputs, [(0, 0), *widths])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape with the axis of examples."""
        return (input_shape[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "shape": list(self.shape)}


@register
class NormalParameters(keras.layers.Dense):  # type: ignore[misc]
    """Means, then standard deviations, of a normal distribution for each target.

    Parameters
    ----------
    units : int
        Twice the targets.
    min_std : float
    """

    def __init__(self, units: int, min_std: float, **options: Any) -> None:
        super().__init__(units, **options)
        self.min_std = min_std

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - Keras's signature
        """Return the dense layer's numbers, the second half made positive."""
        mean, raw = ops.split(super().call(inputs, training=training), 2, axis=-1)
        return ops.concatenate([mean, ops.softplus(raw) + self.min_std], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "min_std": self.min_std}


@register  # type: ignore[untyped-decorator]
def normal_nll(y_true: Any, y_pred: Any) -> Any:
    r"""Return -log N(y; mean, std²) of each example, the mean over targets, without the constant log √(2π).

    Parameters
    ----------
    y_true : (n, t)
    y_pred : (n, 2 t)
        Means, then standard deviations.

    Notes
    -----
    Eq. 1 of Lakshminarayanan et al. 2017, after Nix and Weigend 1994.
    """
    mean, std = ops.split(y_pred, 2, axis=-1)
    distance = (ops.reshape(ops.cast(y_true, mean.dtype), ops.shape(mean)) - mean) / std
    return ops.mean(ops.log(std) + 0.5 * ops.square(distance), axis=-1)


@register
class ScheduledRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A :class:`~dhflow.train.network.schedule.Schedule` as Keras asks for it, step by step.

    Parameters
    ----------
    schedule : Schedule or mapping
    peak : float
        Learning rate at a factor of 1.
    steps_per_epoch, epochs : int
    """

    def __init__(self, schedule: Any, peak: float, steps_per_epoch: int, epochs: int) -> None:
        from dhflow.train.network.schedule import Schedule

        super().__init__()
        self.schedule = schedule if isinstance(schedule, Schedule) else Schedule(**schedule)
        self.peak = peak
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step."""
        epoch = ops.cast(step, "float32") / self.steps_per_epoch
        return self.peak * self.schedule.factor(epoch, self.epochs, ops)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        from dataclasses import asdict

        return {
            "schedule": asdict(self.schedule),
            "peak": self.peak,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
        }
