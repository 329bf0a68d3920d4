"""Architecture spaces: nodes, connections, what is refused, and what a config freezes to."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dhflow import Float, Integer, SearchSpace
from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.nas import (
    Activation,
    Add,
    Architecture,
    ArchitectureSpace,
    Cell,
    Concatenate,
    Dense,
    Dropout,
    Identity,
    Layer,
    Sequential,
    Skip,
    Zero,
)


def slides_space() -> ArchitectureSpace:
    """Return the slides' node, twice: an identity, 40 neurons, 60 neurons, dropout, or a skip to another node."""
    space = ArchitectureSpace(input_shape=(8,), output_shape=(2,))
    first = space.variable([Identity(), Dense(40), Dense(60), Dropout(0.5), Skip("head")], name="first")
    second = space.variable([Identity(), Dense(40), Dense(60), Dropout(0.5)], name="second")
    head = space.constant(Dense(2), name="head")
    space.connect(space.input, first, second, head, space.output)
    return space


def operations(architecture: Architecture) -> dict[str, str]:
    return {each.name: each.operation.label for each in architecture.nodes}


def test_the_slides_node_with_a_skip_among_its_operations() -> None:
    space = slides_space()
    assert space.decisions().parameters["first"].n_values == 5
    plain = space.freeze({"first": "Dense(40)", "second": "Dense(60)"})
    assert operations(plain) == {
        "input": "Input(8)",
        "first": "Dense(40)",
        "second": "Dense(60)",
        "head": "Dense(2)",
    }
    skip = space.freeze({"first": "Skip(head)", "second": "Dense(60)"})
    # The skip starts where the first node's tensor is: at the input, brought to 60 units and added.
    assert operations(skip) == {
        "input": "Input(8)",
        "second": "Dense(60)",
        "head.fit_1": "Dense(60, no bias)",
        "head.add": "Add",
        "head": "Dense(2)",
    }
    assert skip["head.add"].inputs == ("second", "head.fit_1")
    assert skip["head.fit_1"].inputs == ("input",)
    assert skip.parameter_count == 8 * 60 + 60 + 8 * 60 + 60 * 2 + 2
    identity = space.freeze({"first": "Identity", "second": "Dropout(0.5)"})
    assert operations(identity) == {"input": "Input(8)", "second": "Dropout(0.5)", "head": "Dense(2)"}


def test_decisions_are_an_ordinary_space_that_names_its_architecture() -> None:
    space = slides_space()
    space.optional_connect(space.input, space.nodes["second"], name="shortcut")
    decisions = space.decisions()
    assert decisions.names == ("first", "second", "shortcut")
    assert decisions.architecture == decisions.names
    assert decisions.groups == {"architecture": decisions.names}
    assert decisions.default_config() == {"first": "Identity", "second": "Identity", "shortcut": False}
    assert space.size == decisions.n_configs == 5 * 4 * 2


@pytest.mark.parametrize("join", [lambda a, h: a * h, lambda a, h: h * a], ids=["left", "right"])
def test_the_product_with_hyperparameters(join: Callable[[Any, Any], SearchSpace]) -> None:
    space = slides_space()
    joint = join(space, SearchSpace({"rate": Float(0.1, 1.0), "batch": Integer(1, 8)}))
    assert set(joint.names) == {"first", "second", "rate", "batch"}
    assert joint.architecture == ("first", "second")
    config = joint.sample(1, np.random.default_rng(0))[0]
    assert space.freeze(config) == space.freeze({name: config[name] for name in ("first", "second")})
    with pytest.raises(SpaceError, match="both spaces have 'first'"):
        join(space, SearchSpace({"first": Integer(1, 2)}))
    with pytest.raises(TypeError):
        space * 3  # type: ignore[operator]


def test_two_architecture_spaces_multiply() -> None:
    other = ArchitectureSpace((3,), (1,))
    node = other.variable([Dense(1), Dense(1, "tanh")], name="critic")
    other.connect(other.input, node, other.output)
    joint = slides_space() * other
    assert joint.architecture == ("first", "second", "critic")
    X = joint.encode([{"first": "Identity", "second": "Identity", "critic": "Dense(1)"}])
    assert len(joint.identities(X)) == 1


