"""Graphs of nodes as they are written: what :class:`ArchitectureSpace` and :class:`Cell` share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas.catalogue import read_operation
from dhflow.nas.merge import Merge, read_merge
from dhflow.nas.node import CONSTANT, INPUT, MIMIC, MIRROR, OUTPUT, VARIABLE, ZEROS, Edge, Nested, SpaceNode, arrow
from dhflow.nas.operation import AnyOperation, Identity
from dhflow.space import ARCHITECTURE, Categorical, Ordinal, Parameter
from dhflow.space.value import show

MAX_OPERATIONS = 64
"""Operations of one variable node, unless the space says otherwise."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_>-]*")


class Graph:
    """Nodes and connections; see :class:`~dhflow.nas.ArchitectureSpace` for the whole.

    Parameters
    ----------
    max_operations : int
        Most operations of one variable node.
    merge : str or Merge
        How a node joins its inputs, where it does not say so itself: ``"add"`` (after a projection), ``"pad"``
        (addition with zeros around) or ``"concatenate"``.
    """

    def __init__(self, *, max_operations: int = MAX_OPERATIONS, merge: str | Merge = "add") -> None:
        self._max_operations = max_operations
        self._merge = read_merge(merge, "merge")
        self._nodes: dict[str, SpaceNode] = {}
        self._edges: dict[str, dict[str, Edge]] = {}
        """Target to source to edge, in the order of connecting."""
        self._choices: dict[str, Parameter] = {}
        self._inputs: dict[str, SpaceNode] = {}
        self._outputs: dict[str, SpaceNode] = {}
        self._shared_cells: dict[str, Graph] = {}

    # What it consists of

    @property
    def nodes(self) -> Mapping[str, SpaceNode]:
        """Name to node, read-only."""
        return MappingProxyType(self._nodes)

    @property
    def edges(self) -> list[Edge]:
        """The connections, without those that a :class:`~dhflow.nas.Skip` makes."""
        return [edge for edges in self._edges.values() for edge in edges.values()]

    @property
    def choices(self) -> Mapping[str, Parameter]:
        """Name to parameter, read-only."""
        return MappingProxyType(self._choices)

    @property
    def inputs(self) -> Mapping[str, SpaceNode]:
        """The nodes where tensors come in, by name; read-only."""
        return MappingProxyType(self._inputs)

    @property
    def outputs(self) -> Mapping[str, SpaceNode]:
        """The nodes where tensors go out, by name; read-only."""
        return MappingProxyType(self._outputs)

    @property
    def input(self) -> SpaceNode:
        """The only input."""
        return _only(self._inputs, "inputs")

    @property
    def output(self) -> SpaceNode:
        """The only output."""
        return _only(self._outputs, "outputs")

    # Nodes

    def variable(
        self,
        operations: Iterable[Any],
        name: str | None = None,
        *,
        merge: str | Merge | None = None,
        default: Any = None,
        ordered: bool = False,
    ) -> SpaceNode:
        """Add a node whose operation is chosen.

        Parameters
        ----------
        operations : iterable of operation
            Two or more, with different labels.
        name : str, optional
            Also the parameter's; by default ``node_1``, ``node_2``, ….
        merge : str or Merge, optional
            How it joins several inputs; None: as the graph says.
        default : operation or label, optional
            The parameter's default; None is the first one.
        ordered : bool
            Whether the operations come in an order that means something, such as from few units to many.

        Raises
        ------
        SpaceError
            If anything does not fit; ``path`` is the node's name.
        """
        path = self._new_name(name)
        listed = _read_operations(operations, path)
        if len(listed) < 2:
            raise SpaceError("a variable node has two operations or more; one is a constant node", path)
        if len(listed) > self._max_operations:
            raise SpaceError(
                f"has {len(listed)} operations, and the upper bound is {self._max_operations}: leave some out, or "
                f"write max_operations={len(listed)} where the space begins",
                path,
            )
        labels = [each.label for each in listed]
        kind = Ordinal if ordered else Categorical
        chosen = labels[0] if default is None else getattr(default, "label", default)
        if chosen not in labels:
            raise SpaceError(f"the default {show(chosen)} is none of its operations: {', '.join(labels)}", path)
        node = self._add(path, VARIABLE, listed, merge=merge, choice=path)
        self._choices[path] = kind(labels, default=chosen, group=ARCHITECTURE)
        return node

    def constant(self, operation: Any, name: str | None = None, *, merge: str | Merge | None = None) -> SpaceNode:
        """Add a node with a fixed operation; the arguments are those of :meth:`variable`."""
        path = self._new_name(name)
        return self._add(path, CONSTANT, _read_operations([operation], path), merge=merge)

    def mirror(self, node: SpaceNode, name: str | None = None, *, merge: str | Merge | None = None) -> SpaceNode:
        """Add a node that always does what `node` does, **with the same weights**: what both take has one shape.

        Parameters
        ----------
        node : SpaceNode
            Variable or constant, or itself a mirror or mimic.
        name : str, optional
        merge : str or Merge, optional
            None: as `node`.
        """
        return self._copy(node, name, MIRROR, merge)

    def mimic(self, node: SpaceNode, name: str | None = None, *, merge: str | Merge | None = None) -> SpaceNode:
        """Add a node that always has the operation that `node` has, with weights of its own; see :meth:`mirror`."""
        return self._copy(node, name, MIMIC, merge)

    def nest(self, cell: Cell, name: str | None = None, *, choices: str = "own", weights: str = "own") -> Nested:
        """Put a cell here.

        Parameters
        ----------
        cell : Cell
            As it is now; what is added to it later does not come in.
        name : str, optional
            Stands, with a dot, before the names of its nodes; by default the cell's name and a number.
        choices : {"own", "shared"}
            ``"shared"``: one choice for all places that share, of this cell or of another of the same name, whose
            operations may differ in all but their labels.
        weights : {"own", "shared"}
            ``"shared"``: the same weights in all its places that share, and so the same choices.

        Raises
        ------
        SpaceError
            If anything does not fit.
        """
        for value, argument in ((choices, "choices"), (weights, "weights")):
            if value not in ("own", "shared"):
                raise SpaceError(f'is "own" or "shared", not {show(value)}', argument)
        if not isinstance(cell, Cell):
            raise SpaceError(f"nest takes a Cell, not {show(cell)}", name)
        if weights == "shared" and choices == "own":
            raise SpaceError('weights="shared" needs choices="shared" too', name or cell.name)
        path = self._new_name(name, default=cell.name)
        before = {"own": path, "shared": cell.name}
        if weights == "shared" and self._shared_cells.setdefault(cell.name, cell) is not cell:
            raise SpaceError(f"another cell of the name {cell.name!r} shares its weights already: rename one", path)
        return self._insert(cell, path, before[choices], before[weights])

    # Connections

    def connect(self, *nodes: SpaceNode | Nested) -> None:
        """Connect each of the nodes with the next one.

        Raises
        ------
        SpaceError
            If two are connected already, if a circle closes, or if nothing can come from there or go there.
        """
        if len(nodes) < 2:
            raise SpaceError("give two nodes or more", "connect")
        for first, second in itertools.pairwise(nodes):
            self._connect(first, second)

    def optional_connect(self, source: SpaceNode | Nested, target: SpaceNode | Nested, name: str | None = None) -> str:
        """Make a connection a choice: False (the default) or True.

        Parameters
        ----------
        source, target : node
        name : str, optional
            The parameter's; by default ``"a->c"``.

        Returns
        -------
        str
            The parameter's name.
        """
        start, end = self._ends(source, target)
        choice = self._new_choice(name or arrow(start.name, end.name))
        self._connect(start, end, Edge(start.name, end.name, choice, value=True))
        self._choices[choice] = Categorical([False, True], group=ARCHITECTURE)
        return choice

    def connect_one_of(
        self, sources: Sequence[SpaceNode | Nested], target: SpaceNode | Nested, name: str | None = None
    ) -> str:
        """Connect one of several nodes, which one being a choice (by default the first).

        Parameters
        ----------
        sources : sequence of node
        target : node
        name : str, optional
            The parameter's; by default ``"->c"``.

        Returns
        -------
        str
            The parameter's name; its values are the nodes' names.
        """
        starts = [self._ends(each, target)[0] for each in sources]
        end = self._ends(sources[0], target)[1] if starts else None
        if end is None or len(starts) < 2:
            raise SpaceError("give two nodes or more to choose from", "connect_one_of")
        choice = self._new_choice(name or f"->{end.name}")
        names = [each.name for each in starts]
        for start in starts:
            self._connect(start, end, Edge(start.name, end.name, choice, start.name, is_one_of=True))
        self._choices[choice] = Categorical(names, group=ARCHITECTURE)
        return choice

    # Helpers

    def _changed(self) -> None:
        """Forget what was worked out; a subclass has something to forget."""

    def _add(
        self,
        path: str,
        kind: str,
        operations: Sequence[AnyOperation],
        *,
        merge: str | Merge | None = None,
        choice: str | None = None,
        share: str | None = None,
        scope: str = "",
    ) -> SpaceNode:
        joined = self._merge if merge is None else read_merge(merge, f"{path}.merge")
        node = SpaceNode(path, kind, tuple(operations), choice, share or path, joined, scope)
        self._nodes[path] = node
        self._edges[path] = {}
        self._changed()
        return node

    def _take(self, nodes: Mapping[str, SpaceNode], edges: Iterable[Edge], choices: Mapping[str, Parameter]) -> None:
        """Put other nodes, connections and choices in place of all there are."""
        self._nodes, self._choices = dict(nodes), dict(choices)
        self._edges = {name: {} for name in nodes}
        for edge in edges:
            self._edges[edge.target][edge.source] = edge
        for kind, ends in ((INPUT, self._inputs), (OUTPUT, self._outputs)):
            ends.update({name: node for name, node in nodes.items() if node.kind == kind})
        self._changed()

    def _copy(self, node: SpaceNode, name: str | None, kind: str, merge: str | Merge | None) -> SpaceNode:
        self._own(node)
        if node.kind in (INPUT, OUTPUT):
            raise SpaceError(f"{node.name!r} is an {node.kind}, which has no operation to take over", name)
        path = self._new_name(name, default=f"{node.name.replace('.', '_')}_{kind}")
        return self._add(
            path,
            kind,
            node.operations,
            merge=merge or node.merge,
            choice=node.choice,
            share=node.share if kind == MIRROR else path,
            scope=node.scope,
        )

    def _insert(self, cell: Cell, path: str, choices: str, weights: str) -> Nested:
        new: dict[str, SpaceNode] = {}
        for name, node in cell.nodes.items():
            choice = None if node.choice is None else f"{choices}.{node.choice}"
            new[name] = self._add(
                f"{path}.{name}",
                CONSTANT if node.kind in (INPUT, OUTPUT) else node.kind,
                node.operations,
                merge=node.merge,
                choice=choice,
                share=f"{weights}.{node.share}",
                scope=f"{path}.{node.scope}",
            )
        for edge in cell.edges:
            choice = None if edge.choice is None else f"{choices}.{edge.choice}"
            start, end = new[edge.source], new[edge.target]
            self._connect(start, end, replace(edge, source=start.name, target=end.name, choice=choice))
        for name, parameter in cell.choices.items():
            known = self._choices.setdefault(f"{choices}.{name}", parameter)
            if repr(known) != repr(parameter):
                raise SpaceError(
                    f"another cell of the name {cell.name!r} shares a choice {name!r} of other values: rename one", path
                )
        ends = [{name: new[node.name] for name, node in each.items()} for each in (cell.inputs, cell.outputs)]
        return Nested(path, *ends)

    def _connect(self, source: SpaceNode | Nested, target: SpaceNode | Nested, edge: Edge | None = None) -> None:
        start, end = self._ends(source, target)
        path = arrow(start.name, end.name)
        if end.kind == INPUT:
            raise SpaceError(f"nothing goes into the input {end.name!r}", path)
        if start.kind == OUTPUT:
            raise SpaceError(f"nothing comes from the output {start.name!r}", path)
        if start.name in self._edges[end.name]:
            raise SpaceError("these two are connected already", path)
        way = self._way(end.name, start.name)
        if way is not None:
            raise SpaceError(f"this closes a circle: {' → '.join([start.name, *way])}", path)
        self._edges[end.name][start.name] = edge or Edge(start.name, end.name)
        self._changed()

    def _ends(self, source: object, target: object) -> tuple[SpaceNode, SpaceNode]:
        start = _only(source.outputs, f"outputs of {source.name!r}") if isinstance(source, Nested) else source
        end = _only(target.inputs, f"inputs of {target.name!r}") if isinstance(target, Nested) else target
        return self._own(start), self._own(end)

    def _own(self, node: object) -> SpaceNode:
        if isinstance(node, SpaceNode):
            if self._nodes.get(node.name) is node:
                return node
            raise SpaceError("is a node of another space or cell", node.name)
        raise SpaceError(f"{show(node)} is no node of this space: use what variable(), constant(), … return")

    def _way(self, start: str, end: str) -> list[str] | None:
        """Return the nodes on a way along the connections, or None if there is none."""
        ways = {end: [end]}
        waiting = [end]
        while waiting:
            name = waiting.pop()
            if name == start:
                return ways[name]
            for before in self._edges[name]:
                if before not in ways:
                    ways[before] = [before, *ways[name]]
                    waiting.append(before)
        return None

    def _new_name(self, name: str | None, default: str = "node") -> str:
        if name is None:
            number = 1
            while self._is_taken(f"{default}_{number}"):
                number += 1
            return f"{default}_{number}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SpaceError(f"a name consists of letters, digits, _, - and >, not {show(name)}", str(name))
        if name == ZEROS:
            raise SpaceError("is what the zeros of a frozen network are called: choose another name", name)
        if self._is_taken(name) or name in self._choices:
            raise SpaceError("there is a node or a choice of this name already", name)
        return name

    def _is_taken(self, name: str) -> bool:
        return name in self._nodes or any(each.startswith(f"{name}.") for each in self._nodes)

    def _new_choice(self, name: str) -> str:
        if not isinstance(name, str) or not name:
            raise SpaceError(f"a name is a string that is not empty, not {show(name)}", "name")
        if name in self._choices:
            raise SpaceError("there is a choice of this name already", name)
        return name


