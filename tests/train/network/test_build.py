"""Keras models of architectures: the same shapes, the same number of weights, the names of the nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from dhflow.errors import BuildError
from dhflow.nas import (
    GRU,
    LSTM,
    Activation,
    Add,
    Architecture,
    ArchitectureSpace,
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
    Layer,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    MultiHeadAttention,
    NormalHead,
    Pad,
    Reshape,
    SeparableConv2D,
    Sequential,
    SimpleRNN,
    TimeDistributed,
    Zero,
    cnn_chain,
    dense_with_skips,
    distribution_regression,
    nasbench201,
    stacked_lstm,
)
from dhflow.nas.architecture import Step, assemble
from dhflow.nas.operation import ACTIVATIONS, Input
from dhflow.train import build, load_model

VECTOR, SEQUENCE, IMAGE = (12,), (7, 4), (9, 8, 3)

OPERATIONS: list[tuple[Any, tuple[int | None, ...]]] = [
    *((Dense(5, each), VECTOR) for each in ACTIVATIONS),
    (Dense(5, use_bias=False), SEQUENCE),
    (Activation("tanh"), IMAGE),
    (Dropout(0.3), VECTOR),
    (BatchNorm(0.9), IMAGE),
    (LayerNorm(), SEQUENCE),
    (Flatten(), IMAGE),
    (Reshape((4, -1)), VECTOR),
    (Embedding(20, 3), SEQUENCE),
    (NormalHead(3), VECTOR),
    (Identity(), VECTOR),
    (Zero(), (None, 4)),
    (Zero((2, 3)), VECTOR),
    (Pad((9, 6)), SEQUENCE),
    (Conv1D(5, 3, 2), SEQUENCE),
    (Conv1D(5, 3, padding="causal", dilation_rate=2), SEQUENCE),
    (Conv1D(5, 3, padding="valid", activation="relu"), (None, 4)),
    (Conv2D(5, (3, 2), (1, 2), use_bias=False), IMAGE),
    (Conv2D(5, 3, padding="valid", dilation_rate=2), IMAGE),
    (SeparableConv2D(5, 3, 2, depth_multiplier=2), IMAGE),
    (DepthwiseConv2D(3, 2, padding="valid", depth_multiplier=2), IMAGE),
    (MaxPool1D(3, 2), SEQUENCE),
    (AvgPool1D(), SEQUENCE),
    (MaxPool2D((2, 3)), IMAGE),
    (AvgPool2D(3, 1, "valid"), IMAGE),
    (GlobalPool(), VECTOR),
    (GlobalPool(), SEQUENCE),
    (GlobalPool("max"), IMAGE),
    (GlobalPool("max"), (2, 3, 4, 5)),
    (SimpleRNN(5), SEQUENCE),
    (LSTM(5, return_sequences=True, dropout=0.1), (None, 4)),
    (GRU(5, recurrent_dropout=0.1), SEQUENCE),
    (Bidirectional(LSTM(5, return_sequences=True)), SEQUENCE),
    (Bidirectional(GRU(5), "add"), SEQUENCE),
    (MultiHeadAttention(2, 3, use_bias=False), SEQUENCE),
    (TimeDistributed(Dense(5, "relu")), (7, 3, 4)),
    (TimeDistributed(Conv2D(5, 3)), (2, *IMAGE)),
    (TimeDistributed(MultiHeadAttention(2, 3)), (2, *SEQUENCE)),
    (TimeDistributed(GlobalPool()), (2, 3, 4, 5, 2)),
    (Sequential([Dense(5), Flatten()]), SEQUENCE),
    (TimeDistributed(Sequential([Conv2D(5, 3), GlobalPool()])), (2, *IMAGE)),
    (Layer("keras.layers:GaussianNoise", {"stddev": 0.1}, shape="same"), VECTOR),
    (Layer("keras.layers:UnitNormalization"), VECTOR),
]


def one_operation(operation: Any, shape: tuple[int | None, ...]) -> Architecture:
    return assemble([Step("input", Input(shape)), Step("it", operation, ("input",))], {"output": "it"})


def examples(architecture: Architecture, n: int = 2) -> Any:
    rng = np.random.default_rng(1)
    sizes = {
        each: [5 if axis is None else axis for axis in architecture[each].output_shape] for each in architecture.inputs
    }
    drawn = {each: rng.random((n, *size), dtype="float32") for each, size in sizes.items()}
    return drawn if len(drawn) > 1 else next(iter(drawn.values()))


def check(architecture: Architecture) -> Any:
    """Build, compare what Keras says with what was known without it, and call the model."""
    model = build(architecture)
    assert model.count_params() == architecture.parameter_count
    made = model(examples(architecture))
    several = made if isinstance(made, dict) else {next(iter(architecture.outputs)): made}
    assert list(several) == list(architecture.outputs)
    for name, node in architecture.outputs.items():
        known = architecture[node].output_shape
        assert len(several[name].shape) == len(known) + 1
        assert all(size in (found, None) for size, found in zip(known, several[name].shape[1:], strict=True))
    return model


@pytest.mark.parametrize(
    ("operation", "shape"), OPERATIONS, ids=[f"{each.label} of {shape}" for each, shape in OPERATIONS]
)
def test_every_operation_has_the_shape_and_the_weights_that_were_foreseen(keras, operation, shape):
    model = check(one_operation(operation, shape))
    assert model.input_shape == (None, *shape)


@pytest.mark.parametrize(
    "space",
    [
        dense_with_skips((20,), (3,), n_layers=5),
        stacked_lstm((4, 3), (4, 2), n_layers=3, units=(4, 8)),
        cnn_chain((8, 8, 1), (10,)),
        nasbench201((8, 8, 3), 10, n_channels=4, n_cells=1),
        distribution_regression((5,), 2),
    ],
    ids=["dense", "lstm", "cnn", "nasbench201", "distribution"],
)
def test_sampled_architectures_of_the_library(keras, space):
    for config in space.sample(6, np.random.default_rng(3)):
        architecture = space.freeze(config)
        model = check(architecture)
        by_name = {each.name: each for each in model.layers}
        for node in architecture.nodes:
            if node.name in by_name and node.inputs and not isinstance(node.operation, Add | Concatenate):
                assert tuple(by_name[node.name].output.shape[1:]) == node.output_shape


def test_layers_have_their_nodes_names(keras):
    space = ArchitectureSpace((8,), (2,))
    a = space.variable([Dense(4), Dense(6)], name="a")
    b = space.variable([Dense(4), Dense(6)], name="b")
    space.connect(space.input, a, b, space.constant(Dense(2), name="head"), space.output)
    space.optional_connect(a, space.nodes["head"])
    model = check(space.freeze({"a": "Dense(4)", "b": "Dense(6)", "a->head": True}))
    assert [each.name for each in model.layers] == ["input", "a", "b", "head.fit_1", "head.add", "head"]


@pytest.mark.parametrize("merge", ["add", "pad", "concatenate", Add("pad", "relu")])
def test_merges(keras, merge):
    space = ArchitectureSpace({"left": (4,), "right": (6,)}, (3,))
    first = space.variable([Dense(5), Identity()], name="first")
    end = space.constant(Dense(3), name="end", merge=merge)
    space.connect(space.inputs["left"], first, end, space.output)
    space.connect(space.inputs["right"], end)
    for config in ({"first": "Dense(5)"}, {"first": "Identity"}):
        check(space.freeze(config))


def test_padding_puts_zeros_at_the_ends(keras):
    model = build(one_operation(Pad((4,)), (2,)))
    assert np.asarray(model(np.array([[1.0, 2.0]], "float32"))).tolist() == [[1.0, 2.0, 0.0, 0.0]]


def test_mirrors_share_one_layer_and_mimics_do_not(keras):
    space = ArchitectureSpace({"left": (6,), "right": (6,), "other": (6,)}, (9,), merge="concatenate")
    tower = space.variable([Dense(3), Dense(3, "relu")], name="tower")
    mirror, mimic = space.mirror(tower, "mirror"), space.mimic(tower, "mimic")
    for name, node in {"left": tower, "right": mirror, "other": mimic}.items():
        space.connect(space.inputs[name], node, space.output)
    model = check(space.freeze({"tower": "Dense(3)"}))
    x = np.ones((1, 6), "float32")
    left, right, other = np.split(np.asarray(model({"left": x, "right": x, "other": x}))[0], 3)
    assert np.array_equal(left, right)
    assert not np.array_equal(left, other)


def test_several_outputs_and_an_input_that_nothing_takes(keras):
    space = ArchitectureSpace({"a": (4,), "b": (4,)}, {"mean": (1,), "kind": (3,)})
    joined = space.variable([Dense(4), Dense(8)], name="joined")
    space.connect(space.inputs["a"], joined)
    space.optional_connect(space.inputs["b"], joined)
    space.connect(joined, space.constant(Dense(1), name="m"), space.outputs["mean"])
    space.connect(joined, space.constant(Dense(3), name="k"), space.outputs["kind"])
    for is_there in (True, False):
        model = check(space.freeze({"joined": "Dense(8)", "b->joined": is_there}))
        assert set(model(examples(space.freeze({"joined": "Dense(8)", "b->joined": is_there})))) == {"mean", "kind"}


def test_a_network_may_be_nothing_but_its_input(keras):
    space = ArchitectureSpace((4,), (4,))
    space.connect(space.input, space.variable([Identity(), Dense(4)], name="block"), space.output)
    model = build(space.freeze({"block": "Identity"}))
    x = np.ones((2, 4), "float32")
    assert np.array_equal(np.asarray(model(x)), x)


@dataclass(frozen=True)
class Double:
    """An operation of a user's own."""

    times: int = 2

    @property
    def label(self) -> str:
        return f"Double({self.times})"

    def output_shape(self, shape):
        return (*shape[:-1], shape[-1] * self.times)

    def parameter_count(self, shape):
        return (shape[-1] + 1) * shape[-1] * self.times

    def layer(self):
        import keras

        return keras.layers.Dense(8 * self.times)


