"""From configs to arrays and back, for many configs at once.

One unit scale serves sampling and modelling: a parameter's u in [0, 1] is its prior's distribution
function. The i-th of k values owns the cell [i/k, (i + 1)/k) and has its code in the middle, so decoding
uniform, Sobol or Latin hypercube points *is* sampling. Integers on a logarithmic or normal scale own
cells of different width. A float's u is rounded to one of (at most) 2**48 positions.

Notation
--------
d : number of parameters;  X : (n, d) in [0, 1];  index : (n, d) number of the cell that each entry
of X lies in;  code : (n, d) where that cell has its code;  active : (n, d) bool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from dhflow.space.choice import Listed
from dhflow.space.condition import Activity, BoolArray
from dhflow.space.parameter import Float, Integer, Parameter
from dhflow.space.scale import FloatArray
from dhflow.space.value import key

# Up to so many integers on an uneven scale, their cells are looked up in a table.
_TABLE_SIZE = 4096

_ABSENT: Any = object()


@dataclass(frozen=True)
class Rows:
    """Configs as arrays; inactive entries of `index` and `code` are those of the default."""

    index: FloatArray
    code: FloatArray
    active: BoolArray | None
    """None when no parameter has a condition."""

    def take(self, chosen: npt.NDArray[Any]) -> Rows:
        """Return some of the rows."""
        active = None if self.active is None else self.active[chosen]
        return Rows(self.index[chosen], self.code[chosen], active)


class UnevenCells:
    """The cells of an integer on a logarithmic or normal scale."""

    def __init__(self, parameter: Integer) -> None:
        self._low = float(parameter.low)
        self._n = parameter.n_values
        self._scale = parameter.scale()
        self._edges: FloatArray | None = None
        if self._n <= _TABLE_SIZE:
            numbers = np.arange(self._n)
            self._codes = self._middle(numbers)
            self._edges = self._scale.to_unit(numbers[1:] + (self._low - 0.5))

    def index(self, units: FloatArray) -> FloatArray:
        """Return the numbers of the cells that `units` lie in."""
        if self._edges is not None:
            index: FloatArray = np.searchsorted(self._edges, units, side="right").astype(np.float64)
            return index
        index = np.rint(self._scale.from_unit(units)) - self._low
        np.maximum(index, 0.0, out=index)
        return np.minimum(index, self._n - 1.0, out=index)

    def code(self, index: FloatArray) -> FloatArray:
        """Return the middles of the cells."""
        return self._codes[index.astype(np.intp)] if self._edges is not None else self._middle(index)

    def _middle(self, index: FloatArray) -> FloatArray:
        value = index + self._low
        return 0.5 * (self._scale.to_unit(value - 0.5) + self._scale.to_unit(value + 0.5))


class Cells:
    """How the columns of X are divided into cells.

    Parameters
    ----------
    parameters : sequence of Parameter
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        real = [isinstance(each, Float) for each in parameters]
        self.is_real: BoolArray = np.array(real, dtype=np.bool_)
        self.n = np.array([each.scale().n_cells if isinstance(each, Float) else each.n_values for each in parameters])
        # A float's positions are the cells' edges, 0 and 1 among them; other values sit in the middle.
        self.shift = np.where(self.is_real, 0.5, 0.0)
        self.middle = np.where(self.is_real, 0.0, 0.5)
        self.top = np.where(self.is_real, self.n, self.n - 1.0)
        self.uneven = {
            j: UnevenCells(each) for j, each in enumerate(parameters) if isinstance(each, Integer) and each.is_uneven
        }

    def index(self, X: FloatArray) -> FloatArray:
        """Return the cell that each entry of X lies in."""
        index: FloatArray = X * self.n
        index += self.shift  # also turns -0.0 into 0.0
        np.floor(index, out=index)
        np.minimum(index, self.top, out=index)
        np.maximum(index, 0.0, out=index)
        for j, cells in self.uneven.items():
            index[:, j] = cells.index(X[:, j])
        return index

    def code(self, index: FloatArray) -> FloatArray:
        """Return the code of each cell."""
        code: FloatArray = index + self.middle
        code /= self.n
        for j, cells in self.uneven.items():
            code[:, j] = cells.code(index[:, j])
        return code

    def index_at(self, units: FloatArray, columns: npt.NDArray[np.intp]) -> FloatArray:
        """Return the cell that each of (n,) `units` lies in, each in its own column."""
        index: FloatArray = np.floor(units * self.n[columns] + self.shift[columns])
        np.minimum(index, self.top[columns], out=index)
        np.maximum(index, 0.0, out=index)
        for j, cells in self.uneven.items():
            here = columns == j
            index[here] = cells.index(units[here])
        return index

    def code_at(self, index: FloatArray, columns: npt.NDArray[np.intp]) -> FloatArray:
        """Return the code of each of (n,) cells, each in its own column."""
        code: FloatArray = (index + self.middle[columns]) / self.n[columns]
        for j, cells in self.uneven.items():
            here = columns == j
            code[here] = cells.code(index[here])
        return code


