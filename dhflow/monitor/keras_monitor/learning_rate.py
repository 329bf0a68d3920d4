"""Another learning rate for a model that trains; importing this module loads Keras."""

from __future__ import annotations

from typing import Any

import keras  # noqa: TID253 - the schedule is a class of Keras; the module is imported when one is needed


@keras.saving.register_keras_serializable(package="dhflow")
class Rescaled(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A schedule, a constant times as high.

    Parameters
    ----------
    schedule : LearningRateSchedule
    factor : float
    """

    def __init__(self, schedule: Any, factor: float) -> None:
        super().__init__()
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step."""
        return self.schedule(step) * self.factor

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rescaled:
        """Return the schedule of a config."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"])


def set_learning_rate(model: Any, value: float) -> None:
    """Let a model train on with another learning rate; a schedule keeps its shape from there on."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    schedule = getattr(optimizer, "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        optimizer.learning_rate = value
        return
    now = float(keras.ops.convert_to_numpy(schedule(optimizer.iterations)))
    optimizer.learning_rate = Rescaled(schedule, value / now if now > 0 else 1.0)
    model.make_train_function(force=True)  # the schedule is part of the compiled step
