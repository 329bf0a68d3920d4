"""Underfitting: converged, and clearly worse than what is known to be possible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, shown
from dhflow.monitor.trend.judgement import trend_of


@dataclass(frozen=True)
class UnderfittingLimits:
    """Thresholds of :func:`underfitting`."""

    p_improving: float = 0.2
    """The trend's probability of improving, above which nothing is called converged."""
    least_share: float = 0.15
    """Of the full budget. (The slides stop at 350 of 2,000: 17.5 %.)"""
    n_siblings: int = 3
    """Fewer siblings tell nothing about what is possible."""
    sibling_margin: float = 0.1
    """Worse than the siblings' median by more than this share of it."""
    target_margin: float = 0.05
    """Worse than the target by more than this share of it, in training and in validation."""
    way_from_chance: float = 0.5
    """Share of the way from the baseline to a perfect value that a network which fits has gone. The slides call 0.31
    and 0.48 low, where chance is 0.1 and the third run reaches 0.78."""


@dataclass(frozen=True)
class ShrinkingLimits:
    """Thresholds of :func:`over_regularised`."""

    shrunk: float = 0.3
    """Median, over the matrices, of their norm to that at the start. Weights that are trained grow or keep their size
    (Krogh and Hertz 1991 show what decay does to those that the data do not hold up)."""
    n_records: int = 3
    """At least."""


_ACCURACIES = ("accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy")


class _Gap(NamedTuple):
    text: str
    evidence: dict[str, Any]


def underfitting(records: Records, context: Context, limits: UnderfittingLimits) -> Finding | None:
    """Find a run that has converged far from what siblings, target or baseline say is possible."""
    trend = context.trend or trend_of(records, context)
    if trend is None or trend.improving > limits.p_improving:
        return None
    if records.last_step < limits.least_share * context.n_full(records):
        return None
    gap = _behind_siblings(records, context, limits)
    # What siblings reached outweighs any guess: a run as good as theirs does not underfit.
    if gap is None and _n_siblings(records, context) < limits.n_siblings:
        gap = _behind_target(records, context, limits) or _near_chance(records, context, limits)
    if gap is None:
        return None
    why = f"converged, but {gap.text}"
    larger = [advice.more_layers(context, why), advice.more_units(context, why)]
    return found(
        Severity.CRITICAL,
        f"underfitting: {why}",
        {**gap.evidence, "p_improving": trend.improving},
        [
            # Through fewer units than there are outputs no number of layers brings it all.
            *(reversed(larger) if _is_narrow(records) else larger),
            advice.less_dropout(context, why),
            advice.less_weight_decay(context, why),
            advice.search_around(context, why),
            advice.stop("underfitting"),
        ],
        probability=1.0 - trend.improving,
    )


def over_regularised(records: Records, context: Context, limits: ShrinkingLimits) -> Finding | None:
    """Find weights that shrink while the network learns little: what it is punished for outweighs the data."""
    shrunk = [
        rows[-1].norm / rows[0].norm
        for (layer, name), rows in records.tensors_of("weight").items()
        if advice.is_matrix(name) and len(rows) >= limits.n_records and rows[0].norm > 0 and layer
    ]
    if not shrunk or not float(np.median(shrunk)) < limits.shrunk:
        return None
    usual = UnderfittingLimits()
    gap = _behind_siblings(records, context, usual) or _near_chance(records, context, usual, is_latest=True)
    if gap is None:
        return None
    why = f"weights have shrunk to {shown(float(np.median(shrunk)))} of their size, and {gap.text}"
    return found(
        Severity.WARNING,
        f"regularisation too strong: {why}",
        {**gap.evidence, "shrunk": float(np.median(shrunk))},
        [
            advice.less_weight_decay(context, why),
            advice.less_dropout(context, why),
            advice.lower_learning_rate(context, records, why),
        ],
    )


def _is_narrow(records: Records) -> bool:
    hidden = [each.units for each in records.network.layers[:-1] if each.units and each.kind == "Dense"]
    return bool(hidden) and min(hidden) < records.network.last_units


