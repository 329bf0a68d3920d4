"""What a session needs of its study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dhflow.constraint import Constraint
from dhflow.history.event import StudyRecord
from dhflow.objective import Objective
from dhflow.searcher.base import Searcher
from dhflow.trial import Config

if TYPE_CHECKING:
    from dhflow.history import History
    from dhflow.space import SearchSpace


@dataclass(frozen=True)
class StudyParts:
    """A study's own things, handed to its session."""

    record: StudyRecord
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    searcher: Searcher
    seed: int
    history: History | None
    history_path: Path | None
    full_budget: float | None
    starting_points: Sequence[Config]
    space: SearchSpace
    space_names: Sequence[str]
    conditional_names: frozenset[str]
