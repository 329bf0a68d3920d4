"""A network without its weights: what ``ArchitectureSpace.freeze`` returns and a builder turns into a model.

The JSON form, version 1::

    {"version": 1,
     "nodes": [{"name": …, "operation": {"type": …, …}, "inputs": [name, …], "share": …}, …],
     "outputs": {name: node, …}}

Nodes come in topological order. ``share`` is there where several nodes have one set of weights. Shapes are not
written: they follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.catalogue import operation_from_json, operation_to_json
from dhflow.nas.operation import AnyOperation, Input
from dhflow.nas.shape import Shape
from dhflow.space.value import show

VERSION = 1


@dataclass(frozen=True)
class ArchitectureNode:
    """One operation of a network.

    Parameters
    ----------
    name : str
        Unique in the network; a part of a node of the space has a dot: ``"block.add"``, ``"cell.block"``.
    operation : Operation
        Takes as many tensors as there are inputs: one, or several where it is a
        :class:`~dhflow.nas.merge.Merge`; an :class:`~dhflow.nas.operation.Input` takes none.
    inputs : tuple of str
        The nodes whose tensors it takes, in order; one may be there twice.
    input_shapes : tuple of tuple
    output_shape : tuple
    share : str, optional
        Nodes with the same key have the same weights, and so one layer; None: weights of its own, or none.
    """

    name: str
    operation: AnyOperation
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    share: str | None = None

    @cached_property
    def parameter_count(self) -> int:
        """How many weights its operation has, shared ones included."""
        return self.operation.parameter_count(self.input_shapes[0]) if self.input_shapes else 0


@dataclass(frozen=True)
class LayerRow:
    """A line of :meth:`Architecture.layers`."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    output_shape: Shape
    parameter_count: int
    share: str | None


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network: nodes in topological order, every one of them on a way to an output.

    Parameters
    ----------
    nodes : tuple of ArchitectureNode
        The inputs come first, used or not.
    outputs : mapping
        Name of an output to the node whose tensor it is, in the order of the space's outputs.

    Notes
    -----
    Two architectures are equal when their nodes, names included, are; networks that compute the same are found
    by :attr:`hash`.
    """

    nodes: tuple[ArchitectureNode, ...]
    outputs: Mapping[str, str]
    _by_name: Mapping[str, ArchitectureNode] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", dict(self.outputs))
        object.__setattr__(self, "_by_name", {each.name: each for each in self.nodes})

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes where tensors come in."""
        return tuple(each.name for each in self.nodes if isinstance(each.operation, Input))

    def __getitem__(self, name: str) -> ArchitectureNode:
        return self._by_name[name]

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def parameter_count(self) -> int:
        """How many weights the network has; shared ones count once."""
        counts = {each.share or f"node {each.name}": each.parameter_count for each in self.nodes}
        return sum(counts.values())

    @cached_property
    def hash(self) -> str:
        """32 hexadecimal digits, equal for networks that compute the same, see :mod:`dhflow.nas.canonical`."""
        from dhflow.nas.canonical import canonical_hash

        return canonical_hash(self)

    def layers(self) -> list[LayerRow]:
        """Return a line for each node; weights that an earlier line counts are not counted again."""
        seen: set[str] = set()
        rows = []
        for each in self.nodes:
            count = 0 if each.share in seen else each.parameter_count
            if each.share is not None:
                seen.add(each.share)
            rows.append(LayerRow(each.name, each.operation.label, each.inputs, each.output_shape, count, each.share))
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form.

        Raises
        ------
        SpaceError
            If an operation has none: a :class:`~dhflow.nas.Layer` of a function, a class that is no dataclass.
        """
        return {
            "version": VERSION,
            "nodes": [_node_to_json(each) for each in self.nodes],
            "outputs": dict(self.outputs),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, own: Iterable[type] = ()) -> Architecture:
        """Return the architecture of :meth:`to_json`.

        Parameters
        ----------
        data : mapping
        own : iterable of type
            Classes of the user's own operations.

        Raises
        ------
        SpaceError
            If `data` has a newer version or is no architecture.
        ShapeMismatchError
            If tensors do not fit together.
        """
        if not isinstance(data, Mapping) or "version" not in data or not isinstance(data.get("nodes"), list):
            raise SpaceError(f"this is no architecture: {show(data)}", "version")
        if data["version"] != VERSION:
            raise SpaceError(f"has version {show(data['version'])}, and this dhflow reads version {VERSION}", "version")
        own = tuple(own)
        steps = [_step_from_json(each, f"nodes[{i}]", own) for i, each in enumerate(data["nodes"])]
        return assemble(steps, data.get("outputs", {}))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return False
        return dict(self.outputs) == dict(other.outputs) and [*map(_identity, self.nodes)] == [
            *map(_identity, other.nodes)
        ]

    def __hash__(self) -> int:
        return hash(self.hash)

    def __str__(self) -> str:
        from dhflow.nas.table import layer_table

        return layer_table(self)


@dataclass(frozen=True)
class Step:
    """A node whose shapes are not known yet."""

    name: str
    operation: AnyOperation
    inputs: tuple[str, ...] = ()
    share: str | None = None


def assemble(steps: Sequence[Step], outputs: Mapping[str, str]) -> Architecture:
    """Return the architecture of `steps`, in topological order.

    Raises
    ------
    SpaceError
        If a step takes what does not come before it, or a name is there twice.
    ShapeMismatchError
        If a tensor does not fit; ``node`` says where.
    """
    nodes: dict[str, ArchitectureNode] = {}
    for step in steps:
        if step.name in nodes:
            raise SpaceError("is there twice", step.name)
        for each in step.inputs:
            if each not in nodes:
                raise SpaceError(f"takes {each!r}, which does not come before it", step.name)
        given = tuple(nodes[each].output_shape for each in step.inputs)
        made = shape_of(step.operation, given, step.name)
        nodes[step.name] = ArchitectureNode(step.name, step.operation, step.inputs, given, made, step.share)
    for name, node in outputs.items():
        if node not in nodes:
            raise SpaceError(f"is the tensor of {node!r}, and there is no such node", f"outputs.{name}")
    if not outputs:
        raise SpaceError("there is no output", "outputs")
    return Architecture(tuple(nodes.values()), outputs)


def shape_of(operation: AnyOperation, given: Sequence[Shape], node: str) -> Shape:
    """Return what `operation` makes of tensors, or say at which node it cannot.

    Raises
    ------
    ShapeMismatchError
        ``node`` is the node's path.
    """
    try:
        return operation.output_shape(*given)
    except ShapeMismatchError as error:
        raise ShapeMismatchError(f"{node}: {error.message}", node, error.got, error.need) from None
    except TypeError as error:
        taken = ", ".join(map(shapes.text, given)) or "nothing"
        raise ShapeMismatchError(f"{node}: {operation.label} cannot take {taken}: {error}", node) from error


def _node_to_json(node: ArchitectureNode) -> dict[str, Any]:
    data = {"name": node.name, "operation": operation_to_json(node.operation), "inputs": list(node.inputs)}
    return data if node.share is None else {**data, "share": node.share}


def _step_from_json(data: object, path: str, own: tuple[type, ...]) -> Step:
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise SpaceError(f"{show(data)} is no node", path)
    unknown = sorted(data.keys() - {"name", "operation", "inputs", "share"})
    if unknown:
        raise SpaceError(f"unknown key {unknown[0]!r}", path)
    try:
        operation = operation_from_json(data.get("operation"), own)
    except SpaceError as error:
        raise SpaceError(error.message, f"{data['name']}.{error.path or 'operation'}") from None
    inputs = data.get("inputs", [])
    if not isinstance(inputs, list):
        raise SpaceError(f"{show(inputs)} is no list of names", f"{data['name']}.inputs")
    return Step(data["name"], operation, tuple(inputs), data.get("share"))


def _identity(node: ArchitectureNode) -> tuple[Any, ...]:
    from dhflow.nas.canonical import operation_key

    return node.name, operation_key(node.operation), node.inputs, node.share
