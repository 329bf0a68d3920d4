"""Functions of a script's ``__main__`` and of a notebook, on HighThroughputExecutor workers and through an endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long]

SOURCE = Path(__file__).with_name("function_kinds.py")
ALL = "right: global class closure lambda instance method partial"
SITES = ("laptop", "globus")


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a site and its arguments, as function_kinds.py reads them."""
    if request.param == "laptop":
        arguments: dict[str, Any] = {"workers": 2}
    else:
        arguments = {"endpoint": request.getfixturevalue("endpoint"), "cap": 2}
    return json.dumps([request.param, {**arguments, "run_dir": str(tmp_path / "runinfo")}])


def test_functions_of_main(site: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SOURCE)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=tmp_path,
        env={**os.environ, "FUNCTION_KINDS_SITE": site},
        check=False,
    )
    assert done.stdout.strip().splitlines()[-1:] == [ALL], done.stderr


def test_functions_of_a_notebook(site: str, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE.read_text())])
    client = nbclient.NotebookClient(
        notebook, timeout=110, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env={**os.environ, "FUNCTION_KINDS_SITE": site})
    printed = "".join(each["text"] for each in notebook.cells[0]["outputs"] if each.get("name") == "stdout")
    assert printed.strip().splitlines()[-1:] == [ALL]
