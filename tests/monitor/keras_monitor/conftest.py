"""TensorFlow, where it is installed; loading it takes seconds, so the tests of this folder share a process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

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
