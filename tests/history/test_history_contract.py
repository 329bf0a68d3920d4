"""The history that dhflow brings satisfies the contract of histories."""

from __future__ import annotations

from pathlib import Path

from dhflow.history import History
from dhflow.history.event import StudyHeader
from dhflow.testing.history import HEADER, HistoryTests, WritableHistory, finished_trial


class TestHistory(HistoryTests):
    """Checkpoints within the process: the same code as the helper's, without its start."""
