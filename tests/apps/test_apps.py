"""What holds for every example problem."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBLEMS = sorted(ROOT.glob("apps/*/problem.py"))

LOADS = """
import sys
from dhflow.train import load_file_module
load_file_module(sys.argv[1])
print(*({"tensorflow", "keras", "sklearn", "matplotlib"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("problem", PROBLEMS, ids=[each.parent.name for each in PROBLEMS])
def test_loading_a_problem_loads_no_framework(problem: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(problem)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
