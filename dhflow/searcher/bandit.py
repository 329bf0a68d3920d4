"""Base of the searchers over budgets: many configs get little, and the best of them more.

Notation
--------
rung : the results at one budget;  eta : the best 1/eta of a rung go on;  X : (k, d) encoded configs.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.searcher.bracket import Rung
from dhflow.searcher.distinct import DistinctSearcher, Taken
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial, TrialStatus

FloatArray = npt.NDArray[np.float64]
Key = tuple[int, int]
"""Bracket and rung."""

PROMOTION_PRIORITY = -1
ABSTRACT_RANGE = (1.0, 81.0)
"""Budgets of a problem that declares none."""


class Bandit(DistinctSearcher):
    """Base of the searchers over budgets.

    A trial's bracket and rung are in its ``meta``. A promotion is a new trial with the same config, ``parent_id`` and
    the next rung's budget; it runs before new configs. What has gone on follows from the trials
    that were told and those that are pending, so nothing else is remembered.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    budget_range : (float, float), optional
        The problem's smallest and full budget; where it declares none, 1 to 81 units, with a warning.

    Notes
    -----
    Where both ends are whole numbers (epochs), so is every budget between them. Where a small space holds no more
    untried configs, rungs go on with what they have, so that a bracket ends with a result at the full budget.
    """

    needs_budget: ClassVar[bool] = True
    max_objectives: ClassVar[int | None] = 1

    def __init__(self, space: SearchSpace, *, seed: int = 0, budget_range: tuple[float, float] | None = None) -> None:
        super().__init__(space, seed=seed)
        if budget_range is None:
            budget_range = ABSTRACT_RANGE
            warnings.warn(
                f"searcher {self.name!r} spends budgets, and the problem declares none: trial.budget will be "
                f"{ABSTRACT_RANGE[0]:g} to {ABSTRACT_RANGE[1]:g} units; declare budget=Budget(name, low, high)",
                stacklevel=2,
            )
        self.low, self.high = (float(each) for each in budget_range)
        self.full_budget = self.high
        self._is_whole = self.low.is_integer() and self.high.is_integer()
        self._rungs: dict[Key, Rung] = {}
        self._configs: dict[int, Trial] = {}
        self._n_started: dict[int, int] = {}

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        for trial in trials:
            key = key_of(trial)
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
        found = self._promotions(n, going_on, pending, is_exhausted=False)
        if len(found) < n:
            new = self._new(n - len(found), pending, taken, rng)
            found += new or self._promotions(n - len(found), going_on, pending, is_exhausted=True)
        return found

    def _promotions(
        self, n: int, going_on: set[int | None], pending: Sequence[Trial], *, is_exhausted: bool
    ) -> list[Suggestion]:
        """Return up to `n` promotions; what they are made of is added to `going_on`."""
        found: list[Suggestion] = []
        while len(found) < n:
            promotion = self._promotion(going_on, pending, is_exhausted=is_exhausted)
            if promotion is None:
                break
            found.append(promotion)
            going_on.add(promotion.parent_id)
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
        if budget >= self.high * (1 - 1e-9):
            return None
        return float(max(self.low, round(budget))) if self._is_whole else budget

    def _start(self, bracket: int, budget: float, X: FloatArray) -> list[Suggestion]:
        meta = {"bracket": bracket, "rung": 0}
        return [Suggestion(each, budget=self._told_budget(budget), meta=dict(meta)) for each in self.space.decode(X)]

    def _configs_for(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` new configs (k, d)."""
        del pending
        return self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)

    def _started(self, pending: Sequence[Trial]) -> dict[int, int]:
        """Return how many configs each bracket has started."""
        started = dict(self._n_started)
        for each in pending:
            key = key_of(each)
            if key is not None and key[1] == 0:
                started[key[0]] = started.get(key[0], 0) + 1
        return started

    @abstractmethod
    def _promotion(
        self, going_on: set[int | None], pending: Sequence[Trial], *, is_exhausted: bool
    ) -> Suggestion | None:
        """Return the next promotion, if a trial is to go on.

        Parameters
        ----------
        going_on : set of int
            Trials that go on already.
        pending : sequence of Trial
        is_exhausted : bool
            Whether the space holds no more untried configs, so that nothing starts any more.
        """

    @abstractmethod
    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        """Return up to `n` trials of new configs."""


def key_of(trial: Trial) -> Key | None:
    """Return a trial's bracket and rung, or None for one of the user's own."""
    meta: Any = trial.meta
    try:
        return int(meta["bracket"]), int(meta["rung"])
    except (KeyError, TypeError, ValueError):
        return None
