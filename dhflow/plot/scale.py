"""Scales: which values of the objective set the scale, and how a parameter lies on an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dhflow.constraint import is_feasible
from dhflow.flow.standing import Standing
from dhflow.flow.text import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.objective import Objective
    from dhflow.result import Result
    from dhflow.space.parameter import Parameter
    from dhflow.trial import Trial

_FAR_OFF = 4.0
_MANY_DECADES = 10.0
_MAX_TICKS = 8
_MAX_NAMES = 12
_MAX_LABEL = 14


def value_of(trial: Trial) -> float:
    """Return a trial's objective in the user's sign, NaN if it has none."""
    return math.nan if trial.objective is None else trial.objective


def best_of(result: Result) -> Trial:
    """Return the best trial by the first objective, which is the one that most figures show.

    Raises
    ------
    SearchError
        If no trial that meets the constraints has completed.
    """
    best = Standing(result.objectives[0], result.record.trials.values(), result.constraints).best
    if best is None:
        raise result.without_best()
    return best


def split_feasible(result: Result, trials: Iterable[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Return the trials that meet the constraints, and those that violate one."""
    constraints = result.constraints
    feasible: list[Trial] = []
    rest: list[Trial] = []
    for each in trials:
        (feasible if is_feasible(each, constraints) else rest).append(each)
    return feasible, rest


def value_limits(values: Iterable[float], objective: Objective) -> tuple[float, float] | None:
    """Return the ends of an axis that shows the better values well, or None where one value is all there is.

    Values far worse than most do not set the scale: those that lie more than four times as far from the
    best as seven eighths of all do.
    """
    losses = sorted(objective.to_loss(each) for each in values)
    if not losses or losses[0] == losses[-1]:
        return None
    best, worst = losses[0], losses[-1]
    usual = losses[math.ceil(0.875 * (len(losses) - 1))]
    if usual > best and worst - best > _FAR_OFF * (usual - best):
        worst = best + 1.6 * (usual - best)
    margin = 0.06 * (worst - best)
    ends = (objective.from_loss(best - margin), objective.from_loss(worst + 2 * margin))
    return min(ends), max(ends)


def places(parameter: Parameter) -> list[Any] | None:
    """Return the values that have a place each on the axis, or None for a parameter that is a number."""
    listed = getattr(parameter, "listed", None)
    if listed is None or (not parameter.is_categorical and is_numeric(listed)):
        return None
    return list(listed)


def is_numeric(values: Sequence[object]) -> bool:
    """Tell whether all values are numbers (truth values are none)."""
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def is_log(parameter: Parameter) -> bool:
    """Tell whether a parameter's axis is logarithmic: it says so, or its listed numbers span a decade."""
    if getattr(parameter, "log", False):
        return True
    listed = getattr(parameter, "listed", ())
    return bool(listed and places(parameter) is None and min(listed) > 0 and max(listed) >= _MANY_DECADES * min(listed))


def set_axis(axes: Axes, parameter: Parameter) -> None:
    """Give the x axis the scale, the ends and the ticks of a parameter."""
    named = places(parameter)
    if named is not None:
        axes.set_xlim(-0.5, len(named) - 0.5)
        every = math.ceil(len(named) / _MAX_NAMES)
        shown = range(0, len(named), every)
        labels = [short(named[i]) for i in shown]
        axes.set_xticks(list(shown), labels)
        if sum(map(len, labels)) > 24:
            axes.tick_params(axis="x", rotation=35)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        return
    listed = getattr(parameter, "listed", ())
    low, high = (min(listed), max(listed)) if listed else (parameter.low, parameter.high)  # type: ignore[attr-defined]
    if low == high:
        axes.set_xlim(low - 0.5, high + 0.5)
    elif is_log(parameter):
        axes.set_xscale("log")
        pad = (high / low) ** 0.04
        axes.set_xlim(low / pad, high * pad)
    else:
        axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        axes.locator_params(axis="x", nbins=5)
    if listed and len(listed) <= _MAX_TICKS:
        axes.set_xticks(list(listed), [short(each) for each in listed])
        axes.set_xticks([], minor=True)


def short(value: object) -> str:
    """Return a value for a tick."""
    text = format_value(value)
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"
