"""A last layer that does not fit the loss: told from how the network is built, before it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import DataFacts, NetworkFacts, Records
from dhflow.monitor.rules.base import Rule, found

_LINEAR = ("", "linear", "identity")
_REGRESSION = ("mean_squared_error", "mse", "mean_absolute_error", "mae", "huber", "log_cosh", "logcosh",
               "mean_squared_logarithmic_error", "msle", "mean_absolute_percentage_error", "mape")  # fmt: skip
_RANGES = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}


@dataclass(frozen=True)
class LastLayerLimits:
    """Thresholds of :func:`wrong_last_layer`."""

    n_std: float = 1.0
    """A regression's target this many standard deviations from its mean must lie in the activation's range."""


def wrong_last_layer(records: Records, context: Context, limits: LastLayerLimits) -> Finding | None:
    """Find a last activation, or a number of outputs, with which the loss cannot be what is meant."""
    del context
    network, data = records.network, records.data
    if not network.loss or not network.layers:
        return None
    why, fix = _problem(network, data, limits)
    if not why:
        return None
    evidence = {
        "loss": network.loss,
        "from_logits": network.from_logits,
        "last_activation": network.last_activation,
        "last_units": network.last_units,
    }
    expected = "a loss that measures what is meant"
    advised = advice.words("last_layer", fix, why, expected)
    return found(Severity.WARNING, f"wrong last layer: {why}", evidence, [advised])


def _problem(network: NetworkFacts, data: DataFacts, limits: LastLayerLimits) -> tuple[str, str]:
    loss = _snake(network.loss)
    if "binary_crossentropy" in loss or "binary_focal" in loss:
        return _of_binary(network)
    if "categorical_crossentropy" in loss:
        return _of_categorical(network, data)
    if loss in _REGRESSION:
        return _of_regression(network, data, limits)
    return "", ""


def _of_categorical(network: NetworkFacts, data: DataFacts) -> tuple[str, str]:
    last, n_classes = network.last_activation, len(data.class_counts)
    if network.last_units == 1:
        return ("a categorical cross-entropy with one output is always zero",
                "use one output per class, or binary_crossentropy")  # fmt: skip
    if n_classes and network.last_units and network.last_units < n_classes:
        return f"{network.last_units} outputs for {n_classes} classes", f"use {n_classes} outputs"
    if network.from_logits and last == "softmax":
        return "the loss applies a softmax to a softmax", "take away the activation, or from_logits=True"
    if not network.from_logits and last != "softmax":
        shown = f"activation {last!r}" if last not in _LINEAR else "no activation"
        return f"the loss expects probabilities, the last layer has {shown}", "use softmax, or from_logits=True"
    return "", ""


def _of_binary(network: NetworkFacts) -> tuple[str, str]:
    last = network.last_activation
    if last == "softmax" and network.last_units == 1:
        return "a softmax over one output is always 1", "use a sigmoid"
    if network.from_logits and last in ("sigmoid", "softmax"):
        return "the loss applies a sigmoid to a sigmoid", "take away the activation, or from_logits=True"
    if not network.from_logits and last not in ("sigmoid", "softmax", "hard_sigmoid"):
        shown = f"activation {last!r}" if last not in _LINEAR else "no activation"
        return f"the loss expects probabilities, the last layer has {shown}", "use a sigmoid, or from_logits=True"
    return "", ""


def _of_regression(network: NetworkFacts, data: DataFacts, limits: LastLayerLimits) -> tuple[str, str]:
    last = network.last_activation
    if last == "softmax" or len(data.class_counts) > 1:
        return (
            f"{network.loss} on classes: its gradient vanishes where the network is surely wrong",
            "use a cross-entropy",
        )
    if last not in _RANGES or not math.isfinite(data.target_mean) or not math.isfinite(data.target_std):
        return "", ""
    low, high = _RANGES[last]
    reach = limits.n_std * data.target_std
    if data.target_mean - reach < low or data.target_mean + reach > high:
        return (
            f"targets of {data.target_mean:.4g} ± {data.target_std:.4g} lie outside the range of {last}",
            "use no activation",
        )
    return "", ""


def _snake(name: str) -> str:
    """Return a loss's name as a function's: ``SparseCategoricalCrossentropy`` has two."""
    if name != name.lower():
        name = "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
    return name


RULES = (
    Rule("wrong_last_layer", "last_layer", wrong_last_layer, LastLayerLimits(), "definitions of the losses (Keras)"),
)
