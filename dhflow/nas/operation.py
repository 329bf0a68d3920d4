"""What a node can do: its shape, the number of its weights, and its JSON form; no weight is ever made here.

Arguments are named as in Keras, but a window is padded by default (``padding="same"``): in a space of many
networks that never fails, however often an image has been pooled before. A parameter count is Keras'
``count_params``, moving averages included.

Notation
--------
shape : see :mod:`dhflow.nas.shape`.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

from dhflow.errors import SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.shape import Shape
from dhflow.space.value import read_flag, read_number, read_whole, show

ACTIVATIONS = (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
)
"""Names that Keras knows and that need no argument."""


@runtime_checkable
class UserOperation(Protocol):
    """What a class of your own must have to be an operation; a frozen dataclass is the easiest.

    ``layer()`` is called on the worker, once for each set of weights, and returns a new Keras layer (or any
    callable of one tensor).
    """

    @property
    def label(self) -> str:
        """What configs and drawings call it; different operations of a node need different labels."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of what it makes of a tensor; raise an error where it cannot take it."""

    def parameter_count(self, shape: Shape) -> int:
        """Return how many weights it has on tensors of this shape."""

    def layer(self) -> Any:
        """Return a new layer."""


class Operation(ABC):
    """Base of the operations that dhflow knows; each is a frozen dataclass.

    Notes
    -----
    An operation of several tensors (:mod:`dhflow.nas.merge`) takes as many shapes.
    """

    keeps_zero: ClassVar[bool] = False
    """Whether it makes zeros of zeros, whatever its weights."""

    def __post_init__(self) -> None:
        try:
            self._check()
        except SpaceError as error:
            name = type(self).__name__
            raise SpaceError(error.message, name if error.path is None else f"{name}.{error.path}") from None

    def _check(self) -> None:  # noqa: B027 - not every operation has arguments
        """Check and normalise the fields."""

    @cached_property
    def label(self) -> str:
        """Its name and those arguments that are not the usual ones: ``Dense(32, relu)``, ``Conv2D(8, 3, no bias)``."""
        # What must be given, and what comes first, needs no name; nor does a word, such as an activation.
        bare = {each.name for i, each in enumerate(fields(self)) if i == 0 or each.default is MISSING}  # type: ignore[arg-type]
        shown = [_text(value, "" if name in bare else name) for name, value in self._given().items()]
        return f"{type(self).__name__}({', '.join(shown)})" if shown else type(self).__name__

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of what it makes of a tensor.

        Raises
        ------
        ShapeMismatchError
            If it cannot take such a tensor.
        """

    def parameter_count(self, shape: Shape) -> int:
        """Return how many weights it has on tensors of this shape."""
        return 0

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether it hands on tensors of this shape as they are."""
        return False

    def parts(self) -> tuple[Operation, ...]:
        """Return the operations that do the same one after the other; most are one."""
        return (self,)

    def to_json(self) -> dict[str, Any]:
        """Return its type and those arguments that are not the usual ones."""
        return {"type": type(self).__name__, **{name: _json(value) for name, value in self._given().items()}}

    def _given(self) -> dict[str, Any]:
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, (value, usual) in values.items() if value != usual}

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _whole(self, *names: str, low: int = 1) -> None:
        for name in names:
            value = read_whole(getattr(self, name), name)
            if value < low:
                raise SpaceError(f"must be {low} or more, not {value}", name)
            self._set(name, value)

    def _flags(self, *names: str) -> None:
        for name in names:
            self._set(name, read_flag(getattr(self, name), name))

    def _share(self, *names: str) -> None:
        for name in names:
            value = read_number(getattr(self, name), name)
            if not 0 <= value < 1:
                raise SpaceError(f"is a share from 0 to below 1, not {value}", name)
            self._set(name, value)

    def _positive(self, *names: str) -> None:
        for name in names:
            value = read_number(getattr(self, name), name)
            if value <= 0:
                raise SpaceError(f"must be positive, not {value}", name)
            self._set(name, value)

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in known:
            close = difflib.get_close_matches(str(value), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise SpaceError(f"there is no {show(value)}; {hint}", name)

    def _activation(self, name: str = "activation") -> None:
        self._set(name, "linear" if getattr(self, name) is None else getattr(self, name))
        self._one_of(name, ACTIVATIONS)


AnyOperation = Operation | UserOperation


@dataclass(frozen=True)
class Identity(Operation):
    """Hands on its input."""

    keeps_zero: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return shape

    def is_identity(self, shape: Shape) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class Input(Operation):
    """Where a tensor comes in.

    Parameters
    ----------
    shape : tuple
    """

    shape: Shape

    def _check(self) -> None:
        self._set("shape", shapes.read_shape(self.shape, "shape"))

    def output_shape(self, *_: Shape) -> Shape:
        """Return its own."""
        return self.shape


@dataclass(frozen=True)
class Zero(Operation):
    """Zeros in the shape of its input, whatever that is: no connection.

    Parameters
    ----------
    shape : tuple, optional
        Another shape; an architecture's zeros hang on one of its inputs, which tells them how many examples there are.
    """

    shape: Shape | None = None

    def _check(self) -> None:
        if self.shape is not None:
            self._set("shape", shapes.read_shape(self.shape, "shape"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return its own shape, or `shape`."""
        return shape if self.shape is None else self.shape


@dataclass(frozen=True)
class Skip(Operation):
    """Hands on its input, and adds it to another node's inputs too: a skip connection as one of a node's choices.

    Parameters
    ----------
    target : str
        Name of a node that comes later (not the next one, which has the tensor already).
    """

    target: str

    def _check(self) -> None:
        self._set("target", getattr(self.target, "name", self.target))
        if not isinstance(self.target, str) or not self.target:
            raise SpaceError(f"give a node or its name, not {show(self.target)}", "target")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return shape

    def is_identity(self, shape: Shape) -> bool:
        """Return True: the other connection is the space's affair."""
        return True


@dataclass(frozen=True)
class Sequential(Operation):
    """Several operations one after the other as one choice; a frozen network has them one by one.

    Parameters
    ----------
    operations : sequence of operation
    name : str, optional
        Its label; by default those of the operations.
    """

    operations: Sequence[AnyOperation]
    name: str | None = None

    def _check(self) -> None:
        given: Any = self.operations
        if isinstance(given, str | UserOperation) or not isinstance(given, Iterable):
            raise SpaceError(f"give a list of operations, not {show(given)}", "operations")
        listed = tuple(given)
        for i, each in enumerate(listed):
            if not isinstance(each, UserOperation if not isinstance(each, Operation) else Operation):
                raise SpaceError(f"{show(each)} is no operation", f"operations[{i}]")
            if isinstance(each, Skip):
                raise SpaceError("a Skip is an operation of a node, not a part of another one", f"operations[{i}]")
        if not listed:
            raise SpaceError("the list is empty: write Identity()", "operations")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise SpaceError(f"a name is a string that is not empty, not {show(self.name)}", "name")
        self._set("operations", listed)

    @cached_property
    def label(self) -> str:
        """The name, or the operations' labels."""
        return self.name or " → ".join(each.label for each in self.operations)

    def output_shape(self, shape: Shape) -> Shape:
        """Return what the last one makes."""
        for each in self.operations:
            shape = each.output_shape(shape)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        """Return the sum of theirs."""
        total = 0
        for each in self.operations:
            total += each.parameter_count(shape)
            shape = each.output_shape(shape)
        return total

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether all of them are."""
        return all(isinstance(each, Operation) and each.is_identity(shape) for each in self.operations)


def _text(value: object, name: str) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name.removeprefix('use_')}"
    if isinstance(value, Operation):
        return value.label
    # Plain ASCII: labels are values of configs, which are typed and stored.
    sizes = value if isinstance(value, tuple) else (value,)
    shown = "x".join("?" if each is None else str(each) for each in sizes)
    return f"{name}={shown}" if name and not isinstance(value, str) else shown


def _json(value: object) -> Any:
    if isinstance(value, Operation):
        return value.to_json()
    return [_json(each) for each in value] if isinstance(value, tuple) else value
