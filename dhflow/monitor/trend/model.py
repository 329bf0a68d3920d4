"""The small model behind the trend judgement: an average of networks with one hidden layer, as text in ``trend.json``.

``tests/benchmarks/train_trend.py`` fits it on public curves; nothing here needs more than NumPy.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dhflow.monitor.record import FloatArray

PARAMETERS = Path(__file__).with_name("trend.json")
CLIP = 5.0
"""Features lie within so many standard deviations: beyond, the network has seen nothing."""
CLASSES = ("improving", "converged", "worse")
_DIGITS = 4


class Member(NamedTuple):
    """One network: (d, h), (h,), (h, 3), (3,)."""

    inner: FloatArray
    inner_bias: FloatArray
    outer: FloatArray
    outer_bias: FloatArray


@dataclass(frozen=True, eq=False)
class TrendModel:
    """From features to the probabilities of improving, converged and worse.

    Parameters
    ----------
    centre, scale : (d,)
        Of the features in the training set.
    members : sequence of Member
    about : dict
        What it was trained on, JSON values.
    """

    centre: FloatArray
    scale: FloatArray
    members: Sequence[Member]
    about: dict[str, Any]

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Return (n, 3) what the networks say on average, as if all three were equally likely beforehand."""
        x = np.clip((features - self.centre) / self.scale, -CLIP, CLIP)
        total = np.zeros((len(x), len(CLASSES)))
        for each in self.members:
            total += softmax(np.tanh(x @ each.inner + each.inner_bias) @ each.outer + each.outer_bias)
        return total / len(self.members)

    def to_json(self) -> str:
        """Return the parameters as text, four digits each."""
        data = {
            "about": self.about,
            "centre": _short(self.centre),
            "scale": _short(self.scale),
            "members": [{name: _short(value) for name, value in each._asdict().items()} for each in self.members],
        }
        return json.dumps(data, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrendModel:
        """Return the model of :meth:`to_json`."""
        data = json.loads(text)
        members = [Member(**{name: np.array(value) for name, value in each.items()}) for each in data["members"]]
        return cls(np.array(data["centre"]), np.array(data["scale"]), members, data["about"])


@functools.cache
def shipped_model() -> TrendModel:
    """Return the model that comes with dhflow."""
    return TrendModel.from_json(PARAMETERS.read_text(encoding="utf-8"))


def softmax(a: FloatArray) -> FloatArray:
    """Return each row's exponentials over their sum."""
    e: FloatArray = np.exp(a - a.max(axis=1, keepdims=True))
    shares: FloatArray = e / e.sum(axis=1, keepdims=True)
    return shares


def _short(values: FloatArray) -> Any:
    if values.ndim > 1:
        return [_short(each) for each in values]
    return [float(f"{each:.{_DIGITS}g}") for each in values]
