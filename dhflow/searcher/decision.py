"""A config as a sequence of decisions, each among a few levels, for searchers that decide one after the other.

Notation
--------
d : parameters;  X : (n, d) encoded configs, snapped;  T : decisions;  L : (n, T) levels, -1 where a decision is
not there because its parameter is inactive.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dhflow.space import Integer, SearchSpace
from dhflow.space.parameter import Parameter

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

ABSENT = -1
"""The level of a decision whose parameter is inactive."""

Chooser = Callable[[int, IntArray, BoolArray], IntArray]
"""From the number of the decision, the levels before it (n, T) and whether each row has it (n,) to levels (n,)."""


class Decisions:
    """The decisions that make a config of one search space.

    Parameters
    ----------
    space : SearchSpace
    n_levels : int
        A parameter of more values, or of real numbers, is divided into so many stretches of equal prior probability
        (as nearly as whole values allow); an unordered one has a level for each value.

    Notes
    -----
    Parents come before those whose activity they decide; otherwise the order is that of the space. A parameter
    with a single value is no decision. Within a stretch the value is drawn from the prior.
    """

    def __init__(self, space: SearchSpace, n_levels: int) -> None:
        self.space = space
        parameters = list(space.parameters.values())
        self.columns = [j for j in _order(space) if parameters[j].n_values > 1]
        self._edges = [_edges(parameters[j], n_levels) for j in self.columns]
        self._is_conditional = [parameters[j].when is not None for j in self.columns]
        self.n_levels = tuple(len(each) - 1 for each in self._edges)

    def __len__(self) -> int:
        return len(self.columns)

    def levels(self, X: FloatArray) -> IntArray:
        """Return the levels (n, T) of X (n, d)."""
        found = np.empty((len(X), len(self)), dtype=np.intp)
        active = self.space.active(X)
        for t, (j, edges) in enumerate(zip(self.columns, self._edges, strict=True)):
            level = np.searchsorted(edges[1:-1], X[:, j], side="right")
            found[:, t] = np.where(active[:, j], level, ABSENT)
        return found

    def draw(self, n: int, choose: Chooser, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Return `n` configs (n, d), snapped, and their levels (n, T), as `choose` decides one level after the other.

        Whether a config is allowed is not looked at.
        """
        X = np.full((n, len(self.space)), 0.5)
        levels = np.full((n, len(self)), ABSENT, dtype=np.intp)
        for t, (j, edges) in enumerate(zip(self.columns, self._edges, strict=True)):
            is_there = self.space.active(X)[:, j] if self._is_conditional[t] else np.ones(n, np.bool_)
            chosen = choose(t, levels, is_there)
            levels[:, t] = np.where(is_there, chosen, ABSENT)
            X[:, j] = edges[chosen] + rng.random(n) * (edges[chosen + 1] - edges[chosen])
        return self.space.snap(X), levels

    def prior_levels(self, t: int, units: FloatArray) -> IntArray:
        """Return the levels (n,) of decision `t` that lie at `units` (n,)."""
        levels: IntArray = np.searchsorted(self._edges[t][1:-1], units, side="right")
        return levels

    def prior_log_probability(self, levels: IntArray) -> FloatArray:
        """Return the logarithm (n,) of the prior probability of decisions (n, T)."""
        total = np.zeros(len(levels))
        for t, edges in enumerate(self._edges):
            level = levels[:, t]
            total += np.where(level == ABSENT, 0.0, np.log(np.diff(edges))[level])
        return total


def _order(space: SearchSpace) -> list[int]:
    """Return the columns, parents before children."""
    columns = {name: j for j, name in enumerate(space.names)}
    placed: dict[str, int] = {}

    def place(name: str) -> None:
        for parent in space.parameters[name].when or ():
            if parent not in placed:
                place(parent)
        placed.setdefault(name, columns[name])

    for name in columns:
        place(name)
    return list(placed.values())


def _edges(parameter: Parameter, n_levels: int) -> FloatArray:
    """Return the ends of a parameter's levels on the unit scale, from 0 to 1, each between two values."""
    n = parameter.n_values
    if parameter.is_categorical:
        return np.linspace(0.0, 1.0, int(n) + 1)
    ends = np.linspace(0.0, 1.0, n_levels + 1)
    if not isinstance(parameter, Integer):
        # Of an ordinal the i-th of n values lies between i/n and (i + 1)/n; a real number has no last digit here.
        return (
            ends if np.isinf(n) else np.unique(np.rint(ends * n)) / n if n > n_levels else np.linspace(0, 1, int(n) + 1)
        )
    scale = parameter.scale()
    if n > n_levels:
        inner: FloatArray = np.unique(np.floor(scale.from_unit(ends[1:-1])) + 0.5)
        inner = inner[(inner > parameter.low) & (inner < parameter.high)]
    else:
        inner = np.arange(parameter.low, parameter.high, dtype=np.float64) + 0.5
    return np.concatenate([[0.0], scale.to_unit(inner), [1.0]])
