"""Classes: too few samples of some, one predicted for all, pairs that are confused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import FloatArray, Records
from dhflow.monitor.rules.base import Rule, found, share
from dhflow.monitor.trend.judgement import trend_of


@dataclass(frozen=True)
class ImbalanceLimits:
    """Thresholds of :func:`class_imbalance`."""

    ratio: float = 10.0
    """Samples of the largest class over those of the smallest. Buda et al. 2018 study such ratios."""
    severe_ratio: float = 20.0
    """A warning even while nothing is known about the classification."""
    recall_gap: float = 0.2
    """Recall of the smaller classes below that of the larger ones, for a warning."""
    n_std: float = 1.0
    """By so many standard deviations of a count is the largest class taken to be smaller, and the smallest to be
    larger: of 60 samples of ten equal classes, one has ten times as many as another now and then."""


@dataclass(frozen=True)
class ConfusionLimits:
    """Thresholds of :func:`class_confusion`."""

    pair_share: float = 0.3
    """Of a class's samples that are taken for one other class."""
    over_average: float = 3.0
    """And so many times the average over all wrong pairs."""
    n_samples: int = 20
    """Of that class, at least."""
    collapsed_share: float = 0.95
    """Of all predictions that are one class, while its true share is less than `true_share`."""
    true_share: float = 0.8
    """See `collapsed_share`."""
    n_records: int = 2
    """Tests running that must show it."""
    least_share: float = 0.2
    """Of the full budget, before which a network may well know some classes only."""
    p_improving: float = 0.5
    """The trend's probability of improving, above which a confused pair may yet be told apart."""


def class_imbalance(records: Records, context: Context, limits: ImbalanceLimits) -> Finding | None:
    """Find classes of very different size; graver where the small ones are not recognised."""
    del context
    counts = np.array(records.data.class_counts, dtype=np.float64)
    if len(counts) < 2 or counts.max() <= 0:
        return None
    most = counts.max() - limits.n_std * np.sqrt(counts.max())
    ratio = float(most / (counts.min() + limits.n_std * np.sqrt(counts.min()) + 1.0))
    if ratio < limits.ratio:
        return None
    gap = _recall_gap(records, counts)
    is_bad = ratio >= limits.severe_ratio if gap is None else gap >= limits.recall_gap
    times = counts.max() / max(counts.min(), 1.0)
    why = f"the largest class has {times:.0f} times the samples of the smallest"
    if gap is not None:
        why += f"; recall of the small classes is lower by {gap:.2f}"
    evidence = {"ratio": times, "class_counts": [int(each) for each in counts], "recall_gap": gap}
    what = "weight the classes by their inverse frequency (class_weight), or sample them evenly"
    advised = advice.words("weight_classes", what, why, "the small classes are learned too")
    severity = Severity.WARNING if is_bad else Severity.NOTE
    return found(severity, f"class imbalance: {why}", evidence, [advised])


def _recall_gap(records: Records, counts: FloatArray) -> float | None:
    if not records.classes or len(records.classes[-1].counts) != len(counts):
        return None
    matrix = records.classes[-1].matrix
    totals = matrix.sum(axis=1)
    recall = np.where(totals > 0, np.diag(matrix) / np.maximum(totals, 1), np.nan)
    small = counts < np.median(counts) if len(counts) > 2 else counts < counts.max()
    small |= counts == counts.min()
    if small.all() or np.isnan(recall[small]).all() or np.isnan(recall[~small]).all():
        return None
    return float(np.nanmean(recall[~small]) - np.nanmean(recall[small]))


def class_confusion(records: Records, context: Context, limits: ConfusionLimits) -> Finding | None:
    """Find one class predicted for everything, or a pair of classes that the network does not tell apart."""
    tests = [each.matrix for each in records.classes[-limits.n_records :]]
    if len(tests) < limits.n_records or records.classes[-1].step < limits.least_share * context.n_full(records):
        return None
    if any(len(matrix) < 2 or matrix.sum() == 0 for matrix in tests):
        return None
    ones = {_only_class(matrix, limits) for matrix in tests}
    if len(ones) == 1 and None not in ones:
        return _collapse(records, context, tests[-1])
    trend = context.trend or trend_of(records, context)
    pairs = {_confused_pair(matrix, limits) for matrix in tests}
    pair = pairs.pop()
    # Too short for a trend is too short for this.
    if pairs or pair is None or trend is None or trend.improving > limits.p_improving:
        return None
    true, taken = pair
    worst = float(tests[-1][true, taken] / tests[-1][true].sum())
    why = f"{share(worst)} of class {true} are taken for class {taken}"
    what = f"look at samples of classes {true} and {taken}: their labels, their resolution; add more of both"
    advised = advice.words("tell_apart", what, why, "classes that can be told apart")
    evidence = {"true": true, "taken": taken, "share": worst}
    return found(Severity.WARNING, f"confused classes: {why}", evidence, [advised])


def _only_class(matrix: FloatArray, limits: ConfusionLimits) -> int | None:
    """Return the class that nearly all samples are taken for; None where there is none."""
    n = matrix.sum()
    predicted = matrix.sum(axis=0) / n
    one = int(predicted.argmax())
    is_one = predicted[one] >= limits.collapsed_share and matrix[one].sum() / n < limits.true_share
    return one if is_one else None


def _collapse(records: Records, context: Context, matrix: FloatArray) -> Finding:
    predicted = matrix.sum(axis=0) / matrix.sum()
    one = int(predicted.argmax())
    why = f"{share(float(predicted[one]))} of the samples are taken for class {one}"
    suggestions = [
        advice.lower_learning_rate(context, records, why),
        advice.words("weight_classes", "weight the classes by their inverse frequency", why, "other classes are seen"),
    ]
    evidence = {"class": one, "share": float(predicted[one])}
    return found(Severity.WARNING, f"one class for all: {why}", evidence, suggestions)


def _confused_pair(matrix: FloatArray, limits: ConfusionLimits) -> tuple[int, int] | None:
    """Return the pair of classes that is confused far more than others; None where there is none."""
    totals = matrix.sum(axis=1)
    wrong = matrix / np.maximum(totals, 1)[:, None]
    np.fill_diagonal(wrong, 0.0)
    wrong[totals < limits.n_samples] = 0.0
    true, taken = (int(each) for each in np.unravel_index(int(wrong.argmax()), wrong.shape))
    worst = float(wrong[true, taken])
    m = len(matrix)
    usual = float((wrong.sum() - worst) / max(m * (m - 1) - 1, 1))
    is_clear = m > 2 and worst >= limits.pair_share and worst >= limits.over_average * usual
    return (true, taken) if is_clear else None


RULES = (
    Rule("class_imbalance", "classes", class_imbalance, ImbalanceLimits(), "Buda et al. 2018 (arXiv:1710.05381)"),
    Rule("class_confusion", "classes", class_confusion, ConfusionLimits(), "confusion matrix of the validation data"),
)
