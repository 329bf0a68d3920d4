"""The examples of the room's page and docstrings."""

from __future__ import annotations

import doctest
from pathlib import Path

import dhflow.nas.graph
import dhflow.nas.space


def test_the_examples_run() -> None:
    page = Path(dhflow.nas.__file__).parent / "README.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted == 10
    assert found.failed == 0
    for module in (dhflow.nas.graph, dhflow.nas.space):
        results = doctest.testmod(module)
        assert results.attempted > 5
        assert results.failed == 0
