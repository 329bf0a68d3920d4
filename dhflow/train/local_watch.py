"""The rules on the worker itself, where nobody else can watch a trial while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dhflow.monitor.control import Control
from dhflow.monitor.finding import Finding, Severity, finding_to_json
from dhflow.monitor.keeper import Keeper
from dhflow.monitor.line import to_json
from dhflow.monitor.record import Reading, Record
from dhflow.monitor.rules import judge
from dhflow.monitor.surroundings import context_of
from dhflow.train.attempt_directory import read_curve, read_detail
from dhflow.train.task import Task

COST_SHARE = 0.02
"""Of the trial's time that judging it may take."""


class LocalWatch:
    """Judges one attempt as it reports; siblings are not known here.

    Parameters
    ----------
    task : Task
        With a policy among its settings.
    time_left_s : callable
        As :attr:`~dhflow.train.TrialContext.time_left_s`.
    monotonic : callable, optional
        A clock that never jumps.
    """

    def __init__(
        self,
        task: Task,
        time_left_s: Callable[[], float | None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        self._policy = task.settings.policy
        self._time_left_s = time_left_s
        self._monotonic = monotonic
        self._keeper = Keeper()
        self._found: dict[tuple[str, Severity], Finding] = {}
        self._next_at = monotonic()
        self._has_stopped = False
        self._is_new = False

    def add(self, records: Iterable[Record]) -> Control | None:
        """Take records in; return the control that the policy wants, if any."""
        every = list(records)
        self._keeper.add(every)
        self._is_new = True
        # Detail alone does not call for a judgement: it belongs to an epoch whose reading comes.
        is_due = self._monotonic() >= self._next_at and any(isinstance(each, Reading) for each in every)
        return self._judge() if is_due else None

    def findings(self) -> tuple[dict[str, Any], ...]:
        """Return what was found, a rule's findings once for each severity, in JSON form."""
        if self._is_new:
            self._judge()
        return tuple(finding_to_json(each) for each in self._found.values())

    def _judge(self) -> Control | None:
        began = self._monotonic()
        self._is_new = False
        task, records = self._task, self._keeper.records
        context = context_of(
            records,
            task.settings.objectives,
            config=task.config,
            space=_space_of(task),
            full_budget=task.full_or_own_budget,
            time_left_s=self._time_left_s(),
        )
        judgement = judge(records, context)
        reason = None if self._policy is None else self._policy.reason_to_stop(judgement, records, context)
        for each in (*judgement.findings, *(() if reason is None else (reason,))):
            self._found.setdefault((each.rule, each.severity), each)
        self._next_at = self._monotonic() + (self._monotonic() - began) / COST_SHARE
        if reason is None or self._has_stopped:
            return None
        self._has_stopped = True
        return Control("stop", reason=reason.text)


def judged_files(task: Task, directory: Path) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Return what comes home of a command's records: detail and findings, in JSON form."""
    curve = read_curve(directory)
    steps: dict[tuple[int, float], dict[str, float]] = {}
    for step, at, name, value in curve.measurements():
        steps.setdefault((step, at), {})[name] = value
    detail = read_detail(directory)
    if not steps and not detail:
        return (), ()
    watch = LocalWatch(task, lambda: None)
    watch.add(detail)
    watch.add([Reading(step, values, at) for (step, at), values in steps.items()])
    return tuple(to_json(each) for each in detail), watch.findings()


def _space_of(task: Task) -> Any:
    from dhflow.space import SearchSpace

    form = task.settings.space
    return None if form is None else SearchSpace.from_json(dict(form))
