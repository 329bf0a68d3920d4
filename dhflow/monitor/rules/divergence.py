"""Divergence and oscillation: a loss that grows beyond where it began, or swings without getting lower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, shown
from dhflow.monitor.trend.judgement import positive, trend_of


@dataclass(frozen=True)
class DivergenceLimits:
    """Thresholds of :func:`divergence`.

    Notes
    -----
    Chosen so that of the runs in ``training_curves/algoperf.npz``, tuned by professionals, hardly any is called red:
    warm-up takes some of them to 30 times their first loss, from where they recover.
    """

    n_readings: int = 3
    """Readings running that all stand as high as said below."""
    factor: float = 1.5
    """Times the lowest loss so far: a warning."""
    red_factor: float = 10.0
    """Times the lowest loss so far: critical, if the other conditions for it hold too."""
    red_readings: int = 8
    """Readings running for critical."""
    red_probability: float = 0.9
    """The trend's probability of worse, for critical."""
    probability: float = 0.5
    """The trend's probability of worse, for a warning, where there are enough readings to tell."""


@dataclass(frozen=True)
class OscillationLimits:
    """Thresholds of :func:`oscillation`."""

    n_readings: int = 10
    """The last so many."""
    swing: float = 0.2
    """Median move between two readings, relative to the loss."""
    turns: float = 0.6
    """Share of the readings at which the direction turns; a random walk turns at a half, noise at two thirds."""
    progress: float = 0.5
    """What was gained over the readings, as a share of the median move: more is progress with noise."""


def divergence(records: Records, context: Context, limits: DivergenceLimits) -> Finding | None:
    """Find a training loss that stays far above the lowest it had, and above where it began."""
    curve = records.series("loss")
    if not len(curve):
        curve = context.curve(records)
    y = curve.finite.values
    if len(y) < limits.n_readings + 1:
        return None
    y = positive(y)
    best, first = float(y.min()), float(y[0])
    last = y[-limits.n_readings :]
    if not (last > limits.factor * best).all() or not (last >= first).all():
        return None
    trend = context.trend or trend_of(records, context)
    if trend is not None and trend.worse < limits.probability:
        return None
    factor = float(last.min()) / best
    lasting = y[-limits.red_readings :]
    is_red = (
        len(lasting) == limits.red_readings
        and bool((lasting > limits.red_factor * best).all())
        and trend is not None
        and trend.worse >= limits.red_probability
        # A loss that comes down from a peak is on its way back.
        and float(lasting[-1]) >= 0.9 * float(lasting.max())
    )
    why = f"for {limits.n_readings} epochs the loss has been {shown(factor)} times its lowest or more"
    suggestions = [
        advice.lower_learning_rate(context, records, why),
        advice.clip_gradients(context, why),
        advice.double_batch(context, why),
    ]
    if is_red:
        suggestions.append(advice.stop("the loss diverges"))
    probability = trend.worse if trend is not None else 1.0
    evidence = {"loss": float(y[-1]), "lowest": best, "first": first, "p_worse": probability}
    severity = Severity.CRITICAL if is_red else Severity.WARNING
    return found(severity, f"divergence: {why}", evidence, suggestions, probability=probability)


def oscillation(records: Records, context: Context, limits: OscillationLimits) -> Finding | None:
    """Find a training loss that swings widely and gets no lower."""
    y = records.series("loss").finite.values[-limits.n_readings :]
    if len(y) < limits.n_readings:
        return None
    y = np.log(positive(y))
    moves = np.diff(y)
    swing = float(np.median(np.abs(moves)))
    turns = float((moves[1:] * moves[:-1] < 0).mean())
    half = len(y) // 2
    gained = float(y[:half].mean() - y[half:].mean())
    if swing < limits.swing or turns < limits.turns or gained > limits.progress * swing:
        return None
    why = f"the loss turns at {turns:.0%} of the readings and moves by {swing:.0%} each time, without getting lower"
    return found(
        Severity.WARNING,
        f"oscillation: {why}",
        {"swing": swing, "turns": turns, "gained": gained},
        [advice.lower_learning_rate(context, records, why), advice.double_batch(context, why)],
    )


RULES = (
    Rule("divergence", "divergence", divergence, DivergenceLimits(), "loss statistics; measured on AlgoPerf runs"),
    Rule("oscillation", "divergence", oscillation, OscillationLimits(), "turning points: Bienaymé 1874"),
)
