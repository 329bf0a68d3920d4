"""Whole configs as lines across one axis per parameter, coloured by the (first) objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.text import count, format_value
from dhflow.plot import figure as look
from dhflow.plot.scale import best_of, short, split_feasible, value_limits, value_of
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.result import Result
    from dhflow.space.parameter import Parameter

_INACTIVE = -0.14
"""Where a line passes an axis on which its config has no value."""

_MAX_TICKS = 10


def plot_parallel(result: Result, axes: Axes | None = None, *, max_lines: int = 150) -> Axes:
    """Draw every completed config that meets the constraints as a line; the best one stands out.

    Parameters
    ----------
    result : Result
    axes : Axes, optional
        New ones by default.
    max_lines : int
        Of more trials only the best are drawn.

    Returns
    -------
    Axes
        One vertical axis per parameter, on the scale of the search (logarithmic where it is).

    Raises
    ------
    SearchError
        If no trial that meets the constraints has completed.
    """
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    done = [each for each in result.trials if each.status is TrialStatus.COMPLETED and each.objective is not None]
    if not done:
        raise SearchError("there is nothing to draw: no trial has completed yet")
    done, infeasible = split_feasible(result, done)
    if not done:
        raise result.without_best()
    space, objective = result.space, result.objectives[0]
    names = [name for name in space.names if space.parameters[name].n_values > 1] or list(space.names)
    axes = look.new_axes(max(6.0, 1.35 * len(names) + 1.5), 4.6) if axes is None else axes
    n_done = len(done)
    # The worst are drawn first, so that the good ones lie on top; more lines than this hide each other.
    done = sorted(done, key=lambda each: -each.losses[0])[-max_lines:]
    winner = best_of(result)
    # Losses of small budgets may be lower than that of the best trial of the full one.
    if winner.trial_id not in {each.trial_id for each in done}:
        done[0] = winner
    lines = _lines(result, done, names)
    values = [value_of(each) for each in done]
    low, high = value_limits(values, objective) or (values[0] - 0.5, values[0] + 0.5)
    colours = ScalarMappable(Normalize(max(low, min(values)), min(high, max(values))), _map_name(objective.direction))
    axes.add_collection(
        LineCollection(lines, colors=colours.to_rgba(np.array(values)), linewidths=1.0, alpha=0.75, zorder=2),
        autolim=False,
    )
    best = lines[done.index(next(each for each in done if each.trial_id == winner.trial_id))]
    axes.plot(*zip(*best, strict=True), color=look.DARK, linewidth=4.2, zorder=4)
    axes.plot(*zip(*best, strict=True), color=look.ORANGE, linewidth=2.4, zorder=5, label=_best_label(winner))
    _scales(axes, names, [space.parameters[name] for name in names], space)
    bar = axes.figure.colorbar(colours, ax=axes, pad=0.02, aspect=30)
    bar.set_label(f"{objective.name} ({objective.direction}d)", fontsize=9, color=look.DARK)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    detail = count(n_done, "completed trial")
    if infeasible:
        detail += f", {len(infeasible)} infeasible left out"
    look.head(axes, look.name_of(result), f"the best {len(done)} of {detail}" if len(done) < n_done else detail)
    return axes


def _lines(result: Result, done: list[Trial], names: list[str]) -> list[list[tuple[float, float]]]:
    space = result.space
    X = space.encode([each.config for each in done])
    index = [space.names.index(name) for name in names]
    return [
        [(float(at), float(row[i]) if space.names[i] in trial.config else _INACTIVE) for at, i in enumerate(index)]
        for trial, row in zip(done, X, strict=True)
    ]


def _scales(axes: Axes, names: list[str], parameters: list[Parameter], space: Any) -> None:
    axes.set_xlim(-0.3, len(names) - 0.7 + 0.45)
    axes.set_ylim(_INACTIVE - 0.07 if any(each.when for each in parameters) else -0.04, 1.04)
    axes.set_xticks(range(len(names)), [_wrapped(name) for name in names], fontsize=9)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for at, parameter in enumerate(parameters):
        axes.plot([at, at], [0, 1], color=look.GREY, linewidth=1.0, zorder=1)
        for y, text in _ticks(parameter, names[at], space):
            axes.annotate(
                text,
                (at, y),
                (4, 0),
                textcoords="offset points",
                fontsize=7.5,
                va="center",
                color=look.DARK,
                zorder=6,
                bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            )
        if parameter.when is not None:
            axes.annotate(
                "off",
                (at, _INACTIVE),
                (0, -5),
                textcoords="offset points",
                fontsize=7.5,
                va="top",
                ha="center",
                color="#777777",
                zorder=6,
            )
            axes.plot([at], [_INACTIVE], marker="_", color=look.GREY, zorder=1)


def _ticks(parameter: Parameter, name: str, space: Any) -> list[tuple[float, str]]:
    """Return where values lie on the unit scale: those listed, or the two ends and what lies between."""
    listed = getattr(parameter, "listed", None)
    if listed is not None:
        every = -(-len(listed) // _MAX_TICKS)
        return [((i + 0.5) / len(listed), short(listed[i])) for i in range(0, len(listed), every)]
    index = space.names.index(name)
    ends = [(0.0, parameter.low), (1.0, parameter.high)]  # type: ignore[attr-defined]
    middle = space.default_config()
    found = [(at, format_value(value)) for at, value in ends]
    if name in middle:
        # Decoded from the middle of the scale, whatever that scale is.
        X = space.encode([middle])
        X[0, index] = 0.5
        found.append((0.5, f"{space.decode(X)[0][name]:.3g}"))
    return found


def _wrapped(name: str) -> str:
    half = name.find("_", len(name) // 3) + 1
    return name if len(name) <= 11 or half == 0 else f"{name[:half]}\n{name[half:]}"


def _map_name(direction: str) -> str:
    return look.COLOUR_MAP if direction == "minimize" else f"{look.COLOUR_MAP}_r"


def _best_label(best: Trial) -> str:
    return f"best {format_value(best.objective)} (trial {best.trial_id})"
