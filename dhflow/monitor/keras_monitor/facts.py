"""What is known before a training begins: the network as it was compiled, and its data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dhflow.monitor.keras_monitor.layers import activation_of, named_layers, snake
from dhflow.monitor.record import DataFacts, NetworkFacts

MAX_CLASSES = 1_000
"""Whole numbers with more different values are no classes."""

_CLASS_LOSSES = ("crossentropy", "hinge", "focal")


def network_facts(model: Any, *, n_steps: int = 0, batch_size: int = 0, n_epochs: int = 0) -> NetworkFacts:
    """Return the facts of a compiled model."""
    layers = named_layers(model)
    optimizer = model.optimizer
    last = layers[-1] if layers else None
    facts = [each.facts() for each in layers]
    return NetworkFacts(
        tuple(facts),
        loss_name(model),
        bool(_from_logits(model.loss)),
        activation_of(last.layer) if last else "",
        _last_units(model),
        type(optimizer).__name__ if optimizer is not None else "",
        learning_rate_of(model),
        _clip_norm(optimizer),
        batch_size,
        n_steps,
        n_epochs,
    )


def loss_name(model: Any) -> str:
    """Return the name of a model's loss as a function's; "" where there is none, or one for each output."""
    loss = model.loss
    if loss is None or isinstance(loss, dict | list | tuple):
        return ""
    if isinstance(loss, str):
        return snake(loss) if loss != loss.lower() else loss
    wrapped = getattr(loss, "fn", None)
    name = getattr(loss, "__name__", None) or getattr(wrapped, "__name__", None) or type(loss).__name__
    return snake(str(name))


def is_classification(model: Any) -> bool:
    """Tell whether a model's loss is one of classes."""
    return any(each in loss_name(model) for each in _CLASS_LOSSES)


def learning_rate_of(model: Any) -> float:
    """Return the learning rate now; NaN where there is none."""
    try:
        return float(np.asarray(model.optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError):
        return math.nan


def data_facts(x: Any, y: Any, *, n_samples: int = 0, classes: bool = False) -> DataFacts:
    """Return the facts of inputs and targets; of several inputs, or of texts, only those of the targets.

    Parameters
    ----------
    x, y : array, or nested arrays, or None
    n_samples : int
        Of the whole training set; 0 is unknown.
    classes : bool
        Whether `y` are classes: whole numbers or one-hot rows.
    """
    found: dict[str, Any] = {"n_samples": n_samples}
    inputs = _numbers(x)
    if inputs is not None:
        found |= {"n_probed": len(inputs), **_input_facts(inputs)}
    targets = _numbers(y)
    if targets is not None and targets.size:
        found |= _target_facts(targets, classes=classes)
    return DataFacts(**found)


def class_numbers(y: Any) -> np.ndarray[Any, Any] | None:
    """Return the class of each sample from whole numbers or one-hot rows; None if it is neither."""
    targets = _numbers(y)
    if targets is None or not targets.size or not np.isfinite(targets).all():
        return None
    if targets.ndim == 2 and targets.shape[1] > 1:
        is_one_hot = bool(((targets == 0) | (targets == 1)).all()) and bool((targets.sum(axis=1) == 1).all())
        return targets.argmax(axis=1) if is_one_hot else None
    flat = targets.reshape(len(targets), -1)
    if flat.shape[1] != 1 or (flat < 0).any() or (flat != flat.astype(np.int64)).any() or flat.max() >= MAX_CLASSES:
        return None
    return flat[:, 0].astype(np.int64)


def _numbers(value: Any) -> np.ndarray[Any, Any] | None:
    if value is None or isinstance(value, dict | list | tuple):
        return None
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "fiub" and array.ndim else None


def _input_facts(inputs: np.ndarray[Any, Any]) -> dict[str, Any]:
    finite = np.isfinite(inputs)
    n_bad = int(inputs.size - finite.sum())
    kept = inputs[finite]
    if not kept.size:
        return {"n_nonfinite_inputs": n_bad}
    # Places of an image or of a series are no features with a spread of their own.
    rows = inputs.reshape(-1, inputs.shape[-1])
    rows = rows[np.isfinite(rows).all(axis=1)]
    spreads = rows.std(axis=0) if len(rows) > 1 else np.zeros(1)
    spreads = spreads[spreads > 0]
    return {
        "input_mean": float(kept.mean()),
        "input_std": float(kept.std()),
        "input_max_abs": float(np.abs(kept).max()),
        "feature_std_ratio": float(spreads.max() / np.median(spreads)) if spreads.size else math.nan,
        "n_nonfinite_inputs": n_bad,
    }


def _target_facts(targets: np.ndarray[Any, Any], *, classes: bool) -> dict[str, Any]:
    numbers = class_numbers(targets) if classes else None
    if numbers is not None:
        n = targets.shape[1] if targets.ndim == 2 and targets.shape[1] > 1 else 0
        return {"class_counts": tuple(np.bincount(numbers, minlength=n).tolist())}
    finite = targets[np.isfinite(targets)]
    lost = {"n_nonfinite_targets": int(targets.size - finite.size)}
    if not finite.size:
        return lost
    return {"target_mean": float(finite.mean()), "target_std": float(finite.std()), **lost}


def _from_logits(loss: Any) -> bool:
    for each in (loss, getattr(loss, "_fn_kwargs", None)):
        value = each.get("from_logits") if isinstance(each, dict) else getattr(each, "from_logits", None)
        if value is not None:
            return bool(value)
    return False


def _last_units(model: Any) -> int:
    shape = getattr(model, "output_shape", None)
    is_one = isinstance(shape, tuple) and shape and not isinstance(shape[0], tuple | list)
    return int(shape[-1] or 0) if is_one and isinstance(shape, tuple) and len(shape) > 1 else 0


def _clip_norm(optimizer: Any) -> float:
    for name in ("global_clipnorm", "clipnorm"):
        value = getattr(optimizer, name, None)
        if value is not None:
            return float(value)
    return math.nan
