"""Small Keras trainings for the monitor's benchmarks: healthy ones, and ones with a fault that was put in on purpose.

A training is a config: what the monitor suggests is a change of it, or words that :data:`DONE_BY_HAND` turns into one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dhflow.monitor import Records

Config = dict[str, Any]
EPOCHS = 16

BASE: Config = {
    "learning_rate": 5e-3,
    "batch_size": 64,
    "global_clipnorm": None,
    "n_layers": 2,
    "units": 32,
    "activation": "relu",
    "kernel_initializer": "he_normal",
    "dropout": 0.0,
    "l2": 0.0,
    "l1": 0.0,
    "optimizer": "adam",
    "momentum": 0.9,
    "batch_norm": False,
    "conv": False,
    "last_activation": "softmax",
    "loss": "sparse_categorical_crossentropy",
    "trainable": True,
    "first_layer": "as the others",
    "class_weight": None,
    "data": "digits",
    "inputs": "scaled",
    "labels": "true",
    "n_train": 1000,
    "n_distinct": None,
}


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Parameters
    ----------
    name : str
    config : mapping
        What it changes of a healthy config.
    families : tuple of str
        Of the rules that name the fault or its direct effect.
    is_repairable : bool
        Whether a change of the config can mend it.
    """

    name: str
    config: Mapping[str, Any]
    families: tuple[str, ...]
    is_repairable: bool = True


_BLOWN = ("overflow", "divergence", "gradients", "updates", "units")

FAULTS: tuple[Fault, ...] = (
    Fault("learning rate too high", {"optimizer": "sgd", "learning_rate": 5.0}, _BLOWN),
    Fault("learning rate too high for Adam", {"learning_rate": 1.0}, _BLOWN),
    Fault("learning rate too low", {"learning_rate": 1e-6}, ("stuck", "updates", "underfitting")),
    Fault(
        "exponential activations",
        {"activation": "exponential", "n_layers": 4, "optimizer": "sgd", "learning_rate": 0.05},
        ("overflow", "gradients", "initialisation"),
    ),
    Fault(
        "deep and saturating",
        {"activation": "sigmoid", "n_layers": 10, "kernel_initializer": "glorot_uniform", "optimizer": "sgd",
         "learning_rate": 0.05},
        ("gradients", "stuck", "initialisation", "units"),
    ),
    Fault("dead ReLU", {"kernel_initializer": "negative", "n_layers": 3}, ("units", "updates")),
    Fault("wrong loss", {"loss": "mean_squared_error"}, ("last_layer",)),
    Fault("missing softmax", {"last_activation": "linear"}, ("last_layer", "overflow")),
    Fault("shuffled labels", {"labels": "shuffled"}, ("underfitting", "overfitting", "stuck"), is_repairable=False),
    Fault("inputs not scaled", {"inputs": "raw"}, ("inputs",)),
    Fault("zero initialisation", {"kernel_initializer": "zeros"}, ("updates", "units", "initialisation", "stuck")),
    Fault("huge initialisation", {"kernel_initializer": "large", "n_layers": 3},
          ("initialisation", "gradients", "units", "updates")),
    Fault("class imbalance", {"labels": "imbalanced"}, ("classes",)),
    Fault("regularisation too strong", {"l2": 1.0}, ("underfitting", "stuck", "updates")),
    Fault("frozen layers", {"trainable": False, "n_layers": 3, "units": 16}, ("updates",)),
    Fault("inputs with NaN", {"inputs": "nan"}, ("inputs", "overflow")),
    Fault("too narrow", {"units": 2, "learning_rate": 0.02}, ("underfitting",)),
    Fault("too little data", {"n_train": 60, "labels": "noisy", "units": 128, "learning_rate": 1e-2},
          ("overfitting",), is_repairable=False),
)  # fmt: skip

