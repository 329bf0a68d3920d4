"""Searchers over budgets: many configs get little, and the best of them more.

Notation
--------
rung : the results at one budget;  eta : the best 1/eta of a rung go on;  X : (k, d) encoded configs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError
from dhflow.searcher.bracket import SIZINGS, Rung, RungPlan, Sizing, hyperband_brackets, n_halvings
from dhflow.searcher.distinct import DistinctSearcher, Taken
from dhflow.searcher.features import Features
from dhflow.searcher.option import check_choice, check_count, check_number
from dhflow.searcher.proposer import Proposer, ProposerOptions
from dhflow.searcher.scoring import KappaSchedule
from dhflow.space import SearchSpace
from dhflow.surrogate.kind import make_surrogate, packages_of
from dhflow.surrogate.training import TrainingSet
from dhflow.trial import Suggestion, Trial, TrialStatus

FloatArray = npt.NDArray[np.float64]
Key = tuple[int, int]
"""Bracket and rung."""

PROMOTION_PRIORITY = -1


class Bandit(DistinctSearcher):
    """Base of the searchers over budgets.

    A trial's bracket and rung are in its ``meta``. A promotion is a new trial with the same config, ``parent_id`` and
    the next rung's budget; it runs before new configs. What has gone on follows from the trials
    that were told and those that are pending, so nothing else is remembered.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    budget_range : (float, float)
        The problem's smallest and full budget.
    """

    needs_budget: ClassVar[bool] = True
    max_objectives: ClassVar[int | None] = 1

    def __init__(self, space: SearchSpace, *, seed: int = 0, budget_range: tuple[float, float] | None = None) -> None:
        super().__init__(space, seed=seed)
        if budget_range is None:
            raise SearchError(f"searcher {self.name!r} needs a budget: give the problem budget=Budget(name, low, high)")
        self.low, self.high = budget_range
        self._rungs: dict[Key, Rung] = {}
        self._configs: dict[int, Trial] = {}
        self._n_started: dict[int, int] = {}

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        for trial in trials:
            key = _key_of(trial)
            if key is None:
                continue
            loss = trial.losses[0] if trial.status is TrialStatus.COMPLETED and trial.losses else math.inf
            self._rung(key).add(loss if math.isfinite(loss) else math.inf, trial.trial_id)
            self._configs[trial.trial_id] = trial
            if key[1] == 0:
                self._n_started[key[0]] = self._n_started.get(key[0], 0) + 1
            if trial.parent_id is not None:
                self._rung((key[0], key[1] - 1)).promoted.add(trial.parent_id)

    def _rung(self, key: Key) -> Rung:
        return self._rungs.setdefault(key, Rung())

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        going_on: set[int | None] = {each.parent_id for each in pending}
        found: list[Suggestion] = []
        while len(found) < n and (promotion := self._promotion(going_on, pending)) is not None:
            found.append(promotion)
            going_on.add(promotion.parent_id)
        if len(found) < n:
            found += self._new(n - len(found), pending, taken, rng)
        return found

    def _promote(self, trial_id: int, key: Key, budget: float) -> Suggestion:
        return Suggestion(
            self._configs[trial_id].config,
            budget=self._told_budget(budget),
            parent_id=trial_id,
            priority=PROMOTION_PRIORITY,
            meta={"bracket": key[0], "rung": key[1] + 1},
        )

    def _told_budget(self, budget: float) -> float | None:
        # The full budget is None, so that its results are comparable with those of trials without a budget.
        return None if budget >= self.high * (1 - 1e-9) else budget

    def _start(self, bracket: int, budget: float, X: FloatArray) -> list[Suggestion]:
        meta = {"bracket": bracket, "rung": 0}
        return [Suggestion(each, budget=self._told_budget(budget), meta=dict(meta)) for each in self.space.decode(X)]

    def _configs_for(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` new configs (k, d)."""
        del pending
        return self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)

    @abstractmethod
    def _promotion(self, going_on: set[int | None], pending: Sequence[Trial]) -> Suggestion | None:
        """Return the next promotion, if a trial is to go on; `going_on` are those that do already."""

    @abstractmethod
    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        """Return up to `n` trials of new configs."""


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
    worker ever waits: when nothing can be promoted a new config starts. Cost: tens of microseconds an ask. Use it when
    a small budget tells good configs from bad ones, and trials are many.
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

    def _promotion(self, going_on: set[int | None], pending: Sequence[Trial]) -> Suggestion | None:
        del pending
        for bracket, budgets in enumerate(self._plans):
            for rung in range(len(budgets) - 2, -1, -1):  # the furthest first
                results = self._rung((bracket, rung))
                trial_id = results.best_waiting(int(len(results.results) / self.eta), going_on)
                if trial_id is not None:
                    return self._promote(trial_id, (bracket, rung), budgets[rung + 1])
        return None

    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._configs_for(n, pending, taken, rng)
        started = self._started(pending)
        found: list[Suggestion] = []
        for row in X:
            bracket = self._next_bracket(started)
            started[bracket] = started.get(bracket, 0) + 1
            found += self._start(bracket, self._plans[bracket][0], row[None])
        return found

    def _started(self, pending: Sequence[Trial]) -> dict[int, int]:
        started = dict(self._n_started)
        for each in pending:
            key = _key_of(each)
            if key is not None and key[1] == 0:
                started[key[0]] = started.get(key[0], 0) + 1
        return started

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
    Li et al. (2020), sec. 3.2: new configs are dealt to the brackets in the proportions in which Hyperband starts
    them (:func:`~dhflow.searcher.bracket.hyperband_brackets`). Use it instead of `asha` when it is not known whether
    small budgets tell anything.
    """

    name: ClassVar[str] = "async_hyperband"

    def _make_plans(self) -> list[list[float]]:
        brackets = hyperband_brackets(self.low, self.high, self.eta)
        self._weights = [each[0].n for each in brackets]
        return [[rung.budget for rung in each] for each in brackets]

    def _next_bracket(self, started: dict[int, int]) -> int:
        behind = [(started.get(b, 0) + 0.5) / weight for b, weight in enumerate(self._weights)]
        return int(np.argmin(behind))


class ModelHyperband(AsyncHyperband):
    """Asynchronous Hyperband whose new configs a model proposes.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
    random_share : float
        Share of new configs that are drawn at random.
    n_initial : int, optional
        Results at one budget before a model takes over; ``max(8, d + 1)`` for d parameters unless given.
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    After Falkner, Klein and Hutter (2018), *BOHB: robust and efficient hyperparameter optimization at scale*: the model
    is fitted to the highest budget with enough results. Departures: extra trees with the expected
    improvement (:class:`~dhflow.searcher.ambs.Ambs`) in the place of a kernel density, asynchronous halving, and lies
    for pending trials. Cost: some 5 ms an ask.
    """

    name: ClassVar[str] = "bohb"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        eta: float = 3.0,
        random_share: float = 0.2,
        n_initial: int | None = None,
        budget_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(space, seed=seed, eta=eta, budget_range=budget_range)
        check_number("random_share", random_share)
        if random_share > 1:
            raise SearchError(f"random_share is {random_share:g}: it must be at most 1")
        self.random_share = random_share
        self.n_initial = max(8, len(space) + 1) if n_initial is None else n_initial
        check_count("n_initial", self.n_initial)
        self._proposers: dict[float, Proposer] = {}

    @property
    def packages(self) -> tuple[str, ...]:
        """What fits import."""
        return packages_of("extra_trees")

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        for trial, row in zip(trials, X, strict=True):
            if trial.status is TrialStatus.LOST or trial.status is TrialStatus.STOPPED:
                continue
            is_known = trial.status is TrialStatus.COMPLETED and trial.losses and math.isfinite(trial.losses[0])
            budget = math.inf if trial.budget is None else trial.budget
            self._proposer(budget).tell(row[None], [trial.losses[0] if is_known else math.nan], [False])

    def _proposer(self, budget: float) -> Proposer:
        if budget not in self._proposers:
            features = Features(self.space)
            training = TrainingSet(len(features), seed=self.seed)
            model = make_surrogate(training, kind="extra_trees", seed=self.seed)
            options = ProposerOptions("log_ei", KappaSchedule(), "believer", "conditioned", 300)
            self._proposers[budget] = Proposer(self.space, model, options)
        return self._proposers[budget]

    def _configs_for(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> FloatArray:
        able = [b for b, each in self._proposers.items() if each.model.training.n_completed >= self.n_initial]
        n_modelled = int(np.count_nonzero(rng.random(n) >= self.random_share)) if able else 0
        found = np.empty((0, len(self.space)))
        if n_modelled:
            rows = [self._pending_rows[each.trial_id][0] for each in pending]
            found, _ = self._proposers[max(able)].propose(n_modelled, rows, taken, rng)
        drawn = super()._configs_for(n - len(found), pending, taken, rng) if len(found) < n else found[:0]
        return np.concatenate([found, drawn])


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
    Li et al. (2018), Algorithm 1. A rung is complete before the best of it go on, as the paper has it; while one waits
    the next bracket begins, so that no worker idles, and after the last the first comes again. For comparisons:
    `async_hyperband` decides earlier.
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

    def _promotion(self, going_on: set[int | None], pending: Sequence[Trial]) -> Suggestion | None:
        del pending
        for (bracket, rung), results in sorted(self._rungs.items()):
            plan = self._plan(bracket)
            if rung + 1 < len(plan) and len(results.results) >= plan[rung].n:
                trial_id = results.best_waiting(plan[rung + 1].n, going_on)
                if trial_id is not None:
                    return self._promote(trial_id, (bracket, rung), plan[rung + 1].budget)
        return None

    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        X = self._configs_for(n, pending, taken, rng)
        started = dict(self._n_started)
        for each in pending:
            key = _key_of(each)
            if key is not None and key[1] == 0:
                started[key[0]] = started.get(key[0], 0) + 1
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
    Jamieson and Talwalkar (2016), *Non-stochastic best arm identification and hyperparameter optimization*.
    """

    name: ClassVar[str] = "successive_halving"

    def _make_brackets(self, sizing: Sizing) -> list[list[RungPlan]]:
        return super()._make_brackets(sizing)[:1]


def _key_of(trial: Trial) -> Key | None:
    meta: Any = trial.meta
    try:
        return int(meta["bracket"]), int(meta["rung"])
    except (KeyError, TypeError, ValueError):
        return None  # the user's own trial
