"""Statistics and histograms of tensors, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dhflow.errors import SearchError
from dhflow.monitor.record import KINDS, FloatArray, Kind, TensorRecord

Scale = Literal["linear", "log"]

SCALES: Mapping[Kind, Scale] = {"weight": "linear", "gradient": "log", "update": "log", "activation": "linear"}
"""Gradients and updates of one network differ by orders of magnitude."""

HISTOGRAM_ELEMENTS = 100_000
"""Of a larger tensor, evenly chosen elements make the histogram; its statistics are of all."""

NEAR_END = 0.05
"""How near to an end of its range an activation counts as saturated."""

_RANGES: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Histograms:
    """Which histograms are made.

    Parameters
    ----------
    bins : int
        0 makes none.
    scales : mapping
        From a tensor's kind to ``"linear"`` or ``"log"`` (decimal logarithms of magnitudes); kinds that are missing
        have :data:`SCALES`.

    Raises
    ------
    SearchError
        If the number is negative, or there is no such kind or scale.
    """

    bins: int = 30
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or self.bins < 0:
            raise SearchError(f"KerasMonitor: bins must be a whole number of at least 0, not {self.bins!r}")
        for kind, scale in self.scales.items():
            if kind not in KINDS or scale not in ("linear", "log"):
                raise SearchError(
                    f'KerasMonitor: scales goes from one of {", ".join(KINDS)} to "linear" or "log", '
                    f"not from {kind!r} to {scale!r}"
                )

    def of(self, kind: Kind, values: FloatArray) -> dict[str, Any]:
        """Return the histogram of finite numbers, as fields of a :class:`~dhflow.monitor.record.TensorRecord`."""
        if not self.bins or not values.size:
            return {}
        scale = self.scales.get(kind, SCALES[kind])
        chosen = values[:: -(-values.size // HISTOGRAM_ELEMENTS)]
        if scale == "log":
            magnitudes = np.abs(chosen)
            chosen = np.log10(magnitudes[magnitudes > 0])
        if not chosen.size:
            return {}
        low, high = float(chosen.min()), float(chosen.max())
        largest = max(abs(low), abs(high))
        if high - low <= 1e-3 * largest or largest == 0:  # edges with six digits would fall together
            room = 0.01 * largest or 0.5
            low, high = low - room, high + room
        counts, edges = np.histogram(chosen, self.bins, (low, high))
        # Six digits are more than a picture shows; lines of records are half as long with them.
        rounded = tuple(float(f"{each:.6g}") for each in edges)
        return {"edges": rounded, "counts": tuple(counts.tolist()), "scale": scale}


def tensor_record(
    step: int, layer: str, kind: Kind, name: str, values: Any, *, histograms: Histograms, time: float
) -> TensorRecord:
    """Return the record of a weight, a gradient or an update."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    finite = _finite(flat)
    return TensorRecord(
        step,
        layer,
        kind,
        name,
        flat.size,
        **_moments(finite),
        n_nonfinite=flat.size - finite.size,
        **histograms.of(kind, finite),
        time=time,
    )


def activation_record(
    step: int, layer: str, activation: str, values: Any, *, histograms: Histograms, time: float
) -> TensorRecord:
    """Return the record of a layer's activations; the first axis are the samples of the probe, the last the units."""
    array = np.asarray(values, dtype=np.float64)
    n_samples = max(array.shape[0], 1) if array.ndim else 1
    finite = _finite(array.ravel())
    moments = _moments(finite)
    moments["norm"] /= np.sqrt(n_samples)
    return TensorRecord(
        step,
        layer,
        "activation",
        "",
        array.size // n_samples,
        **moments,
        dead_share=_dead_share(array),
        saturated_share=_saturated_share(finite, activation),
        n_nonfinite=array.size - finite.size,
        **histograms.of("activation", finite),
        time=time,
    )


def _finite(flat: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(flat.sum()):
            return flat
    return flat[np.isfinite(flat)]


def _moments(finite: FloatArray) -> dict[str, Any]:
    if not finite.size:
        return {"norm": np.nan}
    largest = float(np.abs(finite).max())
    # Of numbers near the end of float64's range the squares would overflow.
    scaled = finite / largest if largest > 0 else finite
    return {
        "norm": largest * float(np.linalg.norm(scaled)),
        "mean": largest * float(scaled.mean()) if largest > 0 else 0.0,
        "std": largest * float(scaled.std()),
        "max_abs": largest,
        "zero_share": 1.0 - np.count_nonzero(finite) / finite.size,
    }


def _dead_share(array: FloatArray) -> float:
    if array.ndim < 2 or not array.size:
        return np.nan
    return float((array == 0).all(axis=tuple(range(array.ndim - 1))).mean())


def _saturated_share(finite: FloatArray, activation: str) -> float:
    if activation not in _RANGES or not finite.size:
        return np.nan
    low, high = _RANGES[activation]
    return float(((finite < low + NEAR_END) | (finite > high - NEAR_END)).mean())
