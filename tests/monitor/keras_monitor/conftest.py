"""TensorFlow, where it is installed; loading it takes seconds, so the tests of this folder share a process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

N, CLASSES = 128, 3
ALL = math.inf
"""A share of the training that never holds back a look: what is recorded does not depend on the machine."""

HAS_TENSORFLOW = find_spec("tensorflow") is not None


@pytest.fixture
def eager(keras: Any) -> Iterator[None]:
    """Training without compilation: a network of a test has a few steps, and compiling them takes seconds."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_eagerly`")
        yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def keras() -> Any:
    if not HAS_TENSORFLOW:
        pytest.skip("TensorFlow is not installed")
    from dhflow.train.network.framework import load_keras

    return load_keras()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(CLASSES, 6))
    y = np.arange(N + 64) % CLASSES
    x = (centres[y] + rng.normal(scale=0.7, size=(len(y), 6))).astype("float32")
    return (x[:N], y[:N]), (x[N:], y[N:])


@pytest.fixture
def make(eager, keras):
    def model(*, compiled: bool = True, learning_rate: Any = 0.01, activation: str = "relu", **options):
        keras.utils.set_random_seed(1)
        layers = keras.layers
        net = keras.Sequential(
            [
                layers.Input((6,)),
                layers.Dense(8, activation, name="first"),
                layers.BatchNormalization(name="norm"),
                layers.Dropout(0.2, name="drop"),
                layers.Dense(CLASSES, "softmax", name="last"),
            ]
        )
        if compiled:
            options.setdefault("loss", "sparse_categorical_crossentropy")
            net.compile(keras.optimizers.Adam(learning_rate), metrics=["accuracy"], **options)
        return net

    return model


@pytest.fixture
def fit(data):
    def fitted(model, monitor, epochs=3, **options):
        (x, y), validation = data
        return model.fit(
            x,
            y,
            batch_size=32,
            epochs=epochs,
            validation_data=validation,
            verbose=0,
            callbacks=[monitor],
            **options,
        )

    return fitted


@pytest.fixture
def watch(keras):
    from dhflow.monitor import KerasMonitor

    def made(*args, **options):
        return KerasMonitor(*args, **{"max_cost": ALL, **options})

    return made
