"""How many configs a space of countable parameters has, and all of them when they are few."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dhflow.space.condition import Activity, ClauseTable, NumberedClause, number_clause
from dhflow.space.parameter import Parameter
from dhflow.space.scale import FloatArray
from dhflow.space.value import Clause

# Combinations of parents that are looked at one by one; beyond, the count is an upper bound.
_MAX_COMBINATIONS = 2**16


def count_configs(parameters: Mapping[str, Parameter], activity: Activity, forbidden: Sequence[Clause]) -> float:
    """Return how many configs there are, without the forbidden ones; constraints are not looked at.

    Returns
    -------
    float
        ``inf`` with a Float; an upper bound where more than 65,536 combinations of parents and
        forbidden values hang together.
    """
    n_values = np.array([each.n_values for each in parameters.values()])
    if np.isinf(n_values).any():
        return math.inf
    columns = {name: j for j, name in enumerate(parameters)}
    links = [[columns[name], *(columns[parent] for parent in each.when or ())] for name, each in parameters.items()]
    clauses = [number_clause(each, parameters) for each in forbidden]
    links += [[column for column, _ in clause] for clause in clauses]
    deciding = {columns[parent] for each in parameters.values() for parent in each.when or ()}
    deciding |= {column for clause in clauses for column, _ in clause}
    total = 1.0
    for part in connected(len(n_values), links):
        mine = [clause for clause in clauses if clause[0][0] in part]
        total *= _count_part(n_values, sorted(part), sorted(part & deciding), activity, mine)
    return total


def all_cells(n_values: FloatArray, limit: int) -> FloatArray | None:
    """Return every row of cell numbers, or None if there are more than `limit`."""
    if np.prod(n_values) > limit:
        return None
    strides = np.concatenate([[1.0], np.cumprod(n_values[:-1])])
    cells: FloatArray = np.floor(np.arange(np.prod(n_values))[:, None] / strides) % n_values
    return cells


def _count_part(
    n_values: FloatArray,
    part: Sequence[int],
    deciding: Sequence[int],
    activity: Activity,
    forbidden: Sequence[NumberedClause],
) -> float:
    combinations = all_cells(n_values[deciding], _MAX_COMBINATIONS) if deciding else np.zeros((1, 0))
    if combinations is None:
        return float(np.prod(n_values[part]))
    index = np.zeros((len(combinations), len(n_values)))
    index[:, deciding] = combinations
    active = activity.of(index)
    # Of the rows that differ in inactive values only, one counts.
    counts = (active[:, deciding] | (combinations == 0)).all(axis=1)
    if forbidden:
        counts &= ~ClauseTable(forbidden).matches(index, active).any(axis=1)
    free = [column for column in part if column not in deciding]
    return float(np.where(active[:, free], n_values[free], 1.0).prod(axis=1)[counts].sum())


def connected(n_columns: int, links: Sequence[Sequence[int]]) -> list[set[int]]:
    """Return the columns in parts: two that a link names together are in the same one."""
    part_of = {column: {column} for column in range(n_columns)}
    for link in links:
        merged = set().union(*(part_of[column] for column in link))
        for column in merged:
            part_of[column] = merged
    return list({id(part): part for part in part_of.values()}.values())
