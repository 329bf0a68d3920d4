"""After a search: the best configs trained again, longer, several times from other seeds, and what comes of it.

Each training is a trial of a study of its own, on any site: parallel, in a history, to be resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dhflow.errors import SearchError
from dhflow.flow.text import format_value
from dhflow.objective import parse_direction
from dhflow.problem import Budget, Problem
from dhflow.result import Result
from dhflow.space import Categorical, Ordinal, SearchSpace
from dhflow.study import Study
from dhflow.train.signature import call_form
from dhflow.train.user_module import module_name
from dhflow.trial import Config, Trial, TrialStatus

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dhflow.flow.settings import RunOptions

NETWORK, REPEAT = "network", "repeat"


@dataclass(frozen=True)
class Repeats:
    """One config's trainings.

    Parameters
    ----------
    name : str
    config : mapping
    values : (r,)
        The measure of each training that succeeded, in the user's sign, sorted.
    n_failed : int
    n_stopped : int
        Trainings among `values` that were stopped early, as at the end of the wall time: they had less than the budget.
    """

    name: str
    config: Config
    values: tuple[float, ...]
    n_failed: int = 0
    n_stopped: int = 0

    @property
    def mean(self) -> float:
        """The mean; NaN when none succeeded."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def std(self) -> float:
        """The standard deviation over trainings (r - 1 in its denominator); NaN of fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    def quantile(self, share: float) -> float:
        """Return a quantile; NaN when none succeeded."""
        return float(np.quantile(self.values, share)) if self.values else float("nan")

    def cdf(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values in order and the share of trainings that are no larger."""
        return np.array(self.values), np.arange(1, len(self.values) + 1) / max(1, len(self.values))


@dataclass(frozen=True)
class Retraining:
    """What :func:`retrain` returns.

    Parameters
    ----------
    measure : str
        What was measured of each training.
    repeats : tuple of Repeats
        In the order of the candidates.
    result : Result
        The study of these trainings.
    """

    measure: str
    repeats: tuple[Repeats, ...]
    result: Result

    def __getitem__(self, name: str) -> Repeats:
        for each in self.repeats:
            if each.name == name:
                return each
        raise KeyError(name)

    def __str__(self) -> str:
        width = max(len(each.name) for each in self.repeats)
        head = f"{'':{width}}  {'n':>3}  {'mean':>9}  {'spread':>9}  {'least':>9}  {'median':>9}  {'most':>9}"
        rows = [
            f"{each.name:{width}}  {len(each.values):>3}  {format_value(each.mean):>9}  {format_value(each.std):>9}  "
            + "  ".join(f"{format_value(each.quantile(share)):>9}" for share in (0.0, 0.5, 1.0))
            + (f"  {each.n_failed} failed" if each.n_failed else "")
            + (f"  {each.n_stopped} stopped early" if each.n_stopped else "")
            for each in self.repeats
        ]
        return "\n".join([f"{self.measure}:", head, *rows])


def retrain(
    problem: Problem,
    candidates: Result | Mapping[str, Config],
    *,
    best: int = 3,
    beside: Mapping[str, Config] | None = None,
    n_repeats: int = 10,
    budget: float | None = None,
    measure: str | None = None,
    seed: int = 0,
    history: str | Path | None = None,
    resume: bool = False,
    **options: Unpack[RunOptions],
) -> Retraining:
    """Train configs again, several times each from other seeds, and report how well they do.

    Parameters
    ----------
    problem : Problem
        Whose objective trains a config.
    candidates : Result or mapping
        A search's result, of which the `best` different configs are taken (``"1st"``, ``"2nd"``, …; of architectures
        those of different networks), or names and configs, such as ``{"found": result.best.config}``.
    best : int
        Of a result: how many configs.
    beside : mapping, optional
        Further names and configs, such as ``{"hand-made": problem.starting_points[0]}``.
    n_repeats : int
        Trainings of each config.
    budget : float, optional
        Of each training, in units of the problem's budget, such as more epochs than in the search; None: the full one.
    measure : str, optional
        A metric that the objective returns, such as ``"test_accuracy"``; None: the objective itself.
    seed : int
        Each training's own seed follows from it.
    history : path, optional
    resume : bool
        Go on with trainings that a history holds.
    **options
        Site and limits, as for :func:`dhflow.search`.

    Returns
    -------
    Retraining

    Raises
    ------
    SearchError
        If there is nothing to train, the problem declares no budget, or nothing returned the measure.
    """
    configs = _best_of(candidates, best, problem.space) if isinstance(candidates, Result) else dict(candidates)
    configs |= beside or {}
    if not configs or n_repeats < 1:
        raise SearchError(f"there is nothing to train: {len(configs)} configs, {n_repeats} repeats")
    again = _repeated(problem, configs, n_repeats, budget)
    options.setdefault("per_worker", problem.per_worker)
    options.setdefault("max_trials", len(configs) * n_repeats)
    with Study(again, searcher="grid", seed=seed, history=history, resume=resume) as study:
        result = study.run(**options)
    name = measure or parse_direction(problem.direction)[0].name
    return Retraining(name, tuple(_repeats(each, config, result, name) for each, config in configs.items()), result)


