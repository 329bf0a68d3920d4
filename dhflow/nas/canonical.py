"""A hash that equal networks share, whatever their nodes are called and in which order they were written.

Two networks are equal here when they compute the same function of their inputs from the same sets of weights:
identities are left out (``freeze`` has done that, and dropped what reaches no output), an activation inside a
layer is one behind it, sums do not depend on the order and grouping of their terms, concatenations do, and what has
neither weights nor chance counts once, however often it is applied to one tensor.

Nodes get colours from their operation, what leads to them and what they lead to, refined by those of their
neighbours and partners in weights until no colour splits (Weisfeiler and Leman 1968). Where several nodes still
look alike, each of them is singled out in turn, and the smallest description counts; in networks such nodes are
nearly always interchangeable, so the number of attempts is bounded. Beyond it two equal networks may get two hashes;
different ones never get the same (but for collisions of a 128-bit digest, and for own operations of one class and one
label, or functions of one place that differ in what they capture alone: give those different labels).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dhflow.errors import SpaceError
from dhflow.nas.catalogue import operation_to_json
from dhflow.nas.elementary import Activation, Flatten, Reshape
from dhflow.nas.layer import Layer
from dhflow.nas.merge import Add, Merge, Pad
from dhflow.nas.operation import AnyOperation, Operation, Zero
from dhflow.nas.window import AvgPool1D, AvgPool2D, GlobalPool, MaxPool1D, MaxPool2D

if TYPE_CHECKING:
    from dhflow.nas.architecture import Architecture

_MAX_ATTEMPTS = 8

_POOLS = (MaxPool1D, MaxPool2D, AvgPool1D, AvgPool2D, GlobalPool)
_PURE = (Activation, Flatten, Reshape, *_POOLS, Pad, Zero, Merge)
"""Operations without weights or chance: twice on one tensor, they make the same twice."""


def canonical_hash(architecture: Architecture) -> str:
    """Return 32 hexadecimal digits."""
    graph = _read(architecture)
    colours = graph.start()
    return _digest(_smallest(graph, colours if len(set(colours)) == len(colours) else _refined(graph, colours)))


def operation_key(operation: AnyOperation) -> str:
    """Return a text that equal operations share: the JSON form, or where there is none the class and what it says.

    A layer whose factory is a function says where that is written, and what it is called with.
    """
    return _known_key(operation) if isinstance(operation, Operation) else _own_key(operation)


def _own_key(operation: AnyOperation) -> str:
    try:
        return json.dumps(operation_to_json(operation), sort_keys=True)
    except (SpaceError, TypeError, ValueError):
        kind = type(operation)
        said = operation.description if isinstance(operation, Layer) else operation.label
        return f"{kind.__module__}.{kind.__qualname__} {said}"


_known_key = lru_cache(maxsize=4096)(_own_key)


@dataclass
class _Graph:
    """The network with activations as nodes of their own; nodes are numbers."""

    labels: list[str] = field(default_factory=list)
    inputs: list[list[int]] = field(default_factory=list)
    unordered: list[bool] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    partners: list[list[int]] = field(default_factory=list)
    known: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)

    def add(self, label: str, inputs: list[int], *, is_unordered: bool = False) -> int:
        self.labels.append(label)
        self.inputs.append(inputs)
        self.unordered.append(is_unordered)
        self.partners.append([])
        return len(self.labels) - 1

    def apply(self, operation: AnyOperation, inputs: list[int]) -> int:
        """Add an operation, unless it is there already and can only make the same again."""
        is_sum = isinstance(operation, Add)
        taken = sorted(self.terms(inputs)) if is_sum else inputs
        label = operation_key(operation)
        if not isinstance(operation, _PURE):
            return self.add(label, taken)
        key = (label, tuple(taken))
        if key not in self.known:
            self.known[key] = self.add(label, taken, is_unordered=is_sum)
        return self.known[key]

    def terms(self, inputs: list[int]) -> list[int]:
        """Return the terms of a sum, those of a sum within it among them."""
        return [term for each in inputs for term in (self.inputs[each] if self.unordered[each] else [each])]

    def start(self) -> list[str]:
        """Return colours that tell what leads to a node, and then what it leads to: one walk each way."""
        places: dict[int, list[int]] = {}
        for place, node in enumerate(self.outputs):
            places.setdefault(node, []).append(place)
        colours: list[str] = []
        for node, label in enumerate(self.labels):
            inputs = [colours[each] for each in self.inputs[node]]
            colours.append(_digest([label, places.get(node, []), sorted(inputs) if self.unordered[node] else inputs]))
        consumers = self.consumers
        for node in reversed(range(len(colours))):
            taken = sorted((colours[other], place) for other, place in consumers[node])
            colours[node] = _digest([colours[node], taken])
        return colours

    @property
    def consumers(self) -> list[list[tuple[int, int]]]:
        found: list[list[tuple[int, int]]] = [[] for _ in self.labels]
        for node, inputs in enumerate(self.inputs):
            for place, each in enumerate(inputs):
                found[each].append((node, 0 if self.unordered[node] else place))
        return found


def _read(architecture: Architecture) -> _Graph:
    graph = _Graph()
    ends: dict[str, int] = {}
    shared: dict[str, list[int]] = {}
    n_inputs = 0
    for node in architecture.nodes:
        inputs = [ends[each] for each in node.inputs]
        if not inputs:
            # Inputs are fed in their order, so their place belongs to what they are.
            ends[node.name] = graph.add(f"{n_inputs} {operation_key(node.operation)}", [])
            n_inputs += 1
            continue
        own = isinstance(node.operation, Operation)
        parts: tuple[AnyOperation, ...] = node.operation.parts() if own else (node.operation,)  # type: ignore[union-attr]
        for place, part in enumerate(parts):
            inputs = [graph.apply(part, inputs)]
            if place == 0 and node.share is not None:
                shared.setdefault(node.share, []).append(inputs[0])
        ends[node.name] = inputs[0]
    graph.outputs = [ends[each] for each in architecture.outputs.values()]
    for members in shared.values():
        for each in members:
            graph.partners[each] = [other for other in members if other != each]
    return _without_dead(graph)


def _without_dead(graph: _Graph) -> _Graph:
    """Leave out sums that went into others."""
    alive = {*graph.outputs, *(node for node, inputs in enumerate(graph.inputs) if not inputs)}
    for node in reversed(range(len(graph.labels))):
        if node in alive:
            alive.update(graph.inputs[node])
    new = {node: i for i, node in enumerate(sorted(alive))}
    return _Graph(
        [graph.labels[node] for node in new],
        [[new[each] for each in graph.inputs[node]] for node in new],
        [graph.unordered[node] for node in new],
        [new[each] for each in graph.outputs],
        [[new[each] for each in graph.partners[node] if each in new] for node in new],
    )


def _refined(graph: _Graph, colours: list[str]) -> list[str]:
    consumers = graph.consumers
    n_colours = len(set(colours))
    while True:
        new = []
        for node, colour in enumerate(colours):
            inputs = [colours[each] for each in graph.inputs[node]]
            signature: list[Any] = [
                colour,
                sorted(inputs) if graph.unordered[node] else inputs,
                sorted((colours[other], place) for other, place in consumers[node]),
                sorted(colours[other] for other in graph.partners[node]),
            ]
            new.append(_digest(signature))
        n_new = len(set(new))
        if n_new in (n_colours, len(new)):
            return new
        colours, n_colours = new, n_new


def _smallest(graph: _Graph, colours: list[str]) -> list[Any]:
    """Return the smallest description over the ways to tell nodes apart that look alike."""
    best: list[Any] | None = None
    open_colourings = [colours]
    n_attempts = 0
    while open_colourings and (best is None or n_attempts < _MAX_ATTEMPTS):
        colouring = open_colourings.pop()
        tied = sorted(colour for colour, count in Counter(colouring).items() if count > 1)
        if not tied:
            n_attempts += 1
            found = _description(graph, colouring)
            best = found if best is None else min(best, found)
            continue
        for node in [node for node, colour in enumerate(colouring) if colour == tied[0]]:
            singled = [*colouring]
            singled[node] = _digest([colouring[node], "singled out"])
            open_colourings.append(_refined(graph, singled))
    return best or []


def _description(graph: _Graph, colours: list[str]) -> list[Any]:
    """Return all nodes in the order of their colours, which are all different."""
    order = sorted(range(len(colours)), key=colours.__getitem__)
    place = {node: i for i, node in enumerate(order)}
    nodes = []
    for node in order:
        inputs = [place[each] for each in graph.inputs[node]]
        partners = sorted(place[each] for each in graph.partners[node])
        nodes.append([graph.labels[node], sorted(inputs) if graph.unordered[node] else inputs, partners])
    return [nodes, [place[each] for each in graph.outputs]]


def _digest(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()
