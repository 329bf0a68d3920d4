"""The digits problem: its space, its data, and a short search with real Keras workers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dhflow import TrialStatus, load
from dhflow.train import load_file_module

PROBLEM = Path(__file__).parents[2] / "apps" / "digits" / "problem.py"


@pytest.fixture(scope="module")
def digits():
    return load_file_module(PROBLEM)


def test_the_default_is_a_small_network_of_the_space(digits):
    assert digits.problem.starting_points == (digits.default,)
    assert "momentum" not in digits.default


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
def test_a_short_search(tmp_path: Path):
    """Two networks on an HTEX worker, through the command line as in `make demo`."""
    options = "--site laptop --site-set workers=1 --site-set cores_per_worker=1 --seed 1 --max-trials 2 --history h.h5"
    done = subprocess.run(
        [sys.executable, "-m", "dhflow", "search", str(PROBLEM), *options.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROBLEM.parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = load(tmp_path / "h.h5")
    assert [each.status for each in result] == [TrialStatus.COMPLETED] * 2
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
