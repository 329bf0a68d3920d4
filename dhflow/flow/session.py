"""One session of a study: from what the user passed to `run` to a closed pool and a complete history."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from dhflow.errors import SearchError
from dhflow.flow.call import AppCall, Call, EvaluateCall
from dhflow.flow.driver import Driver, Observer
from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop, LoopSettings
from dhflow.flow.pool import Pool, open_pool
from dhflow.flow.run_directory import KEEP, Keep, RunDirectory
from dhflow.history.event import Event, SessionEnded, SessionStarted, StudyRecord
from dhflow.objective import Objective
from dhflow.searcher.base import Searcher
from dhflow.trial import Config, TrialSource

if TYPE_CHECKING:
    from parsl import Config as ParslConfig
    from parsl import DataFlowKernel

    from dhflow.history import History

_log = logging.getLogger(__name__)

_PACKAGES = ("dhflow", "parsl", "numpy", "scikit-learn", "h5py", "cloudpickle", "dill", "tensorflow")
"""Whose versions a session records."""


class RunOptions(TypedDict, total=False):
    """The keyword arguments of ``Study.run``, ``search`` and ``search_app``; see :class:`RunSettings`."""

    site: str | Path | ParslConfig | DataFlowKernel | Executor
    site_set: Mapping[str, Any]
    executors: Sequence[str] | None
    workers: int | None
    max_trials: int | None
    max_budget: float | None
    wall_time_s: float | None
    node_hours: float | None
    target: float | None
    plateau: int | None
    timeout_s: float | None
    abort_after: int | None
    max_attempts: int
    prefetch: int | None
    keep: Keep
    output_limit_bytes: int
    arguments: Mapping[str, Any]
    per_worker: Callable[[], Any] | None
    progress: bool
    observers: Sequence[Observer]


@dataclass(frozen=True)
class RunSettings:
    """How to run one session.

    Parameters
    ----------
    site
        A site's name, a path to a site file, a ``parsl.Config``, a loaded ``DataFlowKernel``, or any
        ``concurrent.futures.Executor``.
    site_set : mapping
        Arguments of a named site.
    executors : sequence of str, optional
        Labels of the Parsl executors to use.
    workers : int, optional
        Trials at a time, where the executor does not say.
    max_trials, max_budget, wall_time_s, node_hours, target, plateau
        Limits; see :class:`~dhflow.flow.limits.Limits`.
    timeout_s : float, optional
        A trial that runs longer is ended and FAILED; on threads its slot is abandoned.
    abort_after : int, optional
        Stop when the first trials, this many, all fail on the same line.
    max_attempts : int
        A trial whose worker was lost this often is LOST.
    prefetch : int, optional
        Suggestions to keep ready; None adapts it, and keeps none for one worker.
    keep : {"all", "failed", "none"}
        Whose files stay beside the history.
    output_limit_bytes : int
        What is kept of a trial's output.
    arguments : mapping
        Further keyword arguments of the objective.
    per_worker : callable, optional
        Prepares data once per worker: ``trial.prepared``.
    progress : bool
        Show the progress on standard error.
    observers : sequence of Observer
    """

    site: str | Path | ParslConfig | DataFlowKernel | Executor = "laptop"
    site_set: Mapping[str, Any] = field(default_factory=dict)
    executors: Sequence[str] | None = None
    workers: int | None = None
    max_trials: int | None = None
    max_budget: float | None = None
    wall_time_s: float | None = None
    node_hours: float | None = None
    target: float | None = None
    plateau: int | None = None
    timeout_s: float | None = None
    abort_after: int | None = 3
    max_attempts: int = 3
    prefetch: int | None = None
    keep: Keep = "all"
    output_limit_bytes: int = 1 << 20
    arguments: Mapping[str, Any] = field(default_factory=dict)
    per_worker: Callable[[], Any] | None = None
    progress: bool = False
    observers: Sequence[Observer] = ()

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise SearchError(f"keep must be one of {', '.join(KEEP)}, not {self.keep!r}")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise SearchError(f"timeout_s must be positive, it is {self.timeout_s}")
        if self.max_attempts < 1:
            raise SearchError(f"max_attempts must be at least 1, it is {self.max_attempts}")
        if self.limits.is_unlimited:
            raise SearchError("this search would never end: give max_trials, wall_time_s or another limit")

    @property
    def limits(self) -> Limits:
        """The limits among these settings."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})

    @classmethod
    def of(cls, options: RunOptions) -> RunSettings:
        """Return the settings that keyword arguments make.

        Raises
        ------
        SearchError
            If an option is unknown; close matches are named.
        """
        known = [each.name for each in fields(cls)]
        for name in options:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
                raise SearchError(f"unknown option {name!r}; {hint}")
        return cls(**options)


