"""The context of a trial's run: which metric is the objective's, and what the study knows around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dhflow.monitor.context import Context, Sibling, direction_by_name
from dhflow.monitor.record import Records
from dhflow.objective import Direction, Objective

if TYPE_CHECKING:
    from dhflow.space import SearchSpace


_VALIDATION = frozenset({"val", "valid", "validation", "dev", "eval", "test"})
"""Words in the names of metrics that are not of the training data."""


def metric_of(names: Sequence[str], objective: Objective) -> str:
    """Return which of the metrics that a trial reports is the objective's.

    In this order: the one of its name; ``val_loss``; the only one that there is; one of validation data (``val_...``,
    ``eval/...``); ``loss``; one of several whose name says that it goes the objective's way (``accuracy``, of what is
    maximised). Of several of validation data the one that has the objective's name in its own comes first, then a
    loss, then one whose name says the objective's direction, then the first. Where nothing of this is reported it is
    the objective's own name, and nothing can be judged by it.
    """
    for each in (objective.name, "val_loss"):
        if each in names:
            return each
    others = [each for each in names if each != "learning_rate"]
    if len(others) == 1:
        return others[0]
    of_validation = [each for each in others if _VALIDATION & set(_words(each))]
    if of_validation:
        return min(of_validation, key=lambda each: _rank(each, objective))
    if "loss" in names:
        return "loss"
    likely = [each for each in others if _rank(each, objective) < _LAST]
    return min(likely, key=lambda each: _rank(each, objective), default=objective.name)


_LAST = 3


def _rank(name: str, objective: Objective) -> int:
    is_sign = (
        objective.name.lower() in name.lower(),
        "loss" in name.lower(),
        direction_by_name(name) == objective.direction,
    )
    return next((rank for rank, holds in enumerate(is_sign) if holds), _LAST)


def _words(name: str) -> list[str]:
    return re.split("[^a-z]+", name.lower())


def directions_of(metric: str, objectives: Sequence[Objective]) -> dict[str, Direction]:
    """Return the directions that a study declares; a metric that stands for its objective has that one's.

    But a loss or an error is minimised whatever is made of it in the end.
    """
    declared = {each.name: each.direction for each in objectives}
    if metric not in declared and direction_by_name(metric) != "minimize" and len(objectives) == 1:
        declared[metric] = objectives[0].direction
    return declared


def _is_of(metric: str, objective: Objective) -> bool:
    """Tell whether a metric has the objective's unit: its name, on validation data or not."""
    return metric.removeprefix("val_") == objective.name.removeprefix("val_")


def context_of(
    records: Records,
    objectives: Sequence[Objective],
    *,
    config: Mapping[str, Any] | None = None,
    space: SearchSpace | None = None,
    siblings: tuple[Sibling, ...] = (),
    target: float | None = None,
    full_budget: float | None = None,
    time_left_s: float | None = None,
    now: float | None = None,
) -> Context:
    """Return the context of a run of a study; parameters as in :class:`~dhflow.monitor.context.Context`.

    A target is one of the objective: it says nothing of another metric that stands for it. Where the study declares no
    budget, the epochs that the run itself says it is to have are its full budget.
    """
    metric = metric_of(records.metric_names, objectives[0]) if objectives else "val_loss"
    return Context(
        config=config or {},
        space=space,
        metric=metric,
        directions=directions_of(metric, objectives),
        siblings=siblings,
        target=target if objectives and _is_of(metric, objectives[0]) else None,
        full_budget=full_budget if full_budget is not None else records.network.n_epochs or None,
        time_left_s=time_left_s,
        now=now,
    )
