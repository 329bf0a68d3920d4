"""How a node joins several tensors: by addition, after a projection or with zeros around, or by concatenation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.elementary import Dense
from dhflow.nas.operation import Operation
from dhflow.nas.shape import Shape
from dhflow.nas.window import Conv1D, Conv2D, GlobalPool
from dhflow.space.value import show

FITS = ("project", "pad", "equal")


class Merge(Operation):
    """An operation of several tensors; ``output_shape`` takes as many shapes."""

    def fitted(self, shape: Shape, first: Shape, target: Shape) -> tuple[Operation, ...]:
        """Return what a tensor must go through before it can be joined.

        Parameters
        ----------
        shape : tuple
            Of the tensor.
        first : tuple
            Of the first tensor that the node joins.
        target : tuple
            Of all of them, joined.
        """
        return ()

    @abstractmethod
    def joined(self, first: Shape, other: Shape) -> Shape:
        """Return the shape of two tensors joined, once they are fitted.

        Raises
        ------
        ShapeMismatchError
            If they cannot be.
        """

    def output_shape(self, *given: Shape) -> Shape:
        """Return the shape of all tensors joined."""
        joined, *others = given
        for other in others:
            joined = self.joined(joined, other)
        return joined

    def is_identity(self, *given: Shape) -> bool:
        """Tell whether there is one tensor only."""
        return len(given) == 1


@dataclass(frozen=True)
class Add(Merge):
    """The sum of all tensors.

    Parameters
    ----------
    fit : {"project", "pad", "equal"}
        What happens to a tensor of another shape. ``"project"``: it is brought to the shape of the first one that
        was connected, by a dense layer without bias on its last axis (a 1×1 convolution with a stride where time
        or an image is longer, a mean over them where the first one has none). ``"pad"``: all tensors get zeros at
        the ends of their axes, up to the largest. ``"equal"``: that is an error.
    activation : str
        Of the sum.
    """

    fit: str = "project"
    activation: str = "linear"

    def _check(self) -> None:
        self._one_of("fit", FITS)
        self._activation()

    def joined(self, first: Shape, other: Shape) -> Shape:
        """Return the first one's, or with ``"pad"`` the larger size of each axis."""
        if self.fit == "pad":
            return _largest(first, other)
        if self.fit == "equal" and first != other:
            raise _mismatch(first, other, 'use Add("project") or Add("pad")')
        projection(other, first)
        return first

    def fitted(self, shape: Shape, first: Shape, target: Shape) -> tuple[Operation, ...]:
        """Return a projection or padding, or nothing where the shape is right already."""
        if shape == target:
            return ()
        return (Pad(target),) if self.fit == "pad" else projection(shape, first)


@dataclass(frozen=True)
class Concatenate(Merge):
    """All tensors side by side along the last axis; the others must agree."""

    def joined(self, first: Shape, other: Shape) -> Shape:
        """Return the sum of the last axes."""
        if first[:-1] != other[:-1]:
            raise _mismatch(first, other, "only the last axis may differ")
        return (*first[:-1], shapes.features(first, "Concatenate") + shapes.features(other, "Concatenate"))


@dataclass(frozen=True)
class Pad(Operation):
    """Zeros at the ends of the axes.

    Parameters
    ----------
    shape : tuple
        What the tensor's shape becomes.
    """

    keeps_zero: ClassVar[bool] = True

    shape: Shape

    def _check(self) -> None:
        self._set("shape", shapes.read_shape(self.shape, "shape"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return its own shape."""
        if _largest(shape, self.shape) != self.shape:
            raise _mismatch(self.shape, shape, "padding does not shorten an axis")
        return self.shape

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether the shape is that already."""
        return shape == self.shape


@lru_cache(maxsize=4096)
def projection(shape: Shape, target: Shape) -> tuple[Operation, ...]:
    """Return the operations that bring a tensor to another shape; none where it has it.

    Raises
    ------
    ShapeMismatchError
        If they cannot: the other shape has more axes, or longer ones before the last.
    """
    if shape == target:
        return ()
    units = shapes.features(target, "a projection")
    if len(shape) > 1 and len(target) == 1:
        pooled = shape[-1:]
        return (GlobalPool(), *projection(pooled, target))
    if len(shape) != len(target):
        raise _mismatch(target, shape, "a projection keeps the number of axes, or leaves the last one alone")
    if shape[:-1] == target[:-1]:
        return (Dense(units, use_bias=False),)
    strides = tuple(_stride(long, short, shape, target) for long, short in zip(shape[:-1], target[:-1], strict=True))
    if len(strides) == 1:
        return (Conv1D(units, 1, strides[0], use_bias=False),)
    if len(strides) == 2:
        return (Conv2D(units, 1, strides, use_bias=False),)
    raise _mismatch(target, shape, "a projection shortens a sequence or an image, but nothing of more axes")


def read_merge(value: object, path: str) -> Merge:
    """Return ``"add"``, ``"pad"``, ``"concatenate"`` or a :class:`Merge` as a :class:`Merge`.

    Raises
    ------
    SpaceError
        If it is none.
    """
    known: dict[Any, Merge] = {"add": Add(), "pad": Add("pad"), "concatenate": Concatenate()}
    if isinstance(value, Merge):
        return value
    if isinstance(value, str) and value in known:
        return known[value]
    raise SpaceError(f'is "add", "pad", "concatenate", an Add(…) or a Concatenate(), not {show(value)}', path)


def _stride(long: int | None, short: int | None, shape: Shape, target: Shape) -> int:
    if long == short:
        return 1
    if long is not None and short is not None and long > short:
        stride = -(-long // short)
        if -(-long // stride) == short:
            return stride
    raise _mismatch(target, shape, "a stride cannot bring these axes together; pool with the same strides on both ways")


def _largest(first: Shape, other: Shape) -> Shape:
    if len(first) != len(other):
        raise _mismatch(first, other, "padding keeps the number of axes")
    sizes = []
    for mine, its in zip(first, other, strict=True):
        if mine != its and (mine is None or its is None):
            raise _mismatch(first, other, "an axis of unknown length cannot be padded")
        sizes.append(mine if mine is None or its is None else max(mine, its))
    return tuple(sizes)


def _mismatch(first: Shape, other: Shape, hint: str) -> ShapeMismatchError:
    message = f"tensors of shapes {shapes.text(first)} and {shapes.text(other)} cannot be joined: {hint}"
    return ShapeMismatchError(message, got=other, need=first)
