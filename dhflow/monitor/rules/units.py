"""Units that no longer take part: dead ones, and saturated ones."""

from __future__ import annotations

from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records, TensorRecord
from dhflow.monitor.rules.base import Rule, found, names, share


@dataclass(frozen=True)
class DeadLimits:
    """Thresholds of :func:`dead_units`."""

    dead_share: float = 0.5
    """Of a layer's units that are zero on the whole probe batch. CS231n names 40 % as what a
    learning rate that is too high can do to a whole network."""
    all_share: float = 0.99
    """From here on nothing passes the layer."""


@dataclass(frozen=True)
class SaturatedLimits:
    """Thresholds of :func:`saturated_units`."""

    saturated_share: float = 0.5
    """Of a layer's activations within 5 % of the end of their range (Glorot and Bengio 2010, sec. 3, show layers that
    go there and no longer learn)."""


def dead_units(records: Records, context: Context, limits: DeadLimits) -> Finding | None:
    """Find layers whose units are zero whatever the input."""
    hit = [each for each in _hidden(records) if each.dead_share >= limits.dead_share]
    if not hit:
        return None
    worst = max(hit, key=lambda each: each.dead_share)
    is_blocked = worst.dead_share >= limits.all_share
    why = f"{share(worst.dead_share)} of the units of {worst.layer} are zero for every input"
    weights = advice.other_initializer(context, "he_normal", why)
    suggestions = [
        advice.lower_learning_rate(context, records, why),
        advice.other_activation(context, "leaky_relu", why),
    ]
    # What was dead before the first step was not killed by a step.
    suggestions.insert(0 if _was_dead_at_start(records, worst.layer, limits) else 2, weights)
    if is_blocked:
        suggestions.append(advice.stop(why, "nothing passes this layer any more"))
    return found(
        Severity.CRITICAL if is_blocked else Severity.WARNING,
        f"dead units: {why}" + (f" ({len(hit)} layers in all)" if len(hit) > 1 else ""),
        {"layers": [each.layer for each in hit], "dead_share": [each.dead_share for each in hit]},
        suggestions,
    )


def _was_dead_at_start(records: Records, layer: str, limits: DeadLimits) -> bool:
    rows = records.tensors_of("activation").get((layer, ""), ())
    return bool(rows) and rows[0].step == 0 and rows[0].dead_share >= limits.dead_share


def saturated_units(records: Records, context: Context, limits: SaturatedLimits) -> Finding | None:
    """Find layers whose activations lie at the ends of their range."""
    hit = [each for each in _hidden(records) if each.saturated_share >= limits.saturated_share]
    if not hit:
        return None
    why = f"most activations of {names(each.layer for each in hit)} lie at the ends of their range"
    return found(
        Severity.WARNING,
        f"saturated units: {why}",
        {"layers": [each.layer for each in hit], "saturated_share": [each.saturated_share for each in hit]},
        [
            advice.other_initializer(context, "glorot_uniform", why),
            advice.other_activation(context, "relu", why),
            advice.lower_learning_rate(context, records, why),
        ],
    )


def _hidden(records: Records) -> list[TensorRecord]:
    """Return the last activations of all layers but the last: an output may well be saturated, or zero."""
    latest = list(records.latest("activation"))
    order = [each.name for each in records.network.layers]
    last = order[-1] if order else (latest[-1].layer if latest else "")
    return [each for each in latest if each.layer != last]


RULES = (
    Rule("dead_units", "units", dead_units, DeadLimits(), "Lu et al. 2019 (arXiv:1903.06733); CS231n"),
    Rule("saturated_units", "units", saturated_units, SaturatedLimits(), "Glorot and Bengio 2010"),
)