@dataclass(frozen=True)
class StudyParts:
    """What a session needs of its study."""

    record: StudyRecord
    objectives: tuple[Objective, ...]
    searcher: Searcher
    seed: int
    history: History | None
    history_path: Path | None
    full_budget: float | None
    starting_points: Sequence[Config]
    space_names: Sequence[str]


class Session:
    """Runs trials of a study until a limit is reached.

    Parameters
    ----------
    parts : StudyParts
    objective : callable, str or Parsl app
    settings : RunSettings
    """

    def __init__(self, parts: StudyParts, objective: Callable[..., Any] | str, settings: RunSettings) -> None:
        self._parts = parts
        self._objective = objective
        self._settings = settings
        self._number = len(parts.record.sessions)
        self._driver: Driver | None = None
        self._stopped: str | None = None

    def stop(self, reason: str = "stopped by the user") -> None:
        """Ask the running session to end; safe from any thread."""
        self._stopped = reason
        if self._driver is not None:
            self._driver.stop(reason)

    def enqueue(self, configs: Sequence[Config]) -> bool:
        """Hand the user's configs to the running session; False if none runs."""
        from dhflow.flow.message import Enqueued

        if self._driver is None:
            return False
        self._driver.post(Enqueued(configs))
        return True

    def run(self) -> str:
        """Run the session; return why it ended.

        Raises
        ------
        SiteError, ExecutionError
            If the workers cannot be had.
        SearchError
            If the first trials all fail in the same way, or the searcher fails.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, when everything is recorded and closed.
        """
        directory = RunDirectory(self._parts.history_path, keep=self._settings.keep)
        try:
            call_for = prepare_call(self._objective, self._parts, self._settings, directory)
            pool = open_pool(
                self._settings.site,
                site_set=self._settings.site_set,
                executors=self._settings.executors,
                workers=self._settings.workers,
                run_directory=directory.parsl,
            )
            loop = self._make_loop()
            try:
                return self._run_on(pool, call_for(pool), loop, directory)
            finally:
                self._driver = None
                pool.close(abandoned=loop.n_abandoned)
        finally:
            directory.close()

    def _run_on(self, pool: Pool, call: Call, loop: CompletionLoop, directory: RunDirectory) -> str:
        self._note(SessionStarted(self._number, time.time(), self._info(pool)))
        observers = [*self._settings.observers]
        if self._settings.progress:
            from dhflow.flow.progress import ProgressDisplay

            observers.append(ProgressDisplay())
        self._driver = driver = Driver(
            loop,
            self._parts.searcher,
            call=call,
            pool=pool,
            run_directory=directory,
            journal=self._parts.history,
            observers=observers,
        )
        self._post_starting_points(driver)
        if self._stopped is not None:
            driver.stop(self._stopped)
        reason = "failed"
        try:
            with _signals(driver) as caught:
                reason = driver.run()
        finally:
            for each in observers:
                close = getattr(each, "close", None)
                if close is not None:
                    close()
            self._note(SessionEnded(self._number, time.time(), {"reason": reason, "abandoned": loop.n_abandoned}))
        if loop.n_abandoned and not pool.can_kill:
            _log.warning("%d trials still run in threads that nothing can end", loop.n_abandoned)
        if caught:
            raise KeyboardInterrupt(reason)
        if loop.aborting is not None:
            failure = loop.aborting
            raise SearchError(
                f"{reason}: {failure.kind}: {failure.message} ({failure.location})\n{failure.traceback}".rstrip()
            )
        return reason

    def _make_loop(self) -> CompletionLoop:
        return CompletionLoop(
            self._parts.record,
            self._parts.objectives,
            self._settings.limits,
            LoopSettings(
                seed=self._parts.seed,
                max_attempts=self._settings.max_attempts,
                abort_after=self._settings.abort_after,
                prefetch=self._settings.prefetch,
                full_budget=self._parts.full_budget or 1.0,
                session=self._number,
            ),
        )

    def _post_starting_points(self, driver: Driver) -> None:
        """Evaluate defaults and starting points first, in a study's first session."""
        from dhflow.flow.message import Enqueued

        if not any(each.source is TrialSource.DEFAULT for each in self._parts.record.trials.values()):
            driver.post(Enqueued(list(self._parts.starting_points), TrialSource.DEFAULT))

    def _note(self, event: Event) -> None:
        self._parts.record.apply(event)
        if self._parts.history is not None:
            self._parts.history.append([event])

    def _info(self, pool: Pool) -> dict[str, Any]:
        settings = self._settings
        return {
            "host": platform.node(),
            "pid": os.getpid(),
            "site": pool.description,
            "site_set": {name: repr(value)[:200] for name, value in settings.site_set.items()},
            "n_slots": pool.n_slots,
            "n_nodes": pool.n_nodes,
            "searcher": self._parts.searcher.describe(),
            "objective": describe_objective(self._objective),
            "limits": {each.name: getattr(settings, each.name) for each in fields(Limits)},
            "timeout_s": settings.timeout_s,
            "python": platform.python_version(),
            "versions": _versions(),
        }


