"""Whether a run is still improving, has converged, or gets worse: with probabilities.

What the words mean: *worse* if the mean of the last five losses of the whole run will be more than a tenth above the
lowest so far, or not finite; *improving* if a later loss will be more than 2 % below the lowest so far; else
*converged*.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np

from dhflow.monitor.context import Context
from dhflow.monitor.record import FloatArray, Records, Series
from dhflow.monitor.trend.extrapolation import Outlook, extrapolate
from dhflow.monitor.trend.features import curve_features
from dhflow.monitor.trend.model import TrendModel, shipped_model

LEAST_READINGS = 6
"""Fewer say nothing about a trend; the model has seen none so short."""
WORSE = 1.1
"""Times the lowest loss so far."""
BETTER = 0.98
"""Times the lowest loss so far."""
N_MODEL = 51
"""Readings of a whole run in the curves that the model was fitted on; longer runs are thinned to that."""
_BAD = 1e30


class Verdict(str, enum.Enum):
    """What a run is doing."""

    IMPROVING = "improving"
    CONVERGED = "converged"
    WORSE = "worse"


@dataclass(frozen=True, eq=False)
class Trend:
    """The judgement of one curve.

    Parameters
    ----------
    metric : str
    verdict : Verdict
        The most probable one.
    improving, converged, worse : float
        Probabilities, had all three been equally likely beforehand.
    outlook : Outlook, optional
        Where the curve will end.
    """

    metric: str
    verdict: Verdict
    improving: float
    converged: float
    worse: float
    outlook: Outlook | None = None

    @property
    def probability(self) -> float:
        """Of the verdict."""
        return {Verdict.IMPROVING: self.improving, Verdict.CONVERGED: self.converged, Verdict.WORSE: self.worse}[
            self.verdict
        ]


def trend_of(records: Records, context: Context, model: TrendModel | None = None) -> Trend | None:
    """Return the trend of a run, or None while there is too little of it.

    That of its validation loss (its loss without one). Where the objective is another metric and is more likely to
    improve, that of the objective: an accuracy often rises on while the loss has stopped to fall.
    """
    losses = [each for each in ("val_loss", "loss") if len(records.series(each))]
    name = losses[0] if losses else context.judged(records)
    curve = context.minimised(records, name)
    other = records.series("loss") if name == "val_loss" else curve
    n_full = context.n_full(records)
    is_score = context.direction(name) == "maximize"
    found = judge_curve(curve, other, n_full, metric=name, is_score=is_score, model=model)
    if found is None or found.worse == 1.0 or context.metric == name or not len(records.series(context.metric)):
        return found
    own = context.minimised(records, context.metric)
    is_score = context.direction(context.metric) == "maximize"
    beside = judge_curve(own, own, n_full, metric=context.metric, is_score=is_score, model=model)
    return found if beside is None or beside.improving <= found.improving else beside


def judge_curve(
    curve: Series,
    other: Series,
    n_full: float,
    *,
    metric: str = "loss",
    is_score: bool = False,
    model: TrendModel | None = None,
) -> Trend | None:
    """Return the trend of a curve.

    Parameters
    ----------
    curve : Series
        What is judged, minimised.
    other : Series
        The training loss; the curve itself where there is none.
    n_full : float
        Step of the end of the run.
    metric : str
    is_score : bool
        It is a negated score, such as an accuracy.
    model : TrendModel, optional
        The one that comes with dhflow by default.

    Returns
    -------
    Trend or None
        None with fewer than six finite readings.
    """
    if len(curve) and not math.isfinite(float(curve.values[-1])):
        return Trend(metric, Verdict.WORSE, 0.0, 0.0, 1.0)
    finite = curve.finite
    if len(finite) < LEAST_READINGS:
        return None
    judged = positive(finite.values, is_score=is_score)
    beside = _aligned(other, finite.steps) if other is not curve and len(other) else judged
    first, last = float(finite.steps[0]), float(finite.steps[-1])
    ahead = max(n_full - last, 0.0) / max(last - first, 1e-12) * (len(finite) - 1)
    every = max(1, math.ceil((len(finite) + ahead) / N_MODEL))
    if len(finite) // every < LEAST_READINGS:
        every = 1
    pick = np.arange(len(finite) - 1, -1, -every)[::-1]
    total = np.array([len(pick) + ahead / every])
    rows = curve_features(judged[pick][None], beside[pick][None], total)
    p = (model or shipped_model()).probabilities(rows)[0]
    verdict = list(Verdict)[int(p.argmax())]
    return Trend(metric, verdict, float(p[0]), float(p[1]), float(p[2]), extrapolate(finite.steps, judged, n_full))


def positive(losses: FloatArray, *, is_score: bool = False) -> FloatArray:
    """Return losses as positive numbers, so that two percent mean something.

    A negated score (minus an accuracy, say) becomes an error: its distance from 1, or from 100 where it is in
    percent. What is negative otherwise, as a likelihood's logarithm may be, is shifted, so that half of its range lies
    below the lowest.
    """
    low = float(losses.min())
    if low > 0:
        return losses
    if is_score and low >= -1 and float(losses.max()) <= 0:
        return np.maximum(1.0 + losses, 1e-6)
    if is_score and low >= -100 and float(losses.max()) <= 0:
        return np.maximum(100.0 + losses, 1e-4)
    shift = 0.5 * (float(losses.max()) - low) or 1.0
    return losses - low + shift


def _aligned(other: Series, steps: FloatArray) -> FloatArray:
    """Return another curve at `steps`, positive: the reading at each or the last one before it."""
    at = np.clip(np.searchsorted(other.steps, steps, side="right") - 1, 0, len(other) - 1)
    values = other.values[at]
    found = np.full(len(values), _BAD)
    is_finite = np.isfinite(values)
    if is_finite.any():
        found[is_finite] = positive(values[is_finite])
    return found
