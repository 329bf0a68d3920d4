"""Inputs and targets: numbers that are not finite, and inputs of very different or very large size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import Rule, found, shown

_SCALED_BY = ("Normalization", "BatchNormalization", "LayerNormalization", "Rescaling", "Embedding", "StringLookup",
              "TextVectorization", "IntegerLookup", "Hashing", "Discretization", "CategoryEncoding")  # fmt: skip
_PASSES_ON = ("InputLayer", "Flatten", "Reshape", "Permute", "Dropout", "GaussianNoise", "Functional", "Lambda")


@dataclass(frozen=True)
class InputLimits:
    """Thresholds of :func:`bad_inputs`."""

    std_high: float = 10.0
    """Standardised inputs have 1, images in 0 to 1 about 0.3, images in 0 to 255 about 65 (LeCun et al. 1998, 4.3)."""
    std_low: float = 0.01
    """A hundredth of standardised: the first layer sees constants."""
    shift: float = 5.0
    """Mean over standard deviation: all inputs have one sign and gradients zigzag (LeCun et al. 1998, 4.3)."""
    feature_ratio: float = 30.0
    """The greatest of the features' standard deviations over their median: one learning rate does not suit both. Not
    over the least: pixels at the border of images hardly vary, and do no harm."""


def bad_inputs(records: Records, context: Context, limits: InputLimits) -> Finding | None:
    """Find data that are not finite, and inputs not normalised unless the network begins by scaling them."""
    del context
    data = records.data
    if data.n_nonfinite_inputs:
        return _not_finite("input", data.n_nonfinite_inputs, data.n_probed)
    # A loss of one's own may leave out targets that are NaN: then it is a number.
    if data.n_nonfinite_targets and _is_loss_lost(records):
        return _not_finite("target", data.n_nonfinite_targets, data.n_probed)
    if not math.isfinite(data.input_std) or _is_scaled_inside(records):
        return None
    reasons = []
    if data.input_std > limits.std_high or data.input_std < limits.std_low:
        reasons.append(f"their standard deviation is {shown(data.input_std)}")
    if data.input_std > 0 and abs(data.input_mean) > limits.shift * data.input_std:
        reasons.append(f"their mean is {shown(data.input_mean)}")
    if data.feature_std_ratio > limits.feature_ratio:
        reasons.append(f"the features' spreads differ by {shown(data.feature_std_ratio)} times")
    if not reasons:
        return None
    why = " and ".join(reasons)
    evidence = {"mean": data.input_mean, "std": data.input_std, "feature_std_ratio": data.feature_std_ratio}
    what = "bring each feature to mean 0 and standard deviation 1 (a Normalization layer adapted to the training data)"
    fix = advice.words("normalise_inputs", what, why, "one learning rate suits all weights")
    return found(Severity.WARNING, f"inputs not normalised: {why}", evidence, [fix])


def _not_finite(what: str, n: int, n_probed: int) -> Finding:
    why = f"{n} {what} values are NaN or infinite"
    fix = advice.words(f"clean_{what}s", "replace or drop them before training", why, "a loss that is a number")
    stop = advice.stop(why, "nothing can be learned from numbers that are not finite")
    evidence = {"n_nonfinite": n, "n_probed": n_probed}
    return found(Severity.CRITICAL, f"{what}s not finite: {why}", evidence, [fix, stop])


def _is_loss_lost(records: Records) -> bool:
    loss = records.series("loss").values
    return bool(loss.size) and not math.isfinite(loss[-1])


def _is_scaled_inside(records: Records) -> bool:
    first = next((each.kind for each in records.network.layers if each.kind not in _PASSES_ON), "")
    return first in _SCALED_BY


RULES = (Rule("bad_inputs", "inputs", bad_inputs, InputLimits(), "LeCun et al. 1998, Efficient BackProp, 4.3"),)
