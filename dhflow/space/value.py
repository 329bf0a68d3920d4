"""Values that a config may hold: JSON scalars, in plain Python, with booleans kept apart from numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dhflow.errors import SpaceError

Scalar = str | int | float | bool | None

Clause = Mapping[str, tuple[Scalar, ...]]
"""Parameters' names to the values that they may have: all names, any of each one's values."""

_TEXT_LIMIT = 120


def plain(value: object) -> Any:
    """Return `value` with a numpy scalar (or an array of no dimensions) turned into plain Python."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def is_scalar(value: object) -> bool:
    """Tell whether JSON can hold a plain `value`: a string, a finite number, a boolean or None."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def is_number(value: object) -> bool:
    """Tell whether a plain `value` is a finite number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_scalar(value)


def key(value: Any) -> tuple[bool, Any]:
    """Return what two equal values share: ``1`` and ``1.0`` do, ``1`` and ``True`` do not."""
    return value.__class__ is bool, value


def show(value: object) -> str:
    """Return a short text of `value` for an error message."""
    text = repr(value)
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"


def read_number(value: object, path: str) -> float:
    """Return `value` as a float.

    Raises
    ------
    SpaceError
        If it is no finite number.
    """
    number = plain(value)
    if not is_number(number):
        raise SpaceError(f"{show(value)} is not a finite number", path)
    try:
        return float(number)
    except OverflowError:
        raise SpaceError(f"{show(value)} is too large", path) from None


def read_whole(value: object, path: str) -> int:
    """Return `value`, such as ``5`` or ``5.0``, as an int.

    Raises
    ------
    SpaceError
        If it is no whole number.
    """
    number = plain(value)
    if not is_number(number) or number % 1:
        raise SpaceError(f"{show(value)} is not a whole number", path)
    return int(number)


def read_flag(value: object, path: str) -> bool:
    """Return `value` as a bool.

    Raises
    ------
    SpaceError
        If it is neither True nor False.
    """
    flag = plain(value)
    if not isinstance(flag, bool):
        raise SpaceError(f"{show(value)} is neither True nor False", path)
    return flag


def read_scalars(values: object, path: str) -> tuple[Scalar, ...]:
    """Return a list of different JSON scalars as a tuple.

    Raises
    ------
    SpaceError
        If it is no list, is empty, or holds something twice or something that JSON does not know.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise SpaceError(f"give a list of values, not {show(values)}", path)
    scalars = tuple(plain(each) for each in values)
    if not scalars:
        raise SpaceError("the list of values is empty", path)
    seen = set()
    for each in scalars:
        if not is_scalar(each):
            raise SpaceError(f"{show(each)} is not a string, a finite number, a boolean or None", path)
        if key(each) in seen:
            raise SpaceError(f"{show(each)} is there twice", path)
        seen.add(key(each))
    return scalars


def read_clause(clause: object, path: str) -> dict[str, tuple[Scalar, ...]]:
    """Return a mapping from names to a value, or a list of values, with every value in a tuple.

    Raises
    ------
    SpaceError
        If it is no mapping, is empty, or has a name or a value that cannot be one.
    """
    if not isinstance(clause, Mapping) or not clause:
        raise SpaceError(f"write it as a mapping such as {{'optimizer': 'sgd'}}, not {show(clause)}", path)
    written = {}
    for name, given in clause.items():
        if not isinstance(name, str) or not name:
            raise SpaceError(f"{show(name)} is not the name of a parameter", path)
        is_list = isinstance(given, list | tuple | set | frozenset | np.ndarray)
        written[name] = read_scalars(given if is_list else [given], path)
    return written


def as_lists(clause: Clause) -> dict[str, list[Scalar]]:
    """Return `clause` with lists, as JSON has them."""
    return {name: list(values) for name, values in clause.items()}


def is_met(clause: Clause | None, config: Mapping[str, Any]) -> bool:
    """Tell whether `config` has (one of) the values of every name in `clause`."""
    return clause is None or all(
        name in config and key(config[name]) in map(key, values) for name, values in clause.items()
    )