def test_a_config_that_is_not_of_the_space() -> None:
    space = slides_space()
    with pytest.raises(ConfigNotInSpaceError, match="second: is missing"):
        space.freeze({"first": "Identity", "rate": 0.1})
    with pytest.raises(ConfigNotInSpaceError, match="'Dense\\(41\\)' is not one of"):
        space.freeze({"first": "Dense(41)", "second": "Identity"})
    with pytest.raises(SpaceError, match="mapping"):
        space.freeze(["Identity"])  # type: ignore[arg-type]


def test_freezing_a_config_from_json_or_numpy() -> None:
    space = slides_space()
    space.optional_connect(space.input, space.nodes["second"], name="shortcut")
    config = {"first": "Dense(40)", "second": "Dense(40)", "shortcut": True}
    numpy_config = {"first": np.str_("Dense(40)"), "second": "Dense(40)", "shortcut": np.True_}
    assert space.freeze(numpy_config) == space.freeze(json.loads(json.dumps(config)))


def test_optional_connections_are_named_after_their_ends() -> None:
    space = slides_space()
    assert space.optional_connect(space.nodes["first"], space.nodes["head"]) == "first->head"
    off = space.freeze({"first": "Dense(40)", "second": "Dense(60)", "first->head": False})
    on = space.freeze({"first": "Dense(40)", "second": "Dense(60)", "first->head": True})
    assert "head.add" not in operations(off)
    assert on["head.add"].inputs == ("second", "head.fit_1")
    # The same connection as a skip and by the choice is one connection.
    both = space.freeze({"first": "Skip(head)", "second": "Dense(60)", "first->head": True})
    assert both == space.freeze({"first": "Skip(head)", "second": "Dense(60)", "first->head": False})


def test_one_of_several_connections() -> None:
    space = ArchitectureSpace((4,), (4,))
    a, b = space.constant(Dense(4, "relu"), "a"), space.constant(Dense(4, "tanh"), "b")
    end = space.constant(Identity(), "end")
    space.connect(space.input, a)
    space.connect(space.input, b)
    assert space.connect_one_of([a, b], end) == "->end"
    space.connect(end, space.output)
    assert space.size == 2
    assert operations(space.freeze({"->end": "b"})) == {"input": "Input(4)", "b": "Dense(4, tanh)"}


def test_merging_by_padding_and_concatenation() -> None:
    for merge, label, shape in (("pad", "Add", (8,)), ("concatenate", "Concatenate", (11,)), (Add(), "Add", (3,))):
        space = ArchitectureSpace((5,))
        a, b = space.constant(Dense(3), "a"), space.constant(Dense(8), "b")
        end = space.constant(Dropout(0.1), "end", merge=merge)
        space.connect(space.input, a, end, space.output)
        space.connect(space.input, b, end)
        architecture = space.freeze({})
        (joined,) = (each for each in architecture.nodes if len(each.inputs) == 2)
        assert (joined.operation.label, joined.output_shape) == (label, shape)
        assert architecture["end"].output_shape == shape


def test_an_activation_of_the_sum() -> None:
    space = ArchitectureSpace((5,), (5,))
    end = space.constant(Dense(5), "end", merge=Add(activation="relu"))
    a = space.constant(Dense(5), "a")
    space.connect(space.input, a, end, space.output)
    space.optional_connect(space.input, end)
    assert [*operations(space.freeze({"input->end": True}))][-3:] == ["end.add", "end.activation", "end"]
    assert "end.activation" not in operations(space.freeze({"input->end": False}))


def test_mirrors_share_weights_and_mimics_do_not() -> None:
    space = ArchitectureSpace({"left": (6,), "right": (6,)}, (1,))
    tower = space.variable([Dense(8), Dense(16)], name="tower")
    twin = space.mirror(tower, name="twin")
    follower = space.mimic(tower, name="follower")
    head = space.constant(Dense(1), "head", merge=Concatenate())
    for start, node in (("left", tower), ("right", twin), ("right", follower)):
        space.connect(space.inputs[start], node, head)
    space.connect(head, space.output)
    assert space.decisions().names == ("tower",)
    architecture = space.freeze({"tower": "Dense(16)"})
    assert {each.name: each.share for each in architecture.nodes if each.share} == {"tower": "tower", "twin": "tower"}
    assert architecture["follower"].operation == Dense(16)
    assert architecture.inputs == ("left", "right")
    assert architecture.parameter_count == 2 * (6 * 16 + 16) + (3 * 16 + 1)
    assert [each.parameter_count for each in architecture.layers() if each.name == "twin"] == [0]
    assert "of tower" in str(architecture)


