"""Keras and TensorFlow, loaded when a network is built, and what their errors mean to a trial."""

from __future__ import annotations

import os
from typing import Any

from dhflow.errors import MissingExtraError


def load_keras() -> Any:
    """Return the module ``keras``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is loaded: it is talkative
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError("networks are built and trained with Keras", "tensorflow") from error
    return keras


def load_tensorflow() -> Any:
    """Return the module ``tensorflow``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    load_keras()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError("networks are trained with TensorFlow", "tensorflow") from error
    return tf


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a framework has asked for more memory than there is."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
