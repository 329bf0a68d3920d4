"""The hash that equal networks share, and how searchers use it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from dhflow import Float, SearchSpace, Study
from dhflow.nas import (
    Activation,
    Add,
    Architecture,
    ArchitectureSpace,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Input,
    Layer,
    Zero,
    dense_with_skips,
    nasbench201,
)
from dhflow.nas.architecture import Step, assemble
from dhflow.nas.library import NASBENCH201_EDGES, NASBENCH201_OPERATIONS

Steps = list[tuple[object, ...]]

TWO: Steps = [("a", Dense(4), "x"), ("b", Dense(4), "x")]


def network(*steps: tuple[object, ...], output: str | None = None) -> Architecture:
    """Return a network of (name, operation, inputs, share), behind an input of four numbers."""
    made = [Step("x", Input((4,)))]
    made += [Step(name, operation, tuple(str(inputs).split()), *rest) for name, operation, inputs, *rest in steps]  # type: ignore[arg-type, misc]
    return assemble(made, {"output": output or made[-1].name})


def test_names_and_order_do_not_matter() -> None:
    first = network(("a", Dense(3), "x"), ("b", Dense(5), "x"), ("c", Dense(3), "b"), ("sum", Add(), "a c"))
    second = network(("q", Dense(5), "x"), ("p", Dense(3), "q"), ("r", Dense(3), "x"), ("end", Add(), "p r"))
    assert first.hash == second.hash
    assert first != second


def noise(stddev: float) -> None:
    """Stands for a layer's factory; it is never called."""


def test_own_layers_of_one_name_are_told_apart_by_all_else() -> None:
    def hash_of(factory: Callable[..., object], **arguments: Any) -> str:
        layer = Layer(factory, {"stddev": 0.1} | arguments.pop("given", {}), shape="same", name="noise", **arguments)
        return network(("a", layer, "x")).hash

    different = [
        hash_of(noise),
        hash_of(noise, given={"stddev": 0.2}),
        hash_of(noise, parameters=3),
        hash_of(partial(noise, 0.1)),
        hash_of(partial(noise, 0.2)),
        hash_of(network),
        hash_of(lambda **_: None),
        hash_of(Identity),
    ]
    assert len(set(different)) == len(different)
    assert hash_of(partial(noise, 0.1)) == hash_of(partial(noise, 0.1))


def test_an_activation_inside_a_layer_is_one_behind_it() -> None:
    inside = network(("a", Dense(3, "relu"), "x"))
    behind = network(("a", Dense(3), "x"), ("b", Activation("relu"), "a"))
    assert inside.hash == behind.hash


def test_what_has_neither_weights_nor_chance_counts_once() -> None:
    twice = network(("a", Activation("relu"), "x"), ("b", Activation("relu"), "x"), ("end", Add(), "a b"))
    assert twice.hash == network(("a", Activation("relu"), "x"), ("end", Add(), "a a")).hash
    dropped = network(("a", Dropout(0.1), "x"), ("b", Dropout(0.1), "x"), ("end", Add(), "a b"))
    assert dropped.hash != network(("a", Dropout(0.1), "x"), ("end", Add(), "a a")).hash


def test_sums_may_be_grouped_in_any_way() -> None:
    terms = [("a", Dense(3), "x"), ("b", Dense(3, "relu"), "x"), ("c", Dense(3, "tanh"), "x")]
    left = network(*terms, ("ab", Add(), "a b"), ("end", Add(), "ab c"))
    right = network(*terms, ("bc", Add(), "b c"), ("end", Add(), "a bc"))
    flat = network(*terms, ("end", Add(), "c a b"))
    assert left.hash == right.hash == flat.hash


