"""From an operation to the Keras layers that do it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dhflow.errors import BuildError
from dhflow.nas import (
    GRU,
    LSTM,
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    MultiHeadAttention,
    NormalHead,
    Operation,
    Pad,
    Reshape,
    SeparableConv2D,
    Sequential,
    SimpleRNN,
    TimeDistributed,
    Zero,
)
from dhflow.nas.shape import Shape
from dhflow.train.network.framework import load_keras

Make = Callable[[Any, Shape, str, Any], Any]
"""From an operation, the shape that it gets, the layer's name and the module ``keras.layers`` to a layer."""


def make_layer(operation: Any, shape: Shape, name: str) -> Callable[[Any], Any]:
    """Return a new layer, or something else to be called with a tensor.

    Parameters
    ----------
    operation : Operation
        No merge and no input.
    shape : tuple
        Of the tensor that it gets.
    name : str

    Raises
    ------
    BuildError
        If there is no layer for it.
    """
    make = _MAKERS.get(type(operation))
    if make is not None:
        return make(operation, shape, name, load_keras().layers)  # type: ignore[no-any-return]
    if isinstance(operation, Operation) and operation.is_identity(shape):
        return lambda tensor: tensor
    if hasattr(operation, "layer"):
        return _own_layer(operation, name)
    raise BuildError(f"{name}: there is no Keras layer for {operation.label}")


def _own_layer(operation: Any, name: str) -> Callable[[Any], Any]:
    layer = operation.layer()
    if not callable(layer):
        raise BuildError(f"{name}: {operation.label}.layer() returned {layer!r:.80}, which cannot be called")
    keras = load_keras()
    if isinstance(layer, keras.layers.Layer) and not layer.built:
        # A layer of Keras has a free name; one that a user's class has built may be used elsewhere.
        layer.name = name
    return layer  # type: ignore[no-any-return]


def _dense(of: Dense, shape: Shape, name: str, layers: Any) -> Any:
    return layers.Dense(of.units, of.activation, use_bias=of.use_bias, name=name)


def _convolution(of: Any, shape: Shape, name: str, layers: Any) -> Any:
    given = {
        each: getattr(of, each)
        for each in ("filters", "depth_multiplier", "dilation_rate")
        if hasattr(of, each)  # DepthwiseConv2D has no filters, only Conv1D and Conv2D a dilation
    }
    return getattr(layers, type(of).__name__)(
        kernel_size=of.kernel_size,
        strides=of.strides,
        padding=of.padding,
        activation=of.activation,
        use_bias=of.use_bias,
        name=name,
        **given,
    )


_POOLS = {
    MaxPool1D: "MaxPooling1D",
    MaxPool2D: "MaxPooling2D",
    AvgPool1D: "AveragePooling1D",
    AvgPool2D: "AveragePooling2D",
}


def _pool(of: Any, shape: Shape, name: str, layers: Any) -> Any:
    return getattr(layers, _POOLS[type(of)])(of.pool_size, of.strides, of.padding, name=name)


def _global_pool(of: GlobalPool, shape: Shape, name: str, layers: Any) -> Any:
    kind = of.kind.capitalize()
    if len(shape) == 1:
        return layers.Identity(name=name)
    if len(shape) in (2, 3):
        return getattr(layers, f"Global{kind}Pooling{len(shape) - 1}D")(name=name)
    rows = layers.Reshape((-1, shape[-1]), name=f"{name}.rows")
    pool = getattr(layers, f"Global{kind}Pooling1D")(name=name)
    return lambda tensor: pool(rows(tensor))


def _recurrent(of: Any, shape: Shape, name: str, layers: Any) -> Any:
    return getattr(layers, type(of).__name__)(
        of.units,
        activation=of.activation,
        return_sequences=of.return_sequences,
        dropout=of.dropout,
        recurrent_dropout=of.recurrent_dropout,
        name=name,
    )


def _bidirectional(of: Bidirectional, shape: Shape, name: str, layers: Any) -> Any:
    inner = _recurrent(of.operation, shape, f"{name}.forward", layers)
    return layers.Bidirectional(inner, merge_mode={"concatenate": "concat", "add": "sum"}[of.merge], name=name)


def _attention(of: MultiHeadAttention, shape: Shape, name: str, layers: Any) -> Any:
    layer = layers.MultiHeadAttention(of.heads, of.key_dim, dropout=of.dropout, use_bias=of.use_bias, name=name)
    return lambda tensor: layer(tensor, tensor)


def _time_distributed(of: TimeDistributed, shape: Shape, name: str, layers: Any) -> Any:
    keras = load_keras()
    inner = make_layer(of.operation, shape[1:], f"{name}.step")
    if not isinstance(inner, layers.Layer):
        one = keras.Input(shape[1:])
        inner = keras.Model(one, inner(one), name=f"{name}.step")
    return layers.TimeDistributed(inner, name=name)


def _sequential(of: Sequential, shape: Shape, name: str, layers: Any) -> Any:
    made = []
    for i, each in enumerate(of.operations):
        made.append(make_layer(each, shape, f"{name}.{i}"))
        shape = each.output_shape(shape)
    return lambda tensor: functools.reduce(lambda given, layer: layer(given), made, tensor)


def _zeros(of: Zero, shape: Shape, name: str, layers: Any) -> Any:
    from dhflow.train.network.custom import Zeros

    wanted = shape if of.shape is None else of.shape
    for axis, size in enumerate(wanted):
        if size is None and (axis >= len(shape) or shape[axis] is not None):
            raise BuildError(f"{name}: nothing tells how many zeros the axis {axis} of {wanted} has")
    return Zeros(wanted, name=name)


def _padding(of: Pad, shape: Shape, name: str, layers: Any) -> Any:
    from dhflow.train.network.custom import PadTo

    return PadTo(of.shape, name=name)


def _normal_head(of: NormalHead, shape: Shape, name: str, layers: Any) -> Any:
    from dhflow.train.network.custom import NormalParameters

    return NormalParameters(2 * of.units, of.min_std, name=name)


_MAKERS: dict[type, Make] = {
    Activation: lambda of, shape, name, layers: layers.Activation(of.activation, name=name),
    BatchNorm: lambda of, shape, name, layers: layers.BatchNormalization(
        momentum=of.momentum, epsilon=of.epsilon, name=name
    ),
    Bidirectional: _bidirectional,
    Dense: _dense,
    Dropout: lambda of, shape, name, layers: layers.Dropout(of.rate, name=name),
    Embedding: lambda of, shape, name, layers: layers.Embedding(of.input_dim, of.output_dim, name=name),
    Flatten: lambda of, shape, name, layers: layers.Flatten(name=name),
    GlobalPool: _global_pool,
    LayerNorm: lambda of, shape, name, layers: layers.LayerNormalization(epsilon=of.epsilon, name=name),
    MultiHeadAttention: _attention,
    NormalHead: _normal_head,
    Pad: _padding,
    Sequential: _sequential,
    Reshape: lambda of, shape, name, layers: layers.Reshape(of.shape, name=name),
    TimeDistributed: _time_distributed,
    Zero: _zeros,
    **dict.fromkeys((Conv1D, Conv2D, DepthwiseConv2D, SeparableConv2D), _convolution),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys((SimpleRNN, LSTM, GRU), _recurrent),
}
