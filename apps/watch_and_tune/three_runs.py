"""Three runs of one network, each with what the monitor advised after the one before.

::

    python apps/watch_and_tune/three_runs.py [FIGURE.png]

1. The learning rate is high, pixels are not scaled and no gradient is clipped: after some epochs the weights are no
   numbers any more. That is how the overflow is provoked; nothing is put in. Red: stop, clip the gradients to 0.1.
2. The same network with its gradients clipped to 0.1: it trains, and converges at a low accuracy in training and in
   validation. Underfitting: stop, add a hidden layer.
3. The same with one more layer: still improving, nothing to do.

The network is a chain of convolutions for the 8 x 8 digits, averaged over the picture: one filter in the first layer,
four times as many in each further one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dhflow import Budget, Float, Integer, Ordinal, Problem, SearchSpace
from dhflow.monitor import Context, Judgement, Light, Records, judge

EPOCHS = 80
FILTERS = 1
N_TRAIN = 1200

space = SearchSpace(
    {
        "learning_rate": Float(1e-3, 10.0, log=True),
        "n_layers": Integer(1, 4),
        "global_clipnorm": Ordinal([0.0, 0.1, 1.0, 10.0]),
    }
)
FIRST = {"learning_rate": 1.5, "n_layers": 1, "global_clipnorm": 0.0}
"""Of the first run; a norm of 0 is no clipping."""


@cache
def load_data(noise: float = 0.0) -> tuple[Any, Any]:
    """Return training and validation digits, pixels from 0 to 16; scaled, with some wrong labels, if so wished."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, y = x[order].reshape(-1, 8, 8, 1).astype("float32"), y[order]
    if noise > 0:
        x, y = x / 16, np.where(rng.random(len(y)) < noise, rng.permutation(y), y)
    return (x[:N_TRAIN], y[:N_TRAIN]), (x[N_TRAIN:], y[N_TRAIN:])


