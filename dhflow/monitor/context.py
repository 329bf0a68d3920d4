"""What a rule may know besides the run's own records: its config, its siblings, what is aimed at, what is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dhflow.monitor.record import FloatArray, Records, Series
from dhflow.objective import Direction, Objective

if TYPE_CHECKING:
    from dhflow.monitor.trend.judgement import Trend
    from dhflow.space import SearchSpace

_MAXIMISED = ("acc", "auc", "f1", "precision", "recall", "r2", "score", "iou", "dice", "bleu", "top_k")
"""Parts of names of metrics that are better when higher, where nobody says."""


def direction_by_name(metric: str) -> Direction | None:
    """Return the direction that a metric's name says: a loss or an error is minimised; None if it says nothing."""
    name = metric.lower()
    if "loss" in name or "error" in name:
        return "minimize"
    return "maximize" if any(each in name for each in _MAXIMISED) else None


@dataclass(frozen=True, slots=True, eq=False)
class Sibling:
    """Another trial's curve of the objective's metric.

    Parameters
    ----------
    trial_id : int
    steps, values : (k,)
        In the user's sign.
    is_finished : bool
        It reached the full budget.
    """

    trial_id: int
    steps: FloatArray
    values: FloatArray
    is_finished: bool = False


@dataclass(frozen=True, eq=False)
class Context:
    """What surrounds a run.

    Parameters
    ----------
    config : mapping
        The trial's; empty without a search.
    space : SearchSpace, optional
        What suggestions are checked against.
    metric : str
        Whose curve is the objective: the validation loss unless another is named.
    directions : mapping
        Metric to ``"minimize"`` or ``"maximize"``; others are told by their names.
    siblings : tuple of Sibling
        Trials of the same study with curves of `metric`.
    target : float, optional
        The least that `metric` should reach, in the user's sign.
    baseline : float, optional
        What `metric` is without learning (chance) or with a linear model.
    full_budget : float, optional
        Steps of a whole run.
    time_left_s : float, optional
        Of the trial's or the job's time limit.
    now : float, optional
        UTC epoch seconds; None takes the time of the last record.
    repeats : tuple of float
        Final values of `metric` of the same config on other splits or seeds.
    trend : Trend, optional
        The judgement of the curve, if it was made already.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    space: SearchSpace | None = None
    metric: str = "val_loss"
    directions: Mapping[str, Direction] = field(default_factory=dict)
    siblings: tuple[Sibling, ...] = ()
    target: float | None = None
    baseline: float | None = None
    full_budget: float | None = None
    time_left_s: float | None = None
    now: float | None = None
    repeats: tuple[float, ...] = ()
    trend: Trend | None = None

    def direction(self, metric: str) -> Direction:
        """Return a metric's direction: as told, else by its name; a loss or an error is minimised."""
        return self.directions.get(metric) or direction_by_name(metric) or "minimize"

    def objective(self, metric: str | None = None) -> Objective:
        """Return a metric (the objective's own by default) with its direction."""
        name = metric or self.metric
        return Objective(name, self.direction(name))

    def curve(self, records: Records) -> Series:
        """Return the objective's curve, minimised: that of `metric`, else of the loss."""
        return self.minimised(records, self.judged(records))

    def minimised(self, records: Records, name: str) -> Series:
        """Return the curve of a metric, minimised."""
        found = records.series(name)
        return found if self.direction(name) == "minimize" else Series(found.steps, -found.values, found.times)

    def judged(self, records: Records) -> str:
        """Return which metric is there to be judged: `metric`, else the validation loss, else the loss."""
        names = records.metric_names
        return next((each for each in (self.metric, "val_loss", "loss") if each in names), self.metric)

    def n_full(self, records: Records) -> float:
        """Return the steps of a whole run; twice the steps so far where nobody said."""
        if self.full_budget is not None and math.isfinite(self.full_budget):
            return max(self.full_budget, float(records.last_step))
        return 2.0 * max(records.last_step, 1)

    def sibling_losses(self, step: float) -> FloatArray:
        """Return each sibling's lowest loss up to a step; siblings that had not come so far are left out."""
        to_loss = self.objective().to_loss
        found = []
        for each in self.siblings:
            if not len(each.steps) or (float(np.max(each.steps)) < step and not each.is_finished):
                continue
            values = np.array([to_loss(float(value)) for value in each.values[each.steps <= step]])
            values = values[np.isfinite(values)]
            found.append(float(values.min()) if values.size else math.inf)
        return np.array(found)