def _n_siblings(records: Records, context: Context) -> int:
    return len(context.sibling_losses(records.last_step))


def _behind_siblings(records: Records, context: Context, limits: UnderfittingLimits) -> _Gap | None:
    losses = context.sibling_losses(records.last_step)
    own = context.curve(records).finite.values
    if len(losses) < limits.n_siblings or not own.size or context.judged(records) != context.metric:
        return None
    usual, best = float(np.median(losses)), float(own.min())
    if not math.isfinite(usual) or best <= usual + limits.sibling_margin * abs(usual):
        return None
    shown_as = context.objective().from_loss
    level = f"half of {len(losses)} siblings reached {shown(shown_as(usual))}"
    text = f"{context.metric} is {shown(shown_as(best))} where {level}"
    return _Gap(text, {"value": shown_as(best), "siblings_median": shown_as(usual), "n_siblings": len(losses)})


def _behind_target(records: Records, context: Context, limits: UnderfittingLimits) -> _Gap | None:
    if context.target is None:
        return None
    pair = _both(records, context)
    goal = context.objective().to_loss(context.target)
    if not pair or min(pair.values()) <= goal + limits.target_margin * abs(goal):
        return None
    back = context.objective().from_loss
    text = f"{' and '.join(pair)} are behind the target {shown(context.target)}"
    return _Gap(text, {name: back(value) for name, value in pair.items()} | {"target": context.target})


def _near_chance(
    records: Records, context: Context, limits: UnderfittingLimits, *, is_latest: bool = False
) -> _Gap | None:
    """Compare with chance: a stated baseline, or what the class counts give for accuracy and cross-entropy."""
    for metric, baseline, perfect in _baselines(records, context):
        pair = _both(records, context, metric, is_latest=is_latest)
        back = context.objective(metric).from_loss
        ways = {name: (back(value) - baseline) / (perfect - baseline) for name, value in pair.items()}
        if not ways:
            continue
        if max(ways.values()) >= limits.way_from_chance:
            return None
        text = (
            f"{' and '.join(pair)} have gone less than {limits.way_from_chance:.0%} of the way from {shown(baseline)}"
        )
        return _Gap(text, {name: back(value) for name, value in pair.items()} | {"baseline": baseline})
    return None


def _baselines(records: Records, context: Context) -> list[tuple[str, float, float]]:
    """Return metrics with their value by chance and their perfect one, the surest first."""
    rows: list[tuple[str, float, float]] = []
    if context.baseline is not None:
        perfect = 0.0 if context.direction(context.metric) == "minimize" else 1.0
        rows.append((context.metric, context.baseline, perfect))
    counts = np.array(records.data.class_counts, dtype=np.float64)
    counts = counts[counts > 0]
    if len(counts) > 1:
        p = counts / counts.sum()
        accuracy = next((each for each in _ACCURACIES if each in records.metric_names), "")
        if accuracy:
            rows.append((accuracy, float(p.max()), 1.0))
        if "crossentropy" in records.network.loss:
            rows.append(("loss", float(-(p * np.log(p)).sum()), 0.0))
    return rows


def _both(
    records: Records, context: Context, metric: str | None = None, *, is_latest: bool = False
) -> dict[str, float]:
    """Return the lowest values, minimised, of a metric on training and on validation data, those that there are.

    Or the last ones: the median of three.
    """
    name = (metric or context.metric).removeprefix("val_")
    found_: dict[str, float] = {}
    for each in (name, f"val_{name}"):
        values = context.minimised(records, each).finite.values
        if values.size:
            found_[each] = float(np.median(values[-3:]) if is_latest else values.min())
    return found_


RULES = (
    Rule("over_regularised", "underfitting", over_regularised, ShrinkingLimits(), "Krogh and Hertz 1991"),
    Rule("underfitting", "underfitting", underfitting, UnderfittingLimits(), "Goodfellow et al. 2016, 11.4; siblings"),
)