class FloatColumns:
    """The values of all float columns together.

    Parameters
    ----------
    floats : mapping
        Column to Float.
    """

    def __init__(self, floats: Mapping[int, Float]) -> None:
        scales = {j: each.scale() for j, each in floats.items()}
        # Logarithmic ones last, so that they are one slice.
        self.columns = np.array(sorted(scales, key=lambda j: (scales[j].log, j)), dtype=np.intp)
        ordered = [scales[j] for j in self.columns.tolist()]
        self._n_linear = sum(not each.log for each in ordered)
        self._low = np.array([each.low for each in ordered])
        self._high = np.array([each.high for each in ordered])
        self._start = np.array([each.start for each in ordered])
        self._span = np.array([each.span for each in ordered])
        self._bent = [(i, each) for i, each in enumerate(ordered) if each.knots is not None]
        self._has_logs = self._n_linear < len(ordered)

    def values(self, code: FloatArray) -> FloatArray:
        """Return (n, number of floats) values at `code` (n, d)."""
        units = code.take(self.columns, axis=1)
        values: FloatArray = units * self._span
        values += self._start
        if self._has_logs:
            logs = values[:, self._n_linear :]
            np.exp(logs, out=logs)
        for i, scale in self._bent:
            values[:, i] = scale.from_unit(units[:, i])
        np.maximum(values, self._low, out=values)
        np.minimum(values, self._high, out=values)
        # Bounds come back exactly, whatever exp and log round to.
        np.copyto(values, self._high, where=units >= 1.0)
        np.copyto(values, self._low, where=units <= 0.0)
        return values

    def read(self, raw: Mapping[int, list[Any]], index: FloatArray, n_cells: FloatArray) -> None:
        """Fill in the cells of all float columns of `index` (n, d) from lists of values.

        Raises
        ------
        ValueError
            If anything is no number within its bounds.
        """
        if not len(self.columns):
            return
        given = np.array([raw[j] for j in self.columns.tolist()]).T
        values = given.astype(np.float64)
        # NaN, an absent value, is neither below nor above.
        if given.dtype.kind not in "iuf" or ((values < self._low) | (values > self._high)).any():
            raise ValueError("not numbers within the bounds")
        units = values.copy()
        if self._has_logs:
            logs = units[:, self._n_linear :]
            np.log(logs, out=logs)
        units -= self._start
        units /= self._span
        for i, scale in self._bent:
            units[:, i] = scale.to_unit(values[:, i])
        index[:, self.columns] = np.rint(units * n_cells[self.columns])


