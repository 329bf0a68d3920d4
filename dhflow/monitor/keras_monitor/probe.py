"""What a model does with the probe, a fixed batch of samples: activations, gradients, losses, predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dhflow.errors import SearchError
from dhflow.monitor.keras_monitor.layers import NamedLayer, named_layers

TENSOR_SAMPLES = 256
"""Of the probe, that go through the network for activations and gradients: in one batch."""

TEST_SAMPLES = 2_048
"""Of the probe, that are classified and whose losses are compared."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, targets and weights of samples; nested as the model takes them.

    Parameters
    ----------
    x : array or nested arrays
    y, weight : the same, optional
    """

    x: Any
    y: Any = None
    weight: Any = None

    @classmethod
    def of(cls, given: Any) -> Samples:
        """Return what was given: ``x``, ``(x, y)``, ``(x, y, weight)``, or a ``Dataset`` of batches.

        Raises
        ------
        SearchError
            If it is none of these.
        """
        if hasattr(given, "element_spec"):
            given = _first_batches(given)
        if not isinstance(given, tuple):
            return cls(given)
        if not 1 <= len(given) <= 3:
            raise SearchError(f"KerasMonitor: samples are x, (x, y) or (x, y, weight), not {len(given)} parts")
        return cls(*given)

    def __len__(self) -> int:
        return len(next(_leaves(self.x)))

    def some(self, n: int) -> Samples:
        """Return at most so many samples, evenly chosen: data are often sorted by class."""
        size = len(self)
        rows = np.arange(size) if size <= n else np.linspace(0, size - 1, n).astype(int)
        return self._taken(rows)

    def batches(self, n: int) -> Iterator[Samples]:
        """Yield the samples, so many at a time."""
        for at in range(0, len(self), n):
            yield self._taken(slice(at, at + n))

    def _taken(self, rows: Any) -> Samples:
        parts = (self.x, self.y, self.weight)
        return Samples(*(_mapped(lambda each: np.asarray(each)[rows], part) for part in parts))


@dataclass(frozen=True, eq=False)
class Tested:
    """What a test on the probe says.

    Parameters
    ----------
    outputs : array
        Of a model with one output.
    losses : (n,), optional
        Of each sample; None where the loss does not tell.
    """

    outputs: Array
    losses: Array | None


class Probe:
    """A model and the fixed samples on which it is looked at.

    Parameters
    ----------
    model : keras.Model
        Compiled and built.
    samples : Samples
    """

    def __init__(self, model: Any, samples: Samples) -> None:
        self._model = model
        self._samples = samples.some(TEST_SAMPLES)
        self._batch = samples.some(TENSOR_SAMPLES)
        self.layers = named_layers(model)
        self._shown: list[NamedLayer] = []
        self._inspector: Any = None
        self._has_complained = False
        # What a stateful layer remembers from batch to batch would be what the probe has left there.
        self.is_usable = not any(getattr(each.layer, "stateful", False) for each in self.layers)

    @property
    def samples(self) -> Samples:
        """The samples."""
        return self._samples

    def activations(self) -> list[tuple[NamedLayer, Array]]:
        """Return the outputs of layers that have weights or an activation; none of a model that is no graph."""
        if self._inspector is None:
            self._make_inspector()
        if not self._shown:
            return []
        outputs = self._inspector(self._graph_inputs(), training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return [(layer, _array(each)) for layer, each in zip(self._shown, outputs, strict=True)]

    def _make_inspector(self) -> None:
        import keras

        self._inspector = False
        inputs = getattr(self._model, "inputs", None)
        if not inputs:
            return
        tensors = []
        for each in self.layers:
            tensor = None if each.is_inner else _output(each.layer)
            if tensor is not None and (each.activation or each.layer.weights):
                self._shown.append(each)
                tensors.append(tensor)
        if tensors:
            self._inspector = keras.Model(inputs, tensors, name="dhflow_monitor")

    def _graph_inputs(self) -> Any:
        x, inputs = self._batch.x, self._model.inputs
        if isinstance(x, Mapping) and all(each.name in x for each in inputs):
            return [x[each.name] for each in inputs]
        return list(_leaves(x))

    def gradients(self) -> list[Array | None]:
        """Return the gradient of the loss for each trainable variable, in the model's order; none without targets.

        The layers work as in a prediction, without dropout, so that two looks differ only by the weights.
        """
        import tensorflow as tf

        if self._batch.y is None:
            return []
        model = self._model
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._loss(tf)
            # Of half precision, small gradients would be zero.
            scale = float(np.asarray(getattr(model.optimizer, "dynamic_scale", None) or 1.0))
            scaled = loss * scale
        found = tape.gradient(scaled, [getattr(each, "value", each) for each in variables])
        return [None if each is None else _array(tf.convert_to_tensor(each)) / scale for each in found]

    def _loss(self, tf: Any) -> Any:
        batch = _tensors(self._batch, tf)
        outputs = self._model(batch.x, training=False)
        return self._model.compute_loss(x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.weight)

    def test(self) -> Tested | None:
        """Return outputs and losses of all samples; None of a model with several outputs."""
        import tensorflow as tf

        outputs: list[Array] = []
        losses: list[Array] = []
        per_sample = _per_sample(self._model.loss) if self._samples.y is not None else None
        for each in self._samples.batches(TENSOR_SAMPLES):
            batch = _tensors(each, tf)
            found = self._model(batch.x, training=False)
            if isinstance(found, dict | list | tuple):
                return None
            outputs.append(_array(found))
            if per_sample is not None and not self._has_complained:
                losses += self._losses(per_sample, batch.y, found)
        if self._has_complained:
            losses.clear()
        return Tested(np.concatenate(outputs), np.concatenate(losses) if losses else None)

    def _losses(self, per_sample: Callable[[Any, Any], Any], y: Any, outputs: Any) -> list[Array]:
        """Return the losses of a batch's samples; nothing, and say why, where the loss does not give them."""
        try:
            value = _array(per_sample(y, outputs))
        except Exception as error:  # noqa: BLE001 - a loss may be the user's own code
            self._complain(f"the loss fails on the probe: {type(error).__name__}: {error}")
            return []
        if not value.ndim or len(value) != len(outputs):
            self._complain(
                f"the loss gives {value.size} number(s) for {len(outputs)} samples; let it return one for each, "
                "keras.ops.mean(..., axis=-1): Keras takes their mean itself"
            )
            return []
        return [value.reshape(len(value), -1).mean(axis=1)]

    def _complain(self, why: str) -> None:
        self._has_complained = True
        warnings.warn(f"KerasMonitor: worst samples are not recorded: {why}", stacklevel=2)


