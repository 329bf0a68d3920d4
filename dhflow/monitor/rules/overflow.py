"""Overflow: a loss, a weight or a gradient that is no number any more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, names

_LOSSES = ("loss", "val_loss")


@dataclass(frozen=True)
class OverflowLimits:
    """Thresholds of :func:`overflow`."""

    n_gradient_records: int = 2
    """Non-finite gradients in so many records running: a loss scaler skips single ones by design (Micikevicius et al.
    2018, sec. 3.2)."""
    start: float = 1e6
    """Magnitude of a gradient or an activation before the first step, from which on it was not training that let
    numbers overflow: with Glorot's or He's initialisation they begin near 1."""


def overflow(records: Records, context: Context, limits: OverflowLimits) -> Finding | None:
    """Find numbers that are not finite, in the last record of each."""
    metrics = [name for name in dict.fromkeys((*_LOSSES, context.metric)) if _is_lost(records, name)]
    weights = [each for each in records.latest("weight") if each.n_nonfinite]
    gradients = [
        rows[-1]
        for rows in records.tensors_of("gradient").values()
        if len(rows) >= limits.n_gradient_records and all(r.n_nonfinite for r in rows[-limits.n_gradient_records :])
    ]
    if not (metrics or weights or gradients):
        return None
    parts = []
    if metrics:
        parts.append(names(metrics))
    if weights:
        parts.append(f"{sum(each.n_nonfinite for each in weights)} weights of {names(e.label for e in weights)}")
    if gradients:
        parts.append(f"gradients of {names(each.label for each in gradients)}")
    evidence = {
        "metrics": metrics,
        "weights": [each.label for each in weights],
        "n_nonfinite_weights": sum(each.n_nonfinite for each in weights),
        "gradients": [each.label for each in gradients],
        "first_step": _first_step(records),
    }
    why = "numbers overflowed"
    suggestions = [
        advice.clip_gradients(context, why),
        advice.lower_learning_rate(context, records, why),
        advice.stop("exception found: " + why, "nothing can be learned from numbers that are not finite"),
    ]
    if _is_huge_at_start(records, limits):
        why = "numbers were huge before the first step"
        evidence["huge_at_start"] = True
        suggestions = [
            advice.other_activation(context, "relu", why),
            advice.other_initializer(context, "glorot_uniform", why),
            *suggestions,
        ]
    return found(
        Severity.CRITICAL,
        f"overflow: {'; '.join(parts)} not finite",
        evidence,
        suggestions,
    )


def _is_lost(records: Records, name: str) -> bool:
    """Tell whether the last reading of a number is not finite."""
    newest = [each.values[-1] for each in (records.series(name), records.series(name, "batch")) if len(each)]
    return any(not math.isfinite(value) for value in newest)


def _is_huge_at_start(records: Records, limits: OverflowLimits) -> bool:
    return any(
        each.n_nonfinite > 0 or each.max_abs > limits.start
        for each in records.tensors
        if each.step == 0 and each.kind in ("gradient", "activation")
    )


def _first_step(records: Records) -> int:
    """Return the first step at which anything was not finite."""
    tensors = [each.step for each in records.tensors if each.n_nonfinite and each.kind != "activation"]
    readings = [
        each.step
        for each in records.readings
        if each.per == "epoch" and any(not math.isfinite(each.values.get(name, 0.0)) for name in _LOSSES)
    ]
    return min(tensors + readings, default=records.last_step)


RULES = (Rule("overflow", "overflow", overflow, OverflowLimits(), "IEEE 754; loss scaling: Micikevicius et al. 2018"),)
