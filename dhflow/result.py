"""What a search gives back, and what a history shows: trials, the best one, how well the workers were used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.standing import Standing
from dhflow.flow.utilisation import Utilisation, utilisation
from dhflow.history.event import StudyRecord
from dhflow.objective import Objective
from dhflow.trial import Measurement, Trial, TrialStatus

if TYPE_CHECKING:
    import pandas as pd

    from dhflow.space import SearchSpace


@dataclass(frozen=True)
class Result:
    """A study to look at.

    Parameters
    ----------
    record : StudyRecord
    reason : str
        Why the last session ended, or "".
    history : Path, optional
        The history file.
    """

    record: StudyRecord
    reason: str = ""
    history: Path | None = None

    @property
    def trials(self) -> list[Trial]:
        """Every trial, in the order of ids."""
        return [self.record.trials[each] for each in sorted(self.record.trials)]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What was optimised."""
        if self.record.header is None:
            raise SearchError("this study has no header: it was never started")
        return self.record.header.objectives

    @property
    def space(self) -> SearchSpace:
        """The search space; of code constraints only the names are known."""
        from dhflow.space import SearchSpace

        if self.record.header is None:
            raise SearchError("this study has no header: it was never started")
        return SearchSpace.from_json(self.record.header.space)

    @property
    def best(self) -> Trial:
        """The best completed trial among those of the highest completed budget.

        Raises
        ------
        SearchError
            If no trial has completed; the message says why the first one failed.
        """
        best = Standing(self.objectives[0], self.record.trials.values()).best
        if best is not None:
            return best
        failure = next((each.failure for each in self.trials if each.failure), None)
        why = f"; the first failure: {failure.kind}: {failure.message} {failure.location}" if failure else ""
        raise SearchError(f"none of {len(self.record.trials)} trials has completed{why}")

    @property
    def default(self) -> Trial | None:
        """The first of the problem's default configs, if it had any: what the best is compared with."""
        return next((each for each in self.trials if each.source.value == "default"), None)

    @property
    def n_failed(self) -> int:
        """Trials that ended without a value."""
        return sum(each.status in (TrialStatus.FAILED, TrialStatus.LOST) for each in self.record.trials.values())

    @property
    def utilisation(self) -> Utilisation | None:
        """How busy the workers were in the last session, or None when nothing ran."""
        return utilisation(self.record)

    def measurements(self, trial_id: int) -> list[Measurement]:
        """Return a trial's learning curve (its last attempt's), read from the history."""
        from dhflow.history import read_curve

        if self.history is None:
            raise SearchError("learning curves are read from a history, and this study has none")
        return read_curve(self.history, trial_id)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per trial.

        Raises
        ------
        MissingExtraError
            Without pandas.
        """
        from dhflow.history.export import to_pandas

        return to_pandas(self.record)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.record.trials)

    def __repr__(self) -> str:
        return f"Result({len(self)} trials, {self.n_failed} failed, history={str(self.history)!r}, {self.reason!r})"

    def summary(self) -> dict[str, Any]:
        """Return the figures that a person wants first, as JSON."""
        standing = Standing(self.objectives[0], self.record.trials.values())
        return {
            "trials": len(self),
            "completed": standing.n_completed,
            "failed": self.n_failed,
            "best": standing.value,
            "best_trial": None if standing.best is None else standing.best.trial_id,
            "best_config": None if standing.best is None else dict(standing.best.config),
            "reason": self.reason,
        }
