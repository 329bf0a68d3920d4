"""One look at a model's tensors: weights, the last update, activations and gradients on the probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from dhflow.monitor.keras_monitor.layers import NamedLayer, named_layers
from dhflow.monitor.keras_monitor.probe import Array, Probe
from dhflow.monitor.keras_monitor.tensors import Histograms, activation_record, tensor_record
from dhflow.monitor.record import TensorRecord


class Snapshots:
    """Looks at a model, again and again.

    Parameters
    ----------
    model : keras.Model
        Built.
    probe : Probe, optional
        Without one there are only weights and updates.
    histograms : Histograms
    """

    def __init__(self, model: Any, probe: Probe | None, histograms: Histograms) -> None:
        self._model = model
        self._probe = probe
        self._histograms = histograms
        self._layers = named_layers(model)
        self._owners = {id(v): (each, name) for each in self._layers for name, v in each.variables()}
        self._before: list[Array] | None = None
        self._update: list[Array] | None = None

    # An update is the difference that one step of the optimiser makes

    @property
    def has_before(self) -> bool:
        """Whether a step is going on whose update will be recorded."""
        return self._before is not None

    @property
    def has_update(self) -> bool:
        """Whether an update waits to be recorded."""
        return self._update is not None

    def keep_before(self) -> None:
        """Keep the weights before a step."""
        if _steps_at_once(self._model) == 1:
            self._before = self._values()

    def keep_update(self) -> None:
        """Keep what the step has changed."""
        before, self._before = self._before, None
        if before is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                self._update = [now - then for now, then in zip(self._values(), before, strict=True)]

    def _values(self) -> list[Array]:
        # Copies: an array of TensorFlow's may share memory with the variable.
        return [np.array(each.numpy(), copy=True) for each in self._model.trainable_variables]

    # Records

    def records(self, step: int, at: float) -> list[TensorRecord]:
        """Return the records of all tensors now."""
        found = [
            tensor_record(step, each.name, "weight", name, variable.numpy(), histograms=self._histograms, time=at)
            for each in self._layers
            for name, variable in each.variables()
        ]
        update, self._update = self._update, None
        if update is not None:
            found += self._of_variables("update", update, step, at)
        if self._probe is not None:
            found += self._of_probe(self._probe, step, at)
        return found

    def _of_probe(self, probe: Probe, step: int, at: float) -> list[TensorRecord]:
        found = [
            activation_record(step, each.name, each.activation, values, histograms=self._histograms, time=at)
            for each, values in probe.activations()
        ]
        gradients = probe.gradients()
        shapes = [tuple(each.shape) for each in self._model.trainable_variables]
        # The loss does not depend on a variable without a gradient.
        whole = [np.zeros(shape) if each is None else each for each, shape in zip(gradients, shapes, strict=False)]
        return found + self._of_variables("gradient", whole, step, at)

    def _of_variables(self, kind: Any, arrays: list[Array], step: int, at: float) -> list[TensorRecord]:
        found = []
        for variable, values in zip(self._model.trainable_variables, arrays, strict=False):
            owner: tuple[NamedLayer, str] | None = self._owners.get(id(variable))
            if owner is not None:
                layer, name = owner
                record = tensor_record(step, layer.name, kind, name, values, histograms=self._histograms, time=at)
                found.append(record)
        return found


def _steps_at_once(model: Any) -> int:
    return int(getattr(model, "steps_per_execution", 1) or 1)