def test_concatenations_have_an_order() -> None:
    terms = [("a", Dense(3), "x"), ("b", Dense(3, "relu"), "x")]
    assert network(*terms, ("end", Concatenate(), "a b")).hash != network(*terms, ("end", Concatenate(), "b a")).hash


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([("a", Dense(3), "x")], [("a", Dense(4), "x")]),
        ([("a", Dense(3), "x")], [("a", Dense(3, use_bias=False), "x")]),
        ([("a", Dropout(0.1), "x")], [("a", Dropout(0.2), "x")]),
        # Twice the same set of weights is not two sets.
        (
            [("a", Dense(4), "x"), ("b", Dense(4), "a")],
            [("a", Dense(4), "x", "key"), ("b", Dense(4), "a", "key")],
        ),
        # One layer taken twice is not two layers.
        (
            [("a", Dense(3), "x"), ("end", Add(), "a a")],
            [("a", Dense(3), "x"), ("b", Dense(3), "x"), ("end", Add(), "a b")],
        ),
        # What goes on from a shared tensor tells these apart.
        (
            [
                ("a", Dense(4), "x"),
                ("b", Dense(4), "x"),
                ("c", Dense(4), "a"),
                ("d", Dense(4), "a"),
                ("end", Add(), "b c d"),
            ],
            [
                ("a", Dense(4), "x"),
                ("b", Dense(4), "x"),
                ("c", Dense(4), "a"),
                ("d", Dense(4), "b"),
                ("end", Add(), "b c d"),
            ],
        ),
        ([("a", Dense(4), "x"), ("end", Add(), "a x")], [("a", Dense(4), "x")]),
    ],
)
def test_different_networks_have_different_hashes(first: Steps, second: Steps) -> None:
    assert network(*first).hash != network(*second).hash


def test_inputs_and_outputs_are_told_apart() -> None:
    def of(one: str, other: str, outputs: dict[str, str]) -> str:
        steps = [
            Step("x", Input((4,))),
            Step("y", Input((4,))),
            Step("a", Dense(2), (one,)),
            Step("b", Dense(2, "relu"), (other,)),
        ]
        return assemble(steps, outputs).hash

    usual = of("x", "y", {"p": "a", "q": "b"})
    assert usual == of("x", "y", {"price": "a", "kind": "b"})
    assert usual != of("y", "x", {"p": "a", "q": "b"})
    assert usual != of("x", "y", {"p": "b", "q": "a"})


def test_twins_that_no_colour_tells_apart() -> None:
    # Two towers alike, joined crosswise: every way to number them describes the same network.
    def towers(order: list[str]) -> str:
        first = [(f"{name}1", Dense(4), "x") for name in order]
        second = [(f"{name}2", Dense(4, "relu"), f"{name}1") for name in order]
        third = [(f"{name}3", Dense(4), f"{name}2") for name in order]
        return network(*first, *second, *third, ("end", Add(), " ".join(f"{name}3" for name in order))).hash

    assert len({towers(list(order)) for order in itertools.permutations("abc")}) == 1


def test_identities_and_dead_branches_do_not_matter() -> None:
    space = ArchitectureSpace((4,), (4,))
    one, two = (space.variable([Identity(), Dense(4), Dropout(0.0), Zero()], name) for name in ("one", "two"))
    side = space.variable([Dense(4), Dense(8)], "side")
    space.connect(space.input, one, two, space.output)
    space.connect(space.input, side, space.constant(Zero(), "gate"), space.output)
    base = {"one": "Dense(4)", "two": "Identity", "side": "Dense(4)"}
    same = [
        base,
        base | {"side": "Dense(8)"},
        base | {"two": "Dropout(0.0)"},
        {**base, "one": "Identity", "two": "Dense(4)"},
    ]
    assert len({space.canonical(each) for each in same}) == 1
    assert space.canonical(base | {"two": "Dense(4)"}) != space.canonical(base)
    assert space.canonical(base | {"hyperparameter": 3}) == space.canonical(base)


def test_shuffled_networks_keep_their_hash() -> None:
    rng = np.random.default_rng(4)
    space = dense_with_skips((7,), (2,), n_layers=6, units=(8, 16), activations=("relu",))
    for config in space.sample(40, rng):
        architecture = space.freeze(config)
        assert shuffled(architecture, rng).hash == architecture.hash


def shuffled(architecture: Architecture, rng: np.random.Generator) -> Architecture:
    """Return the network with other names, in another topological order, sums with their terms in another order."""
    mixed = rng.permutation([each.name for each in architecture.nodes]).tolist()
    names = {name: f"n{i}" for i, name in enumerate(mixed)}
    left = list(architecture.nodes)
    steps: list[Step] = []
    done: set[str] = set()
    while left:
        ready = [each for each in left if set(each.inputs) <= done]
        node = ready[int(rng.integers(len(ready)))]
        inputs = [names[each] for each in node.inputs]
        if isinstance(node.operation, Add):
            rng.shuffle(inputs)
        steps.append(Step(names[node.name], node.operation, tuple(inputs), node.share))
        done.add(node.name)
        left.remove(node)
    return assemble(steps, {name: names[node] for name, node in architecture.outputs.items()})


