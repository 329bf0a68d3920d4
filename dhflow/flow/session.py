"""One session of a study: from what the user passed to `run` to a closed pool and a complete history."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from dhflow.errors import SearchError
from dhflow.flow.call import Call
from dhflow.flow.confidential import for_history, keep_withheld, without_secrets
from dhflow.flow.driver import Driver, Observer
from dhflow.flow.interrupts import Interrupts
from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop
from dhflow.flow.loop_settings import LoopSettings
from dhflow.flow.parts import StudyParts
from dhflow.flow.pool import Pool, PoolPlan, plan_pool
from dhflow.flow.preparation import CallMaker, pool_settings, prepared_call
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.settings import RunSettings
from dhflow.history.event import Event, SessionEnded, SessionStarted
from dhflow.history.monitor_event import CommandTaken
from dhflow.trial import Config, TrialSource

_log = logging.getLogger(__name__)

_PACKAGES = ("dhflow", "parsl", "numpy", "scikit-learn", "h5py", "cloudpickle", "dill", "tensorflow")
"""Whose versions a session records."""


_JOB_GRACE_S, _JOB_GRACE_SHARE = 60.0, 0.25
"""A search inside a batch job ends this long before the job, or this share of a job's last minutes."""


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
        self._interrupts = Interrupts()

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

    def command(self, command: CommandTaken) -> bool:
        """Hand a command to the running session; False if none runs."""
        watcher = None if self._driver is None else self._driver.watcher
        if watcher is not None:
            watcher.order(command)
        return watcher is not None

    def run(self) -> str:
        """Run the session; return why it ended.

        Raises
        ------
        SiteError, ExecutionError
            If the workers cannot be had.
        SearchError
            If the first trials all fail in the same way, or the searcher fails.
        KeyboardInterrupt
            After Ctrl-C, SIGTERM or SIGHUP, when everything is recorded and closed.
        """
        with self._interrupts:
            reason = self._run_and_close()
        if self._interrupts.caught:
            raise _interrupt(self._interrupts.reason, self._parts.history_path)
        return reason

    def _run_and_close(self) -> str:
        where = pool_settings(self._objective, self._settings)
        directory = RunDirectory(self._parts.history_path, keep=self._settings.keep, session=self._number)
        try:
            plan = plan_pool(
                where.site,
                site_set=where.site_set,
                executors=where.executors,
                workers=where.workers,
                run_directory=directory.parsl,
            )
            with prepared_call(self._objective, self._parts, self._settings, directory, plan) as call_on:
                return self._run_in(plan, call_on, directory)
        finally:
            directory.close()

    def _run_in(self, plan: PoolPlan, call_on: CallMaker, directory: RunDirectory) -> str:
        pool = plan.open()
        loop = self._make_loop(pool)
        try:
            load_packages(self._parts.searcher.packages, pool)
            server = None
            if self._settings.channel != "auto":
                from dhflow.flow.watching import open_server

                server = open_server(self._settings, pool, directory)
            call = call_on(pool, None if server is None else server.address)
            return self._run_on(pool, call, loop, directory, server)
        finally:
            self._driver = None
            self._interrupts.keep()
            pool.close(abandoned=loop.n_abandoned)

    def _run_on(self, pool: Pool, call: Call, loop: CompletionLoop, directory: RunDirectory, server: Any) -> str:
        from dhflow.flow.watching import make_watcher

        keep_withheld(self._settings.site_set, directory.path)
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
            watch=partial(make_watcher, parts=self._parts, settings=self._settings, directory=directory, server=server),
        )
        self._post_starting_points(driver)
        if self._stopped is not None:
            driver.stop(self._stopped)
        reason = "failed"
        try:
            _tell(observers, "begin")
            self._interrupts.stop_with(driver.stop)
            reason = driver.run()
        finally:
            self._interrupts.keep()
            _tell(observers, "close")
            self._note(SessionEnded(self._number, time.time(), {"reason": reason, "abandoned": loop.n_abandoned}))
        if loop.n_abandoned and not pool.can_kill:
            _log.warning("trials that still run, in threads that nothing can end: %d", loop.n_abandoned)
        if loop.aborting is not None:
            failure = loop.aborting
            raise SearchError(
                f"{reason}: {failure.kind}: {failure.message} ({failure.location})\n{failure.traceback}".rstrip()
            )
        return reason

    def _make_loop(self, pool: Pool) -> CompletionLoop:
        return CompletionLoop(
            self._parts.record,
            self._parts.objectives,
            _limits_within_job(self._settings.limits, pool.ends_at),
            LoopSettings(
                seed=self._parts.seed,
                max_attempts=self._settings.max_attempts,
                abort_after=self._settings.abort_after,
                prefetch=self._settings.prefetch,
                full_budget=self._parts.full_budget or 1.0,
                session=self._number,
            ),
            self._parts.constraints,
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
            "site_set": {name: repr(value)[:200] for name, value in for_history(settings.site_set).items()},
            "n_slots": pool.n_slots,
            "n_nodes": pool.n_nodes,
            "searcher": self._parts.searcher.describe(),
            "objective": describe_objective(self._objective),
            "limits": {each.name: getattr(settings, each.name) for each in fields(Limits)},
            "timeout_s": settings.timeout_s,
            "adapt": settings.adapt,
            "stoppers": [each.name for each in settings.policy.stoppers],
            "python": platform.python_version(),
            "versions": _versions(),
            **({"reference": dict(settings.reference)} if settings.reference else {}),
        }


def describe_objective(objective: Callable[..., Any] | str) -> str:
    """Return a reference to an objective for the history: a command without its secrets, or ``module:name``."""
    if isinstance(objective, str):
        return f"command: {without_secrets(objective)}"
    target = getattr(objective, "func", objective)
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return f"{getattr(target, '__module__', '?')}:{name}"


def _interrupt(reason: str, history: Path | None) -> KeyboardInterrupt:
    """Return what an interrupted session raises; for those at a prompt or in a notebook it says how to go on."""
    stop = KeyboardInterrupt(reason)
    if history is not None and sys.version_info >= (3, 11):
        stop.add_note(f"Everything is in {history}; go on with history={str(history)!r}, resume=True")
    return stop


def _limits_within_job(limits: Limits, ends_at: float | None) -> Limits:
    """Return the limits of a session that ends before the batch job in which it runs, with time left to close."""
    if ends_at is None:
        return limits
    left_s = ends_at - time.time()
    left_s = max(0.0, left_s - min(_JOB_GRACE_S, _JOB_GRACE_SHARE * left_s))
    wall_time_s = left_s if limits.wall_time_s is None else min(left_s, limits.wall_time_s)
    return replace(limits, wall_time_s=wall_time_s)


def load_packages(packages: Sequence[str], pool: Pool) -> None:
    """Import what asks will need while the workers start; else the first fit imports it while all of them wait.

    Where workers are ready at once nothing would be gained: there the import waits until it is needed.
    """
    if not pool.owns or pool.is_in_process:
        return
    for each in packages:
        with suppress(ImportError):  # the ask that needs it will say so
            importlib.import_module(each)


def _tell(observers: Sequence[Observer], what: str) -> None:
    """Call ``begin`` (before any trial is submitted) or ``close`` of those observers that have it."""
    for each in observers:
        method = getattr(each, what, None)
        if method is not None:
            method()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
