"""Overfitting: the training loss falls on while the validation loss rises; and results that depend on the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, share, shown
from dhflow.monitor.trend.judgement import positive, trend_of


@dataclass(frozen=True)
class OverfittingLimits:
    """Thresholds of :func:`overfitting`."""

    rise: float = 0.05
    """Of the validation loss over its lowest, median of the last three: Prechelt 1998 calls this the generalisation
    loss, and 5 % is the largest at which his early stopping still waits."""
    of_gain: float = 0.02
    """Of the validation loss, as a share of what it has fallen since the start: near zero, 5 % of it are nothing."""
    n_readings: int = 5
    """Since the lowest validation loss, at least."""
    least_share: float = 0.1
    """Of the readings so far, since the lowest one."""
    train_fall: float = 0.02
    """By how much the training loss fell meanwhile."""
    p_improving: float = 0.05
    """Below, stopping is advised."""


@dataclass(frozen=True)
class SplitLimits:
    """Thresholds of :func:`unstable_splits`."""

    n_repeats: int = 3
    """Fewer say nothing."""
    spread: float = 0.1
    """Standard deviation over the mean."""


def overfitting(records: Records, context: Context, limits: OverfittingLimits) -> Finding | None:
    """Find a validation loss that rises while the training loss falls."""
    train, valid = records.series("loss").finite, records.series("val_loss").finite
    if len(train) < limits.n_readings or len(valid) < limits.n_readings + 1:
        return None
    y = positive(valid.values)
    lowest = int(y.argmin())
    since = len(y) - 1 - lowest
    rise = float(np.median(y[-3:])) / float(y[lowest]) - 1
    if since < max(limits.n_readings, limits.least_share * len(y)) or rise < limits.rise:
        return None
    now = float(np.median(y[-3:]))
    if now - float(y[lowest]) < limits.of_gain * (float(y[0]) - float(y[lowest])):
        return None
    t = positive(train.values)
    then = t[np.clip(np.searchsorted(train.steps, valid.steps[lowest], side="right") - 1, 0, len(t) - 1)]
    fall = 1 - float(np.median(t[-3:])) / float(then)
    if fall < limits.train_fall:
        return None
    why = f"val_loss rose by {share(rise)} in {since} epochs while the training loss fell by {share(fall)}"
    suggestions = [
        advice.more_dropout(context, why),
        advice.more_weight_decay(context, why),
        advice.words("more_data", "use more data, or augment what there is", why, "a smaller gap"),
    ]
    trend = context.trend or trend_of(records, context)
    if trend is not None and trend.improving <= limits.p_improving:
        best = f"keep the weights of step {valid.steps[lowest]:g}"
        suggestions.append(advice.stop("overfitting", f"the best validation loss lies behind; {best}"))
    evidence = {"rise": rise, "train_fall": fall, "best_step": float(valid.steps[lowest]), "lowest": float(y[lowest])}
    return found(Severity.WARNING, f"overfitting: {why}", evidence, suggestions)


def unstable_splits(records: Records, context: Context, limits: SplitLimits) -> Finding | None:
    """Find repeats of one config that differ strongly by split."""
    del records
    values = np.array([each for each in context.repeats if np.isfinite(each)])
    if len(values) < limits.n_repeats or values.mean() == 0:
        return None
    spread = float(values.std(ddof=1) / abs(values.mean()))
    if spread < limits.spread:
        return None
    ends = f"from {shown(values.min())} to {shown(values.max())}"
    why = f"{len(values)} repeats of this config differ by {share(spread)} ({ends})"
    return found(
        Severity.WARNING,
        f"results depend on the split: {why}",
        {"spread": spread, "n_repeats": len(values)},
        [
            advice.words(
                "augment", "augment the data, or use larger validation sets", why, "results that hold elsewhere"
            )
        ],
    )


RULES = (
    Rule("overfitting", "overfitting", overfitting, OverfittingLimits(), "Prechelt 1998, Early stopping - but when?"),
    Rule(
        "unstable_splits", "overfitting", unstable_splits, SplitLimits(), "Bouthillier et al. 2021 (arXiv:2103.03098)"
    ),
)