def test_a_users_own_operation(keras):
    space = ArchitectureSpace((8,), None)
    space.connect(space.input, space.variable([Double(), Double(3)], name="own"), space.output)
    model = check(space.freeze({"own": "Double(3)"}))
    assert model.layers[-1].name == "own"


def out_of_memory():
    raise MemoryError


def test_what_cannot_be_built_says_where(keras):
    bad = replace(one_operation(Layer(lambda: 3, shape="same", name="three"), (4,)))
    with pytest.raises(BuildError, match=r"it: three\.layer\(\) returned 3"):
        build(bad)
    with pytest.raises(BuildError, match=r"it: Dense.* cannot be built"):
        build(one_operation(Layer("keras.layers:Dense", {"units": -1}, shape="same"), (4,)))
    with pytest.raises(BuildError, match="it: the 7,000 weights of huge do not fit in memory"):
        build(one_operation(Layer(out_of_memory, shape="same", parameters=7_000, name="huge"), (4,)))
    with pytest.raises(BuildError, match="no precision 'half'"):
        build(one_operation(Dense(2), (2,)), precision="half")


def test_mixed_precision_computes_in_half_and_answers_in_full(keras):
    steps = [Step("input", Input((4,))), Step("a", Dense(3), ("input",)), Step("b", Dense(2), ("a",))]
    model = build(assemble(steps, {"output": "b"}), precision="mixed_bfloat16")
    assert [each.compute_dtype for each in model.layers[1:]] == ["bfloat16", "float32"]
    assert model(np.ones((1, 4), "float32")).dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_whole_numbers_stay_whole_before_an_embedding(keras):
    model = build(one_operation(Embedding(70_000, 2), (1,)), precision="mixed_float16")
    near = np.asarray(model(np.array([[69_998], [69_999]])))
    assert not np.array_equal(near[0], near[1])


def test_a_saved_model_is_read_back(keras, tmp_path):
    space = distribution_regression((5,), 1, n_layers=2)
    architecture = space.freeze(space.sample(1, np.random.default_rng(1))[0])
    model = build(architecture)
    model.save(tmp_path / "model.keras")
    x = examples(architecture)
    assert np.array_equal(np.asarray(load_model(tmp_path / "model.keras")(x)), np.asarray(model(x)))
    (tmp_path / "bad.keras").write_text("no model")
    with pytest.raises(BuildError, match="cannot be read"):
        load_model(tmp_path / "bad.keras")
