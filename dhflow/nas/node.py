"""What a space is made of: nodes and connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dhflow.nas.merge import Merge
from dhflow.nas.operation import AnyOperation, Skip

INPUT, OUTPUT, CONSTANT, VARIABLE, MIRROR, MIMIC = "input", "output", "constant", "variable", "mirror", "mimic"


ZEROS = "zeros"
"""Stands before the shape in the names of zeros in a frozen network."""


@dataclass(frozen=True, eq=False)
class SpaceNode:
    """A node of a space; made by the graph's methods, never directly.

    Parameters
    ----------
    name : str
        Its path: a node of a nested cell has the cell's name and a dot in front.
    kind : str
        ``"input"``, ``"output"``, ``"constant"``, ``"variable"``, ``"mirror"`` or ``"mimic"``.
    operations : tuple of operation
        What it may do; one, unless it is variable.
    choice : str, optional
        The parameter that decides, its values being the operations' labels; None where there is no choice.
    share : str
        Nodes with the same key have the same weights.
    merge : Merge
        How it joins several inputs.
    scope : str
        What stands before the names that a :class:`~dhflow.nas.Skip` among its operations uses.
    """

    name: str
    kind: str
    operations: tuple[AnyOperation, ...]
    choice: str | None
    share: str
    merge: Merge
    scope: str = ""

    @property
    def n_operations(self) -> int:
        """How many operations it chooses from."""
        return len(self.operations)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The values of its choice."""
        return tuple(each.label for each in self.operations)

    @cached_property
    def number_of(self) -> Mapping[str, int]:
        """Label to number of the operation."""
        return {label: number for number, label in enumerate(self.labels)}

    def __repr__(self) -> str:
        return f"<{self.kind} node {self.name!r}: {', '.join(self.labels)}>"


@dataclass(frozen=True)
class Edge:
    """A connection.

    Parameters
    ----------
    source, target : str
        Names of nodes.
    choice : str, optional
        The parameter that decides whether it is there; None: always.
    value : scalar
        With this value it is there.
    is_one_of : bool
        Whether the choice is between connections, so that one of them is always there.
    """

    source: str
    target: str
    choice: str | None = None
    value: Any = None
    is_one_of: bool = False


@dataclass(frozen=True, eq=False)
class Nested:
    """A cell in its place; ``connect`` takes it like a node.

    Parameters
    ----------
    name : str
    inputs, outputs : mapping
        Name in the cell to node.
    """

    name: str
    inputs: Mapping[str, SpaceNode]
    outputs: Mapping[str, SpaceNode]


def arrow(source: str, target: str) -> str:
    """Return ``a->c``; within one cell its name comes once."""
    scope, dot, name = target.rpartition(".")
    short = source.removeprefix(f"{scope}.") if dot and source.startswith(f"{scope}.") else None
    return f"{source}->{target}" if short is None or "." in short else f"{scope}.{short}->{name}"


def skip_edges(nodes: Iterable[SpaceNode]) -> list[Edge]:
    """Return the connections that :class:`~dhflow.nas.Skip` operations make."""
    return [
        Edge(node.name, f"{node.scope}{each.target}", node.choice, each.label)
        for node in nodes
        for each in node.operations
        if isinstance(each, Skip)
    ]
