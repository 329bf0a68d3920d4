"""Several objectives against each other, with the trials that no other one dominates."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.text import count
from dhflow.pareto import non_dominated
from dhflow.plot import figure as look
from dhflow.plot.scale import split_feasible, value_limits
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dhflow.objective import Objective
    from dhflow.result import Result

_N_COLUMNS = 3


def plot_pareto(result: Result) -> Figure:
    """Draw every completed trial by its objectives, and the Pareto set; trials that violate a constraint are hollow.

    Parameters
    ----------
    result : Result
        Of two objectives or more.

    Returns
    -------
    Figure
        One picture of two objectives, one of each pair of more, in the user's sign. The line is the edge of what
        the trials dominate in these two objectives; with more, members of the Pareto set may lie behind it, as
        they are better in another one.

    Raises
    ------
    SearchError
        If there is one objective only, or no trial has completed.
    """
    objectives = result.objectives
    if len(objectives) == 1:
        raise SearchError("the figure pareto is of several objectives, and this study has one: draw objective")
    done = [each for each in result.trials if each.status is TrialStatus.COMPLETED and each.losses]
    if not done:
        raise SearchError("there is nothing to draw: no trial has completed yet")
    pairs = list(itertools.combinations(range(len(objectives)), 2))
    n_columns = min(_N_COLUMNS, len(pairs))
    n_rows = math.ceil(len(pairs) / n_columns)
    width, height = (7.0, 4.8) if len(pairs) == 1 else (3.6 * n_columns, 3.2 * n_rows + 0.7)
    figure = look.new_figure(width, height)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes, pair in zip(grid.flat, pairs, strict=False):
        _one(axes, result, done, pair)
    for axes in grid.flat[len(pairs) :]:
        axes.set_visible(False)
    _head(figure, result, n_done=len(done))
    return figure


def _one(axes: Axes, result: Result, done: list[Trial], pair: tuple[int, int]) -> None:
    members = result.pareto
    ids = {each.trial_id for each in members}
    feasible, infeasible = split_feasible(result, done)
    _scatter(axes, result, infeasible, pair, "infeasible")
    _scatter(axes, result, [each for each in feasible if each.trial_id not in ids], pair, "trial")
    if members:
        _edge(axes, result, members, pair)
    _scatter(axes, result, members, pair, "Pareto set")
    if result.default is not None and result.default.losses:
        _scatter(axes, result, [result.default], pair, "default")
    look.tidy(axes, grid="both")
    for at, axis in zip(pair, "xy", strict=True):
        objective = result.objectives[at]
        limits = _limits(objective, [each.losses[at] for each in done], [each.losses[at] for each in members])
        axes.set(**{f"{axis}label": f"{objective.name} ({objective.direction}d)"})
        if limits is not None:
            axes.set(**{f"{axis}lim": limits})


_LOOKS: dict[str, dict[str, Any]] = {
    "trial": {"s": 22, "color": look.SKY, "edgecolors": look.BLUE, "linewidths": 0.5, "alpha": 0.85, "zorder": 3},
    "infeasible": {"s": 22, "facecolors": "none", "edgecolors": look.GREY, "zorder": 2},
    "Pareto set": {"s": 44, "color": look.ORANGE, "edgecolors": look.DARK, "linewidths": 0.7, "zorder": 5},
    "default": {"s": 90, "facecolors": "none", "edgecolors": look.DARK, "marker": "D", "linewidths": 1.3, "zorder": 6},
}


def _scatter(axes: Axes, result: Result, trials: list[Trial], pair: tuple[int, int], label: str) -> None:
    if trials:
        axes.scatter(*_places(result, trials, pair), label=label, **_LOOKS[label])


def _edge(axes: Axes, result: Result, members: list[Trial], pair: tuple[int, int]) -> None:
    """Draw the edge of what is dominated in two objectives."""
    mask = non_dominated([[each.losses[at] for at in pair] for each in members])
    front = [each for each, is_first in zip(members, mask, strict=True) if is_first]
    front.sort(key=lambda each: each.losses[pair[0]])
    # In steps: between two trials nothing was tried, and a straight line would promise it.
    axes.step(*_places(result, front, pair), where="post", color=look.ORANGE, linewidth=1.4, zorder=4)


def _places(result: Result, trials: list[Trial], pair: tuple[int, int]) -> list[list[float]]:
    return [[result.objectives[at].from_loss(each.losses[at]) for each in trials] for at in pair]


def _limits(objective: Objective, losses: list[float], kept: list[float]) -> tuple[float, float] | None:
    """Return the ends of an axis: what lies far off does not set the scale, unless it belongs to the set."""
    limits = value_limits(map(objective.from_loss, losses), objective)
    if limits is None:
        return None
    margin = 0.04 * (limits[1] - limits[0])
    values = list(map(objective.from_loss, kept)) or list(limits)
    low = limits[0] if min(values) > limits[0] else min(values) - margin
    high = limits[1] if max(values) < limits[1] else max(values) + margin
    return low, high


def _head(figure: Figure, result: Result, *, n_done: int) -> None:
    title = f"{look.name_of(result)}: {count(len(result.pareto), 'trial')} of {n_done} in the Pareto set"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=look.DARK)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
