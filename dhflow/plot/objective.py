"""The objective over the trials, in the order in which they ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dhflow.errors import SearchError
from dhflow.flow.standing import Standing
from dhflow.flow.text import count, format_value
from dhflow.plot import figure as look
from dhflow.plot.scale import split_feasible, value_limits, value_of
from dhflow.trial import Trial, TrialSource, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.result import Result

_EDGE = 0.03


def plot_objective(result: Result, axes: Axes | None = None) -> Axes:
    """Draw every trial's objective, the best so far, the default config's value, and where trials failed.

    Trials that violate a constraint are hollow.

    Parameters
    ----------
    result : Result
    axes : Axes, optional
        New ones by default.

    Returns
    -------
    Axes
        x: finished trials, in the order in which they ended; y: the first objective, in the user's sign.

    Raises
    ------
    SearchError
        If no trial has ended.
    """
    ended = _ended(result)
    if not ended:
        raise SearchError("there is nothing to draw: no trial has ended yet")
    axes = look.new_axes(8.0, 4.2) if axes is None else axes
    objective = result.objectives[0]
    values = {i: value_of(trial) for i, trial in enumerate(ended, 1) if _has_value(trial)}
    low, high = value_limits(values.values(), objective) or (0.0, 0.0)
    ids = {each.trial_id for each in split_feasible(result, filter(_has_value, ended))[1]}
    infeasible = {i for i, trial in enumerate(ended, 1) if trial.trial_id in ids}
    _points(axes, ended, values, infeasible, (low, high))
    _best_line(axes, ended, Standing(objective, constraints=result.constraints))
    _default_line(axes, result)
    _failures(axes, ended)
    look.tidy(axes)
    axes.set_xlim(0.5 - 0.01 * len(ended), len(ended) + 0.5 + 0.01 * len(ended))
    if low < high:
        axes.set_ylim(low, high)
    _ticks(axes, has_values=bool(values))
    axes.set_xlabel("trials finished")
    axes.set_ylabel(f"{objective.name} ({objective.direction}d)")
    parts = [count(len(result), "trial")]
    parts += [f"{n} {what}" for n, what in ((len(infeasible), "infeasible"), (result.n_failed, "failed")) if n]
    look.head(axes, look.name_of(result), ", ".join(parts))
    return axes


def _ticks(axes: Axes, *, has_values: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if not has_values:
        axes.set_yticks([])


def _ended(result: Result) -> list[Trial]:
    ended = [each for each in result.trials if each.is_finished]
    return sorted(ended, key=lambda each: math.inf if each.outcome_number is None else each.outcome_number)


def _has_value(trial: Trial) -> bool:
    return trial.status is TrialStatus.COMPLETED and trial.objective is not None


def _points(
    axes: Axes, ended: list[Trial], values: dict[int, float], infeasible: set[int], limits: tuple[float, float]
) -> None:
    low, high = limits
    within = {i: each for i, each in values.items() if low >= high or low <= each <= high}
    good = [i for i in within if i not in infeasible]
    searched = [i for i in good if ended[i - 1].source is not TrialSource.USER]
    users = [i for i in good if ended[i - 1].source is TrialSource.USER]
    hollow = [i for i in within if i in infeasible]
    size = 26 if len(ended) <= 200 else 10
    if hollow:
        axes.scatter(
            hollow, [within[i] for i in hollow], s=size, facecolors="none", edgecolors=look.GREY, label="infeasible"
        )
    if searched:
        axes.scatter(
            searched,
            [within[i] for i in searched],
            s=size,
            color=look.SKY,
            edgecolors=look.BLUE,
            linewidths=0.5,
            alpha=0.85,
            label="trial",
            zorder=3,
        )
    if users:
        axes.scatter(users, [within[i] for i in users], s=size, marker="D", color=look.GREEN, label="yours", zorder=3)
    off = [i for i in values if i not in within]
    if off:
        below = [i for i in off if values[i] < low]
        for chosen, marker, y in ((below, "v", _EDGE), ([i for i in off if i not in below], "^", 1 - _EDGE)):
            if chosen:
                axes.scatter(
                    chosen,
                    [y] * len(chosen),
                    s=22,
                    marker=marker,
                    color=look.GREY,
                    label="off the scale",
                    transform=axes.get_xaxis_transform(),
                    zorder=3,
                )


def _best_line(axes: Axes, ended: list[Trial], standing: Standing) -> None:
    best: list[tuple[int, float]] = []
    for i, trial in enumerate(ended, 1):
        standing.add(trial)
        if standing.value is not None:
            best.append((i, standing.value))
    if standing.best is None:
        return
    axes.step(*zip(*best, strict=True), where="post", color=look.BLUE, linewidth=1.8, label="best so far", zorder=2)
    at = ended.index(standing.best) + 1
    axes.scatter(
        [at],
        [value_of(standing.best)],
        s=150,
        marker="*",
        color=look.ORANGE,
        edgecolors=look.DARK,
        linewidths=0.7,
        zorder=5,
        label=f"best {format_value(standing.value)}",
    )


def _default_line(axes: Axes, result: Result) -> None:
    default = result.default
    if default is not None and default.objective is not None:
        axes.axhline(
            default.objective,
            color=look.DARK,
            linewidth=1.1,
            linestyle=(0, (4, 3)),
            zorder=1,
            label=f"default {format_value(default.objective)}",
        )


def _failures(axes: Axes, ended: list[Trial]) -> None:
    failed = [i for i, each in enumerate(ended, 1) if each.status in (TrialStatus.FAILED, TrialStatus.LOST)]
    if failed:
        axes.scatter(
            failed,
            [_EDGE] * len(failed),
            s=34,
            marker="x",
            color=look.VERMILION,
            linewidths=1.6,
            label="failed",
            transform=axes.get_xaxis_transform(),
            zorder=4,
        )
