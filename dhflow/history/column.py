"""One column of a table in memory: plain numbers, numbers with gaps, or text by codes.

Notation
--------
n : rows of the table;  k : distinct texts of a column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dhflow.errors import HistoryCorruptError

Array = npt.NDArray[Any]
_INT64 = range(-(2**63), 2**63)
_DTYPES: dict[type, str] = {bool: "bool", int: "int64", float: "float64"}
ABSENT = -1
"""Code of a text that is not there."""


@dataclass(slots=True)
class Plain:
    """Numbers, one per row.

    Parameters
    ----------
    values : (n,)
        int64, float64 or bool.
    """

    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def to_list(self) -> list[Any]:
        """Return the values as Python's own."""
        values: list[Any] = self.values.tolist()
        return values


@dataclass(slots=True)
class Nullable:
    """Numbers, some of which are absent.

    Parameters
    ----------
    values : (n,)
        int64, float64 or bool; 0, NaN or False where absent.
    mask : (n,) bool
        True where absent.
    """

    values: Array
    mask: Array

    def __len__(self) -> int:
        return len(self.values)

    def to_list(self, absent: object = None) -> list[Any]:
        """Return the values as Python's own, `absent` where there is none."""
        values: list[Any] = self.values.tolist()
        for row in np.flatnonzero(self.mask).tolist():
            values[row] = absent
        return values

    @classmethod
    def of(cls, cells: Sequence[Any], kind: type, absent: object = None) -> Nullable:
        """Make the column that :meth:`to_list` turns back into `cells`, all of type `kind` or `absent`."""
        mask = np.fromiter((cell is absent for cell in cells), bool, len(cells))
        filler = float("nan") if kind is float else kind()
        values = [filler if cell is absent else cell for cell in cells]
        return cls(np.array(values, _DTYPES[kind]), mask)


@dataclass(slots=True)
class Text:
    """Text, each distinct one kept once.

    Parameters
    ----------
    codes : (n,)
        Signed integers: places in `categories`, -1 where absent.
    categories : list of str, (k,)
        In the order in which they first came.
    is_json : bool
        Whether each category is the JSON form of the value that it stands for.
    """

    codes: Array
    categories: list[str] = field(default_factory=list)
    is_json: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    def to_list(self, absent: object = None) -> list[Any]:
        """Return the values, `absent` where there is none.

        Raises
        ------
        HistoryCorruptError
            If a code lies outside the categories.
        """
        codes = self.codes
        if len(codes) and not (int(codes.min()) >= ABSENT and int(codes.max()) < len(self.categories)):
            raise HistoryCorruptError("a text column speaks of a category that it does not have")
        values: list[Any] = [json.loads(each) for each in self.categories] if self.is_json else [*self.categories]
        values.append(absent)  # which is where code -1 points
        return [values[code] for code in codes.tolist()]

    @classmethod
    def of(cls, cells: Sequence[str | None]) -> Text:
        """Make the column of some texts; None is absent."""
        codes, categories = _intern(cells)
        return cls(codes, categories)

    @classmethod
    def of_json(cls, cells: Sequence[Any], absent: object = None) -> Text:
        """Make the column that :meth:`to_list` turns back into `cells`, of any JSON values."""
        codes, categories = _intern([None if cell is absent else _to_json(cell) for cell in cells])
        return cls(codes, categories, is_json=True)

    def extended(self, other: Text) -> Text:
        """Return the rows of this column and then those of `other`."""
        if self.is_json != other.is_json:
            return self._as_json().extended(other._as_json())
        known = {text: code for code, text in enumerate(self.categories)}
        moved = np.array([known.setdefault(text, len(known)) for text in other.categories] + [ABSENT], np.int64)
        codes = np.concatenate([self.codes, moved[other.codes]])
        return Text(narrow(codes, len(known)), list(known), self.is_json)

    def _as_json(self) -> Text:
        return self if self.is_json else Text(self.codes, [_to_json(each) for each in self.categories], is_json=True)


Column = Plain | Nullable | Text


def infer(cells: Sequence[Any], absent: object) -> Nullable | Text:
    """Make the narrowest column that gives `cells` back exactly.

    Parameters
    ----------
    cells : sequence
        JSON values, or `absent` itself.
    absent : object
        Marks the gaps; compared by identity.

    Returns
    -------
    Nullable
        If all values are of one type: bool, int (of 64 bits) or float; of floats if there are no values.
    Text
        If all are str; else their JSON forms.
    """
    kinds = {type(cell) for cell in cells if cell is not absent}
    if kinds == {str}:
        return Text.of([None if cell is absent else cell for cell in cells])
    kind = kinds.pop() if len(kinds) == 1 else (object if kinds else float)
    if kind not in _DTYPES or (kind is int and any(cell is not absent and cell not in _INT64 for cell in cells)):
        return Text.of_json(cells, absent)
    return Nullable.of(cells, kind, absent)


def narrow(codes: Array, n_categories: int) -> Array:
    """Return `codes` in the smallest signed integers that hold `n_categories`."""
    return codes.astype(np.min_scalar_type(-max(n_categories, 1)))


def _intern(cells: Sequence[str | None]) -> tuple[Array, list[str]]:
    known: dict[str, int] = {}
    codes = [ABSENT if cell is None else known.setdefault(cell, len(known)) for cell in cells]
    return narrow(np.array(codes, np.int64), len(known)), list(known)


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
