"""The architecture search on digits: its space, its data, and a short search with real Keras workers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dhflow import TrialStatus, keep_models, load
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


def test_loading_the_problem_loads_no_tensorflow(tmp_path: Path):
    code = f"""
import sys
from dhflow.train import load_file_module
load_file_module({str(PROBLEM)!r})
sys.exit([each for each in ("tensorflow", "keras", "sklearn", "matplotlib") if each in sys.modules] or 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(PROBLEM.parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_short_search(digits, tmp_path: Path):
    """Two networks on an HTEX worker: their curves, their sizes as foreseen, and the best model beside the history."""
    options = "--site laptop --site-set workers=1 --site-set cores_per_worker=1 --seed 1 --max-trials 2 --history h.h5"
    done = subprocess.run(
        [sys.executable, "-m", "dhflow", "search", str(PROBLEM), "--searcher", "agebo", *options.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROBLEM.parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = load(tmp_path / "h.h5")
    assert [each.status for each in result] == [TrialStatus.COMPLETED] * 2
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
