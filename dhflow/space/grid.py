"""The full factorial of a space, by number: any config of a grid of any size, without making the others.

Notation
--------
d : parameters;  digit : which value of a parameter's grid;  deciding : a parameter that another one's condition names.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dhflow.errors import SearchError
from dhflow.space.enumeration import all_cells, connected
from dhflow.space.parameter import Float, Integer, Parameter
from dhflow.space.scale import FloatArray
from dhflow.space.space import SearchSpace

_MAX_COMBINATIONS = 2**16
"""Combinations of deciding parameters that hang together: they are listed."""


class Grid:
    """All combinations of a space's values, each distinct config once.

    Parameters
    ----------
    space : SearchSpace
    resolution : int
        Values of each Float: evenly spaced on its scale, both bounds included (the middle alone, if it is 1).
    integer_resolution : int, optional
        The same for each Integer that has more values; None takes all.

    Raises
    ------
    SearchError
        If more than 65,536 combinations of parameters decide together which others there are.

    Notes
    -----
    Parameters that no condition connects make independent parts, whose numbers are the digits of a grid
    point's number. Within a part every combination of the deciding parameters is listed, with the
    number of combinations of the others that it has. Forbidden configs are counted and have numbers.
    """

    def __init__(self, space: SearchSpace, *, resolution: int, integer_resolution: int | None = None) -> None:
        self.space = space
        each = list(space.parameters.values())
        self._axes = [_Axis(parameter, resolution, integer_resolution) for parameter in each]
        columns = {name: j for j, name in enumerate(space.names)}
        links = [[columns[name], *(columns[parent] for parent in p.when or ())] for name, p in space.parameters.items()]
        deciding = {columns[parent] for p in each for parent in p.when or ()}
        parts = sorted(sorted(part) for part in connected(len(each), links))
        self._parts = [self._part(part, [j for j in part if j in deciding]) for part in parts]

    @property
    def n_points(self) -> int:
        """How many configs the grid has."""
        return math.prod(part.total for part in self._parts)

    def rows(self, numbers: Sequence[int]) -> FloatArray:
        """Return (n, d) the snapped codes of the configs of these numbers, from 0; the last part changes fastest."""
        X = np.full((len(numbers), len(self._axes)), 0.5)
        for i, number in enumerate(numbers):
            rest = number
            for part in reversed(self._parts):
                rest, mine = divmod(rest, part.total)
                for column, digit in part.digits(mine):
                    X[i, column] = self._axes[column].unit(digit)
        return self.space.snap(X)

    def _part(self, part: list[int], deciding: list[int]) -> _Part:
        sizes = [self._axes[j].size for j in deciding]
        digits = all_cells(np.array(sizes, dtype=np.float64), _MAX_COMBINATIONS) if deciding else np.zeros((1, 0))
        if digits is None:
            names = ", ".join(self.space.names[j] for j in deciding)
            raise SearchError(
                f"a grid cannot list so many combinations of {names}, which decide about other parameters"
            )
        X = np.full((len(digits), len(self._axes)), 0.5)
        for place, j in enumerate(deciding):
            X[:, j] = [self._axes[j].unit(int(digit)) for digit in digits[:, place]]
        active = self.space.active(X)
        # Of the rows that differ in inactive values only, the first one counts.
        kept = (active[:, deciding] | (digits == 0)).all(axis=1)
        free = [j for j in part if j not in deciding]
        branches = []
        for row, has in zip(digits[kept].astype(int).tolist(), active[kept][:, free], strict=True):
            radices = [(j, self._axes[j].size) for j, is_active in zip(free, has.tolist(), strict=True) if is_active]
            branches.append(_Branch(list(zip(deciding, row, strict=True)), radices))
        return _Part(branches)


@dataclass
class _Branch:
    """One combination of a part's deciding parameters, and what remains to be combined."""

    fixed: list[tuple[int, int]]
    free: list[tuple[int, int]]
    """Column and number of values of each."""


class _Part:
    """Parameters that conditions connect."""

    def __init__(self, branches: list[_Branch]) -> None:
        self._branches = branches
        self._ends: list[int] = []
        total = 0
        for branch in branches:
            total += math.prod(size for _, size in branch.free)
            self._ends.append(total)
        self.total = total

    def digits(self, number: int) -> list[tuple[int, int]]:
        """Return column and digit of each active parameter of combination `number`."""
        # Sizes may exceed 64 bits, so Python's own integers.
        at = bisect.bisect_right(self._ends, number)
        branch, rest = self._branches[at], number - (self._ends[at - 1] if at else 0)
        found = []
        for column, size in reversed(branch.free):
            rest, digit = divmod(rest, size)
            found.append((column, digit))
        return branch.fixed + found


class _Axis:
    """The grid of one parameter."""

    def __init__(self, parameter: Parameter, resolution: int, integer_resolution: int | None) -> None:
        self._parameter = parameter
        self._units: list[float] | None = None
        if isinstance(parameter, Float):
            self._units = _spread(resolution)
        elif isinstance(parameter, Integer) and integer_resolution and integer_resolution < parameter.n_values:
            self._units = [_unit_of(parameter, each) for each in _spread_integers(parameter, integer_resolution)]
        self.size = int(parameter.n_values) if self._units is None else len(self._units)

    def unit(self, digit: int) -> float:
        """Return the code of value number `digit`."""
        if self._units is not None:
            return self._units[digit]
        if isinstance(self._parameter, Integer):
            return _unit_of(self._parameter, self._parameter.low + digit)
        return (digit + 0.5) / self.size


def _unit_of(parameter: Integer, value: int) -> float:
    if not parameter.is_uneven:
        return (value - parameter.low + 0.5) / parameter.n_values
    return float(parameter.scale().to_unit(np.array([float(value)]))[0])


def _spread(n: int) -> list[float]:
    return [0.5] if n == 1 else np.linspace(0.0, 1.0, n).tolist()


def _spread_integers(parameter: Integer, n: int) -> list[int]:
    scale = parameter.scale()
    first, last = scale.to_unit(np.array([float(parameter.low), float(parameter.high)]))
    values = np.rint(scale.from_unit(first + np.array(_spread(n)) * (last - first)))
    return [int(each) for each in np.unique(np.clip(values, parameter.low, parameter.high))]
