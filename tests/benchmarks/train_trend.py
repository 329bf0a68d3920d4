"""Fit the trend's model on public curves and write it into the package, or measure it on what was left out.

    python tests/benchmarks/train_trend.py --write        fit on everything, write dhflow/monitor/trend/trend.json
    python tests/benchmarks/train_trend.py                leave out each task with each fifth of the settings

The data are six tasks of TaskSet with 1,000 settings of the optimiser each (``shared/data/hpo_curves``). Nothing is
drawn without a seed: the same data give the same file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from trend_data import (
    PREFIXES,
    FloatArray,
    IntArray,
    Prefixes,
    balanced_accuracy,
    load_curves,
    measuring_set,
    training_set,
)

from dhflow.monitor.trend.model import CLASSES, CLIP, PARAMETERS, Member, TrendModel, softmax

N_HIDDEN = 32
N_MEMBERS = 3
N_EPOCHS = 8
BATCH = 512
RATE = 3e-3
DECAY = 1e-3
"""Of the weights, per step and unit of the rate (Loshchilov and Hutter 2019)."""
N_FOLDS = 5
_BETA = (0.9, 0.999)


def fit(data: Prefixes, *, n_members: int = N_MEMBERS, n_epochs: int = N_EPOCHS, seed: int = 0) -> TrendModel:
    """Return a model in whose training each class has the same weight."""
    centre, scale = data.features.mean(axis=0), data.features.std(axis=0) + 1e-9
    X = np.clip((data.features - centre) / scale, -CLIP, CLIP)
    weights = 1.0 / np.bincount(data.label, minlength=len(CLASSES))[data.label]
    weights /= weights.mean()
    seeds = np.random.SeedSequence([seed, 0x7E]).spawn(n_members)
    members = [_member(X, data.label, weights, n_epochs, np.random.default_rng(each)) for each in seeds]
    about = {"curves": "TaskSet, 6 tasks of recurrent networks, 1000 settings", "rows": len(X), "classes": CLASSES}
    return TrendModel(centre, scale, members, about)


def _member(X: FloatArray, label: IntArray, weights: FloatArray, n_epochs: int, rng: np.random.Generator) -> Member:
    """Return one network, fitted with Adam and a rate that falls as a cosine, in single precision."""
    d = X.shape[1]
    X, weights = X.astype(np.float32), weights.astype(np.float32)
    drawn = [
        rng.normal(0.0, d**-0.5, (d, N_HIDDEN)),
        np.zeros(N_HIDDEN),
        rng.normal(0.0, 0.7 * N_HIDDEN**-0.5, (N_HIDDEN, len(CLASSES))),
        np.zeros(len(CLASSES)),
    ]
    parts = [each.astype(np.float32) for each in drawn]
    first, second = [np.zeros_like(each) for each in parts], [np.zeros_like(each) for each in parts]
    target = np.eye(len(CLASSES), dtype=np.float32)[label]
    n_steps = n_epochs * (len(X) // BATCH)
    for step, rows in enumerate(_batches(len(X), n_epochs, rng), start=1):
        rate = float(RATE * 0.5 * (1.0 + np.cos(np.pi * step / n_steps)))
        for i, slope in enumerate(_slopes(parts, X[rows], target[rows], weights[rows])):
            first[i] = _BETA[0] * first[i] + (1 - _BETA[0]) * slope
            second[i] = _BETA[1] * second[i] + (1 - _BETA[1]) * slope**2
            move = first[i] / (1 - _BETA[0] ** step) / (np.sqrt(second[i] / (1 - _BETA[1] ** step)) + 1e-8)
            parts[i] = parts[i] - rate * (move + (DECAY * parts[i] if parts[i].ndim > 1 else 0.0))
    return Member(*parts)


def _batches(n: int, n_epochs: int, rng: np.random.Generator) -> Iterator[IntArray]:
    for _ in range(n_epochs):
        order = rng.permutation(n)
        for i in range(n // BATCH):
            yield order[i * BATCH : (i + 1) * BATCH]


def _slopes(parts: list[FloatArray], x: FloatArray, target: FloatArray, weights: FloatArray) -> list[FloatArray]:
    """Return the gradient of the weighted cross-entropy."""
    inner, inner_bias, outer, outer_bias = parts
    hidden = np.tanh(x @ inner + inner_bias)
    error = (softmax(hidden @ outer + outer_bias) - target) * weights[:, None] / len(x)
    back = error @ outer.T * (1.0 - hidden**2)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def left_out(
    measured: Prefixes, training: Prefixes, *, n_folds: int = N_FOLDS, n_members: int = N_MEMBERS
) -> FloatArray:
    """Return (m, 3) probabilities, each row's from a model that saw neither its task nor its setting."""
    fold = np.random.default_rng(0).permutation(int(training.setting.max()) + 1) % n_folds
    p = np.zeros((len(measured.label), len(CLASSES)))
    for task in np.unique(measured.task):
        for part in range(n_folds):
            seen = (training.task != task) & (fold[training.setting] != part)
            rows = (measured.task == task) & (fold[measured.setting] == part)
            model = fit(Prefixes(*(each[seen] for each in training)), n_members=n_members)
            p[rows] = model.probabilities(measured.features[rows])
    return p


def main() -> None:
    """Fit and write, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {PARAMETERS.name}")
    parser.add_argument("--folds", type=int, default=N_FOLDS)
    parser.add_argument("--members", type=int, default=N_MEMBERS)
    chosen = parser.parse_args()
    began = time.perf_counter()
    curves = load_curves()
    training = training_set(curves)
    if chosen.write:
        model = fit(training, n_members=chosen.members)
        PARAMETERS.write_text(model.to_json(), encoding="utf-8")
        print(f"{PARAMETERS}: {len(training.label)} rows, {PARAMETERS.stat().st_size / 1e3:.0f} kB, ", end="")
        print(f"{time.perf_counter() - began:.0f} s")
        return
    measured = measuring_set(curves)
    said = left_out(measured, training, n_folds=chosen.folds, n_members=chosen.members).argmax(axis=1)
    print(f"balanced accuracy, tasks and settings left out: {balanced_accuracy(measured.label, said):.4f}")
    for k in PREFIXES:
        rows = measured.k == k
        print(f"  prefixes of {k}: {balanced_accuracy(measured.label[rows], said[rows]):.4f}")
    print(f"{len(training.label)} rows, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