def build_from(model: Any, samples: Samples) -> None:
    """Build a ``Sequential`` model that waits for its first batch, so that it can be looked at before."""
    shape = getattr(samples.x, "shape", None)
    if not model.built and hasattr(model, "pop") and shape is not None:
        model.build((None, *shape[1:]))


def _per_sample(loss: Any) -> Callable[[Any, Any], Any] | None:
    """Return the function that gives a loss for each sample; None where a model's loss is made in another way."""
    import keras

    if loss is None or isinstance(loss, dict | list | tuple):
        return None
    found = keras.losses.get(loss)
    of_batch = found.call if isinstance(found, keras.losses.Loss) else found

    def per_sample(y: Any, outputs: Any) -> Any:
        # As Keras does before it calls a loss: targets (n,) go with outputs (n, 1), and whole numbers with floats.
        y, outputs = (keras.ops.convert_to_tensor(each, dtype=keras.config.floatx()) for each in (y, outputs))
        return of_batch(*_of_same_rank(keras, y, outputs))

    return per_sample


def _of_same_rank(keras: Any, y: Any, outputs: Any) -> tuple[Any, Any]:
    """Return targets and outputs, of which one may lack the last axis of length 1 that the other has."""
    apart = len(y.shape) - len(outputs.shape)
    if apart == -1 and outputs.shape[-1] == 1:
        return keras.ops.expand_dims(y, -1), outputs
    if apart == 1 and y.shape[-1] == 1:
        return (y, keras.ops.expand_dims(outputs, -1)) if len(outputs.shape) == 1 else (y[..., 0], outputs)
    return y, outputs


def _output(layer: Any) -> Any:
    try:
        found = layer.output
    except (AttributeError, ValueError):  # of layers that are used twice, or outside of the graph
        return None
    return None if isinstance(found, dict | list | tuple) else found


def _first_batches(dataset: Any) -> Any:
    """Return the first batches of a ``Dataset`` as one."""
    parts: list[Any] = []
    n = 0
    for each in dataset:
        parts.append(each)
        n += len(next(_leaves(each[0] if isinstance(each, tuple) else each)))
        if n >= TEST_SAMPLES:
            break
    if not parts:
        raise SearchError("KerasMonitor: the Dataset of the probe has no batch")
    return _joined(parts)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, tuple | list):
        return type(first)(_joined([each[i] for each in parts]) for i in range(len(first)))
    if isinstance(first, Mapping):
        return {name: _joined([each[name] for each in parts]) for name in first}
    return np.concatenate([np.asarray(each) for each in parts])


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for name in sorted(value):
            yield from _leaves(value[name])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {name: _mapped(function, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(function, each) for each in value)
    return function(value)


def _tensors(samples: Samples, tf: Any) -> Samples:
    return Samples(*(_mapped(tf.convert_to_tensor, part) for part in (samples.x, samples.y, samples.weight)))


def _array(tensor: Any) -> Array:
    return np.asarray(tensor, dtype=np.float32) if str(tensor.dtype).endswith("16'>") else np.asarray(tensor)