@dataclass(frozen=True)
class RepeatObjective:
    """An objective that trains one of several configs.

    Parameters
    ----------
    objective : callable
        The problem's.
    configs : mapping
    """

    objective: Callable[..., Any]
    configs: Mapping[str, Config]

    def __post_init__(self) -> None:
        # Whose files go along to the workers is told by an objective's module: the user's, not this one.
        object.__setattr__(self, "__module__", module_name(self.objective))

    def __call__(self, config: Mapping[str, Any], trial: Any) -> Any:
        """Train the config of that name; the trial's seed is another one in each repeat."""
        chosen = dict(self.configs[config[NETWORK]])
        trial.config = dict(chosen)
        return call_form(self.objective, {}).call(self.objective, {}, chosen, trial)


def _repeated(problem: Problem, configs: Mapping[str, Config], n_repeats: int, budget: float | None) -> Problem:
    if not callable(problem.objective):
        raise SearchError("retrain needs an objective that is a function, not a command")
    if budget is not None and problem.budget is None:
        raise SearchError("the problem declares no budget, so its objective cannot be told to train longer")
    space = SearchSpace({NETWORK: _one_of(list(configs)), REPEAT: _one_of(list(range(n_repeats)))})
    spent = problem.budget
    if spent is not None:
        full = spent.high if budget is None else budget
        spent = Budget(spent.name, full, full)
    objective = RepeatObjective(problem.objective, configs)
    # Configs of the problem's own space mean nothing in this one.
    return replace(
        problem,
        space=space,
        objective=objective,
        budget=spent,
        defaults=(),
        resample=None,
        name=f"{problem.name} again",
    )


def _one_of(values: list[Any]) -> Any:
    if len(values) == 1:
        from dhflow.space import Constant

        return Constant(values[0])
    return Ordinal(values) if isinstance(values[0], int) else Categorical(values)


def _best_of(result: Result, n: int, space: SearchSpace) -> dict[str, Config]:
    """Return the configs of the best completed trials of the highest budget, no two the same in effect."""
    best = result.best
    level = [
        each
        for each in result.trials
        if each.status is TrialStatus.COMPLETED and each.budget == best.budget and result.is_feasible(each)
    ]
    found: list[Config] = []
    known: list[Config | bytes] = []
    for each in sorted(level, key=lambda each: (each.losses, each.trial_id)):
        if len(found) == n:
            break
        # Two configs may make the same network.
        identity = each.config if space.canonical is None else space.identities(space.encode([each.config]))[0]
        if identity not in known:
            known.append(identity)
            found.append(each.config)
    return {_place(i): config for i, config in enumerate(found, 1)}


def _place(i: int) -> str:
    return f"{i}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(0 if 10 < i % 100 < 14 else i % 10, 'th') }"


def _repeats(name: str, config: Config, result: Result, measure: str) -> Repeats:
    trials = [each for each in result.trials if each.config[NETWORK] == name and each.is_finished]
    done = [each for each in trials if each.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)]
    values = [_measured(each, measure) for each in done]
    n_stopped = sum(each.status is TrialStatus.STOPPED for each in done)
    return Repeats(name, config, tuple(sorted(values)), len(trials) - len(done), n_stopped)


def _measured(trial: Trial, measure: str) -> float:
    value = trial.values.get(measure, trial.metrics.get(measure))
    if isinstance(value, bool) or not isinstance(value, int | float):
        known = ", ".join([*trial.values, *trial.metrics])
        raise SearchError(f"trial {trial.trial_id} has no number {measure!r}; it has: {known}")
    return float(value)
