"""Shapes of tensors without the axis of examples, and the arithmetic of windows that slide over an axis.

Notation
--------
shape : a tuple of axis sizes, the features last; an axis of unknown length, such as time, is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.space.value import plain, show

Shape = tuple[int | None, ...]

PADDINGS = ("same", "valid")


def read_shape(value: object, path: str) -> Shape:
    """Return a shape such as ``(64,)``, ``[28, 28, 1]``, ``(None, 8)`` or ``64`` as a tuple.

    Raises
    ------
    SpaceError
        If it is none: an axis is a positive whole number, or None.
    """
    given = plain(value)
    if isinstance(given, int) and not isinstance(given, bool):
        given = (given,)
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        raise SpaceError(f"a shape is a tuple such as (28, 28, 1), without the examples' axis, not {show(value)}", path)
    sizes = tuple(plain(each) for each in given)
    for each in sizes:
        if each is not None and (isinstance(each, bool) or not isinstance(each, int) or each < 1):
            raise SpaceError(f"an axis has a positive whole number of places, or None, not {show(each)}", path)
    if not sizes:
        raise SpaceError("a shape has one axis or more; a single number per example is (1,)", path)
    return sizes


def text(shape: Shape) -> str:
    """Return a shape as tables and errors show it: ``28×28×1``, an unknown axis as ``?``."""
    return "×".join("?" if each is None else str(each) for each in shape)


def size(shape: Shape, what: str) -> int:
    """Return how many numbers a tensor of this shape has.

    Raises
    ------
    ShapeMismatchError
        If an axis is unknown.
    """
    known = [each for each in shape if each is not None]
    if len(known) < len(shape):
        raise ShapeMismatchError(f"{what} needs every axis, not {text(shape)}", got=shape)
    return math.prod(known)


def features(shape: Shape, what: str) -> int:
    """Return the size of the last axis.

    Raises
    ------
    ShapeMismatchError
        If it is unknown: then no weight can be made.
    """
    last = shape[-1]
    if last is None:
        raise ShapeMismatchError(f"{what} needs to know the size of the last axis, not {text(shape)}", got=shape)
    return last


def need_rank(shape: Shape, rank: int, what: str, axes: str) -> None:
    """Refuse a tensor of another number of axes.

    Raises
    ------
    ShapeMismatchError
    """
    if len(shape) != rank:
        raise ShapeMismatchError(f"{what} takes tensors of {axes}, not of shape {text(shape)}", got=shape)


def slid(length: int | None, window: int, stride: int, padding: str, what: str) -> int | None:
    """Return how many places a window of that width and stride has on an axis.

    Raises
    ------
    ShapeMismatchError
        If it has none.
    """
    if length is None:
        return None
    if padding != "valid":
        return -(-length // stride)
    places = (length - window) // stride + 1
    if places < 1:
        raise ShapeMismatchError(
            f'{what} does not fit onto an axis of {length}: make it smaller, or pad with padding="same"', got=(length,)
        )
    return places


def as_json(shape: Shape) -> list[Any]:
    """Return a shape as JSON has it."""
    return list(shape)