def prepare_call(
    objective: Callable[..., Any] | str, parts: StudyParts, settings: RunSettings, directory: RunDirectory
) -> Callable[[Pool], Call]:
    """Check the objective and pack it for shipping, before any worker starts; return what makes the call on a pool.

    Raises
    ------
    ExecutionError
        If the objective cannot be shipped.
    SearchError
        If an option does not go with this kind of objective.
    """
    if is_parsl_app(objective):
        for name in ("timeout_s", "per_worker"):
            if getattr(settings, name) is not None:
                raise SearchError(f"{name} does not work with a Parsl app as the objective: pass the plain function")
        return lambda _: AppCall(objective, parts.objectives, dict(settings.arguments))
    from dhflow.train import EvaluationSettings, make_source

    evaluation = EvaluationSettings(
        objectives=parts.objectives,
        source=make_source(
            objective,
            names=parts.space_names,
            arguments=dict(settings.arguments),
            per_worker=settings.per_worker,
            directory=directory.objectives,
        ),
        timeout_s=settings.timeout_s,
        output_limit_bytes=settings.output_limit_bytes,
        full_budget=parts.full_budget,
    )
    return lambda pool: EvaluateCall(pool, evaluation, directory)


def is_parsl_app(objective: object) -> bool:
    """Tell whether an objective is a Parsl app; bash apps, whose result is an exit code, are refused."""
    if "parsl" not in sys.modules:
        return False
    from parsl.app.app import AppBase
    from parsl.app.bash import BashApp

    if isinstance(objective, BashApp):
        raise SearchError(
            "a bash_app returns only an exit code: pass the command itself, "
            'for example search("python train.py --lr {learning_rate}", space)'
        )
    return isinstance(objective, AppBase)


def describe_objective(objective: Callable[..., Any] | str) -> str:
    """Return a reference to an objective for the history: a command, or ``module:name``."""
    if isinstance(objective, str):
        return f"command: {objective}"
    target = getattr(objective, "func", objective)
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return f"{getattr(target, '__module__', '?')}:{name}"


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _signals(driver: Driver) -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into an orderly stop; a second one ends at once. Only in the main thread."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def handle(number: int, frame: object) -> None:
        del frame
        caught.append(number)
        if len(caught) > 1:
            raise KeyboardInterrupt
        driver.stop(f"interrupted by {signal.Signals(number).name}")

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
