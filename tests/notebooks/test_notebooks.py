"""Every notebook is stored without its outputs, and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def names(path: Path) -> str:
    return path.stem


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_a_notebook_is_stripped(path: Path):
    notebook: dict[str, Any] = json.loads(path.read_text())
    kept = {"kernelspec", "language_info"}
    assert set(notebook["metadata"]) <= kept
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), f"{path.name}: remove the outputs of cell {cell['id']}"
        assert cell.get("execution_count") is None, f"{path.name}: cell {cell['id']} has an execution count"
        assert cell["metadata"] == {}


@pytest.mark.integration
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_a_notebook_runs(path: Path, tmp_path: Path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in shown if output["output_type"] == "error"]
    assert shown
