"""The objective over each parameter: small pictures with one scale for the objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.text import count
from dhflow.plot import figure as look
from dhflow.plot.scale import best_of, places, set_axis, split_feasible, value_limits, value_of
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dhflow.result import Result
    from dhflow.space.parameter import Parameter

_N_COLUMNS = 4
_SPREAD = 0.28
_EDGE = 0.03


def plot_parameters(result: Result, names: Sequence[str] | None = None) -> Figure:
    """Draw the first objective over each parameter; later trials are darker, failed ones crosses at the bottom.

    Trials that violate a constraint are hollow.

    Parameters
    ----------
    result : Result
    names : sequence of str, optional
        Which parameters; all that vary by default.

    Returns
    -------
    Figure
        x: the parameter, on its own scale; y: the first objective, in the user's sign. A trial in which
        a parameter was inactive is not in that parameter's picture.

    Raises
    ------
    SearchError
        If no trial has completed, or a name is unknown.
    """
    done = [each for each in result.trials if each.status is TrialStatus.COMPLETED and each.objective is not None]
    if not done:
        raise SearchError("there is nothing to draw: no trial has completed yet")
    parameters = result.space.parameters
    for name in names or ():
        if name not in parameters:
            raise SearchError(f"there is no parameter {name!r}; there are: {', '.join(parameters)}")
    shown = [name for name in (names or parameters) if parameters[name].n_values > 1] or list(parameters)
    n_columns = min(_N_COLUMNS, len(shown))
    n_rows = math.ceil(len(shown) / n_columns)
    figure = look.new_figure(max(3.0 * n_columns, 5.0), 2.6 * n_rows + 0.7)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    failed = [each for each in result.trials if each.status in (TrialStatus.FAILED, TrialStatus.LOST)]
    limits = value_limits([value_of(each) for each in done], result.objectives[0])
    feasible, infeasible = split_feasible(result, done)
    best = best_of(result) if feasible else None
    for axes, name in zip(grid.flat, shown, strict=False):
        _one(axes, name, parameters[name], done, limits)
        _hollow(axes, name, parameters[name], [each for each in infeasible if name in each.config])
        _at_edge(axes, name, parameters[name], [each for each in failed if name in each.config], "x")
        if best is not None:
            _star(axes, best, name, parameters[name])
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    objective = result.objectives[0]
    for row in grid:
        row[0].set_ylabel(f"{objective.name} ({objective.direction}d)", fontsize=9)
    low, high = limits or (-math.inf, math.inf)
    off = ["v" if value_of(each) < low else "^" for each in done if not low <= value_of(each) <= high]
    _head(figure, result, has_failures=bool(failed), has_infeasible=bool(infeasible), off=off[0] if off else "")
    return figure


def _one(axes: Axes, name: str, parameter: Parameter, done: list[Trial], limits: tuple[float, float] | None) -> None:
    active = [each for each in done if name in each.config]
    low, high = limits or (-math.inf, math.inf)
    within = [each for each in active if low <= value_of(each) <= high]
    axes.scatter(
        [place(parameter, each, name) for each in within],
        [value_of(each) for each in within],
        c=[each.trial_id for each in within],
        cmap=f"{look.COLOUR_MAP}_r",
        vmin=min(each.trial_id for each in done),
        vmax=max(each.trial_id for each in done) + 1,
        s=20 if len(done) <= 300 else 8,
        edgecolors=look.DARK,
        linewidths=0.3,
        alpha=0.9,
        zorder=3,
    )
    _at_edge(axes, name, parameter, [each for each in active if value_of(each) < low], "v")
    _at_edge(axes, name, parameter, [each for each in active if value_of(each) > high], "^")
    set_axis(axes, parameter)
    if limits is not None:
        axes.set_ylim(*limits)
    look.tidy(axes, grid="both")
    part = "" if len(active) == len(done) else f"  ({len(active)} of {len(done)})"
    axes.set_xlabel(f"{name}{part}", fontsize=9, color=look.DARK)
    axes.tick_params(labelsize=8)


def _hollow(axes: Axes, name: str, parameter: Parameter, trials: list[Trial]) -> None:
    """Cover what is drawn of trials: a white middle within the same edge."""
    places = [place(parameter, each, name) for each in trials]
    values = [value_of(each) for each in trials]
    axes.scatter(places, values, s=20, color="white", edgecolors=look.GREY, linewidths=0.8, zorder=3)


def _at_edge(axes: Axes, name: str, parameter: Parameter, trials: list[Trial], marker: str) -> None:
    axes.scatter(
        [place(parameter, each, name) for each in trials],
        [1 - _EDGE if marker == "^" else _EDGE] * len(trials),
        s=22,
        marker=marker,
        color=look.VERMILION if marker == "x" else look.GREY,
        linewidths=1.3,
        transform=axes.get_xaxis_transform(),
        zorder=2,
    )


def place(parameter: Parameter, trial: Trial, name: str) -> float:
    """Return where a trial lies on a parameter's axis; values with a place each are spread about it."""
    named = places(parameter)
    value = trial.config[name]
    if named is None:
        return float(value)
    # The golden ratio's multiples spread evenly, and the same trial always lies at the same spot.
    return parameter.number(value) + _SPREAD * (2 * ((trial.trial_id * 0.6180339887) % 1.0) - 1)  # type: ignore[attr-defined, no-any-return]


def _star(axes: Axes, best: Trial, name: str, parameter: Parameter) -> None:
    if name in best.config:
        axes.scatter(
            [place(parameter, best, name)],
            [value_of(best)],
            s=130,
            marker="*",
            color=look.ORANGE,
            edgecolors=look.DARK,
            linewidths=0.7,
            zorder=5,
        )


def _head(figure: Figure, result: Result, *, has_failures: bool, has_infeasible: bool, off: str) -> None:
    from matplotlib.lines import Line2D

    dark = look.DARK
    handles: list[Any] = [
        Line2D([], [], linestyle="none", marker="o", color="#FDE737", markeredgecolor=dark, label="early"),
        Line2D([], [], linestyle="none", marker="o", color="#00224E", markeredgecolor=dark, label="late"),
        Line2D(
            [], [], linestyle="none", marker="*", color=look.ORANGE, markeredgecolor=dark, markersize=11, label="best"
        ),
    ]
    if has_infeasible:
        handles.append(
            Line2D([], [], linestyle="none", marker="o", color="white", markeredgecolor=look.GREY, label="infeasible")
        )
    if has_failures:
        handles.append(Line2D([], [], linestyle="none", marker="x", color=look.VERMILION, label="failed"))
    if off:
        handles.append(Line2D([], [], linestyle="none", marker=off, color=look.GREY, label="off the scale"))
    title = f"{look.name_of(result)}: {count(len(result), 'trial')}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=dark)
    figure.legend(handles=handles, loc="outside upper right", ncols=6, frameon=False, fontsize=9)
