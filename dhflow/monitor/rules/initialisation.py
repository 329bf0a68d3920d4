"""A poor start: outputs far from chance, or signals that grow or shrink from layer to layer before any training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, shown


@dataclass(frozen=True)
class StartLimits:
    """Thresholds of :func:`poor_initialisation`."""

    loss_factor: float = 3.0
    """First loss over that of chance, for cross-entropies: CS231n's check that the loss starts at ln(classes)."""
    signal_ratio: float = 100.0
    """Standard deviation of the activations of the last hidden layer over those of the first, or the other way
    round: with the initialisations of Glorot or He it stays near 1 (He et al. 2015, sec. 2.2)."""
    last_step: int = 1
    """Records up to this step show the start."""


def poor_initialisation(records: Records, context: Context, limits: StartLimits) -> Finding | None:
    """Find a first loss well above chance, and activations that change size by orders of magnitude."""
    reasons: list[str] = []
    evidence: dict[str, float] = {}
    loss, chance = _first_loss(records), _chance(records)
    if loss / chance > limits.loss_factor:
        reasons.append(f"the first loss is {shown(loss)}, chance gives {shown(chance)}")
        evidence |= {"first_loss": loss, "chance": chance}
    ratio = _signal_ratio(records, limits)
    if ratio > limits.signal_ratio or ratio < 1 / limits.signal_ratio:
        reasons.append(f"activations change their size by {shown(ratio)} from the first hidden layer to the last")
        evidence["signal_ratio"] = ratio
    if not reasons:
        return None
    why = " and ".join(reasons)
    return found(
        Severity.WARNING,
        f"poor initialisation: {why}",
        evidence,
        [
            advice.other_initializer(context, "he_normal", why),
            advice.words("normalise_layers", "add batch or layer normalisation", why, "signals of one size"),
        ],
    )


def _first_loss(records: Records) -> float:
    """Return the loss of the first batch; NaN if batches were not recorded."""
    batches = records.series("loss", "batch")
    return float(batches.values[0]) if len(batches) and batches.steps[0] <= 1 else math.nan


def _chance(records: Records) -> float:
    """Return the cross-entropy of the class shares; NaN where the loss is another."""
    counts = np.array([each for each in records.data.class_counts if each > 0], dtype=np.float64)
    if len(counts) < 2 or "crossentropy" not in records.network.loss.lower():
        return math.nan
    # Equal shares: an untrained network does not know the shares.
    return math.log(len(counts))


def _signal_ratio(records: Records, limits: StartLimits) -> float:
    rows = [each[0] for each in records.tensors_of("activation").values() if each[0].step <= limits.last_step]
    stds = [each.std for each in rows[:-1] if math.isfinite(each.std) and each.std > 0]
    return stds[-1] / stds[0] if len(stds) > 1 else math.nan


RULES = (Rule("poor_initialisation", "initialisation", poor_initialisation, StartLimits(), "CS231n; He et al. 2015"),)
