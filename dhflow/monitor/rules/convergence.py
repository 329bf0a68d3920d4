"""Where a run stands: still improving, converged, or stuck where it began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, share, shown
from dhflow.monitor.trend.judgement import Verdict, positive, trend_of


@dataclass(frozen=True)
class ConvergedLimits:
    """Thresholds of :func:`converged`."""

    p_improving: float = 0.05
    """Stop only below; the same 0.05 at which Domhan et al. 2015 stop."""
    probability: float = 0.5
    """Of converged, to say so."""
    least_share: float = 0.1
    """Of the full budget, before which nothing is called converged."""


@dataclass(frozen=True)
class ImprovingLimits:
    """Thresholds of :func:`still_improving`."""

    probability: float = 0.5
    """Of improving, to say so."""


@dataclass(frozen=True)
class StuckLimits:
    """Thresholds of :func:`stuck_at_start`."""

    n_readings: int = 5
    """At least."""
    least_share: float = 0.1
    """Of the full budget, if that is more readings."""
    gained: float = 0.01
    """Relative to the first loss: what a run that learns has gained by then."""
    p_improving: float = 0.05
    """Below, stopping is advised."""


def converged(records: Records, context: Context, limits: ConvergedLimits) -> Finding | None:
    """Say that a run has converged; advise to stop where a later gain is improbable."""
    trend = context.trend or trend_of(records, context)
    if trend is None or trend.verdict is not Verdict.CONVERGED or trend.converged < limits.probability:
        return None
    if records.last_step < limits.least_share * context.n_full(records):
        return None
    left = context.n_full(records) - records.last_step
    why = f"converged with probability {trend.converged:.2f}"
    stops = trend.improving <= limits.p_improving and context.full_budget is not None and left > 0
    suggestions = [advice.stop(why, f"saves {left:g} epochs")] if stops else []
    text = f"converged: {_gain(trend.metric, context)} with probability {shown(trend.improving)}"
    evidence = {"p_improving": trend.improving, "p_converged": trend.converged, "epochs_left": left}
    return found(Severity.NOTE, text, evidence, suggestions, probability=trend.converged)


def still_improving(records: Records, context: Context, limits: ImprovingLimits) -> Finding | None:
    """Say that a run still improves; there is nothing to do."""
    trend = context.trend or trend_of(records, context)
    if trend is None or trend.verdict is not Verdict.IMPROVING or trend.improving < limits.probability:
        return None
    evidence: dict[str, float] = {"p_improving": trend.improving}
    if trend.outlook is not None:
        evidence |= {"expected_end": trend.outlook.mean, "lowest": trend.outlook.best}
    text = f"still improving: {_gain(trend.metric, context)} with probability {trend.improving:.2f}"
    return found(Severity.NOTE, text, evidence, probability=trend.improving)


def _gain(metric: str, context: Context) -> str:
    """Return what an improvement would be, in words; of a score it is the error that falls."""
    return f"{metric} will {'fall' if context.direction(metric) == 'minimize' else 'improve'} by 2 % or more"


def stuck_at_start(records: Records, context: Context, limits: StuckLimits) -> Finding | None:
    """Find a training loss that has not left the place where it began."""
    curve = records.series("loss")
    if not len(curve):
        curve = context.curve(records)
    y = curve.finite.values
    least = max(limits.n_readings, limits.least_share * context.n_full(records))
    if len(y) < limits.n_readings or records.last_step < least:
        return None
    y = positive(y)
    gained = 1.0 - float(np.median(y[-3:])) / float(y[0])
    if not abs(gained) < limits.gained or 1.0 - float(y.min()) / float(y[0]) > 2 * limits.gained:
        return None
    trend = context.trend or trend_of(records, context)
    why = f"after {records.last_step} epochs the loss is within {share(limits.gained)} of its first value"
    suggestions = [
        advice.raise_learning_rate(context, records, why),
        advice.halve_batch(context, why),
        advice.other_initializer(context, "he_normal", why),
    ]
    if trend is not None and trend.improving <= limits.p_improving:
        suggestions.append(advice.stop("stuck at the start"))
    probability = 1.0 - trend.improving if trend is not None else 1.0
    evidence = {"first": float(y[0]), "loss": float(y[-1]), "gained": gained}
    return found(Severity.WARNING, f"stuck at the start: {why}", evidence, suggestions, probability=probability)


RULES = (
    Rule("converged", "convergence", converged, ConvergedLimits(), "trend model; Domhan et al. 2015 for 0.05"),
    Rule("still_improving", "convergence", still_improving, ImprovingLimits(), "trend model"),
    Rule("stuck_at_start", "stuck", stuck_at_start, StuckLimits(), "Goodfellow et al. 2016, 11.5: fit a little first"),
)