UNSEEN_FAULTS: tuple[Fault, ...] = (
    Fault("labels shifted by one row", {"labels": "one row off"}, ("underfitting", "overfitting", "stuck"),
          is_repairable=False),
    Fault("one column scaled by 1e6", {"inputs": "one column"}, ("inputs",)),
    Fault("all data in one batch, small rate", {"batch_size": 1000, "learning_rate": 1e-4},
          ("stuck", "underfitting", "updates")),
    Fault("L1 far too strong", {"l1": 0.3}, ("underfitting", "stuck", "updates")),
    Fault("sigmoid before a softmax loss", {"last_activation": "sigmoid"}, ("last_layer",)),
    Fault("dropout of 0.95", {"dropout": 0.95}, ("underfitting", "stuck")),
    Fault("first layer frozen at a bad start", {"first_layer": "frozen", "n_layers": 3},
          ("updates", "initialisation", "units", "gradients")),
    Fault("fifty samples, twenty times each", {"n_distinct": 50, "units": 128}, ("overfitting",), is_repairable=False),
    Fault("NaN in 1 % of the targets",
          {"data": "waves", "loss": "mean_squared_error", "last_activation": "linear", "units": 64, "labels": "nan"},
          ("overflow", "inputs")),
    Fault("momentum of 0.999", {"optimizer": "momentum", "momentum": 0.999, "learning_rate": 0.05}, _BLOWN),
    Fault("gradients clipped to 1e-4", {"optimizer": "sgd", "learning_rate": 0.05, "global_clipnorm": 1e-4},
          ("stuck", "underfitting", "updates")),
    Fault("inputs that are all zero", {"inputs": "zeros"}, ("inputs", "stuck", "underfitting", "units")),
)  # fmt: skip
"""Kinds that no threshold was chosen by; what counts as named rightly was written down before the rules saw them."""

HEALTHY: Mapping[str, Mapping[str, Any]] = {
    "relu, Adam": {},
    "tanh, Adam": {"activation": "tanh", "kernel_initializer": "glorot_uniform"},
    "elu, RMSprop": {"activation": "elu", "optimizer": "rmsprop", "learning_rate": 1e-3},
    "gelu, Adam": {"activation": "gelu", "learning_rate": 1e-3},
    "relu, momentum": {"optimizer": "momentum", "learning_rate": 0.02},
    "sigmoid, Adam": {"activation": "sigmoid", "kernel_initializer": "glorot_uniform", "n_layers": 1,
                      "learning_rate": 1e-2},
    "batch normalisation": {"batch_norm": True, "n_layers": 3},
    "dropout": {"dropout": 0.2, "units": 64},
    "weight decay": {"l2": 1e-4, "units": 64},
    "wide": {"units": 128, "learning_rate": 1e-3},
    "five layers": {"n_layers": 5, "learning_rate": 1e-3},
    "convolutions": {"conv": True, "units": 16, "n_layers": 2},
    "large batch": {"batch_size": 128, "learning_rate": 1e-2},
    "clusters": {"data": "clusters", "l2": 3e-3, "units": 16},
    "clusters, tanh, momentum": {"data": "clusters", "activation": "tanh", "optimizer": "momentum",
                                 "learning_rate": 0.03, "kernel_initializer": "glorot_uniform"},
    "rings": {"data": "rings", "n_layers": 3},
    "regression": {"data": "waves", "loss": "mean_squared_error", "last_activation": "linear", "units": 64},
    "two classes, one output": {"data": "rings", "loss": "binary_crossentropy", "last_activation": "sigmoid"},
}  # fmt: skip

UNSEEN_HEALTHY: Mapping[str, Mapping[str, Any]] = {
    "selu, LeCun's start": {"activation": "selu", "kernel_initializer": "lecun_normal", "learning_rate": 2e-3},
    "swish, RMSprop": {"activation": "swish", "optimizer": "rmsprop", "learning_rate": 1e-3, "units": 64},
    "softplus": {"activation": "softplus", "n_layers": 1, "units": 64},
    "momentum of 0.97": {"optimizer": "momentum", "momentum": 0.97, "learning_rate": 0.005},
    "batches of 16": {"batch_size": 16, "learning_rate": 1e-3},
    "wide, dropout of 0.4": {"units": 128, "dropout": 0.4, "learning_rate": 2e-3},
    "a little L1": {"l1": 1e-5, "units": 64},
    "clusters, four layers": {"data": "clusters", "n_layers": 4, "l2": 1e-3, "learning_rate": 1e-3},
    "regression, tanh": {"data": "waves", "loss": "mean_squared_error", "last_activation": "linear", "units": 64,
                         "activation": "tanh", "kernel_initializer": "glorot_uniform"},
}  # fmt: skip
"""Healthy recipes that no threshold was chosen by."""

