"""The architecture search on digits: its space, its data, and a short search with real Keras workers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dhflow import keep_models
from dhflow.train import load_file_module

PROBLEM = Path(__file__).parents[2] / "apps" / "digits_architecture" / "problem.py"


@pytest.fixture(scope="module")
def digits():
    return load_file_module(PROBLEM)


def test_the_hand_made_network_is_one_of_the_space(digits):
    assert digits.problem.starting_points == (digits.hand_made,)
    assert digits.describe(digits.hand_made) == digits.HAND_MADE
    assert digits.space.freeze(digits.hand_made).parameter_count == 13_706


def test_every_network_of_a_sample_has_ten_outputs(digits):
    for config in digits.problem.space.sample(30, np.random.default_rng(1)):
        network = digits.space.freeze(config)
        assert network[network.outputs["output"]].output_shape == (10,)
        assert digits.describe(config).endswith("FC(10)")


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_short_search(digits, two_trials):
    """Two networks on an HTEX worker: their curves, their sizes as foreseen, and the best model beside the history."""
    result = two_trials(PROBLEM, "--searcher", "agebo")
    default = result.default
    assert default is not None
    assert default.objective > 0.8
    assert default.metrics["test_accuracy"] > 0.8
    for trial in result:
        assert trial.metrics["n_parameters"] == digits.space.freeze(trial.config).parameter_count
    steps = [each.step for each in result.measurements(default.trial_id) if each.name == "val_accuracy"]
    assert steps == list(range(1, digits.EPOCHS + 1))
    kept = keep_models(result, 1)
    assert [each.name for each in kept] == [f"1-trial-{result.best.trial_id}.keras"]
