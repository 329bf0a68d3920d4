"""Shapes and parameter counts of operations; the constants are what Keras 3 says of the same layers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import (
    GRU,
    LSTM,
    Activation,
    Add,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Identity,
    Input,
    Layer,
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
    Skip,
    TimeDistributed,
    UserOperation,
    Zero,
)
from dhflow.nas.catalogue import OPERATIONS, operation_from_json, operation_to_json
from dhflow.nas.shape import Shape

CASES: list[tuple[Operation, Shape, Shape, int]] = [
    (Identity(), (4, 3), (4, 3), 0),
    (Zero(), (4, 3), (4, 3), 0),
    (Zero((2,)), (4, 3), (2,), 0),
    (Skip("later"), (4,), (4,), 0),
    (Dense(7, "relu"), (5,), (7,), 42),
    (Dense(7, use_bias=False), (9, 5), (9, 7), 35),
    (Dropout(0.5), (None, 5), (None, 5), 0),
    (Activation("gelu"), (5,), (5,), 0),
    (BatchNorm(), (4, 6), (4, 6), 24),
    (LayerNorm(), (4, 6), (4, 6), 12),
    (Conv1D(8, 3, 2), (11, 5), (6, 8), 128),
    (Conv1D(8, 3, padding="causal", dilation_rate=2), (11, 5), (11, 8), 128),
    (Conv1D(8, 3, padding="valid", dilation_rate=2), (11, 5), (7, 8), 128),
    (Conv1D(8, 3, 2), (None, 5), (None, 8), 128),
    (Conv2D(8, (3, 5), 2), (11, 9, 3), (6, 5, 8), 368),
    (Conv2D(8, 3, (2, 1), "valid"), (11, 9, 3), (5, 7, 8), 224),
    (SeparableConv2D(8, 3, 2, depth_multiplier=2), (11, 9, 3), (6, 5, 8), 110),
    (SeparableConv2D(8, 3, use_bias=False), (11, 9, 3), (11, 9, 8), 51),
    (DepthwiseConv2D(3, 2, depth_multiplier=2), (11, 9, 3), (6, 5, 6), 60),
    (MaxPool1D(3), (11, 5), (4, 5), 0),
    (MaxPool2D(3, 2), (11, 9, 3), (6, 5, 3), 0),
    (MaxPool2D(3, 2, "valid"), (11, 9, 3), (5, 4, 3), 0),
    (AvgPool1D(4, 3, "valid"), (11, 5), (3, 5), 0),
    (AvgPool2D((2, 3)), (11, 9, 3), (6, 3, 3), 0),
    (GlobalPool(), (11, 9, 3), (3,), 0),
    (GlobalPool("max"), (None, 9), (9,), 0),
    (Flatten(), (4, 3, 2), (24,), 0),
    (Reshape((2, -1)), (4, 3), (2, 6), 0),
    (Embedding(50, 4), (7,), (7, 4), 200),
    (SimpleRNN(6), (7, 3), (6,), 60),
    (LSTM(6, return_sequences=True), (7, 3), (7, 6), 240),
    (GRU(6), (None, 3), (6,), 198),
    (Bidirectional(GRU(6, return_sequences=True)), (7, 3), (7, 12), 396),
    (Bidirectional(LSTM(6), "add"), (7, 3), (6,), 480),
    (MultiHeadAttention(3, 5), (7, 8), (7, 8), 533),
    (TimeDistributed(Conv2D(4, 3)), (5, 8, 8, 2), (5, 8, 8, 4), 76),
    (NormalHead(2), (8,), (4,), 36),
    (Pad((4, 6)), (3, 6), (4, 6), 0),
    (Sequential([Dense(4), BatchNorm(), Activation("relu")]), (3,), (4,), 32),
]
IDS = [f"{each[0].label} on {each[1]}" for each in CASES]


@pytest.mark.parametrize(("operation", "shape", "made", "count"), CASES, ids=IDS)
def test_shape_and_count(operation: Operation, shape: Shape, made: Shape, count: int) -> None:
    assert operation.output_shape(shape) == made
    assert operation.parameter_count(shape) == count


@pytest.mark.parametrize("operation", [each[0] for each in CASES], ids=IDS)
def test_json_both_ways(operation: Operation) -> None:
    text = json.dumps(operation_to_json(operation))
    read = operation_from_json(json.loads(text))
    assert read == operation
    assert isinstance(read, Operation)
    assert read.label == operation.label
    assert hash(read) == hash(operation)


def test_every_operation_is_tried_here() -> None:
    tried = {type(each[0]).__name__ for each in CASES}
    assert tried | {"Input", "Layer", "Add", "Concatenate"} == OPERATIONS.keys()


@pytest.mark.parametrize(
    ("operation", "label"),
    [
        (Dense(32, "relu"), "Dense(32, relu)"),
        (Dense(32, use_bias=False), "Dense(32, no bias)"),
        (Conv2D(8, (3, 5), (2, 1), "valid"), "Conv2D(8, 3x5, strides=2x1, valid)"),
        (MaxPool2D(), "MaxPool2D"),
        (MaxPool2D(3, 2), "MaxPool2D(3, strides=2)"),
        (MaxPool2D(3, 3), "MaxPool2D(3)"),
        (LSTM(16, return_sequences=True), "LSTM(16, return_sequences)"),
        (Bidirectional(GRU(3)), "Bidirectional(GRU(3))"),
        (Sequential([Dense(4), Activation("relu")]), "Dense(4) → Activation(relu)"),
        (Sequential([Dense(4), Activation("relu")], "block"), "block"),
        (Layer("keras.layers:GaussianNoise", {"stddev": 0.1}), "GaussianNoise(stddev=0.1)"),
    ],
)
def test_labels_say_what_is_not_usual(operation: Operation, label: str) -> None:
    assert operation.label == label


@pytest.mark.parametrize(
    ("operation", "shape", "complaint"),
    [
        (Conv2D(8, 3), (11, 5), "takes tensors of rows × columns × channels, not of shape 11×5"),
        (Conv2D(8, 5, padding="valid"), (4, 9, 3), "does not fit onto an axis of 4"),
        (LSTM(4), (5,), "takes tensors of steps × features"),
        (Dense(4), (3, None), "size of the last axis"),
        (Flatten(), (None, 3), "needs every axis, not ?×3"),
        (Reshape((5, -1)), (4, 3), "it has 12 numbers"),
        (Reshape((5, 2)), (4, 3), "it has 12 numbers"),
        (TimeDistributed(Dense(3)), (4,), "steps first"),
        (Pad((2, 2)), (3, 2), "does not shorten"),
        (Pad((2, 2, 2)), (3, 2), "keeps the number of axes"),
        (MultiHeadAttention(2, 2), (4,), "steps × features"),
    ],
)
def test_a_tensor_that_does_not_fit(operation: Operation, shape: Shape, complaint: str) -> None:
    with pytest.raises(ShapeMismatchError, match=re.escape(complaint)):
        operation.output_shape(shape)


@pytest.mark.parametrize(
    ("make", "path", "complaint"),
    [
        (lambda: Dense(0), "Dense.units", "1 or more"),
        (lambda: Dense(2.5), "Dense.units", "whole number"),
        (lambda: Dense(3, "rellu"), "Dense.activation", "did you mean 'relu'"),
        (lambda: Dense(3, use_bias=1), "Dense.use_bias", "True nor False"),
        (lambda: Dropout(1.0), "Dropout.rate", "below 1"),
        (lambda: Conv2D(3, (3, 3, 3)), "Conv2D.kernel_size", "or 2 of them"),
        (lambda: Conv2D(3, 3, 2, dilation_rate=2), "Conv2D.dilation_rate", "strides of 1"),
        (lambda: Conv2D(3, 3, padding="causal"), "Conv2D.padding", "same"),
        (lambda: Conv1D(3, "3"), "Conv1D.kernel_size", "whole number"),
        (lambda: SeparableConv2D(3, 3, (1, 2)), "SeparableConv2D.strides", "one number"),
        (lambda: DepthwiseConv2D(3, (1, 2)), "DepthwiseConv2D.strides", "one number"),
        (lambda: GlobalPool("mean"), "GlobalPool.kind", "average"),
        (lambda: Reshape((-1, -1)), "Reshape.shape", "at most one"),
        (lambda: Reshape((None, 2)), "Reshape.shape", "-1"),
        (lambda: Embedding(0, 3), "Embedding.input_dim", "1 or more"),
        (lambda: LSTM(3, dropout=2), "LSTM.dropout", "below 1"),
        (lambda: Bidirectional(Dense(3)), "Bidirectional.operation", "LSTM"),
        (lambda: TimeDistributed("Dense"), "TimeDistributed.operation", "takes an operation"),
        (lambda: TimeDistributed(Skip("a")), "TimeDistributed.operation", "one tensor"),
        (lambda: BatchNorm(epsilon=0), "BatchNorm.epsilon", "positive"),
        (lambda: Input(()), "Input.shape", "one axis or more"),
        (lambda: Input((3, 0)), "Input.shape", "positive whole number"),
        (lambda: Input("28"), "Input.shape", "tuple such as"),
        (lambda: Add("stretch"), "Add.fit", "project"),
        (lambda: Skip(""), "Skip.target", "node or its name"),
        (lambda: Sequential([]), "Sequential.operations", "empty"),
        (lambda: Sequential([Dense]), "Sequential.operations[0]", "no operation"),
        (lambda: Sequential([Skip("a")]), "Sequential.operations[0]", "not a part"),
        (lambda: Layer("keras.layers"), "Layer.factory", "module:name"),
        (lambda: Layer(3), "Layer.factory", "callable"),
        (lambda: Layer("a:b", ["x"]), "Layer.arguments", "mapping"),
    ],
)
def test_bad_arguments_are_refused(make: Any, path: str, complaint: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(complaint)) as caught:
        make()
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        (Identity(), (3,)),
        (Dropout(0.0), (3,)),
        (Activation("linear"), (3,)),
        (Activation(None), (3,)),  # type: ignore[arg-type]
        (Flatten(), (3,)),
        (Reshape((2, 3)), (2, 3)),
        (GlobalPool(), (3,)),
        (MaxPool2D(1), (4, 4, 3)),
        (Sequential([Dropout(0.0), Flatten()]), (3,)),
        (TimeDistributed(Activation("linear")), (4, 3)),
    ],
)
def test_what_changes_nothing_is_known(operation: Operation, shape: Shape) -> None:
    assert operation.is_identity(shape)


@pytest.mark.parametrize(
    ("operation", "shape"),
    [(Zero(), (3,)), (Dropout(0.1), (3,)), (Flatten(), (3, 2)), (MaxPool2D(3, 1), (4, 4, 3)), (Reshape((6,)), (2, 3))],
)
def test_what_changes_something_is_no_identity(operation: Operation, shape: Shape) -> None:
    assert not operation.is_identity(shape)


def test_numpy_numbers_become_plain_ones() -> None:
    import numpy as np

    made = Conv2D(np.int64(8), np.array([3, 5]))  # type: ignore[arg-type]
    assert made == Conv2D(8, (3, 5))
    assert type(made.filters) is int


def test_a_bad_operation_in_json() -> None:
    for data, complaint in (
        ({"type": "Dens", "units": 3}, "there is no operation 'Dens'"),
        ({"type": "Dense"}, "units"),
        ({"type": "Dense", "units": 3, "colour": "red"}, "colour"),
        ("Dense", "is no operation"),
    ):
        with pytest.raises(SpaceError, match=complaint):
            operation_from_json(data)


# Merging


def test_addition_projects_to_the_first() -> None:
    add = Add()
    assert add.output_shape((8,), (3,), (8,)) == (8,)
    assert add.fitted((3,), (8,), (8,)) == (Dense(8, use_bias=False),)
    assert add.fitted((7, 3), (7, 8), (7, 8)) == (Dense(8, use_bias=False),)
    assert add.fitted((8, 8, 3), (4, 2, 8), (4, 2, 8)) == (Conv2D(8, 1, (2, 4), use_bias=False),)
    assert add.fitted((9, 3), (5, 3), (5, 3)) == (Conv1D(3, 1, 2, use_bias=False),)
    assert add.fitted((9, 9, 3), (8,), (8,)) == (GlobalPool(), Dense(8, use_bias=False))
    assert add.fitted((8,), (8,), (8,)) == ()


@pytest.mark.parametrize(
    ("first", "other", "complaint"),
    [
        ((8, 3), (3,), "number of axes"),
        ((5, 3), (4, 3), "a stride cannot"),
        ((7, 3), (9, 3), "a stride cannot"),
        ((None, 3), (9, 3), "a stride cannot"),
        ((4, 4, 4, 3), (8, 8, 8, 3), "nothing of more axes"),
    ],
)
def test_a_projection_that_cannot_be(first: Shape, other: Shape, complaint: str) -> None:
    with pytest.raises(ShapeMismatchError, match=complaint):
        Add().output_shape(first, other)


def test_projections_make_the_shape_that_they_should() -> None:
    for shape, target in (((8, 8, 3), (4, 2, 8)), ((9, 3), (5, 3)), ((9, 9, 3), (8,)), ((7, 3), (7, 8))):
        made: Shape = shape
        for each in Add().fitted(shape, target, target):
            made = each.output_shape(made)
        assert made == target


def test_padding_goes_up_to_the_largest() -> None:
    pad = Add("pad")
    assert pad.output_shape((4, 3), (2, 8)) == (4, 8)
    assert pad.fitted((4, 3), (4, 3), (4, 8)) == (Pad((4, 8)),)
    assert pad.output_shape((None, 3), (None, 8)) == (None, 8)
    with pytest.raises(ShapeMismatchError, match="unknown length"):
        pad.output_shape((None, 3), (4, 3))
    with pytest.raises(ShapeMismatchError, match="number of axes"):
        pad.output_shape((3,), (4, 3))


def test_equal_addition_and_concatenation() -> None:
    assert Add("equal").output_shape((4,), (4,)) == (4,)
    with pytest.raises(ShapeMismatchError, match='Add\\("project"\\)'):
        Add("equal").output_shape((4,), (5,))
    assert Concatenate().output_shape((7, 4), (7, 5), (7, 1)) == (7, 10)
    with pytest.raises(ShapeMismatchError, match="last axis"):
        Concatenate().output_shape((7, 4), (6, 4))


# Operations of the user's own


@dataclass(frozen=True)
class Scale:
    """Multiplies by learned numbers."""

    times: int = 1

    @property
    def label(self) -> str:
        return f"Scale({self.times})"

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return self.times * int(shape[-1] or 0)

    def layer(self) -> Any:
        return lambda x: x


def test_a_class_of_ones_own_goes_to_json_where_it_is_named() -> None:
    own = Scale(2)
    assert isinstance(own, UserOperation)
    data = json.loads(json.dumps(operation_to_json(own)))
    assert operation_from_json(data, own=[Scale]) == own
    with pytest.raises(SpaceError, match=r"there is no operation 'Scale'.*own=\["):
        operation_from_json(data)


class FakeLayer:
    """What a framework's layer says of shapes."""

    def __init__(self, units: int = 3) -> None:
        self.units = units

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if len(shape) != 2:
            raise ValueError("flat ones only")
        return (shape[0], self.units)


