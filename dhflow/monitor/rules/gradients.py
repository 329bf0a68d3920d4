"""Gradients that vanish on their way back, and gradients that explode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import FloatArray, Records, TensorRecord
from dhflow.monitor.rules.base import Rule, found, shown


@dataclass(frozen=True)
class VanishingLimits:
    """Thresholds of :func:`vanishing_gradients`."""

    ratio: float = 1e-3
    """Of the first layer's gradient to the last one's, root mean squares. Glorot and Bengio 2010 (sec. 4.2) show
    gradients that shrink from layer to layer with the old initialisation and keep their size with theirs."""
    absolute: float = 1e-8
    """A root mean square at which a float32 weight of size 0.1 no longer changes (half a unit in its last place,
    at learning rates up to 0.5)."""
    n_records: int = 2
    """So many records running."""


@dataclass(frozen=True)
class ExplodingLimits:
    """Thresholds of :func:`exploding_gradients`."""

    norm: float = 1e3
    """Global norm, well above any threshold at which people clip."""
    growth: float = 100.0
    """Over the median of the records before; Pascanu et al. 2013 (sec. 3.2) clip at half to ten times the average."""
    layer_ratio: float = 1e3
    """First layer's over last one's."""


def vanishing_gradients(records: Records, context: Context, limits: VanishingLimits) -> Finding | None:
    """Find gradients that are much smaller in the first layers than in the last."""
    rows = _kernels(records)
    if len(rows) < 2 or min(len(each) for each in rows) < limits.n_records:
        return None
    ratios, first = [], []
    for back in range(1, limits.n_records + 1):
        rms = [each[-back].rms for each in rows]
        if not all(map(math.isfinite, rms)) or max(rms) == 0:
            return None
        # All-zero gradients are another rule's: they come from all-zero weights or dead units.
        if min(rms) == 0:
            return None
        ratios.append(rms[0] / rms[-1])
        first.append(rms[0])
    if max(ratios) >= limits.ratio and max(first) >= limits.absolute:
        return None
    why = f"the gradient of {rows[0][-1].layer} is {shown(ratios[0])} of that of {rows[-1][-1].layer}"
    return found(
        Severity.WARNING,
        f"vanishing gradients: {why}",
        {"ratio": ratios[0], "first_rms": first[0], "layers": [each[-1].layer for each in rows]},
        [
            advice.other_activation(context, "relu", why),
            advice.other_initializer(context, "he_normal", why),
            advice.fewer_layers(context, why),
        ],
    )


def exploding_gradients(records: Records, context: Context, limits: ExplodingLimits) -> Finding | None:
    """Find gradients whose norm is very large, or grew very much."""
    norms = global_norms(records)
    rows = _kernels(records)
    if not norms.size or not math.isfinite(norms[-1]):
        return None
    usual = float(np.median(norms[:-1])) if norms.size > 3 else math.inf
    ratio = rows[0][-1].rms / rows[-1][-1].rms if len(rows) > 1 and rows[-1][-1].rms > 0 else 0.0
    grew = norms[-1] / usual if usual > 0 else 0.0
    if norms[-1] < limits.norm and grew < limits.growth and not ratio > limits.layer_ratio:
        return None
    why = f"the gradient's norm is {shown(norms[-1])}"
    return found(
        Severity.WARNING,
        f"exploding gradients: {why}" + (f", {shown(grew)} times the usual" if grew > limits.growth else ""),
        {"norm": float(norms[-1]), "growth": grew, "first_over_last": ratio},
        [
            advice.clip_gradients(context, why),
            advice.lower_learning_rate(context, records, why),
            advice.other_initializer(context, "glorot_uniform", why),
        ],
    )


def global_norms(records: Records) -> FloatArray:
    """Return the norm of the whole gradient at each step at which it was recorded."""
    squares: dict[int, float] = {}
    for each in records.tensors:
        if each.kind == "gradient":
            squares[each.step] = squares.get(each.step, 0.0) + each.norm**2
    return np.sqrt(np.array([squares[step] for step in sorted(squares)], dtype=np.float64))


def _kernels(records: Records) -> list[tuple[TensorRecord, ...]]:
    """Return the gradients of matrices and filters, from the first layer to the last."""
    return [rows for (_, name), rows in records.tensors_of("gradient").items() if advice.is_matrix(name)]


RULES = (
    Rule("vanishing_gradients", "gradients", vanishing_gradients, VanishingLimits(), "Glorot and Bengio 2010; float32"),
    Rule("exploding_gradients", "gradients", exploding_gradients, ExplodingLimits(), "Pascanu et al. 2013"),
)
