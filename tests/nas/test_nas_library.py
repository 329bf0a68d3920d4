"""Chains in IBM's notation, the ready spaces, and laws that every sampled network of them keeps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dhflow.errors import SpaceError
from dhflow.nas import (
    LSTM,
    Activation,
    Architecture,
    ArchitectureSpace,
    Dense,
    Identity,
    NormalHead,
    chain_config,
    chain_of,
    cnn_chain,
    dense_with_skips,
    distribution_regression,
    nasbench201,
    parse_chain,
    stacked_lstm,
)
from dhflow.nas.library import NASBENCH201_EDGES
from dhflow.nas.operation import Input

SLIDES = (
    "C(3,32)+C(3,32)+P(3,3)+C(3,64)+C(3,64)+P(3,3)+FC(64)+FC(32)+FC(6)",
    "C(3,128)+C(4,64)+C(3,32)+P(3,3)+FC(16)+FC(6)",
    "C(3,32)+P(2,2)+P(3,2)+C(5,32)+FC(6)",
)

SPACES: dict[str, Any] = {
    "dense": lambda: dense_with_skips((54,), (7,), output_activation="softmax"),
    "distribution": lambda: distribution_regression((8,), 2),
    "lstm": lambda: stacked_lstm((8, 5), (8, 5)),
    "lstm, any length": lambda: stacked_lstm((None, 5), (3,)),
    "images": lambda: cnn_chain((8, 8, 1), (10,)),
    "sequences": lambda: cnn_chain((100, 3), (6,), dropout=(0.0, 0.2)),
    "cells": lambda: nasbench201((16, 16, 3), n_cells=1),
}


# Chains


@pytest.mark.parametrize("text", SLIDES)
def test_the_slides_chains_round_trip(text: str) -> None:
    chain = parse_chain(text)
    assert str(chain) == text
    assert len(chain) == text.count("(")
    assert parse_chain(text.lower().replace("+", " + ")) == chain
    architecture = chain.architecture((32, 32, 1))
    assert str(chain_of(architecture)) == text
    assert architecture.nodes[-1].output_shape == (6,)
    assert architecture.nodes[-1].operation == Dense(6, "softmax")
    sounds = chain.architecture((200, 13), activation="tanh")
    assert str(chain_of(sounds)) == text


def test_the_layers_of_a_chain() -> None:
    architecture = parse_chain(SLIDES[2]).architecture((32, 32, 1))
    assert [each.output_shape for each in architecture.nodes] == [
        (32, 32, 1),
        (32, 32, 32),
        (16, 16, 32),
        (8, 8, 32),
        (8, 8, 32),
        (2048,),
        (6,),
    ]
    assert architecture.parameter_count == (9 + 1) * 32 + (25 * 32 + 1) * 32 + (2048 + 1) * 6


@pytest.mark.parametrize(
    ("text", "path", "complaint"),
    [
        ("", "chain", "a chain is a text"),
        ("C(3,32)+D(3)", "chain[1]", "'D(3)' is none of"),
        ("C(3)", "chain[0]", "none of"),
        ("C(3,32)+FC(3,2)", "chain[1]", "none of"),
        ("C(3,0)+FC(3)", "chain[0]", "above 0"),
        ("C(3,32)++FC(3)", "chain[1]", "none of"),
        ("FC(3)+C(3,3)", "chain", "C(3,3) cannot follow FC(3)"),
        ("C(3,32)FC(3)", "chain[0]", "none of"),
    ],
)
def test_what_is_no_chain(text: str, path: str, complaint: str) -> None:
    with pytest.raises(SpaceError) as caught:
        parse_chain(text)
    assert caught.value.path == path
    assert complaint in caught.value.message


def test_what_has_no_chain_is_refused() -> None:
    space = dense_with_skips((4,), (1,), n_layers=2)
    config = space.decisions().default_config()
    assert str(chain_of(space.freeze(config))) == "FC(96)+FC(96)+FC(1)"
    with pytest.raises(SpaceError, match="branches there"):
        chain_of(space.freeze(config | {"input->layer_2": True}))
    rows = stacked_lstm((8, 5), (8, 5))
    with pytest.raises(SpaceError, match="is none of C"):
        chain_of(rows.freeze(rows.decisions().default_config()))
    with pytest.raises(SpaceError, match="a chain takes images"):
        parse_chain(SLIDES[0]).architecture((5,))


@pytest.mark.parametrize("text", SLIDES)
def test_the_slides_chains_lie_in_the_chain_space(text: str) -> None:
    space = cnn_chain((32, 32, 1), (6,), dropout=(0.0, 0.5))
    config = chain_config(space, text)
    assert config in space.decisions()
    architecture = space.freeze(config)
    assert str(chain_of(architecture)) == text
    assert architecture.hash == parse_chain(text).architecture((32, 32, 1)).hash


def test_bounds_of_a_chain_space() -> None:
    space = cnn_chain(
        (16, 16, 1), (3,), lower="C(3,8)+C(3,8)+P(2,2)+FC(4)+FC(3)", upper="C(4,32)+C(3,16)+P(3,3)+C(3,8)+FC(9)+FC(3)"
    )
    choices = space.choices
    body = ["C(3,8)", "C(3,16)", "C(3,32)", "C(4,8)", "C(4,16)", "C(4,32)", "P(2,2)", "P(3,2)", "P(3,3)"]
    for i, config in enumerate(space.sample(50, np.random.default_rng(0))):
        chain = chain_of(space.freeze(config))
        assert 3 <= len(chain.body) <= 4, i
        assert {str(each) for each in chain.body} <= set(body)
        assert len(chain.head) == 2
    assert [choices[f"body_{i}"].n_values for i in (1, 2, 3, 4)] == [9, 9, 9, 10]
    assert space.nodes["dense_1"].labels == ("Dense(4, relu)", "Dense(8, relu)", "Dense(9, relu)")


@pytest.mark.parametrize(
    ("lower", "upper", "complaint"),
    [
        ("C(3,8)+C(3,8)+FC(1)", "C(3,8)+FC(1)", "fewer convolutions and poolings"),
        ("C(5,8)+FC(1)", "C(3,8)+FC(1)", "above the greatest"),
        ("C(3,8)+FC(64)+FC(1)", "C(3,8)+FC(32)+FC(1)", "64 units are more than 32"),
        ("C(3,8)+FC(4)+FC(1)", "C(3,8)+FC(1)", "fewer fully connected"),
        ("P(2,2)+FC(1)", "C(3,8)+FC(1)", "has a P"),
        ("C(3,8)", "C(3,8)+FC(1)", "the last one is the output"),
    ],
)
def test_bounds_that_contradict_each_other(lower: str, upper: str, complaint: str) -> None:
    with pytest.raises(SpaceError, match=complaint):
        cnn_chain((16, 16, 1), (3,), lower=lower, upper=upper)


def test_a_chain_outside_the_space() -> None:
    space = cnn_chain((16, 16, 1), (3,), upper="C(3,32)+P(2,2)+FC(16)+FC(3)")
    with pytest.raises(SpaceError, match="body_1: cannot be C"):
        chain_config(space, "C(7,32)+FC(3)")
    with pytest.raises(SpaceError, match="has 3 layers where the space has 2"):
        chain_config(space, "C(3,32)+C(3,32)+P(2,2)+FC(3)")
    with pytest.raises(SpaceError, match=r"ends in FC\(7\): the output of this space is FC\(3\)"):
        chain_config(space, "C(3,32)+FC(7)")
    with pytest.raises(SpaceError, match=r"head: C\(3,32\) has no FC\(n\)"):
        chain_config(space, "C(3,32)")


# The ready spaces


def test_the_tabular_space_of_agebo() -> None:
    space = dense_with_skips((54,), (7,))
    assert len(space.decisions()) == 37
    assert space.nodes["layer_1"].n_operations == 31
    assert space.size == 31**10 * 2**27


def test_the_pod_lstm_space() -> None:
    space = stacked_lstm((8, 5), (8, 5))
    node = space.nodes["lstm_3"]
    assert node.operations == (Identity(), *(LSTM(16 * i, return_sequences=True) for i in range(1, 9)))
    assert {each for each in space.choices if "->" in each} == {
        "input->lstm_2",
        "lstm_1->lstm_3",
        "input->lstm_3",
        "lstm_2->lstm_4",
        "lstm_1->lstm_4",
        "lstm_3->lstm_5",
        "lstm_2->lstm_5",
    }


def test_a_distribution_head_ends_the_regression() -> None:
    space = distribution_regression((8,), 3)
    architecture = space.freeze(space.sample(1, np.random.default_rng(0))[0])
    assert architecture.nodes[-1].operation == NormalHead(3)
    assert architecture.nodes[-1].output_shape == (6,)
    assert distribution_regression((8,), (3,)).to_json() == space.to_json()
    for wrong, complaint in (((2, 3), "a shape of one axis, not"), ((None,), "say how many"), ("x", "n_targets")):
        with pytest.raises(SpaceError, match=complaint):
            distribution_regression((8,), wrong)  # type: ignore[arg-type]


def test_the_cell_space_has_the_published_networks() -> None:
    # The table's numbers of parameters, 0.073306, 0.101306 and 0.316346 million, count what is trained.
    space = nasbench201()
    assert space.decisions().names == tuple(f"cell.{each}" for each in NASBENCH201_EDGES)
    base = trained(space, ("none", "none", "none", "skip_connect", "none", "none"))
    assert base == 73_306
    one = trained(space, ("none", "none", "none", "nor_conv_1x1", "none", "none"))
    three = trained(space, ("none", "none", "none", "nor_conv_3x3", "none", "none"))
    assert (one, three) == (101_306, 316_346)


def trained(space: ArchitectureSpace, operations: tuple[str, ...]) -> int:
    """Return the parameters that training changes."""
    config = {f"cell.{edge}": each for edge, each in zip(NASBENCH201_EDGES, operations, strict=True)}
    nodes = space.freeze(config).nodes
    averages = sum(each.parameter_count // 2 for each in nodes if each.operation.label == "BatchNorm")
    return sum(each.parameter_count for each in nodes) - averages


# Laws


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_every_sampled_config_is_a_sound_network(name: str, seed: int) -> None:
    space, rng = SPACES[name](), np.random.default_rng(seed)
    wanted = tuple(space.output_shapes.values())
    for config in space.sample(15, rng):
        architecture = space.freeze(config)
        check_sound(architecture)
        assert tuple(architecture[each].output_shape for each in architecture.outputs.values()) == wanted
        read = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
        assert read == architecture
        assert (read.hash, read.parameter_count) == (architecture.hash, architecture.parameter_count)
        changed = space.mutate(config, rng)
        assert sum(changed[each] != config[each] for each in config) == 1
        check_sound(space.freeze(changed))


def check_sound(architecture: Architecture) -> None:
    """Every node comes after its inputs, is on a way to an output, and does something."""
    seen: set[str] = set()
    used = set(architecture.outputs.values())
    for node in architecture.nodes:
        assert node.name not in seen
        assert set(node.inputs) <= seen
        assert node.input_shapes == tuple(architecture[each].output_shape for each in node.inputs)
        if not isinstance(node.operation, Input):
            assert node.operation.output_shape(*node.input_shapes) == node.output_shape
            assert node.operation not in (Identity(), Activation("linear"))
        seen.add(node.name)
        used.update(node.inputs)
    assert used >= seen - set(architecture.inputs)
    rows = architecture.layers()
    assert sum(each.parameter_count for each in rows) == architecture.parameter_count
    assert str(architecture).count("\n") == len(rows) + 3


def test_a_newer_or_broken_architecture_is_refused() -> None:
    space = dense_with_skips((4,), (1,), n_layers=2)
    data = space.freeze(space.decisions().default_config()).to_json()
    for change, complaint in (
        ({"version": 2}, "reads version 1"),
        ({"nodes": data["nodes"][1:]}, "does not come before it"),
        ({"nodes": [*data["nodes"], data["nodes"][0]]}, "is there twice"),
        ({"outputs": {"output": "nothing"}}, "no such node"),
        ({"outputs": {}}, "no output"),
        ({"nodes": [{"name": "a", "colour": 3}]}, "unknown key"),
        ({"nodes": [{"name": "a", "operation": {"type": "Dens"}}]}, "a.operation: there is no operation"),
    ):
        with pytest.raises(SpaceError, match=complaint):
            Architecture.from_json({**data, **change})
    with pytest.raises(SpaceError, match="no architecture"):
        Architecture.from_json({})