class SilentLayer:
    """A layer that says nothing of shapes."""


def test_a_layer_says_its_shape_itself_or_is_told() -> None:
    asked = Layer(FakeLayer, {"units": 5})
    assert asked.output_shape((2,)) == (5,)
    assert asked.label == "FakeLayer(units=5)"
    assert asked.layer().units == 5
    with pytest.raises(ShapeMismatchError, match="cannot take 2×2: ValueError: flat ones only"):
        asked.output_shape((2, 2))
    with pytest.raises(SpaceError, match='shape="same"'):
        Layer(SilentLayer).output_shape((2,))
    assert Layer(SilentLayer, shape="same").output_shape((2, 3)) == (2, 3)
    assert Layer(SilentLayer, shape=(7,)).output_shape((2, 3)) == (7,)
    told = Layer(SilentLayer, shape=lambda shape: shape[:1], parameters=lambda shape: 3 * len(shape))
    assert told.output_shape((2, 3)) == (2,)
    assert told.parameter_count((2, 3)) == 6


def test_a_layer_that_is_named_by_text_goes_to_json() -> None:
    named = Layer("collections:OrderedDict", {"a": 1}, shape=(3,), parameters=4, name="odd")
    read = operation_from_json(json.loads(json.dumps(operation_to_json(named))))
    assert operation_to_json(read) == operation_to_json(named)
    assert isinstance(read, Layer)
    assert (read.label, read.output_shape((1,)), read.parameter_count((1,))) == ("odd", (3,), 4)
    assert read.layer() == {"a": 1}
    with pytest.raises(SpaceError, match="cannot be imported"):
        Layer("collections:Nothing").layer()
    with pytest.raises(SpaceError, match="JSON cannot hold the factory"):
        operation_to_json(Layer(FakeLayer))
    with pytest.raises(SpaceError, match="has a function there"):
        operation_to_json(Layer("a:b", shape=lambda shape: shape))
