"""The runs of a comparison: real searches, one after another, none of them twice."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dhflow.comparison.outcome import Comparison, Run, measure
from dhflow.comparison.spec import N_SHARED, SearcherSpec, parse_searchers
from dhflow.constraint import parse_constraints
from dhflow.errors import SearchError
from dhflow.flow.settings import RunOptions, RunSettings
from dhflow.objective import parse_direction
from dhflow.problem import Problem
from dhflow.result import Result
from dhflow.searcher import make_searcher
from dhflow.searcher.bandit import ABSTRACT_RANGE
from dhflow.study import Study

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dhflow.space import SearchSpace
    from dhflow.trial import Config

_STREAM = 0xC0
"""Keeps the generator of the shared configs apart from the searchers'."""
_SHARED_PART = 4
"""At most one trial in so many is a shared one."""

OnRun = Callable[[Run], None]


@dataclass(frozen=True)
class _Plan:
    """What is the same in every run."""

    problem: Problem
    seed: int
    n_shared: int
    resample_split: bool
    options: RunOptions
    folder: Path

    def settings(self) -> dict[str, Any]:
        """Return as JSON what decides what a run does; runs of other settings are not taken for this one's."""
        constraints = parse_constraints(self.problem.constraints)
        limits = ("max_trials", "max_budget", "wall_time_s", "node_hours", "target", "plateau", "workers", "timeout_s")
        return {
            "problem": self.problem.name,
            "space": self.problem.space.to_json(),
            "seed": self.seed,
            "n_shared": self.n_shared,
            "resample_split": self.resample_split,
            **({"constraints": [each.text for each in constraints]} if constraints else {}),
            **{name: self.options[name] for name in limits if self.options.get(name) is not None},  # type: ignore[literal-required]
        }


def compare(
    objective: Callable[..., Any] | str | Problem,
    space: SearchSpace | None = None,
    *,
    searchers: str | Iterable[str | SearcherSpec] | Mapping[str, Any] = ("random", "ambs"),
    repeats: int = 10,
    direction: str | Mapping[str, str] | None = None,
    seed: int = 0,
    baseline: str = "first",
    threshold: float | None = None,
    optimum: float | None = None,
    resample_split: bool = False,
    shared_start: bool = True,
    folder: str | Path | None = None,
    on_run: OnRun | None = None,
    **options: Unpack[RunOptions],
) -> Comparison:
    """Run each searcher several times on one problem and compare what they reach.

    Parameters
    ----------
    objective, space, direction
        As for :func:`dhflow.search`; a problem brings its space and direction.
    searchers : str, iterable or mapping
        Names, with options where wanted: ``["random", "ambs", "ambs:n_initial=20:liar=mean"]``, or a mapping from
        labels to those.
    repeats : int
        Runs of each searcher. Repeat k has seed ``seed + k`` with every searcher, so the runs are paired.
    seed : int
    baseline : str
        Whom the others are tested against: ``"first"``, ``"best"`` or a label.
    threshold : float, optional
        Value that makes a trial a good one; their share is reported.
    optimum : float, optional
        The best value there is; errors count from it, or from the best value seen in any run.
    resample_split : bool
        Repeat k runs on the split ``seed + k`` of the data; the problem must say how
        (:meth:`~dhflow.problem.Problem.resampled`).
    shared_start : bool
        Searchers that begin with random configs of their own accord (``random``, and ``ambs`` with its
        ``initial_design="random"``) begin, within one repeat, with the same ten (fewer in short runs). That changes
        nothing for each of them, and makes the differences between them surer. All others (``auto``, ``gp``,
        ``tpe``, evolution, those over budgets) begin as they always do and share the seed alone.
    folder : path, optional
        Keeps each run's history and result; with the same folder, finished runs are not repeated. Without one
        nothing is kept.
    on_run : callable, optional
        Called with each finished :class:`~dhflow.comparison.outcome.Run`.
    **options
        Site, limits and the rest of :class:`~dhflow.flow.settings.RunSettings`, for every run.

    Returns
    -------
    Comparison

    Raises
    ------
    SearchError
        Before anything runs: if there are several objectives; a searcher, an option or the baseline is unknown; a
        searcher refuses the value of an option or the space; or `folder` has runs of other settings.

    Notes
    -----
    A searcher over budgets gives most of its trials less than the full budget, so equal numbers of trials are not
    equal work: what its trials come to in full trainings is in each run, in the summary and in the table.

    With a limit of trials all runs share one set of workers, which is started once. With a limit of wall time
    each run has its own: trials that are given up at the end of one run would take workers from the next.

    Examples
    --------
    >>> from dhflow import Float, SearchSpace, compare
    >>> space = SearchSpace({"x": Float(-2.0, 2.0)})
    >>> found = compare(lambda config: config["x"] ** 2, space, searchers=["random", "sobol"], repeats=3,
    ...                 site_set={"executor": "threads", "workers": 1}, max_trials=8)
    >>> found.losses.shape
    (3, 2)
    """
    if repeats < 1:
        raise SearchError(f"repeats must be at least 1, it is {repeats}")
    problem = _as_problem(objective, space, direction)
    objectives = parse_direction(problem.direction)
    if len(objectives) > 1:
        names = ", ".join(each.name for each in objectives)
        raise SearchError(f"a comparison is by one objective, and this problem has {len(objectives)}: {names}")
    specs = parse_searchers(searchers)
    if baseline not in ("first", "best", *(each.label for each in specs)):
        raise SearchError(f"baseline {baseline!r} is none of: first, best, {', '.join(e.label for e in specs)}")
    RunSettings.of(options)
    _check_searchers(specs, problem)
    with contextlib.ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dhflow-"))) if folder is None else folder
        n_shared = _n_shared(specs, options) if shared_start else 0
        plan = _Plan(problem, seed, n_shared, resample_split, options, Path(where))
        if resample_split:
            problem.resampled(seed)  # before anything runs
        plan.folder.mkdir(parents=True, exist_ok=True)
        runs = list(_runs(plan, specs, range(repeats), on_run))
    return Comparison(
        problem.name,
        objectives[0],
        tuple(specs),
        tuple(runs if folder is not None else [replace(each, history="") for each in runs]),
        baseline,
        threshold,
        optimum,
        plan.settings(),
    )


