"""The history that dhflow brings satisfies the contract of histories."""

from __future__ import annotations

from pathlib import Path

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
