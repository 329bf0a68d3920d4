"""What the optimiser does to the weights: too much, too little, nothing; and weights that are all zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records, TensorRecord
from dhflow.monitor.rules.base import Rule, found, names, share, shown


@dataclass(frozen=True)
class UpdateLimits:
    """Thresholds of :func:`bad_update_ratio`."""

    high: float = 0.05
    """Norm of one step's update over the weight's norm. CS231n: about 1e-3 is healthy; fifty times that moves a
    weight by its own size within twenty steps."""
    low: float = 1e-6
    """A thousandth of healthy: a weight would need a million steps."""
    n_records: int = 2
    """So many records running: the first steps of Adam are large by design."""


@dataclass(frozen=True)
class UnchangedLimits:
    """Thresholds of :func:`unchanged_tensors`."""

    n_records: int = 2
    """Records running with the same norm and mean to the last digit."""
    frozen_share: float = 0.5
    """Share of the network's weights in layers that are declared as not trainable, from which on it is a warning."""


@dataclass(frozen=True)
class ZeroLimits:
    """Thresholds of :func:`zero_tensors`."""

    zero_share: float = 1.0
    """Of a tensor's elements."""


def bad_update_ratio(records: Records, context: Context, limits: UpdateLimits) -> Finding | None:
    """Find updates that are far too large or far too small for their weights."""
    weights = records.tensors_of("weight")
    ratios: dict[str, float] = {}
    for key, updates in records.tensors_of("update").items():
        if _is_small(key[1]) or len(updates) < limits.n_records or key not in weights:
            continue
        norms = {each.step: each.norm for each in weights[key]}
        recent = [_ratio(each, norms) for each in updates[-limits.n_records :]]
        if not all(math.isfinite(each) and each > 0 for each in recent):
            continue
        if min(recent) > limits.high or max(recent) < limits.low:
            ratios[updates[-1].label] = recent[-1]
    if not ratios:
        return None
    name, worst = max(ratios.items(), key=lambda each: abs(math.log10(each[1]) + 3))
    is_high = worst > limits.high
    why = f"one step changes {name} by {shown(worst)} of its norm (about 0.001 is healthy)"
    lower, higher = advice.lower_learning_rate, advice.raise_learning_rate
    suggestions = [(lower if is_high else higher)(context, records, why)]
    if is_high:
        suggestions.append(advice.clip_gradients(context, why))
    text = f"{'too large' if is_high else 'too small'} updates: {why}"
    return found(Severity.WARNING, text, {"ratios": list(ratios.values()), "tensors": list(ratios)}, suggestions)


def unchanged_tensors(records: Records, context: Context, limits: UnchangedLimits) -> Finding | None:
    """Find weights that do not change although they are trained, and networks that are mostly frozen."""
    del context
    layers = {each.name: each for each in records.network.layers}
    stuck = [
        rows[-1].label
        for (layer, name), rows in records.tensors_of("weight").items()
        if not _is_small(name)
        and _is_unchanged(rows, limits.n_records)
        and (layer not in layers or layers[layer].is_trainable)
    ]
    n_all = sum(each.n_weights for each in layers.values())
    frozen = [each for each in layers.values() if each.n_weights and not each.is_trainable]
    frozen_share = sum(each.n_weights for each in frozen) / n_all if n_all else 0.0
    if not stuck and frozen_share < limits.frozen_share:
        return None
    if stuck:
        why = f"{names(stuck)} did not change between {limits.n_records} records"
        what = "check that the loss depends on these layers and that their gradients are not zero"
    else:
        why = f"{share(frozen_share)} of the weights are declared as not trainable ({names(e.name for e in frozen)})"
        what = "set trainable=True on layers that do not come from a trained network"
    return found(
        Severity.WARNING,
        f"unchanged tensors: {why}",
        {"tensors": stuck, "frozen_share": frozen_share},
        [advice.words("unfreeze", what, why, "these layers learn too")],
    )


def zero_tensors(records: Records, context: Context, limits: ZeroLimits) -> Finding | None:
    """Find weights and gradients in which every element is zero."""
    weights = [e.label for e in records.latest("weight") if _is_zero(e, limits) and not _is_small(e.name)]
    layers = {each.name: each for each in records.network.layers}
    gradients = [
        each.label
        for each in records.latest("gradient")
        if _is_zero(each, limits)
        and not _is_small(each.name)
        and (each.layer not in layers or layers[each.layer].is_trainable)
    ]
    if not weights and not gradients:
        return None
    kinds = [f"weights of {names(weights)}"] * bool(weights) + [f"gradients of {names(gradients)}"] * bool(gradients)
    why = " and ".join(kinds) + " are all zero"
    return found(
        Severity.WARNING,
        f"all-zero tensors: {why}",
        {"weights": weights, "gradients": gradients},
        [
            advice.other_initializer(context, "glorot_uniform", why),
            advice.words(
                "check_graph", "check that these layers lie between the input and the loss", why, "they learn"
            ),
        ],
    )


def _is_zero(each: TensorRecord, limits: ZeroLimits) -> bool:
    return each.zero_share >= limits.zero_share or (each.norm == 0 and each.n_nonfinite == 0)


def _ratio(update: TensorRecord, weight_norms: dict[int, float]) -> float:
    norm = weight_norms.get(update.step, math.nan)
    return update.norm / norm if norm > 0 else math.nan


def _is_unchanged(rows: tuple[TensorRecord, ...], n_records: int) -> bool:
    """Tell whether a weight stood still over different steps; all-zero ones are another rule's."""
    last = rows[-n_records:]
    if len(last) < n_records or len({each.step for each in last}) < n_records or last[-1].norm == 0:
        return False
    return len({(each.norm, each.mean, each.max_abs) for each in last if math.isfinite(each.norm)}) == 1 and not any(
        math.isnan(value) for value in (last[-1].norm, last[-1].mean, last[-1].max_abs)
    )


def _is_small(name: str) -> bool:
    return not advice.is_matrix(name)


RULES = (
    Rule("bad_update_ratio", "updates", bad_update_ratio, UpdateLimits(), "CS231n, neural networks part 3"),
    Rule("unchanged_tensors", "updates", unchanged_tensors, UnchangedLimits(), "a weight that is trained moves"),
    Rule("zero_tensors", "updates", zero_tensors, ZeroLimits(), "equal units stay equal (Goodfellow et al. 2016, 8.4)"),
)
