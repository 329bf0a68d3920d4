"""TensorFlow, where it is installed; loading it takes seconds, so the tests of this folder share a process."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

HAS_TENSORFLOW = find_spec("tensorflow") is not None


@pytest.fixture(scope="session")
def keras() -> Any:
    if not HAS_TENSORFLOW:
        pytest.skip("TensorFlow is not installed")
    from dhflow.train.network.framework import load_keras

    return load_keras()
