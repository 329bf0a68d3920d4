"""Any searcher as a generator of the gest-api convention, for libEnsemble, Xopt, Optimas and other such drivers.

gest-api (``pip install gest-api``, the extra ``gest``; https://github.com/campa-consortium/gest-api) describes
a problem by a VOCS object (variables, objectives, constraints and constants by name); a generator has `suggest`, which
gives points as dictionaries, and `ingest`, which takes them back with their results.

::

    vocs = VOCS(variables={"x": [0, 1], "n": {1, 2, 4}}, objectives={"f": "MAXIMIZE"})
    generator = SearchGenerator(vocs, "tpe", seed=1)
    points = generator.suggest(8)
    generator.ingest([{**point, "f": evaluate(point)} for point in points])
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from dhflow.constraint import Constraint
from dhflow.errors import GeneratorError, MissingExtraError, SearchError, SpaceError
from dhflow.objective import Objective
from dhflow.searcher.base import Searcher
from dhflow.searcher.registry import make_searcher, searcher_class
from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace
from dhflow.trial import Suggestion, Trial, TrialSource, TrialStatus

_ID = "_id"
_INTEGERS = (int, "int", "int32", "int64")


class _Outcome(NamedTuple):
    status: TrialStatus
    values: dict[str, float]
    metrics: dict[str, float]
    losses: tuple[float, ...]


class SearchGenerator:
    """A generator of the gest-api convention around a searcher.

    Parameters
    ----------
    vocs : gest_api.vocs.VOCS
        Its variables make the search space, see :func:`space_of`.
    searcher : str or Searcher class
        A name such as ``"tpe"`` or ``"auto"``, or a class of the user's.
    seed : int
    space : SearchSpace, optional
        Instead of what the variables say, for scales and priors, which a VOCS does not know. It has the VOCS's
        variables, without conditions.
    **options
        The searcher's.

    Raises
    ------
    GeneratorError, SpaceError
        Both are ValueErrors. If the VOCS has something that a searcher cannot take: contextual variables, objectives
        to explore, none or too many objectives, constraints of an unknown kind; if `space` does not fit; or if searcher
        or option is unknown.
    MissingExtraError
        If gest-api is not installed.

    Notes
    -----
    It counts as an instance of ``gest_api.Generator``. Points have an ``"_id"`` and must come back with it;
    points from elsewhere come without. A point of which an objective or what a constraint is on is NaN is told to the
    searcher as a failed trial; the searcher itself keeps away from those that violate a constraint. Points may
    come back in any order, late or never: those that are missing are pending, and the searcher takes care of them.
    """

    returns_id: ClassVar[bool] = True

    def __init__(
        self,
        vocs: Any,
        searcher: str | type[Searcher] = "auto",
        *,
        seed: int = 0,
        space: SearchSpace | None = None,
        **options: Any,
    ) -> None:
        _package().Generator.register(type(self))
        self._validate_vocs(vocs)
        self.vocs = vocs
        self.space = space_of(vocs) if space is None else _fitting(space, vocs)
        self._objectives = [_objective(name, each) for name, each in vocs.objectives.items()]
        try:
            if not isinstance(searcher, Searcher) and searcher_class(searcher).needs_budget:
                raise GeneratorError(f"searcher {searcher!r} spends budgets, for which a point has no place")
            self.searcher = make_searcher(
                searcher,
                self.space,
                seed=seed,
                n_objectives=len(self._objectives),
                constraints=constraints_of(vocs),
                **options,
            )
        except SearchError as error:
            raise GeneratorError(str(error)) from error
        self._trials: dict[int, Trial] = {}
        self._pending: dict[int, Trial] = {}
        # Suggested by the searcher, but not yet given to anybody.
        self._held: list[Trial] = []
        self._n_told = 0

    @property
    def trials(self) -> list[Trial]:
        """All points so far as trials, in the order in which they were suggested or ingested."""
        return list(self._trials.values())

    def _validate_vocs(self, vocs: Any) -> None:
        if not vocs.objectives:
            raise GeneratorError("the VOCS has no objective")
        kind = _package("gest_api.vocs")
        for name, each in vocs.objectives.items():
            if not isinstance(each, kind.MinimizeObjective | kind.MaximizeObjective):
                raise GeneratorError(f"objective {name!r} is neither to be minimised nor maximised")

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return points to evaluate: variables, constants and an ``"_id"`` each.

        Parameters
        ----------
        num_points : int, optional
            Exactly so many; one unless given.

        Raises
        ------
        GeneratorError
            If the searcher has fewer untried points at the moment; those will come with a later, smaller call.
        """
        n = 1 if num_points is None else num_points
        if n < 0:
            raise GeneratorError(f"suggest({n}): the number of points must not be negative")
        if n > len(self._held):
            suggestions = self.searcher.ask(n - len(self._held), list(self._pending.values()))
            self._held += [self._create(each) for each in suggestions]
        if n > len(self._held):
            raise GeneratorError(f"{n} points were asked for; the searcher has {len(self._held)} for now")
        chosen, self._held = self._held[:n], self._held[n:]
        return [self._point(each) for each in chosen]

    def _create(self, suggestion: Suggestion) -> Trial:
        trial = Trial(
            trial_id=len(self._trials),
            config=suggestion.config,
            budget=suggestion.budget,
            parent_id=suggestion.parent_id,
            meta=suggestion.meta,
            ask_number=self.searcher.n_asks - 1,
            ask_saw=self._n_told,
        )
        self._trials[trial.trial_id] = self._pending[trial.trial_id] = trial
        return trial

    def _point(self, trial: Trial) -> dict[str, Any]:
        constants = {name: each.value for name, each in self.vocs.constants.items()}
        return {**trial.config, **constants, _ID: trial.trial_id}

    def ingest(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Take evaluated points; all of them or, if one is wrong, none.

        Parameters
        ----------
        results : sequence of mapping
            Variables, objectives and constraints by name, and the ``"_id"`` of a point that :meth:`suggest` gave.
            What has been ingested before is ignored.

        Raises
        ------
        GeneratorError, SpaceError
            Both are ValueErrors. If an ``"_id"`` is unknown, an objective or a constraint is missing or no number, or a
            point without ``"_id"`` is not in the space.
        """
        read = [(self._trial_of(each), each, self._outcome_of(each)) for each in results]
        new: dict[int, tuple[Trial, _Outcome]] = {}
        n_trials = len(self._trials)
        for known, result, outcome in read:
            trial = known or Trial(n_trials, self._foreign(result), source=TrialSource.ADDED)
            n_trials += known is None
            if not trial.is_finished:
                new.setdefault(trial.trial_id, (trial, outcome))
        self.searcher.tell([self._finish(trial, outcome) for trial, outcome in new.values()])

    def _trial_of(self, result: Mapping[str, Any]) -> Trial | None:
        if result.get(_ID) is None:
            return None
        trial = self._trials.get(result[_ID])
        if trial is None:
            raise GeneratorError(f'no point has the "_id" {result[_ID]!r}; leave it out for points from elsewhere')
        return trial

    def _foreign(self, result: Mapping[str, Any]) -> dict[str, Any]:
        return self.space.validate({name: result[name] for name in self.space.names if name in result})

    def _outcome_of(self, result: Mapping[str, Any]) -> _Outcome:
        values = {each.name: _number(result, each.name) for each in self._objectives}
        metrics = {name: _number(result, name) for name in self.vocs.constraints}
        if not all(map(math.isfinite, [*values.values(), *metrics.values()])):
            return _Outcome(TrialStatus.FAILED, {}, {}, ())
        losses = tuple(each.to_loss(values[each.name]) for each in self._objectives)
        return _Outcome(TrialStatus.COMPLETED, values, metrics, losses)

    def _finish(self, trial: Trial, outcome: _Outcome) -> Trial:
        finished = replace(trial, **outcome._asdict(), outcome_number=self._n_told)
        self._n_told += 1
        self._trials[trial.trial_id] = finished
        self._pending.pop(trial.trial_id, None)
        return finished

    def finalize(self) -> None:
        """Do nothing: there is nothing to close."""


def space_of(vocs: Any) -> SearchSpace:
    """Return the search space of a VOCS's variables.

    Parameters
    ----------
    vocs : gest_api.vocs.VOCS

    Raises
    ------
    SpaceError
        If a variable is contextual, or something else that a search space does not know; ``path`` names it.

    Notes
    -----
    A continuous variable becomes a Float, or an Integer if its dtype is an integer one. A discrete variable
    becomes an Ordinal of its numbers, in rising order, or a Categorical if not all values are numbers.
    """
    return SearchSpace({name: _parameter(name, each) for name, each in vocs.variables.items()})


def constraints_of(vocs: Any) -> tuple[Constraint, ...]:
    """Return the constraints of a VOCS.

    Parameters
    ----------
    vocs : gest_api.vocs.VOCS

    Raises
    ------
    GeneratorError
        If a constraint is of an unknown kind, or a bound is not finite.
    """
    try:
        return tuple(each for name, given in vocs.constraints.items() for each in _constraints(name, given))
    except SearchError as error:
        raise GeneratorError(str(error)) from error


def _constraints(name: str, given: Any) -> list[Constraint]:
    kind = _package("gest_api.vocs")
    if isinstance(given, kind.LessThanConstraint):
        return [Constraint(name, "<", given.value)]
    if isinstance(given, kind.GreaterThanConstraint):
        return [Constraint(name, ">", given.value)]
    if isinstance(given, kind.BoundsConstraint):
        low, high = given.range
        bounds = [Constraint(name, ">=", low)] if low > -math.inf else []
        return [*bounds, Constraint(name, "<=", high)] if high < math.inf else bounds
    raise GeneratorError(f"constraint {name!r} is a {type(given).__name__}, which is not known here")


def _parameter(name: str, variable: Any) -> Float | Integer | Ordinal | Categorical:
    kind = _package("gest_api.vocs")
    default = variable.default_value
    if isinstance(variable, kind.ContextualVariable):
        raise SpaceError("a contextual variable cannot be searched", name)
    if isinstance(variable, kind.ContinuousVariable):
        low, high = variable.domain
        if variable.dtype in _INTEGERS:
            whole = None if default is None else int(default)
            return Integer(math.ceil(low), math.floor(high), default=whole)
        return Float(low, high, default=default)
    if not isinstance(variable, kind.DiscreteVariable):
        raise SpaceError(f"a {type(variable).__name__} cannot be searched", name)
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in variable.values):
        return Ordinal(sorted(variable.values), default=default)
    # Sets have no order, and that of strings changes from process to process.
    return Categorical(sorted(variable.values, key=lambda each: (type(each).__name__, repr(each))), default=default)


def _fitting(space: SearchSpace, vocs: Any) -> SearchSpace:
    if set(space.names) != set(vocs.variables):
        raise SpaceError(f"the VOCS's variables are {sorted(vocs.variables)}, the space's {sorted(space.names)}")
    for name, each in space.parameters.items():
        if each.when is not None:
            raise SpaceError("a point of a generator has all variables: it cannot have a condition", name)
    return space


def _objective(name: str, given: Any) -> Objective:
    is_maximised = isinstance(given, _package("gest_api.vocs").MaximizeObjective)
    return Objective(name, "maximize" if is_maximised else "minimize")


def _number(result: Mapping[str, Any], name: str) -> float:
    try:
        return float(result[name])
    except KeyError:
        raise GeneratorError(f"a result lacks {name!r}: {dict(result)}") from None
    except (TypeError, ValueError):
        raise GeneratorError(f"{name!r} is no number: {result[name]!r}") from None


def _package(module: str = "gest_api") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("generators of the gest-api convention", "gest") from error
