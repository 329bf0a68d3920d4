"""Whether every config of a space is a network: shapes that each node may have, from the inputs to the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas.freezing import frozen
from dhflow.nas.node import INPUT, OUTPUT, Edge
from dhflow.nas.plan import Plan, PlannedNode
from dhflow.nas.shape import Shape

MAX_SHAPES = 64
"""Different shapes of one node that are looked at."""

Choices = dict[str, Any]
_Found = dict[Shape, Choices]
"""Shapes, each with choices that lead to it."""


def check_shapes(plan: Plan, values: Mapping[str, tuple[Any, ...]], default: Mapping[str, Any]) -> None:
    """Look for a config whose tensors do not fit together.

    Parameters
    ----------
    plan : Plan
    values : mapping
        Choice to its values.
    default : mapping
        A config, which the choices that lead to an error are put into.

    Raises
    ------
    SpaceError
        ``path`` is the node's; the message names the choices that lead there.
    """
    _Checker(plan, values, default).run()


class _Checker:
    def __init__(self, plan: Plan, values: Mapping[str, tuple[Any, ...]], default: Mapping[str, Any]) -> None:
        self._plan = plan
        self._values = values
        self._default = default
        self._found: list[_Found] = []

    def run(self) -> None:
        """Walk along the plan."""
        for planned in self._plan.nodes:
            if planned.node.kind == INPUT:
                self._found.append({self._plan.input_shapes[planned.node.name]: {}})
            else:
                self._found.append(self._of_operations(planned, self._of_inputs(planned)))
        # What hangs on two nodes at once, such as weights that two of them share.
        self._try({})

    def _of_operations(self, planned: PlannedNode, inputs: _Found) -> _Found:
        node, found = planned.node, _Found()
        for shape, choices in inputs.items():
            for operation in node.operations:
                chosen = choices if node.choice is None else _both(choices, {node.choice: operation.label})
                if chosen is None:
                    continue
                try:
                    made = operation.output_shape(shape)
                except ShapeMismatchError:
                    self._try(chosen)
                    continue
                if len(found) < MAX_SHAPES:
                    found.setdefault(made, chosen)
        if node.kind == OUTPUT:
            wanted = self._plan.output_shapes[node.name]
            for shape, choices in found.items():
                if shape != wanted:
                    self._try(choices)
        return found

    def _of_inputs(self, planned: PlannedNode) -> _Found:
        """Return the shapes of the inputs joined; connections of one choice come and go together."""
        joined: dict[Shape | None, Choices] = {None: {}}
        for group in _groups(planned):
            new: dict[Shape | None, Choices] = {}
            for before, choices in joined.items():
                for shape, chosen in self._with_group(planned, group, before, choices):
                    if len(new) < MAX_SHAPES:
                        new.setdefault(shape, chosen)
            joined = new
        return {shape: choices for shape, choices in joined.items() if shape is not None}

    def _with_group(
        self, planned: PlannedNode, group: list[tuple[int, Edge]], before: Shape | None, choices: Choices
    ) -> Iterator[tuple[Shape | None, Choices]]:
        choice = group[0][1].choice
        for value in (None,) if choice is None else self._values[choice]:
            chosen = choices if choice is None else _both(choices, {choice: value})
            if chosen is None:
                continue
            present = [at for at, edge in group if choice is None or edge.value == value]
            if present:
                yield from self._joined(planned, present, before, chosen)
            else:
                yield before, chosen

    def _joined(
        self, planned: PlannedNode, sources: list[int], before: Shape | None, choices: Choices
    ) -> Iterator[tuple[Shape, Choices]]:
        at, *others = sources
        for shape, leading in self._found[at].items():
            chosen = _both(choices, leading)
            if chosen is None:
                continue
            try:
                joined = shape if before is None else planned.node.merge.joined(before, shape)
            except ShapeMismatchError:
                self._try(chosen)
                continue
            if others:
                yield from self._joined(planned, others, joined, chosen)
            else:
                yield joined, chosen

    def _try(self, choices: Choices) -> None:
        """Freeze a config with these choices, and say what is wrong with it, if anything is."""
        try:
            frozen(self._plan, {**self._default, **choices}, everything=True)
        except ShapeMismatchError as error:
            said = ", ".join(f"{name} = {value!r}" for name, value in choices.items())
            hint = f" (with {said})" if said else ""
            message = error.message.removeprefix(f"{error.node}: ")
            raise SpaceError(f"{message}{hint}", error.node) from error


def _groups(planned: PlannedNode) -> list[list[tuple[int, Edge]]]:
    groups: dict[str, list[tuple[int, Edge]]] = {}
    for i, (at, edge) in enumerate(planned.sources):
        groups.setdefault(f"always {i}" if edge.choice is None else f"choice {edge.choice}", []).append((at, edge))
    return list(groups.values())


def _both(first: Choices, second: Choices) -> Choices | None:
    """Return both, or None where they contradict each other."""
    for name, value in second.items():
        if name in first and first[name] != value:
            return None
    return {**first, **second}
