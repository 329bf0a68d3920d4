"""Prefixes of recorded curves with what became of them: what the trend's model is fitted on and measured with.

Notation
--------
t : task;  s : setting;  k : readings of a prefix;  n : readings of the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tables import shared_folder

from dhflow.monitor.trend.features import curve_features
from dhflow.monitor.trend.judgement import BETTER, WORSE

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

IMPROVING, FLAT, FALLING_BACK = 0, 1, 2
PREFIXES = (10, 20, 30)
"""On which the model is measured."""
_TRAIN_PREFIXES = (6, 8, 10, 13, 16, 20, 25, 30, 35)
_N_LAST = 5


class Curves(NamedTuple):
    """TaskSet: six tasks, the same thousand settings of the optimiser in each; (tasks, settings, readings)."""

    tasks: list[str]
    train: FloatArray
    valid: FloatArray
    test: FloatArray


class Prefixes(NamedTuple):
    """Rows of a table.

    Parameters
    ----------
    task, setting, k : (m,)
    features : (m, d)
    label : (m,)
        0 improving, 1 flat, 2 worse.
    """

    task: IntArray
    setting: IntArray
    k: IntArray
    features: FloatArray
    label: IntArray


def load_curves() -> Curves:
    """Return the curves of TaskSet."""
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError("there is no folder shared/data above the checkout; DHFLOW_SHARED names another")
    with np.load(folder / "data/hpo_curves/taskset_rnn.npz", allow_pickle=False) as data:
        losses = [data[f"{part}_loss"].astype(np.float64) for part in ("train", "valid", "test")]
        return Curves([str(each) for each in data["tasks"]], *losses)


def labels(curves: FloatArray, k: int, n: int) -> IntArray:
    """Return what became of curves (m, n), told from the readings after the k-th alone."""
    best = curves[:, :k].min(axis=1)
    later = curves[:, k:n]
    is_finite = np.isfinite(later).all(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        end = np.where(is_finite, later[:, -_N_LAST:].mean(axis=1), np.inf)
    lowest = np.where(np.isfinite(later), later, np.inf).min(axis=1)
    is_worse = ~is_finite | (end > WORSE * best)
    return np.where(is_worse, FALLING_BACK, np.where(lowest < BETTER * best, IMPROVING, FLAT)).astype(np.int64)


def prefixes(judged: FloatArray, other: FloatArray, lengths: Iterable[int], n: int) -> Prefixes:
    """Return the prefixes of all curves that are finite so far."""
    rows: list[Prefixes] = []
    for k in lengths:
        for t in range(len(judged)):
            s = np.flatnonzero(np.isfinite(judged[t, :, :k]).all(axis=1))
            features = curve_features(judged[t, s, :k], other[t, s, :k], np.full(len(s), float(n)))
            rows.append(Prefixes(np.full(len(s), t), s, np.full(len(s), k), features, labels(judged[t, s], k, n)))
    return joined(rows)


def joined(tables: Sequence[Prefixes]) -> Prefixes:
    """Return tables one below the other."""
    return Prefixes(*(np.concatenate(each) for each in zip(*tables, strict=True)))


def measuring_set(curves: Curves) -> Prefixes:
    """Return the prefixes of 10, 20 and 30 of 51 readings of the validation loss."""
    return prefixes(curves.valid, curves.train, PREFIXES, curves.valid.shape[2])


def training_set(curves: Curves) -> Prefixes:
    """Return what the model is fitted on.

    Every prefix length, the test loss as if it were another run's validation loss (it has noise of its own), and
    runs without a training loss. Of a task or a setting that is left out, nothing of this is used.
    """
    n = curves.valid.shape[2]
    return joined(
        [
            prefixes(curves.valid, curves.train, _TRAIN_PREFIXES, n),
            prefixes(curves.test, curves.train, _TRAIN_PREFIXES, n),
            prefixes(curves.valid, curves.valid, _TRAIN_PREFIXES[1::3], n),
        ]
    )


def balanced_accuracy(true: IntArray, said: IntArray) -> float:
    """Return the mean over the classes of the share that was recognised."""
    return float(np.mean([(said[true == each] == each).mean() for each in np.unique(true)]))
