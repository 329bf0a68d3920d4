"""The history that dhflow brings satisfies the contract of histories."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhflow.history import History
from dhflow.history.event import StudyHeader
from dhflow.testing.history import HistoryTests


class TestHistory(HistoryTests):
    """Checkpoints within the process: the same code as the helper's, without its start."""


class TestHistoryWithHelper(HistoryTests):
    """Checkpoints by helper processes, as in a search; fewer courses, since each start takes a while."""

    n_examples = 3
    n_steps = 8

    def create(self, path: Path, header: StudyHeader) -> History:
        return History.create(path, header)

    def open(self, path: Path) -> History:
        return History.open(path)


@pytest.mark.parametrize("tested", [TestHistory, TestHistoryWithHelper])
def test_the_contract_is_asked_whole(tested: type[HistoryTests]) -> None:
    """What is asserted stands in :mod:`dhflow.testing.history`; nothing here may take a test's place."""
    asked = {name: each for name, each in vars(HistoryTests).items() if name.startswith("test_")}
    assert len(asked) > 10
    assert {name: getattr(tested, name) for name in dir(tested) if name.startswith("test_")} == asked
