"""The context of a trial's run: which metric is the objective's, and what the study knows around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dhflow.monitor.context import Context, Sibling
from dhflow.monitor.record import Records
from dhflow.objective import Direction, Objective

if TYPE_CHECKING:
    from dhflow.space import SearchSpace


def metric_of(names: Sequence[str], objective: Objective) -> str:
    """Return which of the metrics that a trial reports is the objective's.

    The one of its name, else the validation loss, else the only one that there is, else the loss.
    """
    for each in (objective.name, "val_loss"):
        if each in names:
            return each
    others = [each for each in names if each != "learning_rate"]
    return others[0] if len(others) == 1 else "loss" if "loss" in names else objective.name


def directions_of(metric: str, objectives: Sequence[Objective]) -> dict[str, Direction]:
    """Return the directions that a study declares; a metric that stands for its objective has that one's."""
    declared = {each.name: each.direction for each in objectives}
    if metric not in declared and "loss" not in metric and len(objectives) == 1:
        declared[metric] = objectives[0].direction
    return declared


def context_of(
    records: Records,
    objectives: Sequence[Objective],
    *,
    config: Mapping[str, Any] | None = None,
    space: SearchSpace | None = None,
    siblings: tuple[Sibling, ...] = (),
    full_budget: float | None = None,
    time_left_s: float | None = None,
    now: float | None = None,
) -> Context:
    """Return the context of a run of a study; parameters as in :class:`~dhflow.monitor.context.Context`."""
    metric = metric_of(records.metric_names, objectives[0]) if objectives else "val_loss"
    return Context(
        config=config or {},
        space=space,
        metric=metric,
        directions=directions_of(metric, objectives),
        siblings=siblings,
        full_budget=full_budget,
        time_left_s=time_left_s,
        now=now,
    )