class Encoding:
    """Both directions between configs and arrays.

    Parameters
    ----------
    parameters : mapping
    activity : Activity
    """

    def __init__(self, parameters: Mapping[str, Parameter], activity: Activity) -> None:
        each = list(parameters.values())
        self.names = tuple(parameters)
        self.cells = Cells(each)
        self.is_categorical: BoolArray = np.array([parameter.is_categorical for parameter in each], dtype=np.bool_)
        self._activity = activity
        self._floats = FloatColumns({j: p for j, p in enumerate(each) if isinstance(p, Float)})
        self._lows = {j: p.low for j, p in enumerate(each) if isinstance(p, Integer)}
        self._listed = {j: ListedColumn(p) for j, p in enumerate(each) if isinstance(p, Listed)}
        self._countable = np.array(sorted([*self._lows, *self._listed]), dtype=np.intp)
        # What stands for an absent parameter; its cell's number is NaN.
        self._absent = {
            j: _ABSENT if isinstance(p, Listed) else math.nan for j, p in enumerate(each) if p.when is not None
        }
        self._default_index = self._read_cells([{name: p.default for name, p in parameters.items()}])[0]
        self._default_code = self.cells.code(self._default_index[None, :])[0]

    def rows(self, X: FloatArray) -> Rows:
        """Return the configs that X (n, d) stands for."""
        return self.canonical(self.cells.index(X))

    def canonical(self, index: FloatArray) -> Rows:
        """Return the configs of (n, d) cells, an array that is overwritten where inactive."""
        code = self.cells.code(index)
        if not self._activity.has_conditions:
            return Rows(index, code, None)
        active = self._activity.of(index)
        inactive = ~active
        np.copyto(index, self._default_index, where=inactive)
        np.copyto(code, self._default_code, where=inactive)
        return Rows(index, code, active)

    def read(self, configs: Sequence[Mapping[str, Any]]) -> Rows:
        """Return `configs` as arrays.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            If something does not fit, or is written in an unusual way; the caller finds out what.
        """
        index = self._read_cells(configs)
        is_absent = np.isnan(index)
        np.copyto(index, self._default_index, where=is_absent)
        rows = self.canonical(index)
        n_active = index.size if rows.active is None else int(rows.active.sum())
        is_wrong = is_absent if rows.active is None else rows.active == is_absent
        # A name that the space does not know shows in the number of values only.
        if is_wrong.any() or n_active != sum(map(len, configs)):
            raise ValueError("the configs have other parameters than those that are active")
        return rows

    def _read_cells(self, configs: Sequence[Mapping[str, Any]]) -> FloatArray:
        index = np.empty((len(configs), len(self.names)))
        raw = {}
        for j, name in enumerate(self.names):
            if j in self._absent:
                absent = self._absent[j]
                raw[j] = [config.get(name, absent) for config in configs]
            else:
                raw[j] = list(map(itemgetter(name), configs))
        self._floats.read(raw, index, self.cells.n)
        for j, column in self._listed.items():
            index[:, j] = column.read(raw[j])
        for j, low in self._lows.items():
            index[:, j] = _read_integers(raw[j], low, self.cells.top[j])
        return index

    def write(self, rows: Rows) -> list[dict[str, Any]]:
        """Return the configs of `rows`; inactive parameters are absent."""
        columns: list[list[Any]] = [[]] * len(self.names)
        for j, values in zip(self._floats.columns.tolist(), self._floats.values(rows.code).T.tolist(), strict=True):
            columns[j] = values
        numbers = rows.index.take(self._countable, axis=1).T.astype(np.int64).tolist()
        for j, column in zip(self._countable.tolist(), numbers, strict=True):
            if j in self._lows:
                low = self._lows[j]
                columns[j] = [low + i for i in column]
            else:
                listed = self._listed[j].values
                columns[j] = [listed[i] for i in column]
        names = self.names
        configs = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if rows.active is not None:
            at, which = np.nonzero(~rows.active)
            for i, j in zip(at.tolist(), which.tolist(), strict=True):
                del configs[i][names[j]]
        return configs


class ListedColumn:
    """The values of one parameter that lists them."""

    def __init__(self, parameter: Listed) -> None:
        self.values = parameter.listed
        # Text equals text only; anything else needs booleans kept apart from numbers.
        self._is_text = all(isinstance(each, str) for each in self.values)
        numbers = {each if self._is_text else key(each): float(i) for i, each in enumerate(self.values)}
        self._numbers: dict[Any, float] = {**numbers, _ABSENT if self._is_text else key(_ABSENT): math.nan}

    def read(self, values: list[Any]) -> list[float]:
        """Return the numbers of `values`; a KeyError or TypeError is for the caller to explain."""
        numbers = self._numbers
        return [numbers[each] for each in (values if self._is_text else map(key, values))]


def _read_integers(raw: list[Any], low: int, top: float) -> FloatArray:
    values = np.array(raw)
    index: FloatArray = values.astype(np.float64) - low
    if values.dtype.kind not in "iuf" or ((index < 0) | (index > top) | (index % 1 > 0)).any():
        raise ValueError("not whole numbers within the bounds")
    return index
