"""Asynchronous successive halving and its kin: nothing ever waits for a rung to fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dhflow.searcher.bandit import Bandit, key_of
from dhflow.searcher.bracket import hyperband_brackets, n_halvings
from dhflow.searcher.distinct import Taken
from dhflow.searcher.option import check_count
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial


class Asha(Bandit):
    """Asynchronous successive halving: whenever a trial is among the best 1/eta of its rung, it goes on.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
        Budgets of neighbouring rungs differ by this factor.
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    Li et al. (2020), *A system for massively parallel hyperparameter tuning*, Algorithm 2, with one bracket (s = 0). No
    worker ever waits: when nothing can be promoted a new config starts. A departure: no config is drawn twice.

    *Cost.* Some 0.2 ms of CPU an ask. Use it when a small budget tells good configs from bad ones and trials are many;
    `bohb` found better configs with as many trainings.
    """

    name: ClassVar[str] = "asha"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        eta: float = 3.0,
        budget_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(space, seed=seed, budget_range=budget_range)
        self.eta = eta
        self._plans = self._make_plans()

    def _make_plans(self) -> list[list[float]]:
        """Return the budgets of each bracket's rungs."""
        s = n_halvings(self.low, self.high, self.eta)
        return [[self.high * self.eta ** (i - s) for i in range(s + 1)]]

    def _promotion(
        self, going_on: set[int | None], pending: Sequence[Trial], *, is_exhausted: bool
    ) -> Suggestion | None:
        if is_exhausted:
            return self._last_promotion(going_on, pending)
        for bracket, budgets in enumerate(self._plans):
            for rung in range(len(budgets) - 2, -1, -1):  # the furthest first
                results = self._rung((bracket, rung))
                trial_id = results.best_waiting(self._n_to_go_on(len(results.results)), going_on)
                if trial_id is not None:
                    return self._promote(trial_id, (bracket, rung), budgets[rung + 1])
        return None

    def _last_promotion(self, going_on: set[int | None], pending: Sequence[Trial]) -> Suggestion | None:
        """Return the best of a rung that gets no more results, if nothing beyond it has succeeded.

        A few results are too few for a share of them to go on: without this no rung of a small space would reach the
        full budget.
        """
        started = {key for each in pending if (key := key_of(each)) is not None and key[1] == 0}
        for bracket, budgets in enumerate(self._plans):
            for rung in range(len(budgets) - 1):
                results = self._rung((bracket, rung))
                if (bracket, 0) in started or results.has_any(going_on):
                    break
                if not self._rung((bracket, rung + 1)).n_known:
                    trial_id = results.best_waiting(len(results.results), going_on)
                    if trial_id is not None:
                        return self._promote(trial_id, (bracket, rung), budgets[rung + 1])
        return None

    def _n_to_go_on(self, n: int) -> int:
        """Return how many of a rung's `n` results may go on."""
        return int(n / self.eta)

    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._configs_for(n, pending, taken, rng)
        started = self._started(pending)
        found: list[Suggestion] = []
        for row in X:
            bracket = self._next_bracket(started)
            started[bracket] = started.get(bracket, 0) + 1
            found += self._start(bracket, self._plans[bracket][0], row[None])
        return found

    def _next_bracket(self, started: dict[int, int]) -> int:
        """Return in which bracket the next config starts."""
        del started
        return 0


class AsyncHyperband(Asha):
    """Asynchronous Hyperband: brackets that start at different budgets, each halved asynchronously.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    Li et al. (2020), *A system for massively parallel hyperparameter tuning*, sec. 3.2. A departure: new configs are
    dealt to the brackets in turn, in the proportions in which Hyperband starts them
    (:func:`~dhflow.searcher.bracket.hyperband_brackets`).

    *Cost.* As `asha`. Use it instead when it is not known whether small budgets tell anything; where they did, on 16
    recorded tasks, it was the worse of the two.
    """

    name: ClassVar[str] = "async_hyperband"

    def _make_plans(self) -> list[list[float]]:
        brackets = hyperband_brackets(self.low, self.high, self.eta)
        self._weights = [each[0].n for each in brackets]
        return [[rung.budget for rung in each] for each in brackets]

    def _next_bracket(self, started: dict[int, int]) -> int:
        behind = [(started.get(b, 0) + 0.5) / weight for b, weight in enumerate(self._weights)]
        return int(np.argmin(behind))


class MedianStopping(Asha):
    """The median stopping rule: a trial goes on while it is better than the median of the others at its budget.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
        A trial is looked at whenever its budget has grown by this factor.
    n_startup : int
        Results at a budget before any of them is judged by it.
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    Golovin et al. (2017), *Google Vizier: a service for black-box optimization*, sec. 3.2.2. Departures: trials end at
    each look and those that pass go on as promotions, so that nothing that runs has to be watched; best losses
    are compared, not running averages. Half of the configs survive each look: it spares good configs
    that start slowly, and spends several times as much on each config as `asha`. Cost: as that. Use it where `asha`
    throws good configs away.
    """

    name: ClassVar[str] = "median_stopping"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        eta: float = 3.0,
        n_startup: int = 5,
        budget_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(space, seed=seed, eta=eta, budget_range=budget_range)
        check_count("n_startup", n_startup)
        self.n_startup = n_startup

    def _n_to_go_on(self, n: int) -> int:
        return n // 2 if n >= self.n_startup else 0
