"""The calls with which most people use dhflow: search, search inside a workflow, look at a history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.history import load_record
from dhflow.problem import Budget, Problem
from dhflow.result import Result
from dhflow.study import Study

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dhflow.constraint import Constraints
    from dhflow.flow.settings import RunOptions
    from dhflow.searcher import Searcher
    from dhflow.space import SearchSpace


def search(
    objective: Callable[..., Any] | str | Problem,
    space: SearchSpace | None = None,
    *,
    direction: str | Mapping[str, str] | None = None,
    searcher: str | Searcher = "auto",
    searcher_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    history: str | Path | None = None,
    resume: bool = False,
    constraints: Constraints = (),
    budget: Budget | None = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Search `space` for the config with the best objective, or for the Pareto set of several.

    Parameters
    ----------
    objective : callable, str, Parsl app or Problem
        ``objective(config)`` or ``objective(config, trial)``, returning a float or a mapping that
        holds the objective and further metrics; a command template such as
        ``"python train.py --lr {learning_rate}"``; an existing ``python_app``; or a problem, which
        brings its space and direction.
    space : SearchSpace, optional
        Needed unless `objective` is a problem.
    direction, searcher, searcher_options, seed, history, resume, constraints, budget
        See :class:`~dhflow.study.Study`.
    **options
        Site, limits and the rest of :class:`~dhflow.flow.settings.RunSettings`: ``site="laptop"``,
        ``max_trials=100``, ``wall_time_s=3600``, ``timeout_s=600``, …

    Returns
    -------
    Result

    Examples
    --------
    >>> from dhflow import Float, SearchSpace, search
    >>> space = SearchSpace({"x": Float(-2.0, 2.0)})
    >>> result = search(lambda config: config["x"] ** 2, space, site="laptop",
    ...                 site_set={"executor": "threads"}, searcher="random", seed=1, max_trials=20)
    >>> len(result), abs(result.best.config["x"]) < 0.5
    (20, True)
    """
    what, function = what_to_search(objective, space)
    with Study(
        what,
        direction=direction,
        searcher=searcher,
        searcher_options=searcher_options,
        seed=seed,
        history=history,
        resume=resume,
        constraints=constraints,
        budget=budget,
    ) as study:
        return study.run(function, **options)


def what_to_search(
    objective: Callable[..., Any] | str | Problem, space: SearchSpace | None
) -> tuple[SearchSpace | Problem, Callable[..., Any] | str | None]:
    """Return what the first two arguments of :func:`search` say: what a study is made of, and what it runs.

    Raises
    ------
    SearchError
        If the space is missing, or there twice.
    """
    if isinstance(objective, Problem):
        if space is not None:
            raise SearchError("a Problem brings its own space: leave `space` out")
        return objective, None
    if space is None:
        raise SearchError("search(objective, space): the search space is missing")
    return space, objective


def search_app(objective: Any, space: Any = None, **options: Any) -> Future[Result]:
    """Search inside a Parsl workflow; return at once a future that other apps take as input.

    Parameters
    ----------
    objective, space, **options
        As for :func:`search`. Each of them, and each value of ``arguments``, may be a future: the
        search starts when they are done. Without ``site`` it runs on the workflow's loaded kernel,
        which is never closed here; ``executors`` picks some of its executors by label.

    Returns
    -------
    Future of Result

    Notes
    -----
    The search has a thread of its own; none of the kernel's threads waits for it.

    Raises
    ------
    SearchError
        If no kernel is loaded and no ``site`` is given.
    """
    if "site" not in options:
        options["site"] = _loaded_kernel()
    future: Future[Result] = Future()

    def run() -> None:
        try:
            ready = {name: _resolved(value) for name, value in options.items()}
            future.set_result(search(_resolved(objective), _resolved(space), **ready))
        except BaseException as error:  # noqa: BLE001 - it is the future's to raise
            future.set_exception(error)

    future.set_running_or_notify_cancel()
    threading.Thread(target=run, name="dhflow-search", daemon=True).start()
    return future


def load(history: str | Path) -> Result:
    """Return the study that a history holds, to look at; also while a search writes to it.

    Raises
    ------
    HistoryError
        If there is no such history, or it cannot be read.
    """
    path = Path(history)
    record = load_record(path)
    ended = record.sessions[-1][1] if record.sessions else None
    return Result(record, str(ended.info.get("reason", "")) if ended else "", path)


def _loaded_kernel() -> Any:
    import parsl
    from parsl.errors import NoDataFlowKernelError

    try:
        return parsl.dfk()
    except NoDataFlowKernelError as error:
        raise SearchError(
            "search_app: no Parsl kernel is loaded; call parsl.load(...) first, or give a site"
        ) from error


def _resolved(value: Any) -> Any:
    """Wait for a future, or for those inside a mapping, a list or a tuple."""
    if isinstance(value, Future):
        return value.result()
    if isinstance(value, Mapping) and any(isinstance(each, Future) for each in value.values()):
        return {name: _resolved(each) for name, each in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(each, Future) for each in value):
        return type(value)(_resolved(each) for each in value)
    return value
