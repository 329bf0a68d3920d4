"""One attempt as the watcher sees it: its records so far, and what was found about it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from dhflow.monitor.finding import Finding, Light, Severity, finding_to_json
from dhflow.monitor.keeper import Keeper
from dhflow.monitor.record import Listening, Reading, Record, TimeLimit
from dhflow.monitor.rules import Judgement
from dhflow.trial import Trial

SILENT_S = 30.0
"""A run that says nothing is looked at again after so long: it may have stalled."""

MOST_FINDINGS = 60
"""That the history keeps of one attempt."""

_CURVE_POINTS = 40


class Watched:
    """An attempt.

    Parameters
    ----------
    trial : Trial
    attempt : int
    """

    def __init__(self, trial: Trial, attempt: int) -> None:
        self.trial = trial
        self.attempt = attempt
        self.keeper = Keeper()
        self.metric = ""
        self.judgement: Judgement | None = None
        self.is_stopping = False
        self.keeper_is_home = False
        """Whether its records came home with the result, and are in the history."""
        self.listens = False
        """Whether it has asked for controls."""
        self.limit: TimeLimit | None = None
        """How long it may go on, as its worker has said last."""
        self.asked_rate: float | None = None
        """The last learning rate that it was asked to take."""
        self.heard_at = self.judged_at = time.monotonic()
        self._is_new = self._is_given_up = False
        self._recorded: set[tuple[str, Severity]] = set()

    def add(self, records: Iterable[Record]) -> None:
        """Take records in."""
        every = list(records)
        if every:
            self.keeper.add(every)
            self.listens = self.listens or any(isinstance(each, Listening) for each in every)
            self.limit = next((each for each in reversed(every) if isinstance(each, TimeLimit)), self.limit)
            self.heard_at = time.monotonic()
            self._is_new = True

    def restart(self) -> None:
        """Forget the records: their file has been written anew."""
        self.keeper = Keeper()

    @property
    def has_reported(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self.keeper.records.readings or self.keeper.records.tensors)

    def give_up(self) -> None:
        """Judge it no more."""
        self._is_given_up = True

    @property
    def is_due(self) -> bool:
        """Whether there is news, or has been none for long."""
        if self._is_given_up:
            return False
        if self._is_new:
            return self.has_reported
        return self.has_reported and time.monotonic() - max(self.judged_at, self.heard_at) > SILENT_S

    @property
    def now(self) -> float:
        """The time as the worker's clock has it, as far as its records tell."""
        return self.keeper.records.last_time + time.monotonic() - self.heard_at

    @property
    def time_left_s(self) -> float | None:
        """Seconds until its time limit; None while its worker has not said when that is, or its records have no times.

        By the worker's clock: neither the wait in a queue counts nor how late its records are read.
        """
        if self.limit is None or self.keeper.records.last_time <= 0:
            return None
        return self.limit.left_s - (self.now - self.limit.time)

    def judged(self, judgement: Judgement, more: Sequence[Finding] = ()) -> list[dict[str, Any]]:
        """Take a judgement; return the JSON forms of what is new in it.

        A rule counts once for each severity, so that a run on the border does not fill the history.
        """
        self._is_new = False
        self.judged_at = time.monotonic()
        self.judgement = judgement
        news = []
        for each in (*more, *judgement.findings):
            key = (each.rule, each.severity)
            if key not in self._recorded and len(self._recorded) < MOST_FINDINGS:
                self._recorded.add(key)
                news.append(finding_to_json(each))
        return news

    def to_json(self) -> dict[str, Any]:
        """Return what is shown of it."""
        records = self.keeper.records
        judgement = self.judgement
        series = records.series(self.metric)
        stride = max(1, -(-len(series) // _CURVE_POINTS))
        trend = None if judgement is None else judgement.trend
        return {
            "trial": self.trial.trial_id,
            "attempt": self.attempt,
            "light": (Light.GREEN if judgement is None else judgement.light).value,
            "verdict": None if trend is None else trend.verdict.value,
            "probability": None if trend is None else round(trend.probability, 3),
            "metric": self.metric,
            "step": records.last_step,
            "budget": self.trial.budget,
            "curve": [_json_number(each) for each in series.values[::-1][::stride][::-1].tolist()],
            "findings": [] if judgement is None else [finding_to_json(each) for each in judgement.findings],
            "stopping": self.is_stopping,
            "listens": self.listens,
        }


def readings_of(measurements: Iterable[tuple[int, float, str, float]]) -> list[Reading]:
    """Return the readings whose numbers a learning curve holds."""
    by: dict[tuple[int, float], dict[str, float]] = {}
    for step, at, name, value in measurements:
        by.setdefault((step, at), {})[name] = value
    return [Reading(step, values, at) for (step, at), values in by.items()]


def _json_number(value: float) -> float | str:
    return value if -float("inf") < value < float("inf") else str(value)