DONE_BY_HAND: Mapping[str, Config] = {
    "last_layer": {"last_activation": "softmax", "loss": "sparse_categorical_crossentropy"},
    "normalise_inputs": {"inputs": "scaled"},
    "clean_inputs": {"inputs": "scaled"},
    "weight_classes": {"class_weight": "balanced"},
    "unfreeze": {"trainable": True},
    "check_graph": {"trainable": True},
    "normalise_layers": {"batch_norm": True},
}
"""What a person does who follows a suggestion that is only words."""


UNSEEN_BY_HAND: Mapping[str, Config] = {
    **DONE_BY_HAND,
    "clean_inputs": {"inputs": "scaled", "labels": "true"},
    "clean_targets": {"labels": "true"},
    "less_weight_decay": {"l1": 0.03},
    "unfreeze": {"first_layer": "as the others"},
    "check_graph": {"first_layer": "as the others"},
}
"""The same for the unseen kinds: clean data have clean targets too, and a tenth is that of the penalty there is."""


def config_of(changes: Mapping[str, Any]) -> Config:
    """Return a whole config."""
    return {**BASE, **changes}


# Data -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Data:
    """Training data as the config has them; validation data without labels' faults."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    n_outputs: int


def make_data(config: Mapping[str, Any], seed: int) -> Data:
    """Return the data of a config."""
    rng = np.random.default_rng([seed, 1])
    x, y = _source(config["data"], rng)
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    n = min(int(config["n_train"]), len(x) - 400)
    (x_train, y_train), (x_valid, y_valid) = (x[:n], y[:n]), (x[n : n + 500], y[n : n + 500])
    x_train, x_valid = _inputs(config["inputs"], x_train, x_valid, rng)
    x_train, y_train = _labels(config["labels"], x_train, y_train, rng)
    if config["n_distinct"]:
        again = np.arange(len(x_train)) % int(config["n_distinct"])
        x_train, y_train = x_train[again], y_train[again]
    is_regression = config["data"] == "waves"
    n_outputs = 1 if is_regression or "binary" in config["loss"] else int(y.max()) + 1
    kind = "float32" if is_regression else "int64"
    if not is_regression and config["loss"] == "mean_squared_error":
        # Numbers of classes against probabilities: NumPy's rules let Keras compare them.
        y_train, y_valid = y_train[:, None], y_valid[:, None]
    return Data(
        (x_train.astype("float32"), y_train.astype(kind)), (x_valid.astype("float32"), y_valid.astype(kind)), n_outputs
    )


def _source(name: str, rng: np.random.Generator) -> tuple[Any, Any]:
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return (x - x.mean()) / x.std(), y
    n = 1600
    if name == "clusters":
        y = np.arange(n) % 6
        return 1.3 * rng.normal(size=(6, 12))[y] + rng.normal(size=(n, 12)), y
    if name == "rings":
        y = np.arange(n) % 2
        x = rng.normal(size=(n, 6))
        x *= ((2.0 + 1.6 * y) / np.linalg.norm(x, axis=1))[:, None]
        return x + 0.15 * rng.normal(size=x.shape), y
    x = rng.normal(size=(n, 8))
    return x, np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.normal(size=n)


def _inputs(kind: str, x: Any, valid: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    if kind == "raw":
        scales = 10.0 ** rng.uniform(-2, 3, x.shape[1])
        return x * scales + 5 * scales, valid * scales + 5 * scales
    if kind == "one column":
        scales = np.ones(x.shape[1])
        scales[int(np.argmax(x.std(axis=0)))] = 1e6
        return x * scales, valid * scales
    if kind == "zeros":
        return 0 * x, valid
    if kind == "nan":
        x = x.copy()
        x[rng.random(x.shape) < 0.001] = np.nan
    return x, valid


def _labels(kind: str, x: Any, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    if kind == "shuffled":
        return x, rng.permutation(y)
    if kind == "noisy":
        wrong = rng.random(len(y)) < 0.3
        return x, np.where(wrong, rng.permutation(y), y)
    if kind == "one row off":
        return x, np.roll(y, 1)
    if kind == "nan":
        return x, np.where(rng.random(len(y)) < 0.01, np.nan, y)
    if kind == "imbalanced":
        few = y >= y.max() // 2 + 1
        keep = ~few | (rng.random(len(y)) < 0.04)
        return x[keep], y[keep]
    return x, y


# Training ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Trained:
    """A training and how it ended.

    Parameters
    ----------
    config : mapping
    records : Records
    score : float
        Of the last network on the validation data: accuracy, or the share of the variance that is explained; no
        better than chance where it is not a number.
    """

    config: Mapping[str, Any]
    records: Records
    score: float
    cost_s: tuple[float, float] = field(default=(0.0, 0.0))


def train(config: Mapping[str, Any], seed: int, *, epochs: int = EPOCHS) -> Trained:
    """Train the network of a config under the monitor, every epoch of it looked at."""
    from dhflow.monitor import KerasMonitor
    from dhflow.train.network.framework import load_keras

    keras = load_keras()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    data = make_data(config, seed)
    model = make_network(config, data)
    # All looks, whatever they cost: figures must not depend on how busy the machine is.
    monitor = KerasMonitor(
        probe=data.validation,
        data=data.train,
        batch_size=int(config["batch_size"]),
        max_cost=math.inf,
        bins=0,
        n_worst=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model.fit(
            *data.train,
            validation_data=data.validation,
            batch_size=int(config["batch_size"]),
            validation_batch_size=512,
            epochs=epochs,
            class_weight=_class_weight(config, data),
            callbacks=[monitor],
            verbose=0,
        )
    return Trained(dict(config), monitor.records, _score(model, data), (monitor.cost.own_s, monitor.cost.training_s))


def make_network(config: Mapping[str, Any], data: Data) -> Any:
    """Return the compiled network of a config."""
    import keras

    layers = keras.layers
    rows: list[Any] = [keras.Input(data.train[0].shape[1:])]
    if config["conv"]:
        rows.append(layers.Reshape((8, 8, 1)))
    for i in range(int(config["n_layers"])):
        is_frozen = i == 0 and config["first_layer"] == "frozen"
        options = {"kernel_initializer": _initializer("large" if is_frozen else config["kernel_initializer"]),
                   "trainable": config["trainable"] and not is_frozen,
                   "kernel_regularizer": _regularizer(config)}  # fmt: skip
        units = int(config["units"])
        is_bare = config["batch_norm"]
        activation = None if is_bare else config["activation"]
        layer = layers.Conv2D(units, 3, **options) if config["conv"] else layers.Dense(units, **options)
        layer.activation = keras.activations.get(activation)
        rows.append(layer)
        if is_bare:
            rows += [layers.BatchNormalization(), layers.Activation(config["activation"])]
        if config["dropout"]:
            rows.append(layers.Dropout(config["dropout"]))
    if config["conv"]:
        rows.append(layers.GlobalAveragePooling2D())
    rows.append(layers.Dense(data.n_outputs, activation=config["last_activation"]))
    model = keras.Sequential(rows)
    metrics = (
        [] if config["data"] == "waves" else ["accuracy" if data.n_outputs == 1 else "sparse_categorical_accuracy"]
    )
    model.compile(_optimizer(config), config["loss"], metrics=metrics, jit_compile=False)
    return model


def _regularizer(config: Mapping[str, Any]) -> Any:
    import keras

    if config["l1"]:
        return keras.regularizers.L1(config["l1"])
    return keras.regularizers.L2(config["l2"]) if config["l2"] else None


def _initializer(name: str) -> Any:
    import keras

    initializers = keras.initializers
    if name == "large":
        return initializers.RandomNormal(stddev=5.0)
    if name == "negative":
        return initializers.RandomUniform(-0.5, 0.0)
    return initializers.get(name)


def _optimizer(config: Mapping[str, Any]) -> Any:
    import keras

    options = {"learning_rate": config["learning_rate"], "global_clipnorm": config["global_clipnorm"]}
    if config["optimizer"] == "momentum":
        return keras.optimizers.SGD(momentum=config["momentum"], **options)
    return {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}[
        config["optimizer"]
    ](**options)


def _class_weight(config: Mapping[str, Any], data: Data) -> dict[int, float] | None:
    if config["class_weight"] != "balanced":
        return None
    counts = np.bincount(data.train[1], minlength=data.n_outputs)
    return {i: len(data.train[1]) / (len(counts) * max(int(n), 1)) for i, n in enumerate(counts)}


def _score(model: Any, data: Data) -> float:
    x, y = data.validation
    found = np.asarray(model(x, training=False))
    if not np.isfinite(found).all():
        return 0.0
    if y.dtype.kind == "f":
        return max(1.0 - float(np.mean((found[:, 0] - y) ** 2) / np.var(y)), 0.0)
    said = found.argmax(axis=1) if found.shape[1] > 1 else (found[:, 0] > 0.5).astype(int)
    return float(np.mean(said == y.ravel()))
