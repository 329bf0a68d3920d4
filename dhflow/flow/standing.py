"""Which trial is best, and since when: kept up to date trial by trial."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dhflow.objective import Objective
from dhflow.trial import Trial, TrialStatus

FULL_BUDGET = math.inf
"""Rank of a trial without a budget of its own: it had the full one."""


class Standing:
    """The best trial among those of the highest completed budget.

    A value reached on a small budget says little beside one of a larger budget, so only
    COMPLETED trials of the highest completed budget compete; equal values keep the earlier trial.

    Parameters
    ----------
    objective : Objective
        The first objective.
    trials : iterable of Trial, optional
        Finished or not; taken in the order of their outcomes.
    """

    def __init__(self, objective: Objective, trials: Iterable[Trial] = ()) -> None:
        self.objective = objective
        self.best: Trial | None = None
        self.n_completed = 0
        self.n_since_best = 0
        self._best_rank = (-math.inf, math.inf)
        finished = (each for each in trials if each.is_finished)
        for trial in sorted(finished, key=_order):
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take a finished trial in."""
        self.n_since_best += 1
        if trial.status is not TrialStatus.COMPLETED or not trial.losses:
            return
        self.n_completed += 1
        budget = FULL_BUDGET if trial.budget is None else trial.budget
        rank = (budget, trial.losses[0])
        if rank[0] > self._best_rank[0] or (rank[0] == self._best_rank[0] and rank[1] < self._best_rank[1]):
            self._best_rank = rank
            self.best = trial
            self.n_since_best = 0

    @property
    def value(self) -> float | None:
        """The best objective value in the user's sign, or None."""
        return None if self.best is None else self.objective.from_loss(self.best.losses[0])

    def has_reached(self, target: float) -> bool:
        """Tell whether the best value is `target` (in the user's sign) or better."""
        return self.best is not None and self.best.losses[0] <= self.objective.to_loss(target)


def _order(trial: Trial) -> tuple[float, int]:
    return (math.inf if trial.outcome_number is None else trial.outcome_number, trial.trial_id)
