"""The JSON form of an architecture space, version 1.

::

    {"version": 1,
     "inputs": {name: shape, …}, "outputs": {name: shape or null, …},
     "nodes": [{"name": …, "kind": …, "operations": [{"type": …, …}, …], "choice": …, "share": …, "merge": {…},
                "scope": …}, …],
     "edges": [{"source": …, "target": …, "choice": …, "value": …, "is_one_of": …}, …],
     "choices": {"version": 1, "parameters": […]}}

``choices`` is the form of a search space (:mod:`dhflow.space.json_form`), absent where there is nothing to choose.
Inputs and outputs are among the nodes too. Cells are written as the nodes that they became.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dhflow.errors import SpaceError
from dhflow.nas.catalogue import operation_from_json, operation_to_json
from dhflow.nas.merge import Merge
from dhflow.nas.node import INPUT, OUTPUT, Edge, SpaceNode
from dhflow.space import Parameter, SearchSpace
from dhflow.space.value import show

if TYPE_CHECKING:
    from dhflow.nas.space import ArchitectureSpace

VERSION = 1


def to_json(space: ArchitectureSpace) -> dict[str, Any]:
    """Return `space` as JSON values."""
    data = {
        "version": VERSION,
        "inputs": {name: list(shape) for name, shape in space.input_shapes.items()},
        "outputs": {name: shape if shape is None else list(shape) for name, shape in space.output_shapes.items()},
        "nodes": [_node_to_json(each) for each in space.nodes.values()],
        "edges": [asdict(each) for each in space.edges],
    }
    return data | ({"choices": SearchSpace(space.choices).to_json()} if space.choices else {})


def read_parts(
    data: Mapping[str, Any], own: Iterable[type] = ()
) -> tuple[dict[str, SpaceNode], list[Edge], dict[str, Parameter]]:
    """Return the nodes, connections and choices of the space that `data` describes.

    Raises
    ------
    SpaceError
        If `data` has a newer version or is no architecture space.
    """
    keys = {"version", "inputs", "outputs", "nodes", "edges"}
    if not isinstance(data, Mapping) or not keys <= data.keys():
        raise SpaceError(f"this is no architecture space: {show(data)}", "version")
    if data["version"] != VERSION:
        raise SpaceError(f"has version {show(data['version'])}, and this dhflow reads version {VERSION}", "version")
    unknown = sorted(data.keys() - keys - {"choices"})
    if unknown:
        raise SpaceError(f"unknown key {unknown[0]!r}")
    choices = SearchSpace.from_json(data["choices"]).parameters if "choices" in data else {}
    own = tuple(own)
    nodes = {}
    for i, each in enumerate(data["nodes"]):
        node = _made(_node_from_json, each, f"nodes[{i}]", own)
        nodes[node.name] = node
    edges = [_made(_edge_from_json, each, f"edges[{i}]", nodes) for i, each in enumerate(data["edges"])]
    for name in {each.choice for each in (*nodes.values(), *edges) if each.choice is not None}:
        if name not in choices:
            raise SpaceError("is decided by a choice that is not there", name)
    _check_ends(data, nodes)
    return nodes, edges, dict(choices)


def _check_ends(data: Mapping[str, Any], nodes: Mapping[str, SpaceNode]) -> None:
    for key, kind in (("inputs", INPUT), ("outputs", OUTPUT)):
        found = {each.name for each in nodes.values() if each.kind == kind}
        if found != set(data[key]):
            raise SpaceError(f"are {sorted(data[key])}, and among the nodes are {sorted(found)}", key)


def _made(make: Any, data: object, path: str, known: Any) -> Any:
    try:
        return make(data, known)
    except SpaceError as error:
        raise SpaceError(error.message, path if error.path is None else f"{path}.{error.path}") from None
    except (TypeError, KeyError, AttributeError) as error:
        raise SpaceError(f"{show(data)} does not fit: {error}", path) from error


def _node_to_json(node: SpaceNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "operations": [operation_to_json(each) for each in node.operations],
        "choice": node.choice,
        "share": node.share,
        "merge": operation_to_json(node.merge),
        "scope": node.scope,
    }


def _node_from_json(data: Mapping[str, Any], own: tuple[type, ...]) -> SpaceNode:
    operations = tuple(operation_from_json(each, own) for each in data["operations"])
    merge = operation_from_json(data["merge"], own)
    if not isinstance(merge, Merge):
        raise SpaceError(f"{merge.label} joins nothing", "merge")
    return SpaceNode(data["name"], data["kind"], operations, data["choice"], data["share"], merge, data["scope"])


def _edge_from_json(data: Mapping[str, Any], nodes: Mapping[str, SpaceNode]) -> Edge:
    edge = Edge(**data)
    for each in (edge.source, edge.target):
        if each not in nodes:
            raise SpaceError(f"there is no node {each!r}")
    return edge