def test_a_mirror_of_what_takes_another_shape_is_refused() -> None:
    space = ArchitectureSpace({"left": (6,), "right": (7,)}, (1,))
    tower = space.variable([Dense(8), Dense(16)], name="tower")
    twin = space.mirror(tower, name="twin")
    head = space.constant(Dense(1), "head")
    space.connect(space.inputs["left"], tower, head, space.output)
    space.connect(space.inputs["right"], twin, head)
    with pytest.raises(SpaceError, match="twin: has the weights of tower, but takes 7 where that takes 6") as caught:
        space.check()
    assert caught.value.path == "twin"


def test_several_outputs_in_their_order() -> None:
    space = ArchitectureSpace((4,), {"price": (1,), "kind": (3,)})
    body = space.variable([Dense(8), Identity()], name="body")
    space.connect(space.input, body)
    space.connect(body, space.constant(Dense(3, "softmax"), "kind_head"), space.outputs["kind"])
    space.connect(body, space.constant(Dense(1), "price_head"), space.outputs["price"])
    architecture = space.freeze({"body": "Identity"})
    assert list(architecture.outputs.items()) == [("price", "price_head"), ("kind", "kind_head")]
    assert list(ArchitectureSpace([(4,), (3,)]).inputs) == ["input_0", "input_1"]
    with pytest.raises(SpaceError, match="several outputs, choose one: price, kind"):
        _ = space.output


def test_zeros_cut_what_leads_to_them() -> None:
    space = ArchitectureSpace((4,), (4,))
    dear = space.constant(Dense(4), "dear")
    gate = space.variable([Zero(), Identity(), Dropout(0.1)], name="gate")
    end = space.constant(Activation("tanh"), "end")
    space.connect(space.input, dear, gate, end, space.output)
    space.optional_connect(space.input, end)
    assert operations(space.freeze({"gate": "Zero", "input->end": True})) == {
        "input": "Input(4)",
        "end": "Activation(tanh)",
    }
    alone = space.freeze({"gate": "Zero", "input->end": False})
    assert operations(alone) == {"input": "Input(4)", "zeros.4": "Zero(4)", "end": "Activation(tanh)"}
    assert alone["zeros.4"].inputs == ("input",)


def test_a_sequential_operation_becomes_its_parts() -> None:
    space = ArchitectureSpace((4,), (3,))
    block = Sequential([Activation("relu"), Dropout(0.0), Dense(3)], "block")
    node = space.variable([block, Dense(3)], name="node")
    space.connect(space.input, node, space.output)
    assert operations(space.freeze({"node": "block"})) == {
        "input": "Input(4)",
        "node.0": "Activation(relu)",
        "node": "Dense(3)",
    }


def cell_space(*, choices: str = "own", weights: str = "own") -> ArchitectureSpace:
    cell = Cell(name="block")
    first = cell.variable([Dense(4, "relu"), Skip("last")], name="first")
    last = cell.variable([Dense(4), Identity()], name="last")
    middle = cell.constant(Dense(4), name="middle")
    cell.connect(cell.input, first, middle, last, cell.output)
    cell.optional_connect(first, cell.output)
    space = ArchitectureSpace((4,), (4,))
    places = [space.nest(cell, choices=choices, weights=weights) for _ in range(2)]
    space.connect(space.input, *places, space.output)
    return space


def test_cells_with_choices_of_their_own() -> None:
    space = cell_space()
    assert space.decisions().names[:3] == ("block_1.first", "block_1.last", "block_1.first->output")
    assert space.size == 64
    config = space.decisions().default_config() | {"block_2.first": "Skip(last)"}
    architecture = space.freeze(config)
    assert architecture["block_2.last.add"].inputs == ("block_2.middle", "block_1.last")
    assert all(each.share is None for each in architecture.nodes)


