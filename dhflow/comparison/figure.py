"""Figures of a comparison, in the style of those of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dhflow.comparison.statistics import carried_forward, cumulative_shares, quantile_band, step_values
from dhflow.errors import SearchError
from dhflow.flow.text import count
from dhflow.plot import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.comparison.outcome import Comparison, Run

FloatArray = npt.NDArray[np.float64]

COLOURS = (look.BLUE, look.ORANGE, look.GREEN, look.VERMILION, look.SKY, "#CC79A7", look.DARK)
"""Okabe and Ito's, then once more with the next dash pattern."""
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MOMENTS = 200


def draw_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Draw all figures of a comparison into PNG files.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        Made if it is not there.

    Returns
    -------
    list of Path
        ``best_over_trials.png``, ``best_over_time.png``, ``errors.png`` and ``ranks.png``.

    Raises
    ------
    SearchError
        If no run has a value.
    MissingExtraError
        Without matplotlib.
    """
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Any] = {
        "best_over_trials": plot_best(comparison),
        "best_over_time": plot_best(comparison, over="time"),
        "errors": plot_errors(comparison),
        "ranks": plot_ranks(comparison),
    }
    for name, axes in drawn.items():
        look.save(axes.figure, where / f"{name}.png")
    return [where / f"{name}.png" for name in drawn]


def plot_best(comparison: Comparison, axes: Axes | None = None, *, over: Literal["trials", "time"] = "trials") -> Axes:
    """Draw each searcher's best value so far: the median of its runs, in a band from quarter to quarter.

    Parameters
    ----------
    comparison : Comparison
    axes : Axes, optional
        New ones by default.
    over : {"trials", "time"}
        Finished trials, or seconds since the first trial started.

    Returns
    -------
    Axes
        A run that ended early keeps its last value.

    Raises
    ------
    SearchError
        If no run has a value.
    """
    _check(comparison)
    axes = look.new_axes(7.2, 4.2) if axes is None else axes
    objective = comparison.objective
    span = max((run.times_s[-1] for run in comparison.runs if run.times_s), default=0.0)
    for number, label in enumerate(comparison.labels):
        curves = [_losses(comparison, run) for run in comparison.runs_of(label)]
        if over == "trials":
            table = carried_forward(curves)
            at: FloatArray = np.arange(1.0, table.shape[1] + 1)
        else:
            at = np.linspace(0.0, span, _MOMENTS)
            runs = comparison.runs_of(label)
            table = np.array([step_values(run.times_s, curve, at) for run, curve in zip(runs, curves, strict=True)])
        if not table.size:
            continue
        low, middle, high = (np.array([objective.from_loss(each) for each in row]) for row in quantile_band(table))
        style = _style(number)
        axes.fill_between(at, low, high, step="post", color=style["color"], alpha=0.18, linewidth=0)
        axes.step(at, middle, where="post", label=label, linewidth=1.8, **style)
    _limit(axes, comparison)
    look.tidy(axes)
    axes.set_xlabel("trials finished" if over == "trials" else "seconds since the first trial started")
    axes.set_ylabel(f"best {objective.name} so far ({objective.direction}d)")
    look.head(axes, _title(comparison), f"median and quartiles of {count(len(comparison.repeats), 'run')}")
    return axes


def plot_errors(comparison: Comparison, axes: Axes | None = None) -> Axes:
    """Draw the cumulative distribution of each searcher's final errors.

    Parameters
    ----------
    comparison : Comparison
    axes : Axes, optional

    Returns
    -------
    Axes
        x: distance of a run's final value from the optimum (or from the best value seen); y: share of the runs.
    """
    _check(comparison)
    axes = look.new_axes(6.4, 4.2) if axes is None else axes
    finite = comparison.errors[np.isfinite(comparison.errors)]
    positive = finite[finite > 0]
    for number, label in enumerate(comparison.labels):
        errors, shares = cumulative_shares(comparison.errors[:, number])
        if errors.size:
            axes.step([errors[0], *errors], [0.0, *shares], where="post", label=label, linewidth=1.8, **_style(number))
    if positive.size and positive.max() > 30 * positive.min():
        axes.set_xscale("symlog", linthresh=float(positive.min()))
    axes.set_ylim(0.0, 1.03)
    look.tidy(axes, grid="both")
    axes.set_xlabel(
        f"final error ({'from the optimum' if comparison.optimum is not None else 'from the best value seen'})"
    )
    axes.set_ylabel("share of the runs")
    look.head(axes, _title(comparison), count(len(comparison.repeats), "repeat"))
    return axes


def plot_ranks(comparison: Comparison, axes: Axes | None = None) -> Axes:
    """Draw each searcher's ranks within the repeats, and their mean.

    Parameters
    ----------
    comparison : Comparison
    axes : Axes, optional

    Returns
    -------
    Axes
        x: rank, 1 the best; y: searchers, the best mean rank on top.
    """
    _check(comparison)
    labels = comparison.labels
    axes = look.new_axes(6.4, 1.6 + 0.4 * len(labels)) if axes is None else axes
    order = np.argsort(comparison.ranks.mean(axis=0), kind="stable")
    rng = np.random.default_rng(0)
    for row, number in enumerate(order):
        ranks, colour = comparison.ranks[:, number], _style(int(number))["color"]
        spread = row + 0.24 * rng.uniform(-1, 1, ranks.size)
        axes.scatter(ranks, spread, s=16, color=colour, alpha=0.45, linewidths=0, zorder=2)
        axes.scatter([ranks.mean()], [row], s=110, marker="D", color=colour, edgecolors=look.DARK, zorder=3)
        axes.annotate(f"{ranks.mean():.2f}", (ranks.mean(), row - 0.3), ha="center", fontsize=8, color=look.DARK)
    axes.set_yticks(range(len(labels)), [labels[each] for each in order], fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.7)
    axes.set_xlim(0.8, len(labels) + 0.2)
    axes.set_xticks(range(1, len(labels) + 1))
    look.tidy(axes, grid="x")
    axes.set_xlabel("rank within a repeat (diamond: the mean)")
    axes.set_title(_title(comparison), loc="left", fontsize=12, color=look.DARK, fontweight="bold")
    return axes


def _check(comparison: Comparison) -> None:
    if not np.isfinite(comparison.losses).any():
        raise SearchError("there is nothing to draw: no run has a value")


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)]}


def _title(comparison: Comparison) -> str:
    return comparison.problem or "comparison"


def _losses(comparison: Comparison, run: Run) -> list[float]:
    to_loss = comparison.objective.to_loss
    return [np.inf if each is None else to_loss(each) for each in run.best]


def _limit(axes: Axes, comparison: Comparison) -> None:
    """Let the later half of the runs set the scale: a first trial is often far worse than all that follows."""
    late = [value for run in comparison.runs for value in _losses(comparison, run)[len(run.best) // 8 :]]
    known = np.array([each for each in late if np.isfinite(each)])
    if known.size and known.max() > known.min():
        from_loss, margin = comparison.objective.from_loss, 0.05 * (known.max() - known.min())
        ends = sorted((from_loss(float(known.min() - margin)), from_loss(float(known.max() + margin))))
        axes.set_ylim(*ends)
