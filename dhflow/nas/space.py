"""Spaces of networks: graphs of nodes, some of whose operations and connections are choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dhflow.errors import SpaceError
from dhflow.nas import json_form
from dhflow.nas.architecture import Architecture
from dhflow.nas.checking import check_shapes
from dhflow.nas.freezing import frozen
from dhflow.nas.graph import MAX_OPERATIONS, Graph
from dhflow.nas.merge import Merge
from dhflow.nas.node import INPUT, OUTPUT
from dhflow.nas.operation import Identity
from dhflow.nas.plan import Plan, make_plan
from dhflow.nas.shape import Shape, read_shape
from dhflow.space import SearchSpace
from dhflow.space.choice import Listed
from dhflow.space.value import show

_MAX_KEYS = 65_536
"""Hashes that a space remembers."""

_MISSING = object()


class ArchitectureSpace(Graph):
    """A directed acyclic graph of nodes whose operations and connections may be choices.

    Parameters
    ----------
    input_shape : tuple, or mapping or sequence of tuple
        Without the axis of examples; an axis of unknown length is None. Several inputs are a mapping from names to
        shapes, or a sequence of shapes (``input_0``, ``input_1``, …).
    output_shape : tuple, or mapping or sequence of tuple, optional
        What every network of the space must make; None is anything.
    max_operations : int
        Most operations of one variable node.
    merge : str or Merge
        How a node joins several inputs, where it does not say so itself: ``"add"``, ``"pad"``, ``"concatenate"``.

    Raises
    ------
    SpaceError
        Wherever the space is badly written; ``path`` is the node's. What only the whole can show, such as a node
        that hangs loose or shapes that do not fit, is found by :meth:`check`, which everything else calls.

    Examples
    --------
    >>> from dhflow.nas import ArchitectureSpace, Dense, Dropout, Identity
    >>> space = ArchitectureSpace(input_shape=(64,), output_shape=(10,))
    >>> first = space.variable([Dense(32, "relu"), Dense(64, "relu")], name="first")
    >>> second = space.variable([Identity(), Dense(32, "relu"), Dropout(0.2)], name="second")
    >>> head = space.constant(Dense(10, "softmax"), name="head")
    >>> space.connect(space.input, first, second, head, space.output)
    >>> space.optional_connect(first, head)
    'first->head'
    >>> space.size
    12
    >>> architecture = space.freeze({"first": "Dense(64, relu)", "second": "Identity", "first->head": False})
    >>> [each.operation.label for each in architecture.nodes]
    ['Input(64)', 'Dense(64, relu)', 'Dense(10, softmax)']
    >>> architecture.parameter_count
    4810
    """

    def __init__(
        self,
        input_shape: Any,
        output_shape: Any = None,
        *,
        max_operations: int = MAX_OPERATIONS,
        merge: str | Merge = "add",
    ) -> None:
        super().__init__(max_operations=max_operations, merge=merge)
        self._whole: _Whole | None = None
        self._keys: dict[tuple[Any, ...], str] = {}
        self.input_shapes: Mapping[str, Shape] = {
            self._new_name(name): read_shape(each, f"{INPUT}_shape")
            for name, each in _named_shapes(input_shape, INPUT).items()
        }
        """Name of each input to its shape."""
        self.output_shapes: Mapping[str, Shape | None] = {
            self._new_name(name): None if each is None else read_shape(each, f"{OUTPUT}_shape")
            for name, each in _named_shapes(output_shape, OUTPUT).items()
        }
        """Name of each output to its shape, or None."""
        for kind, wanted, found in (
            (INPUT, self.input_shapes, self._inputs),
            (OUTPUT, self.output_shapes, self._outputs),
        ):
            for name in wanted:
                found[name] = self._add(self._new_name(name), kind, [Identity()])

    # As a search space

    def check(self) -> None:
        """Look at the whole space.

        Raises
        ------
        SpaceError
            If connections close a circle, a node hangs loose, or some config's tensors do not fit together;
            ``path`` is the node's.

        Notes
        -----
        Every operation of every node is tried on every shape (of up to 64) that can come to it.
        """
        self._known()

    def decisions(self, *, distinct: bool = True) -> SearchSpace:
        """Return the choices as a search space: nodes' operations by their labels, connections by True and False.

        Parameters
        ----------
        distinct : bool
            Whether searchers shall take configs that make equal networks for one, so that none is trained twice.

        Raises
        ------
        SpaceError
            If the space is badly written, or has no choice.
        """
        whole = self._known()
        if whole.decisions is None:
            raise SpaceError("there is nothing to choose: add a variable(…) node or an optional_connect(…)", "space")
        return whole.decisions if distinct else SearchSpace(self._choices)

    @property
    def size(self) -> int:
        """How many configs there are; fewer networks, where several configs make the same one."""
        whole = self._known()
        total = 1
        for values in whole.values.values():
            total *= len(values)
        return total

    def __mul__(self, other: object) -> SearchSpace:
        """Return the joint space of architecture and hyperparameters."""
        if isinstance(other, ArchitectureSpace):
            other = other.decisions()
        return self.decisions() * other if isinstance(other, SearchSpace) else NotImplemented

    def __rmul__(self, other: object) -> SearchSpace:
        return other * self.decisions() if isinstance(other, SearchSpace) else NotImplemented

    def sample(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return `n` random configs."""
        return self.decisions().sample(n, rng)

    def mutate(self, config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return `config` with one random choice changed to another value; what is no choice stays as it is."""
        decisions = self.decisions()
        X = decisions.encode([self._choices_of(config)])
        return {**config, **decisions.decode(decisions.mutate(X, rng))[0]}

    # As networks

    def freeze(self, config: Mapping[str, Any]) -> Architecture:
        """Return the network of a config.

        Parameters
        ----------
        config : mapping
            With every choice; hyperparameters beside them are ignored.

        Raises
        ------
        ConfigNotInSpaceError
            If a choice is missing or has no such value.
        ShapeMismatchError
            If tensors do not fit together, where :meth:`check` could not foresee it.
        """
        return frozen(self._known().plan, self._choices_of(config))

    def canonical(self, config: Mapping[str, Any]) -> str:
        """Return what identifies the network of a config: equal for configs that make equal networks."""
        choices = self._choices_of(config)
        key = tuple(choices.values())
        found = self._keys.get(key)
        if found is None:
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
            found = self._keys[key] = self.freeze(choices).hash
        return found

    # JSON

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values (:mod:`dhflow.nas.json_form`).

        Raises
        ------
        SpaceError
            If an operation has no such form.
        """
        return json_form.to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, own: Iterable[type] = ()) -> ArchitectureSpace:
        """Return the space of :meth:`to_json`; `own` are the classes of the user's own operations.

        Raises
        ------
        SpaceError
            If `data` has a newer version or is no architecture space.
        """
        nodes, edges, choices = json_form.read_parts(data, own)
        space = cls(data["inputs"], data["outputs"])
        space._take(nodes, edges, choices)
        return space

    # Helpers

    def _changed(self) -> None:
        self._whole = None
        self._keys = {}

    def _known(self) -> _Whole:
        if self._whole is None:
            plan = make_plan(self.nodes, self.edges, self.input_shapes, self.output_shapes)
            values = {name: each.listed for name, each in self._choices.items() if isinstance(each, Listed)}
            default = {name: each.default for name, each in self._choices.items()}
            check_shapes(plan, values, default)
            self._whole = _Whole(
                plan, values, SearchSpace(self._choices, canonical=self.canonical) if self._choices else None
            )
        return self._whole

    def _choices_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        values = self._known().values
        try:
            choices = {name: config.get(name, _MISSING) for name in values}
        except AttributeError:
            raise SpaceError(f"a config is a mapping from names to values, not {show(config)}") from None
        if any(value not in values[name] for name, value in choices.items()):
            given = {name: value for name, value in choices.items() if value is not _MISSING}
            return self.decisions().validate(given)
        return choices

    def __repr__(self) -> str:
        ends = f"{dict(self.input_shapes)} → {dict(self.output_shapes)}"
        return f"<ArchitectureSpace {ends}: {len(self._nodes)} nodes, {len(self._choices)} choices>"


@dataclass(frozen=True)
class _Whole:
    """What is worked out once a space is complete."""

    plan: Plan
    values: Mapping[str, tuple[Any, ...]]
    decisions: SearchSpace | None


def _named_shapes(given: object, kind: str) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        if not given:
            raise SpaceError("the mapping is empty", f"{kind}_shape")
        return given
    is_several = isinstance(given, Sequence) and bool(given) and isinstance(given[0], Sequence)
    if is_several and not isinstance(given, str):
        return {f"{kind}_{i}": each for i, each in enumerate(given)}  # type: ignore[var-annotated,arg-type]
    return {kind: given}


def units_of(shape: Shape | None, path: str) -> int:
    """Return the size of the last axis of a shape that must be known.

    Raises
    ------
    SpaceError
        If it is not.
    """
    if shape is None or shape[-1] is None:
        raise SpaceError(f"say how many numbers there are, not {shape}", path)
    return shape[-1]