class Cell(Graph):
    """A part of a network that a space uses once or several times: ``space.nest(cell)``.

    Parameters
    ----------
    inputs, outputs : int or sequence of str
        How many there are (``input`` or ``input_0``, ``input_1``, …), or their names.
    name : str
        What its places are called, with a number, and its choices where they are shared.
    max_operations, merge
        See :class:`Graph`; `merge` also holds for inputs and outputs.

    Raises
    ------
    SpaceError
        If anything does not fit.

    Examples
    --------
    >>> from dhflow.nas import ArchitectureSpace, Cell, Dense, Identity
    >>> cell = Cell(name="block")
    >>> layer = cell.variable([Identity(), Dense(32, "relu")], name="layer")
    >>> cell.connect(cell.input, layer, cell.output)
    >>> space = ArchitectureSpace(input_shape=(8,), output_shape=(1,))
    >>> blocks = [space.nest(cell, choices="shared") for _ in range(3)]
    >>> space.connect(space.input, *blocks, space.constant(Dense(1), name="head"), space.output)
    >>> space.decisions().names
    ('block.layer',)
    """

    def __init__(
        self,
        inputs: int | Sequence[str] = 1,
        outputs: int | Sequence[str] = 1,
        *,
        name: str = "cell",
        max_operations: int = MAX_OPERATIONS,
        merge: str | Merge = "add",
    ) -> None:
        super().__init__(max_operations=max_operations, merge=merge)
        self.name = self._new_name(name)
        for kind, wanted, found in ((INPUT, inputs, self._inputs), (OUTPUT, outputs, self._outputs)):
            for each in _end_names(wanted, kind):
                found[each] = self._add(self._new_name(each), kind, [Identity()])


def _end_names(wanted: int | Sequence[str], kind: str) -> list[str]:
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 1:
        return [kind] if wanted == 1 else [f"{kind}_{i}" for i in range(wanted)]
    if isinstance(wanted, str | int) or not isinstance(wanted, Sequence) or not wanted:
        raise SpaceError(f"give how many there are, or their names, not {show(wanted)}", f"{kind}s")
    return list(wanted)


def _read_operations(operations: object, path: str) -> list[AnyOperation]:
    if isinstance(operations, str | Mapping) or not isinstance(operations, Iterable):
        raise SpaceError(f"give a list of operations, not {show(operations)}", path)
    listed = [read_operation(each, f"{path}[{i}]") for i, each in enumerate(operations)]
    seen: set[str] = set()
    for each in listed:
        if each.label in seen:
            raise SpaceError(f"there are two operations {each.label!r}: a config could not tell them apart", path)
        seen.add(each.label)
    return listed


def _only(nodes: Mapping[str, SpaceNode], what: str) -> SpaceNode:
    if len(nodes) != 1:
        raise SpaceError(f"there are several {what}, choose one: {', '.join(nodes)}", what)
    return next(iter(nodes.values()))
