"""A space's nodes in topological order, each with what goes into it: what freezing and checking walk along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas.node import INPUT, OUTPUT, Edge, SpaceNode, arrow, skip_edges
from dhflow.nas.shape import Shape


@dataclass(frozen=True)
class PlannedNode:
    """A node and its incoming connections, in their order; sources are places in the plan."""

    node: SpaceNode
    sources: tuple[tuple[int, Edge], ...]

    def present(self, config: Mapping[str, Any]) -> list[int]:
        """Return the sources that are connected in `config`."""
        found = [at for at, edge in self.sources if edge.choice is None or config[edge.choice] == edge.value]
        # A skip and an optional connection between the same two nodes are one.
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def chosen(self, config: Mapping[str, Any]) -> int:
        """Return the number of the operation that `config` chooses."""
        return 0 if self.node.choice is None else self.node.number_of[config[self.node.choice]]


@dataclass(frozen=True)
class Plan:
    """The whole space, ready to walk along.

    Parameters
    ----------
    nodes : tuple of PlannedNode
        In topological order.
    input_shapes, output_shapes : mapping
        Name of an input or output to its shape; an output's may be None, any.
    """

    nodes: tuple[PlannedNode, ...]
    input_shapes: Mapping[str, Shape]
    output_shapes: Mapping[str, Shape | None]

    def outputs(self) -> list[int]:
        """Return the outputs' places."""
        return [at for at, each in enumerate(self.nodes) if each.node.kind == OUTPUT]

    def alive(self, config: Mapping[str, Any]) -> list[bool]:
        """Return which nodes are on a way to an output."""
        alive = [each.node.kind == OUTPUT for each in self.nodes]
        for at in reversed(range(len(self.nodes))):
            if alive[at]:
                for source in self.nodes[at].present(config):
                    alive[source] = True
        return alive


def make_plan(
    nodes: Mapping[str, SpaceNode],
    edges: Iterable[Edge],
    input_shapes: Mapping[str, Shape],
    output_shapes: Mapping[str, Shape | None],
) -> Plan:
    """Put the nodes in order.

    Raises
    ------
    SpaceError
        If connections close a circle, if a skip leads nowhere, or if a node hangs loose: ``path`` says where.
    """
    incoming: dict[str, dict[str, list[Edge]]] = {name: {} for name in nodes}
    for edge in edges:
        incoming[edge.target].setdefault(edge.source, []).append(edge)
    for edge in skip_edges(nodes.values()):
        _check_skip(edge, nodes, incoming)
        incoming[edge.target].setdefault(edge.source, []).append(edge)
    flat = {name: [edge for edges in found.values() for edge in edges] for name, found in incoming.items()}
    _check_ends(nodes, flat)
    order = _ordered(nodes, flat)
    place = {name: at for at, name in enumerate(order)}
    planned = [PlannedNode(nodes[name], tuple((place[edge.source], edge) for edge in flat[name])) for name in order]
    return Plan(tuple(planned), input_shapes, output_shapes)


def _check_skip(edge: Edge, nodes: Mapping[str, SpaceNode], incoming: Mapping[str, Mapping[str, list[Edge]]]) -> None:
    path = edge.source
    if edge.target not in nodes:
        raise SpaceError(f"its Skip leads to {edge.target!r}, and there is no such node", path)
    if nodes[edge.target].kind == INPUT:
        raise SpaceError(f"its Skip leads to the input {edge.target!r}", path)
    if any(each.choice is None for each in incoming[edge.target].get(edge.source, [])):
        raise SpaceError(f"its Skip leads to {edge.target!r}, to which it is connected anyway: name a later node", path)


def _check_ends(nodes: Mapping[str, SpaceNode], incoming: Mapping[str, list[Edge]]) -> None:
    used = {edge.source for edges in incoming.values() for edge in edges}
    for name, node in nodes.items():
        edges = incoming[name]
        if node.kind != INPUT and not edges:
            raise SpaceError(f"hangs loose: nothing goes into this {node.kind} node; connect(…) something to it", name)
        if node.kind != INPUT and not any(edge.choice is None or edge.is_one_of for edge in edges):
            raise SpaceError("every connection into it is optional, so it may have no input: connect(…) one", name)
        if node.kind != OUTPUT and name not in used:
            raise SpaceError(
                f"hangs loose: nothing takes what this {node.kind} node makes; connect(…) it, to an output at last",
                name,
            )


def _ordered(nodes: Mapping[str, SpaceNode], incoming: Mapping[str, list[Edge]]) -> list[str]:
    """Return the names in topological order, inputs first, otherwise as near as may be to the order of writing."""
    waiting = {name: {edge.source for edge in incoming[name]} for name in nodes}
    order: list[str] = []
    placed: set[str] = set()
    while waiting:
        ready = [name for name, sources in waiting.items() if sources <= placed]
        if not ready:
            circle = _circle(waiting)
            raise SpaceError(f"connections close a circle: {' → '.join(circle)}", arrow(circle[0], circle[1]))
        for name in ready:
            order.append(name)
            placed.add(name)
            del waiting[name]
    return order


def _circle(waiting: Mapping[str, set[str]]) -> list[str]:
    # Every waiting node waits for another one, so walking back must come to where it has been.
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(min(waiting[path[-1]] & waiting.keys()))
    return path[path.index(path[-1]) :][::-1]
