"""The learning curves of a study's trials, as the rules compare a run with them: few, short and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dhflow.monitor.context import Context, Sibling
from dhflow.monitor.record import Reading
from dhflow.trial import Measurement, Trial, TrialStatus

MOST_SIBLINGS = 80
"""With more, the newest: a rule takes time for each of them."""

MOST_POINTS = 60

Curve = dict[str, list[tuple[int, float]]]
"""From metric to (step, value)."""


@dataclass(slots=True)
class _Known:
    trial: Trial
    curve: Curve
    is_finished: bool = False
    family: frozenset[int] = field(default_factory=frozenset)


class Siblings:
    """Curves by trial, of those that have ended and of those that run."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add_ended(self, trial: Trial, measurements: Iterable[Measurement]) -> None:
        """Take the curve of a trial that has ended."""
        curve: Curve = {}
        for step, _, name, value in measurements:
            curve.setdefault(name, []).append((step, value))
        self._put(trial, curve, is_finished=trial.status is TrialStatus.COMPLETED)

    def add_running(self, trial: Trial, readings: Sequence[Reading]) -> None:
        """Take the curve of a trial so far."""
        curve: Curve = {}
        for each in readings:
            if each.per == "epoch":
                for name, value in each.values.items():
                    curve.setdefault(name, []).append((each.step, value))
        self._put(trial, curve, is_finished=False)

    def _put(self, trial: Trial, curve: Curve, *, is_finished: bool) -> None:
        self._known.pop(trial.trial_id, None)  # the newest last
        if not curve:
            return
        thin = {name: rows[:: -(-len(rows) // MOST_POINTS)] for name, rows in curve.items()}
        for name, rows in curve.items():
            if thin[name][-1] is not rows[-1]:
                thin[name].append(rows[-1])
        parents = frozenset() if trial.parent_id is None else frozenset({trial.parent_id})
        self._known[trial.trial_id] = _Known(trial, thin, is_finished, parents)
        while len(self._known) > MOST_SIBLINGS:
            del self._known[next(iter(self._known))]

    def around(self, trial: Trial, context: Context) -> Context:
        """Return a trial's context with the others' curves, and with what its own config has come to in them."""
        return replace(context, siblings=self.of(trial, context.metric), repeats=self.repeats_of(trial, context.metric))

    def repeats_of(self, trial: Trial, metric: str) -> tuple[float, ...]:
        """Return the final values of a metric in the completed trials of the same config and budget."""
        found = []
        for known in self._known.values():
            other, rows = known.trial, known.curve.get(metric)
            is_other = other.trial_id != trial.trial_id and not {other.parent_id, trial.parent_id} - {None}
            if (
                is_other
                and rows
                and known.is_finished
                and other.budget == trial.budget
                and other.config == trial.config
            ):
                found.append(float(rows[-1][1]))
        return tuple(found)

    def of(self, trial: Trial, metric: str) -> tuple[Sibling, ...]:
        """Return the other trials' curves of a metric; those that a trial goes on from are no others."""
        found = []
        for trial_id, known in self._known.items():
            is_own = trial_id in (trial.trial_id, trial.parent_id) or trial.trial_id in known.family
            rows = known.curve.get(metric)
            if not is_own and rows:
                steps, values = zip(*rows, strict=True)
                arrays = np.array(steps, np.float64), np.array(values, np.float64)
                found.append(Sibling(trial_id, *arrays, known.is_finished))
        return tuple(found)
