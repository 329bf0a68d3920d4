"""Which trials are best, and since when: kept up to date trial by trial."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from dhflow.constraint import Constraint, is_feasible
from dhflow.objective import Objective
from dhflow.trial import Trial, TrialStatus

FULL_BUDGET = math.inf
"""Rank of a trial without a budget of its own: it had the full one."""


class AnyStanding(ABC):
    """What the best trials of one and of several objectives have in common.

    A value reached on a small budget says little beside one of a larger budget, so only
    COMPLETED trials of the highest completed budget compete, and of those only the feasible ones: a trial that
    violates a constraint is as good as none, on whatever budget.

    Parameters
    ----------
    trials : iterable of Trial
        Finished or not; taken in the order of their outcomes.
    constraints : tuple of Constraint

    Attributes
    ----------
    n_completed : int
        Infeasible trials included.
    n_infeasible : int
        COMPLETED trials that violate a constraint.
    n_since_best : int
        Finished trials since the last that was better than what was there.
    """

    no_news: ClassVar[str]
    """What is said of a search that finds nothing better."""

    def __init__(self, trials: Iterable[Trial], constraints: tuple[Constraint, ...]) -> None:
        self.n_completed = 0
        self.n_infeasible = 0
        self.n_since_best = 0
        self._constraints = constraints
        self._budget = -math.inf
        finished = (each for each in trials if each.is_finished)
        for trial in sorted(finished, key=_order):
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take a finished trial in."""
        self.n_since_best += 1
        if trial.status is not TrialStatus.COMPLETED or not trial.losses:
            return
        self.n_completed += 1
        if not is_feasible(trial, self._constraints):
            self.n_infeasible += 1
            return
        budget = FULL_BUDGET if trial.budget is None else trial.budget
        if budget > self._budget:
            self._budget = budget
            self._forget()
        if budget == self._budget and self._improves(trial):
            self.n_since_best = 0

    @abstractmethod
    def _forget(self) -> None:
        """Let go of all trials: one of a higher budget has completed."""

    @abstractmethod
    def _improves(self, trial: Trial) -> bool:
        """Take a trial of the highest budget in, and tell whether it is better than what was there."""


class Standing(AnyStanding):
    """The best trial by one objective; equal values keep the earlier trial.

    Parameters
    ----------
    objective : Objective
        The first objective.
    trials : iterable of Trial, optional
        Finished or not; taken in the order of their outcomes.
    constraints : tuple of Constraint, optional
    """

    no_news: ClassVar[str] = "no better value"

    def __init__(
        self, objective: Objective, trials: Iterable[Trial] = (), constraints: tuple[Constraint, ...] = ()
    ) -> None:
        self.objective = objective
        self.best: Trial | None = None
        super().__init__(trials, constraints)

    @property
    def value(self) -> float | None:
        """The best objective value in the user's sign, or None."""
        return None if self.best is None else self.objective.from_loss(self.best.losses[0])

    def has_reached(self, target: float) -> bool:
        """Tell whether the best value is `target` (in the user's sign) or better."""
        return self.best is not None and self.best.losses[0] <= self.objective.to_loss(target)

    def _forget(self) -> None:
        self.best = None

    def _improves(self, trial: Trial) -> bool:
        if self.best is not None and trial.losses[0] >= self.best.losses[0]:
            return False
        self.best = trial
        return True


class ParetoStanding(AnyStanding):
    """The trials that no other one dominates.

    Parameters
    ----------
    n_objectives : int
    trials : iterable of Trial, optional
        Finished or not; taken in the order of their outcomes.
    constraints : tuple of Constraint, optional

    Attributes
    ----------
    newest : Trial or None
        The last trial that was news: it joined the set with losses that were not in it.
    worst : tuple of float
        The highest loss seen in each objective, of feasible trials of the highest completed budget; empty before
        there is one.

    Notes
    -----
    A trial whose losses equal a member's joins too, and is no news.
    """

    no_news: ClassVar[str] = "nothing new joined the Pareto set"

    def __init__(
        self, n_objectives: int, trials: Iterable[Trial] = (), constraints: tuple[Constraint, ...] = ()
    ) -> None:
        self.newest: Trial | None = None
        self._n_objectives = n_objectives
        self._forget()
        super().__init__(trials, constraints)

    @property
    def members(self) -> list[Trial]:
        """The set, in the order in which its trials came."""
        return list(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def _forget(self) -> None:
        self.worst: tuple[float, ...] = ()
        self._members: list[Trial] = []
        self._losses = np.empty((0, self._n_objectives))

    def _improves(self, trial: Trial) -> bool:
        self.worst = tuple(map(max, trial.losses, self.worst or trial.losses))
        point = np.array(trial.losses)
        not_worse = (self._losses <= point).all(axis=1)
        is_twin = bool(not_worse.any())
        # Members do not dominate each other: beside one that equals the point, none can be better.
        if is_twin and (self._losses[not_worse] != point).any():
            return False
        if not is_twin:
            stays = np.flatnonzero((self._losses < point).any(axis=1))
            self._members = [self._members[i] for i in stays]
            self._losses = self._losses[stays]
            self.newest = trial
        self._members.append(trial)
        self._losses = np.vstack([self._losses, point])
        return not is_twin


def standing_of(
    objectives: Sequence[Objective], trials: Iterable[Trial] = (), constraints: tuple[Constraint, ...] = ()
) -> Standing | ParetoStanding:
    """Return the standing of a study: by its objective if it has one, else by its Pareto set."""
    if len(objectives) == 1:
        return Standing(objectives[0], trials, constraints)
    return ParetoStanding(len(objectives), trials, constraints)


def _order(trial: Trial) -> tuple[float, int]:
    return (math.inf if trial.outcome_number is None else trial.outcome_number, trial.trial_id)
