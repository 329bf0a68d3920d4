"""Conditions and forbidden combinations, compiled for whole arrays of configs.

Notation
--------
d : number of parameters;  index : (n, d) the number of each value among its parameter's values;
active : (n, d) bool, which parameters each row has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space.choice import Listed
from dhflow.space.parameter import Integer, Parameter
from dhflow.space.scale import FloatArray
from dhflow.space.value import Clause

BoolArray = npt.NDArray[np.bool_]

NumberedClause = Sequence[tuple[int, Sequence[int]]]
"""A clause with parameters as columns and values as their numbers."""


class ClauseTable:
    """Which rows meet which clauses, for all clauses at once.

    Parameters
    ----------
    clauses : sequence of numbered clauses
        A row meets a clause when in every named column it is active and has one of the values' numbers.
    """

    def __init__(self, clauses: Sequence[NumberedClause]) -> None:
        terms = [term for clause in clauses for term in clause]
        self._columns = np.array([column for column, values in terms for _ in values], dtype=np.intp)
        self._values = np.array([value for _, values in terms for value in values], dtype=np.float64)
        # First item of each term, and first term of each clause; None where each has just one.
        self._terms = _starts([len(values) for _, values in terms])
        self._clauses = _starts([len(clause) for clause in clauses])

    def matches(self, index: FloatArray, active: BoolArray | None) -> BoolArray:
        """Return (n, number of clauses); `active` None means that all columns are."""
        met: BoolArray = index.take(self._columns, axis=1) == self._values
        if active is not None:
            met &= active.take(self._columns, axis=1)
        if self._terms is not None:
            met = np.logical_or.reduceat(met, self._terms, axis=1)
        if self._clauses is not None:
            met = np.logical_and.reduceat(met, self._clauses, axis=1)
        return met


def _starts(lengths: Sequence[int]) -> npt.NDArray[np.intp] | None:
    if all(each == 1 for each in lengths):
        return None
    return np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.intp)


class Activity:
    """Which parameters of which rows are active.

    Parameters
    ----------
    parameters : mapping
        With checked conditions.
    levels : sequence of sequence of str
        Of :func:`by_depth`.
    """

    def __init__(self, parameters: Mapping[str, Parameter], levels: Sequence[Sequence[str]]) -> None:
        columns = {name: j for j, name in enumerate(parameters)}
        self._n_columns = len(columns)
        self._levels = []
        for names in levels[1:]:
            table = ClauseTable([number_clause(parameters[name].when or {}, parameters) for name in names])
            self._levels.append((np.array([columns[name] for name in names], dtype=np.intp), table))

    @property
    def has_conditions(self) -> bool:
        """Whether any parameter can be inactive."""
        return bool(self._levels)

    def of(self, index: FloatArray) -> BoolArray:
        """Return (n, d)."""
        active = np.ones((len(index), self._n_columns), dtype=np.bool_)
        known = None  # parents of the first level are always active
        for columns, table in self._levels:
            active[:, columns] = table.matches(index, known)
            known = active
        return active


def number_clause(clause: Clause, parameters: Mapping[str, Parameter]) -> list[tuple[int, list[int]]]:
    """Return a checked `clause` with parameters as columns and values as their numbers."""
    columns = {name: j for j, name in enumerate(parameters)}
    return [(columns[name], [_number(parameters[name], each) for each in values]) for name, values in clause.items()]


def _number(parameter: Parameter, value: object) -> int:
    if isinstance(parameter, Integer):
        return parameter.check(value) - parameter.low
    if isinstance(parameter, Listed):
        return parameter.number(value)
    raise SpaceError(f"{parameter} has no countable values")


def check_clause(clause: Clause, parameters: Mapping[str, Parameter], path: str) -> Clause:
    """Return `clause` with each value as its parameter writes it.

    Raises
    ------
    SpaceError
        If it names an unknown parameter, a Float, or a value that the parameter cannot take.
    """
    checked = {}
    for name, values in clause.items():
        parameter = parameters.get(name)
        if parameter is None:
            raise SpaceError(f"there is no parameter {name!r}", path)
        if not isinstance(parameter, Integer | Listed):
            raise SpaceError(f"{name!r} is a {type(parameter).__name__}: it hardly ever equals a given value", path)
        try:
            checked[name] = tuple(parameter.check(value) for value in values)
        except ConfigNotInSpaceError as error:
            raise SpaceError(f"{name!r} can never be that: {error.message}", path) from None
    return checked


def by_depth(parameters: Mapping[str, Parameter]) -> list[list[str]]:
    """Return the names by depth: unconditional ones, then those whose parents all came before, and so on.

    Raises
    ------
    SpaceError
        If conditions go round in a circle.
    """
    waiting = {name: set(each.when or ()) for name, each in parameters.items()}
    placed: set[str] = set()
    levels: list[list[str]] = []
    while waiting:
        ready = [name for name, parents in waiting.items() if parents <= placed]
        if not ready:
            circle = _circle(waiting)
            raise SpaceError(f"conditions go round in a circle: {' ← '.join(circle)}", f"{circle[0]}.when")
        levels.append(ready)
        placed.update(ready)
        waiting = {name: parents for name, parents in waiting.items() if name not in placed}
    return levels


def _circle(waiting: Mapping[str, set[str]]) -> list[str]:
    # Every waiting name has a waiting parent, so walking up must come back to where it has been.
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(min(waiting[path[-1]] & waiting.keys()))
    return path[path.index(path[-1]) :]