def make_network(config: Mapping[str, Any], *, filters: int = FILTERS, adam: bool = False) -> Any:
    """Return the compiled network of a config."""
    import keras

    layers = keras.layers
    rows = [keras.Input((8, 8, 1))]
    rows += [
        layers.Conv2D(filters * 4**i, 3, activation="leaky_relu", padding="same", kernel_initializer="he_normal")
        for i in range(config["n_layers"])
    ]
    rows += [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential(rows)
    kind = keras.optimizers.Adam if adam else keras.optimizers.SGD
    optimizer = kind(config["learning_rate"], global_clipnorm=config["global_clipnorm"] or None)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def train(
    config: Mapping[str, Any],
    monitor: Any,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    noise: float = 0.0,
    **network: Any,
) -> dict[str, list[float]]:
    """Train the network of a config under a monitor and return its curves."""
    import keras

    keras.utils.set_random_seed(seed)
    train_data, validation = load_data(noise)
    fitted = make_network(config, **network).fit(
        *train_data,
        batch_size=64,
        validation_data=validation,
        validation_batch_size=600,
        epochs=epochs,
        callbacks=[monitor],
        verbose=0,
    )
    return dict(fitted.history)


def objective(config: Mapping[str, Any], trial: Any) -> dict[str, float]:
    """Train as a trial of a study, which watches it."""
    from dhflow.monitor import KerasMonitor

    train_data, validation = load_data()
    monitor = KerasMonitor(trial, probe=validation, data=train_data, batch_size=64)
    curves = train(config, monitor, epochs=round(trial.budget or EPOCHS))
    return {"val_accuracy": curves["val_accuracy"][-1], "accuracy": curves["accuracy"][-1]}


problem = Problem(
    space, objective, direction={"val_accuracy": "maximize"}, budget=Budget("epochs", 1, EPOCHS), defaults=[FIRST]
)


@dataclass(frozen=True, eq=False)
class Run:
    """One of the runs.

    Parameters
    ----------
    config : mapping
    curves : mapping
        Name to values, an epoch after the other.
    records : Records
    judgement : Judgement
        At its end, or where it was stopped.
    accepted : str
        Name of the suggestion that the next run follows; "" after the last.
    """

    config: Mapping[str, Any]
    curves: Mapping[str, list[float]]
    records: Records
    judgement: Judgement
    accepted: str = ""


def three_runs(*, epochs: int = EPOCHS, seed: int = 0) -> list[Run]:
    """Train, and accept the first change that is suggested, until nothing is."""
    from dhflow.monitor import KerasMonitor

    config: Mapping[str, Any] = FIRST
    runs: list[Run] = []
    while True:
        train_data, validation = load_data()
        context = Context(config, space, "val_accuracy", full_budget=epochs)
        # All looks, whatever they cost: a test is to find the same on any machine.
        monitor = KerasMonitor(
            probe=validation, data=train_data, context=context, adapt="stop", batch_size=64, max_cost=math.inf
        )
        curves = train(config, monitor, epochs=epochs, seed=seed)
        judgement = monitor.judgement()
        change = next((each for each in judgement.suggestions if each.action == "change"), None)
        runs.append(Run(config, curves, monitor.records, judgement, change.name if change is not None else ""))
        if change is None or len(runs) == 5:
            return runs
        config = change.applied_to(config)


def textbook(curves: Mapping[str, list[float]], *, low: float = 0.9, gap: float = 0.05) -> str:
    """Return what the traditional rule says: accuracies that are low, and near each other, are underfitting."""
    training, validation = curves["accuracy"][-1], curves["val_accuracy"][-1]
    if training < low and abs(training - validation) < gap:
        return "underfitting"
    return "overfitting" if training - validation >= gap else "good"


def until(run: Run, epoch: int) -> tuple[dict[str, list[float]], Judgement]:
    """Return a run's curves as they were after an epoch, and what the monitor said then."""
    records = Records(
        tuple(each for each in run.records.readings if each.step <= epoch),
        tuple(each for each in run.records.tensors if each.step <= epoch),
        classes=tuple(each for each in run.records.classes if each.step <= epoch),
        network=run.records.network,
        data=run.records.data,
    )
    context = Context(run.config, space, "val_accuracy", full_budget=len(run.curves["loss"]))
    return {name: values[:epoch] for name, values in run.curves.items()}, judge(records, context)


def noisy_run(*, epochs: int = 45, noise: float = 0.25, seed: int = 0) -> Run:
    """Train a network that is large enough on labels of which some are wrong: no network can do much better."""
    from dhflow.monitor import KerasMonitor

    config = {"learning_rate": 0.03, "n_layers": 2, "global_clipnorm": 0.0}
    context = Context(config, space, "val_accuracy", full_budget=epochs)
    train_data, validation = load_data(noise)
    monitor = KerasMonitor(probe=validation, data=train_data, context=context, max_cost=math.inf, test_interval=5)
    curves = train(config, monitor, epochs=epochs, seed=seed, noise=noise, filters=4, adam=True)
    return Run(config, curves, monitor.records, monitor.judgement())


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the runs' validation accuracies, and what the monitor said where each ended."""
    from dhflow.plot import figure as look

    lights = {Light.RED: look.VERMILION, Light.AMBER: look.ORANGE, Light.GREEN: look.GREEN}
    axes = look.new_axes(8.0, 3.4)
    look.tidy(axes)
    for number, run in enumerate(runs, 1):
        curve = run.curves["val_accuracy"]
        said = f"accepted: {run.accepted.replace('_', ' ')}" if run.accepted else "no advice"
        rule = run.judgement.findings[0].rule.replace("_", " ") if run.judgement.findings else "nothing found"
        axes.plot(range(1, len(curve) + 1), curve, color=look.DARK, linewidth=1.2)
        axes.plot([len(curve)], curve[-1:], "o", markersize=9, color=lights[run.judgement.light])
        axes.annotate(
            f"run {number}: {rule}\n{said}",
            (len(curve), curve[-1]),
            xytext=(8, -4),
            textcoords="offset points",
            fontsize=9,
            color=look.DARK,
        )
    axes.set_xlim(0, 1.35 * EPOCHS)
    axes.set_xticks(range(0, EPOCHS + 1, 20))
    axes.set_ylim(0, 1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy")
    look.save(axes.figure, path)


def main() -> None:
    """Train, print, and draw if a file is named."""
    runs = three_runs()
    if len(sys.argv) > 1:
        draw(runs, Path(sys.argv[1]))
    for number, run in enumerate(runs, 1):
        n = len(run.curves["loss"])
        accuracies = ", ".join(f"{run.curves[name][-1]:.4f}" for name in ("accuracy", "val_accuracy"))
        said = "; ".join(each.text for each in run.judgement.findings) or "nothing to say"
        sys.stdout.write(f"run {number} {dict(run.config)}\n  {n} of {EPOCHS} epochs, accuracy {accuracies}\n")
        sys.stdout.write(f"  {run.judgement.light.value}: {said}\n")
        sys.stdout.write("".join(f"  - {each.text}\n" for each in run.judgement.suggestions))


if __name__ == "__main__":
    main()
