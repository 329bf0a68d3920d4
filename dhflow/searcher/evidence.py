"""What finished trials say about the objective: which ones a model is told, and as what."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from dhflow.trial import Trial, TrialStatus

FULL_BUDGET = math.inf
"""A trial without a budget has the problem's full one."""


class Evidence(NamedTuple):
    """One trial's word.

    Parameters
    ----------
    place : int
        Of the trial in its batch.
    loss : float
        Minimised; NaN for a failure.
    censored : bool
        The trial was stopped early: `loss` belongs to a lower budget.
    """

    place: int
    loss: float
    censored: bool


def budget_of(trial: Trial) -> float:
    """Return a trial's budget, infinite for the full one."""
    return FULL_BUDGET if trial.budget is None else trial.budget


def highest_budget(trials: Iterable[Trial], at_least: float = 0.0) -> float:
    """Return the highest budget at which a trial has completed."""
    completed = (budget_of(each) for each in trials if each.status is TrialStatus.COMPLETED)
    return max(at_least, max(completed, default=0.0))


def read_evidence(trials: Iterable[Trial], budget: float) -> list[Evidence]:
    """Return what `trials` say about the objective at `budget`.

    Notes
    -----
    Completed trials of a lower budget say nothing here: their losses are not comparable. A
    lost trial says nothing either, its worker went away. A failed one does, and so does a
    value that is not finite: the config does not work. A stopped trial counts as censored.
    """
    found = []
    for place, trial in enumerate(trials):
        loss = trial.losses[0] if trial.losses and math.isfinite(trial.losses[0]) else math.nan
        if trial.status is TrialStatus.COMPLETED:
            if budget_of(trial) == budget or math.isnan(loss):
                found.append(Evidence(place, loss, censored=False))
        elif trial.status is TrialStatus.STOPPED:
            if not math.isnan(loss):
                found.append(Evidence(place, loss, censored=True))
        elif trial.status is TrialStatus.FAILED:
            found.append(Evidence(place, math.nan, censored=False))
    return found