def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "import json, sys; from dhflow.nas import Architecture; "
        "print(Architecture.from_json(json.load(sys.stdin)).hash)"
    )
    space = dense_with_skips((7,), (2,), n_layers=4)
    architecture = space.freeze(space.sample(1, np.random.default_rng(5))[0])
    data = json.dumps(architecture.to_json())
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == architecture.hash


def test_operations_without_json_are_told_apart_by_class_and_label() -> None:
    def one(name: str) -> str:
        return network(("a", Layer(lambda: None, shape="same", name=name), "x")).hash

    assert one("p") == one("p")
    assert one("p") != one("q")


def test_equal_cells_of_nasbench201_are_few() -> None:
    """Of the cells without convolutions, as few are different as have different sums of poolings."""
    space = nasbench201((8, 8, 3), n_cells=1)
    operations = [each for each in NASBENCH201_OPERATIONS if not each.startswith("nor_conv")]
    found = defaultdict(set)
    for chosen in itertools.product(operations, repeat=6):
        config = {f"cell.{edge}": each for edge, each in zip(NASBENCH201_EDGES, chosen, strict=True)}
        found[polynomial(chosen)].add(space.canonical(config))
    assert all(len(each) == 1 for each in found.values())


def polynomial(chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ways from the cell's input to its output, as the poolings that each goes through, as a sum of sums."""
    edges = dict(zip(NASBENCH201_EDGES, chosen, strict=True))
    sums: dict[str, tuple[str, ...]] = {"0": ("x",)}
    for end in "123":
        terms: list[str] = []
        for start in "012":
            operation = edges.get(f"{start}->{end}")
            if operation == "skip_connect":
                terms += sums[start]
            elif operation == "avg_pool_3x3" and sums[start]:
                terms.append(f"pool({'+'.join(sums[start])})")
        sums[end] = tuple(sorted(terms))
    return sums["3"]


# Searchers


@pytest.mark.parametrize("searcher", ["random", "evolution", "sobol", "ambs"])
def test_no_searcher_trains_an_equal_network_twice(searcher: str) -> None:
    space = ArchitectureSpace((4,), (4,))
    nodes = [space.variable([Identity(), Dense(4)], name) for name in "abc"]
    space.connect(space.input, *nodes, space.output)
    assert space.size == 8
    study = Study(space.decisions(), searcher=searcher, seed=3)
    keys = []
    for _ in range(4):
        trial = study.ask()
        keys.append(space.canonical(trial.config))
        study.tell(trial, float(len(keys)))
    # None, one, two or three dense layers: four networks in eight configs.
    assert len(set(keys)) == 4


def test_equal_networks_are_trained_again_where_one_asks_for_it() -> None:
    space = ArchitectureSpace((4,), (4,))
    nodes = [space.variable([Identity(), Dense(4)], name) for name in "abc"]
    space.connect(space.input, *nodes, space.output)
    study = Study(space.decisions(distinct=False), searcher="random", seed=3)
    for i in range(8):
        study.tell(study.ask(), float(i))
    assert len(study.result.trials) == 8


def test_identities_keep_hyperparameters_apart() -> None:
    space = ArchitectureSpace((4,), (4,))
    nodes = [space.variable([Identity(), Dense(4)], name) for name in "ab"]
    space.connect(space.input, *nodes, space.output)
    joint = space * SearchSpace({"rate": Float(0.0, 1.0)})
    first = {"a": "Identity", "b": "Dense(4)", "rate": 0.5}
    second = {"a": "Dense(4)", "b": "Identity", "rate": 0.5}
    X = joint.encode([first, second, {**second, "rate": 0.6}])
    one, other, third = joint.identities(X)
    assert one == other != third
    assert len(set(joint.keys(X))) == 3
    assert joint.grouped("all").canonical is not None


def test_flatten_of_what_is_flat_is_left_out() -> None:
    space = ArchitectureSpace((4, 4, 1), (2,))
    node = space.variable([Conv2D(2, 3), Flatten()], "node")
    space.connect(space.input, node, space.constant(Flatten(), "flat"), space.constant(Dense(2), "head"), space.output)
    assert [each.name for each in space.freeze({"node": "Flatten"}).nodes] == ["input", "node", "head"]
