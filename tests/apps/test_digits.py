"""The digits problem: its space, its data, and a short search with real Keras workers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dhflow.train import load_file_module

PROBLEM = Path(__file__).parents[2] / "apps" / "digits" / "problem.py"


@pytest.fixture(scope="module")
def digits():
    return load_file_module(PROBLEM)


def test_the_default_is_a_small_network_of_the_space(digits):
    assert digits.problem.starting_points == (digits.default,)
    assert "momentum" not in digits.default


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_short_search(two_trials):
    """Two networks on an HTEX worker, through the command line as in `make demo`."""
    result = two_trials(PROBLEM)
    default = result.default
    assert default is not None
    assert default.objective > 0.8
    assert default.metrics["test_accuracy"] > 0.8
    assert default.metrics["n_parameters"] == (9 * 16 + 16) + (4 * 4 * 16 * 64 + 64) + (64 * 10 + 10)
    curve = result.measurements(default.trial_id)
    reported = [each.value for each in curve if each.name == "val_accuracy"]
    assert [each.step for each in curve if each.name == "val_accuracy"] == list(range(1, 21))
    assert reported[-1] == default.objective
    assert np.mean(reported[-5:]) > np.mean(reported[:5])
