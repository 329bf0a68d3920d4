"""Successive halving and Hyperband with brackets of fixed size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dhflow.searcher.bandit import Bandit
from dhflow.searcher.bracket import SIZINGS, RungPlan, Sizing, hyperband_brackets
from dhflow.searcher.distinct import Taken
from dhflow.searcher.option import check_choice
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial


class Hyperband(Bandit):
    """Hyperband: brackets of successive halving, one after another.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
        At each rung the best 1/eta go on.
    sizing : {"floor", "ceiling"}
        See :func:`~dhflow.searcher.bracket.hyperband_brackets`.
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar (2018), *Hyperband: a novel bandit-based approach to
    hyperparameter optimization*, Algorithm 1. A rung is complete before the best of it go on, as the paper has it.
    Departures: while one waits the next bracket begins, so that no worker idles, and after the last the first
    comes again; no config is drawn twice; and where fewer of a rung succeed (fail, violate a constraint) than should go
    on, all of those go on and the rungs after are smaller.

    *Cost.* Some 0.2 ms of CPU an ask. Use it for comparisons with what was published; `asha` and `bohb` decide earlier.
    """

    name: ClassVar[str] = "hyperband"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        eta: float = 3.0,
        sizing: Sizing = "floor",
        budget_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(space, seed=seed, budget_range=budget_range)
        check_choice("sizing", sizing, SIZINGS)
        self.eta = eta
        self._brackets = self._make_brackets(sizing)

    def _make_brackets(self, sizing: Sizing) -> list[list[RungPlan]]:
        return hyperband_brackets(self.low, self.high, self.eta, sizing)

    def _plan(self, bracket: int) -> list[RungPlan]:
        return self._brackets[bracket % len(self._brackets)]

    def _promotion(
        self, going_on: set[int | None], pending: Sequence[Trial], *, is_exhausted: bool
    ) -> Suggestion | None:
        # What has started is all that a bracket gets where nothing is left to start.
        started = self._started(pending) if is_exhausted else {}
        for (bracket, rung), results in sorted(self._rungs.items()):
            plan = self._plan(bracket)
            first = started.get(bracket, plan[0].n)
            if rung + 1 < len(plan) and len(results.results) >= self._size(bracket, rung, first):
                trial_id = results.best_waiting(plan[rung + 1].n, going_on)
                if trial_id is not None:
                    return self._promote(trial_id, (bracket, rung), plan[rung + 1].budget)
        return None

    def _size(self, bracket: int, rung: int, first: int) -> float:
        """Return how many trials a rung has when it is complete; infinite while the rung before it is not.

        Parameters
        ----------
        bracket, rung : int
        first : int
            Trials of the bracket's first rung.
        """
        if rung == 0:
            return first
        before = self._rung((bracket, rung - 1))
        if len(before.results) < self._size(bracket, rung - 1, first):
            return math.inf
        # Where fewer succeeded than are to go on, the rungs after shrink; without any the bracket is over.
        return min(self._plan(bracket)[rung].n, before.n_known)

    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._configs_for(n, pending, taken, rng)
        started = self._started(pending)
        found: list[Suggestion] = []
        bracket = 0
        for row in X:
            while started.get(bracket, 0) >= self._plan(bracket)[0].n:
                bracket += 1
            started[bracket] = started.get(bracket, 0) + 1
            found += self._start(bracket, self._plan(bracket)[0].budget, row[None])
        return found


class SuccessiveHalving(Hyperband):
    """Successive halving: Hyperband's bracket with the most halvings, again and again.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
    sizing : {"floor", "ceiling"}
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    Jamieson and Talwalkar (2016), *Non-stochastic best arm identification and hyperparameter optimization*, Algorithm
    1; departures, cost and use are those of :class:`Hyperband`.
    """

    name: ClassVar[str] = "successive_halving"

    def _make_brackets(self, sizing: Sizing) -> list[list[RungPlan]]:
        return super()._make_brackets(sizing)[:1]