def _as_problem(
    objective: Callable[..., Any] | str | Problem,
    space: SearchSpace | None,
    direction: str | Mapping[str, str] | None,
) -> Problem:
    if isinstance(objective, Problem):
        if space is not None or direction is not None:
            raise SearchError("a Problem brings its own space and direction: leave them out")
        return objective
    if space is None:
        raise SearchError("compare(objective, space): the search space is missing")
    return Problem(space, objective, direction or "minimize")


def _check_searchers(specs: Iterable[SearcherSpec], problem: Problem) -> None:
    """Make each searcher once, so that what one of them refuses is known before another has run.

    Raises
    ------
    SearchError
        If a value of an option is impossible, or the searcher is none for this space or these constraints.
    """
    constraints = parse_constraints(problem.constraints)
    budgets = ABSTRACT_RANGE if problem.budget is None else (problem.budget.low, problem.budget.high)
    for each in specs:
        try:
            make_searcher(each.name, problem.space, constraints=constraints, budget_range=budgets, **each.options)
        except SearchError as error:
            raise SearchError(f"searcher {each.label}: {error}") from error


def _n_shared(specs: Iterable[SearcherSpec], options: RunOptions) -> int:
    trials = options.get("max_trials")
    counts = [each.n_shared for each in specs if each.n_shared]
    if len(counts) < 2:
        return 0
    return min([*counts, N_SHARED if trials is None else trials // _SHARED_PART])


def _runs(plan: _Plan, specs: list[SearcherSpec], repeats: range, on_run: OnRun | None) -> Iterator[Run]:
    """Do the runs, the repeats outermost: a comparison that is interrupted has as many of each."""
    todo = [(repeat, spec) for repeat in repeats for spec in specs]
    done = {(repeat, spec.label): _finished(plan, spec, repeat) for repeat, spec in todo}
    with _workers(plan, is_needed=any(each is None for each in done.values())) as options:
        for repeat, spec in todo:
            run = done[repeat, spec.label] or _do(plan, spec, repeat, options)
            if on_run is not None:
                on_run(run)
            yield run


@contextlib.contextmanager
def _workers(plan: _Plan, *, is_needed: bool) -> Iterator[RunOptions]:
    """Give the options for runs on one set of workers, closed at the end if it was opened here."""
    from dhflow.flow.pool import plan_pool
    from dhflow.flow.preparation import is_parsl_app

    settings = RunSettings.of(plan.options)
    has_wall = settings.limits.wall_limit_s(1) is not None
    is_named = isinstance(settings.site, str | Path) and not is_parsl_app(plan.problem.objective)
    if not is_needed or has_wall or not is_named:
        yield plan.options
        return
    pool = plan_pool(
        settings.site,
        site_set=settings.site_set,
        executors=settings.executors,
        workers=settings.workers,
        run_directory=(plan.folder / "workers").absolute(),
    ).open()
    try:
        shared: Any = {name: value for name, value in plan.options.items() if name != "site_set"}
        shared |= {"site": pool.kernel, "workers": pool.n_slots}
        yield shared
    finally:
        pool.close()


# One run ----------------------------------------------------------------------------------------------


def _stem(plan: _Plan, spec: SearcherSpec, repeat: int) -> Path:
    """Return the path of a run's files without their suffix."""
    return plan.folder / re.sub(r"[^0-9A-Za-z._=-]+", "_", spec.label) / f"{repeat:03d}"


def _finished(plan: _Plan, spec: SearcherSpec, repeat: int) -> Run | None:
    """Return a run that was done before, or None.

    Raises
    ------
    SearchError
        If it was done with other settings.
    """
    path = _stem(plan, spec, repeat).with_suffix(".json")
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    wanted = json.loads(json.dumps(_key(plan, spec)))
    other = sorted(each for each in {*kept["key"], *wanted} if kept["key"].get(each) != wanted.get(each))
    if other:
        raise SearchError(f"{path} is of a comparison with another {', '.join(other)}: choose another folder")
    return Run.from_json(kept["run"])


def _key(plan: _Plan, spec: SearcherSpec) -> dict[str, Any]:
    return {**plan.settings(), "searcher": spec.name, "options": dict(spec.options)}


def _do(plan: _Plan, spec: SearcherSpec, repeat: int, options: RunOptions) -> Run:
    """Do one run and keep what came out."""
    stem = _stem(plan, spec, repeat)
    history = stem.with_suffix(".h5")
    history.parent.mkdir(parents=True, exist_ok=True)
    if RunSettings.of(plan.options).limits.wall_limit_s(1) is not None:
        _remove(history)  # half a run's time cannot be made up for
    seed = plan.seed + repeat
    split = seed if plan.resample_split else None
    problem = plan.problem if split is None else plan.problem.resampled(split)
    with _study(problem, spec, history, seed) as study:
        result = _run_study(study, spec, plan, options)
        full_budget = study.searcher.full_budget or (None if problem.budget is None else problem.budget.high)
    run = measure(result, spec, repeat=repeat, seed=seed, split=split, full_budget=full_budget)
    aside = stem.with_suffix(".tmp")
    aside.write_text(json.dumps({"key": _key(plan, spec), "run": asdict(run)}) + "\n")
    aside.replace(stem.with_suffix(".json"))
    return run


def _study(problem: Problem, spec: SearcherSpec, history: Path, seed: int) -> Study:
    return Study(problem, searcher=spec.name, searcher_options=spec.options, seed=seed, history=history, resume=True)


def _run_study(study: Study, spec: SearcherSpec, plan: _Plan, options: RunOptions) -> Result:
    if not study.trials and spec.n_shared and plan.n_shared:
        study.enqueue(*_shared_configs(study.space, study.seed, plan.n_shared))
    chosen: Any = {"keep": "failed", **options}
    try:
        return study.run(**chosen)
    except SearchError as error:
        # A run whose first trials all fail is a run without a value, and the comparison goes on.
        if not any(each.is_finished for each in study.trials):
            raise
        return replace(study.result, reason=str(error).partition("\n")[0])


def _shared_configs(space: SearchSpace, seed: int, n: int) -> list[Config]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAM]))
    configs: list[Config] = []
    for each in space.sample(2 * n, rng):
        if len(configs) < n and each not in configs:  # in a small space a draw comes twice
            configs.append(each)
    return configs


def _remove(history: Path) -> None:
    for path in (history, history.with_name(f"{history.name}.journal")):
        path.unlink(missing_ok=True)
    shutil.rmtree(history.with_name(f"{history.name}.run"), ignore_errors=True)
