"""What a search gives back, and what a history shows: trials, the best one, how well the workers were used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.constraint import Constraint, is_feasible, parse_constraints, total_violation, value_in
from dhflow.errors import SearchError
from dhflow.flow.standing import ParetoStanding, Standing, standing_of
from dhflow.flow.text import count, format_value
from dhflow.flow.utilisation import Utilisation, utilisation
from dhflow.history.event import StudyRecord
from dhflow.objective import Objective
from dhflow.pareto import hypervolume
from dhflow.trial import Measurement, Trial, TrialStatus

if TYPE_CHECKING:
    import pandas as pd

    from dhflow.flow.advice import Advice
    from dhflow.problem import Budget
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
    def constraints(self) -> tuple[Constraint, ...]:
        """What a trial must meet to count as good."""
        return parse_constraints(self.record.header.constraints if self.record.header else ())

    @property
    def budget(self) -> Budget | None:
        """What the problem's trials spend, if it declares that."""
        from dhflow.problem import Budget

        header = self.record.header
        return None if header is None or header.budget is None else Budget(**header.budget)

    @property
    def space(self) -> SearchSpace:
        """The search space; of code constraints only the names are known."""
        from dhflow.space import SearchSpace

        if self.record.header is None:
            raise SearchError("this study has no header: it was never started")
        return SearchSpace.from_json(self.record.header.space)

    @property
    def best(self) -> Trial:
        """The best completed trial that meets the constraints, among those of the highest completed budget.

        Raises
        ------
        SearchError
            If no trial has completed; the message says why the first one failed. If none that has completed meets
            the constraints; the message names the one that violates them least. With several objectives always:
            no trial is the best then, see :attr:`pareto`.
        """
        if len(self.objectives) > 1:
            names = ", ".join(each.name for each in self.objectives)
            raise SearchError(f"there is no best trial by several objectives ({names}): look at result.pareto")
        best = Standing(self.objectives[0], self.record.trials.values(), self.constraints).best
        if best is None:
            raise self.without_best()
        return best

    @property
    def recommended(self) -> Trial:
        """The trial whose config a model of all trials predicts to be best: of a noisy objective not always `best`.

        See :func:`dhflow.searcher.recommend.recommend`.

        Raises
        ------
        SearchError
            As :attr:`best`.
        """
        from dhflow.searcher.recommend import recommend

        best = self.best
        return recommend(self.space, self.trials, self.constraints) or best

    @property
    def pareto(self) -> list[Trial]:
        """The Pareto set: completed trials, of the highest completed budget, that no other one dominates.

        Sorted by the first objective, the best first; empty while no trial that meets the constraints has completed.
        With one objective they are the trials of the best value.
        """
        members = self._pareto_standing().members
        return sorted(members, key=lambda each: (each.losses, each.trial_id))

    def hypervolume(self, reference: Mapping[str, float] | None = None) -> float:
        """Return the volume of objective values that the Pareto set dominates: one figure for how good it is.

        Parameters
        ----------
        reference : mapping, optional
            From each objective's name to the value, in the user's sign, up to which volume counts; a trial that is
            not better in every objective adds nothing. By default the worst values among the completed trials of the
            highest completed budget that meet the constraints: good to look at one study, but to compare studies
            give them the same reference, as this one moves.

        Returns
        -------
        float
            In the product of the objectives' units, larger is better; 0 while the set is empty.

        Raises
        ------
        SearchError
            If `reference` lacks an objective, names another one, or holds a value that is not finite.
        """
        standing = self._pareto_standing()
        if reference is None:
            corner = standing.worst
        elif set(reference) == {each.name for each in self.objectives}:
            corner = tuple(each.to_loss(float(reference[each.name])) for each in self.objectives)
        else:
            names = ", ".join(each.name for each in self.objectives)
            raise SearchError(f"the reference needs a value of each objective ({names}), not of {sorted(reference)}")
        if not len(standing):
            return 0.0
        return hypervolume([each.losses for each in standing.members], corner)

    def without_best(self) -> SearchError:
        """Return the error that no trial can be the best: none has completed, or none meets the constraints."""
        completed = self._completed()
        if completed:
            return self._without_feasible(completed)
        failure = next((each.failure for each in self.trials if each.failure), None)
        why = f"; the first failure: {failure.kind}: {failure.message} {failure.location}" if failure else ""
        return SearchError(f"none of {len(self.record.trials)} trials has completed{why}")

    def _without_feasible(self, completed: list[Trial]) -> SearchError:
        constraints = self.constraints
        nearest = min(completed, key=lambda each: (total_violation(each, constraints), each.trial_id))
        missed = [each for each in constraints if not each.is_met(value_in(nearest, each.name))]
        shown = ", ".join(f"{each.name} = {format_value(value_in(nearest, each.name))}" for each in missed)
        return SearchError(
            f"none of {count(len(completed), 'completed trial')} meets the constraints "
            f"({'; '.join(each.text for each in constraints)}); trial {nearest.trial_id} comes nearest, with {shown}"
        )

    def _completed(self) -> list[Trial]:
        return [each for each in self.trials if each.status is TrialStatus.COMPLETED and each.losses]

    def _pareto_standing(self) -> ParetoStanding:
        return ParetoStanding(len(self.objectives), self.record.trials.values(), self.constraints)

    @property
    def default(self) -> Trial | None:
        """The first of the problem's default configs, if it had any: what the best is compared with."""
        return next((each for each in self.trials if each.source.value == "default"), None)

    @property
    def n_failed(self) -> int:
        """Trials that ended without a value."""
        return sum(each.status in (TrialStatus.FAILED, TrialStatus.LOST) for each in self.record.trials.values())

    def is_feasible(self, trial: Trial) -> bool:
        """Tell whether a trial's values meet all constraints; without constraints every trial does."""
        return is_feasible(trial, self.constraints)

    @property
    def n_infeasible(self) -> int:
        """Completed trials that violate a constraint."""
        constraints = self.constraints
        return sum(not is_feasible(each, constraints) for each in self._completed())

    @property
    def utilisation(self) -> Utilisation | None:
        """How busy the workers were in the last session, or None when nothing ran."""
        return utilisation(self.record)

    def advice(self, trial_id: int) -> Advice:
        """Return what the monitor finds about a trial, and what it suggests.

        Raises
        ------
        UnknownTrialError
            If there is no such trial.
        SearchError
            If the study keeps no history.
        """
        from dhflow.flow.advice import advice_on, space_of

        if self.history is None:
            raise SearchError("advice is kept in a history, and this study has none")
        return advice_on(self.history, self.record, trial_id, space_of(self.record))

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
        """Return the figures that a person wants first, as JSON; with several objectives, the ids of the Pareto set."""
        standing = standing_of(self.objectives, self.record.trials.values(), self.constraints)
        best = standing.best if isinstance(standing, Standing) else None
        figures: dict[str, Any] = {
            "trials": len(self),
            "completed": standing.n_completed,
            "failed": self.n_failed,
            "infeasible": standing.n_infeasible,
            "best": None if best is None else best.objective,
            "best_trial": None if best is None else best.trial_id,
            "best_config": None if best is None else dict(best.config),
            "reason": self.reason,
        }
        if isinstance(standing, ParetoStanding):
            figures["pareto"] = [each.trial_id for each in self.pareto]
        return figures
