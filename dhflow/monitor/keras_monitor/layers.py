"""The layers of a Keras model as the monitor names them, and their variables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dhflow.monitor.record import Layer

_ACTIVATION_LAYERS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "PReLU": "prelu",
    "Softmax": "softmax",
}


@dataclass(frozen=True, eq=False)
class NamedLayer:
    """One layer of a model, its sublayers included.

    Parameters
    ----------
    name : str
        Unique within the model.
    layer : keras.Layer
    is_inner : bool
        It lies in a model within the model.
    """

    name: str
    layer: Any
    is_inner: bool = False

    @property
    def activation(self) -> str:
        """Name of its activation; "" where it has none."""
        return activation_of(self.layer)

    def variables(self) -> Iterator[tuple[str, Any]]:
        """Yield the names and variables of floating-point weights."""
        for variable in self.layer.weights:
            if "float" in str(variable.dtype):
                yield self.name_of(variable), variable

    def name_of(self, variable: Any) -> str:
        """Return a variable's name within its layer: ``"kernel"``, ``"lstm_cell/kernel"``."""
        path = str(variable.path)
        at = path.find(f"{self.layer.name}/")
        return path[at + len(self.layer.name) + 1 :] if at >= 0 else str(variable.name)

    def facts(self) -> Layer:
        """Return what is recorded of it before the training."""
        layer = self.layer
        config = _config(layer)
        units = config.get("units", config.get("filters", 0))
        initializer = getattr(layer, "kernel_initializer", None) or getattr(layer, "embeddings_initializer", None)
        return Layer(
            self.name,
            type(layer).__name__,
            self.activation,
            units if isinstance(units, int) else 0,
            int(layer.count_params()) if layer.built else 0,
            is_trainable=bool(layer.trainable),
            initializer=snake(type(initializer).__name__) if initializer is not None else "",
        )


def named_layers(model: Any) -> list[NamedLayer]:
    """Return a model's layers in their order, those of models within it in their place."""
    found: list[NamedLayer] = []
    names: set[str] = set()
    _collect(model, "", found, names)
    return found


def _collect(model: Any, prefix: str, found: list[NamedLayer], names: set[str]) -> None:
    for layer in model.layers:
        if hasattr(layer, "layers") and hasattr(layer, "compute_loss"):
            _collect(layer, f"{prefix}{layer.name}/", found, names)
            continue
        name = layer.name if layer.name not in names else f"{prefix}{layer.name}"
        names.add(name)
        found.append(NamedLayer(name, layer, is_inner=bool(prefix)))


def activation_of(layer: Any) -> str:
    """Return the name of a layer's activation; "" where it has none."""
    known = _ACTIVATION_LAYERS.get(type(layer).__name__)
    if known is not None:
        return known
    activation = getattr(layer, "activation", None)
    if activation is None:
        return ""
    return str(getattr(activation, "__name__", None) or snake(type(activation).__name__))


def snake(name: str) -> str:
    """Return a class's name as that of a function: ``GlorotUniform``, ``glorot_uniform``."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")


def _config(layer: Any) -> dict[str, Any]:
    try:
        return dict(layer.get_config())
    except Exception:  # noqa: BLE001 - a layer of the user's own may have none
        return {}
