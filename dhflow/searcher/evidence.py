"""What finished trials say about the objective: which ones a model is told, and as what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dhflow.constraint import Constraint, value_in
from dhflow.trial import Trial, TrialStatus

FULL_BUDGET = math.inf
"""A trial without a budget has the problem's full one."""


class Evidence(NamedTuple):
    """One trial's word.

    Parameters
    ----------
    place : int
        Of the trial in its batch.
    losses : tuple of float
        One for each objective, minimised and finite; empty for a failure.
    is_censored : bool
        The trial was stopped early: its losses belong to a lower budget.
    is_feasible : bool
        It did not fail, and it meets the constraints.
    excesses : tuple of float
        By how much the value of each constraint lies beyond its bound, negative where it is met.
    seconds : float
        How long it took; NaN where that is not known.
    """

    place: int
    losses: tuple[float, ...]
    is_censored: bool = False
    is_feasible: bool = True
    excesses: tuple[float, ...] = ()
    seconds: float = math.nan

    @property
    def loss(self) -> float:
        """The first loss; NaN for a failure."""
        return self.losses[0] if self.losses else math.nan


def budget_of(trial: Trial) -> float:
    """Return a trial's budget, infinite for the full one."""
    return FULL_BUDGET if trial.budget is None else trial.budget


def highest_budget(trials: Iterable[Trial], at_least: float = 0.0) -> float:
    """Return the highest budget at which a trial has completed."""
    completed = (budget_of(each) for each in trials if each.status is TrialStatus.COMPLETED)
    return max(at_least, max(completed, default=0.0))


def read_evidence(trials: Iterable[Trial], budget: float, constraints: Sequence[Constraint] = ()) -> list[Evidence]:
    """Return what `trials` say about the objectives at `budget`.

    Parameters
    ----------
    trials : iterable of Trial
    budget : float
    constraints : sequence of Constraint

    Notes
    -----
    Completed trials of a lower budget say nothing here: their losses are not comparable. A
    lost trial says nothing either, its worker went away. A failed one does, and so does a
    value that is not finite: the config does not work. A stopped trial counts as censored; one without a
    value was stopped because it had none, and counts as failed.
    """
    found = []
    for place, trial in enumerate(trials):
        losses = trial.losses if all(map(math.isfinite, trial.losses)) else ()
        seconds = math.nan if trial.duration_s is None else trial.duration_s
        if trial.status is TrialStatus.COMPLETED:
            if budget_of(trial) == budget or not losses:
                excesses = tuple(each.excess(value_in(trial, each.name)) for each in constraints) if losses else ()
                is_feasible = bool(losses) and not any(each > 0 for each in excesses)
                found.append(Evidence(place, losses, is_feasible=is_feasible, excesses=excesses, seconds=seconds))
        elif trial.status is TrialStatus.STOPPED:
            found.append(Evidence(place, losses, is_censored=bool(losses), is_feasible=bool(losses)))
        elif trial.status is TrialStatus.FAILED:
            found.append(Evidence(place, (), is_feasible=False))
    return found
