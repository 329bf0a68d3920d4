"""Searches of the example problems, as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dhflow import Result, TrialStatus, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def two_trials(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs two trials of a problem on one HTEX worker, by the command line."""

    def run(problem: Path, *arguments: str) -> Result:
        site = "--site laptop --site-set workers=1 --site-set cores_per_worker=1"
        options = f"{site} --seed 1 --max-trials 2 --history h.h5"
        done = subprocess.run(
            [sys.executable, "-m", "dhflow", "search", str(problem), *arguments, *options.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result = load(tmp_path / "h.h5")
        assert [each.status for each in result] == [TrialStatus.COMPLETED] * 2
        return result

    return run
