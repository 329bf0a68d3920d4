"""Siblings: a run that will not beat what other trials of the study have reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import FloatArray, Records
from dhflow.monitor.rules.base import Rule, found, shown
from dhflow.monitor.trend.extrapolation import extrapolate


@dataclass(frozen=True)
class DominatedLimits:
    """Thresholds of :func:`dominated`."""

    probability: float = 0.05
    """Of beating the best sibling at the full budget: Domhan et al. 2015 stop below 0.05."""
    n_siblings: int = 5
    """Of them have come as far as this run."""
    least_share: float = 0.1
    """Of the full budget."""


def dominated(records: Records, context: Context, limits: DominatedLimits) -> Finding | None:
    """Find a run that is behind half of its siblings and will end behind the best with near certainty."""
    if context.judged(records) != context.metric or context.full_budget is None:
        return None
    step = float(records.last_step)
    if step < limits.least_share * context.full_budget:
        return None
    curve = context.curve(records).finite
    there = context.sibling_losses(step)
    if len(there) < limits.n_siblings or not len(curve):
        return None
    # The median rule (Golovin et al. 2017) first: an early lead is no guarantee, but being behind all along says more.
    best = float(curve.values.min())
    if best <= float(np.median(there)):
        return None
    goal = float(np.min(context.sibling_losses(math.inf), initial=math.inf))
    goal = min(goal, float(there.min()))
    p = chance_to_beat(curve.steps, curve.values, context.full_budget, goal)
    if p is None or p >= limits.probability:
        return None
    back = context.objective().from_loss
    why = f"{context.metric} will beat the best sibling's {shown(back(goal))} with probability {shown(p)}"
    evidence = {"p_beats_best": p, "best_sibling": back(goal), "value": back(best), "n_siblings": len(there)}
    return found(
        Severity.CRITICAL, f"dominated: {why}", evidence, [advice.stop("dominated by siblings")], probability=1.0 - p
    )


def chance_to_beat(steps: FloatArray, losses: FloatArray, full: float, goal: float) -> float | None:
    """Return the probability that a curve ends below `goal`, or None while there is too little of it."""
    outlook = extrapolate(steps, losses, full)
    return None if outlook is None else outlook.p_below(goal)


RULES = (
    Rule("dominated", "siblings", dominated, DominatedLimits(), "Domhan et al. 2015; Golovin et al. 2017 (median)"),
)