def test_cells_with_shared_choices_and_weights() -> None:
    shared = cell_space(choices="shared")
    assert shared.decisions().names == ("block.first", "block.last", "block.first->output")
    own = shared.freeze(shared.decisions().default_config())
    assert own.parameter_count == 2 * 3 * 20
    same = cell_space(choices="shared", weights="shared")
    twice = same.freeze(same.decisions().default_config())
    assert twice.parameter_count == 3 * 20
    assert twice["block_1.middle"].share == twice["block_2.middle"].share == "block.middle"
    assert own.hash != twice.hash


def test_cells_within_cells() -> None:
    inner = Cell(name="inner")
    inner.connect(inner.input, inner.variable([Dense(3), Dense(4)], name="layer"), inner.output)
    outer = Cell(name="outer")
    outer.connect(outer.input, outer.nest(inner, "a"), outer.nest(inner, "b"), outer.output)
    space = ArchitectureSpace((2,))
    space.connect(space.input, space.nest(outer, "x"), space.nest(outer, "y"), space.output)
    assert space.decisions().names == ("x.a.layer", "x.b.layer", "y.a.layer", "y.b.layer")
    assert [each.name for each in space.freeze(space.decisions().default_config()).nodes][1:] == [
        *space.decisions().names
    ]


def test_a_cell_of_two_inputs() -> None:
    cell = Cell(["left", "right"], name="join")
    node = cell.variable([Dense(3), Identity()], "node", merge="concatenate")
    cell.connect(cell.inputs["left"], node)
    cell.connect(cell.inputs["right"], node)
    cell.connect(node, cell.output)
    space = ArchitectureSpace((2,))
    place = space.nest(cell)
    space.connect(space.input, place.inputs["left"])
    space.connect(space.input, place.inputs["right"])
    space.connect(place, space.output)
    assert space.freeze({"join_1.node": "Identity"})["join_1.node.concatenate"].output_shape == (4,)
    with pytest.raises(SpaceError, match="there are several inputs of 'join_1', choose one: left, right"):
        space.connect(space.input, place)


def test_a_space_that_is_changed_is_looked_at_again() -> None:
    space = slides_space()
    before = space.decisions()
    space.optional_connect(space.input, space.nodes["head"])
    assert space.decisions().names == (*before.names, "input->head")


def test_nothing_to_choose() -> None:
    space = ArchitectureSpace((3,), (2,))
    space.connect(space.input, space.constant(Dense(2)), space.output)
    assert space.size == 1
    assert space.freeze({}).parameter_count == 8
    with pytest.raises(SpaceError, match="nothing to choose"):
        space.decisions()


def test_more_operations_where_the_space_says_so() -> None:
    space = ArchitectureSpace((3,), max_operations=100)
    assert space.variable([Dense(i) for i in range(1, 80)], "wide").n_operations == 79


def test_ordered_operations_are_an_ordinal() -> None:
    space = ArchitectureSpace((3,))
    node = space.variable([Dense(2), Dense(4), Dense(8)], "width", ordered=True, default=Dense(4))
    space.connect(space.input, node, space.output)
    parameter = space.decisions().parameters["width"]
    assert not parameter.is_categorical
    assert parameter.default == "Dense(4)"


def test_mutation_changes_one_choice_and_keeps_hyperparameters() -> None:
    space, rng = slides_space(), np.random.default_rng(1)
    config = {"first": "Dense(40)", "second": "Identity", "rate": 0.1}
    for _ in range(20):
        changed = space.mutate(config, rng)
        assert changed["rate"] == 0.1
        assert sum(changed[name] != config[name] for name in ("first", "second")) == 1
        space.freeze(changed)


def test_spaces_go_to_json_and_pickle() -> None:
    for space in (slides_space(), cell_space(choices="shared", weights="shared"), cell_space()):
        read = ArchitectureSpace.from_json(json.loads(json.dumps(space.to_json())))
        copied = pickle.loads(pickle.dumps(space))
        assert read.to_json() == space.to_json()
        for config in space.sample(20, np.random.default_rng(2)):
            assert read.freeze(config) == copied.freeze(config) == space.freeze(config)


def test_layers_of_a_framework_are_operations_too() -> None:
    space = ArchitectureSpace((3,), (2,))
    noise = Layer("keras.layers:GaussianNoise", {"stddev": 0.1}, shape="same")
    node = space.variable([Identity(), noise], "noise")
    space.connect(space.input, node, space.constant(Dense(2), "head"), space.output)
    architecture = space.freeze({"noise": "GaussianNoise(stddev=0.1)"})
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
