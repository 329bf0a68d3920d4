"""Figures and what they share: colours that colour-blind people tell apart, axes, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dhflow.errors import DhflowError, MissingExtraError, SearchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dhflow.result import Result

# Okabe and Ito (2008), "Color universal design", told apart with any kind of colour vision and in grey.
BLUE = "#0072B2"
SKY = "#56B4E9"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
GREEN = "#009E73"
GREY = "#999999"
DARK = "#333333"
COLOUR_MAP = "cividis"  # even in lightness, and made for colour-blind readers (Nuñez et al. 2018)

DPI = 150
KINDS = ("objective", "timeline", "parameters", "parallel", "pareto", "surrogate")
SUFFIXES = (".png", ".pdf", ".svg")


def draw(result: Result, kind: str, path: str | os.PathLike[str], *, parameters: Sequence[str] | None = None) -> Path:
    """Draw a study into a file.

    Parameters
    ----------
    result : Result
    kind : {"objective", "timeline", "parameters", "parallel", "pareto", "surrogate"}
        Of several objectives all but "pareto" and "timeline" show the first one.
    path : path
        Ends with .png, .pdf or .svg; a file that is there is replaced.
    parameters : sequence of str, optional
        Which ones, for "parameters" and "surrogate".

    Returns
    -------
    Path

    Raises
    ------
    SearchError
        If there is nothing to draw yet, or the kind or the suffix is unknown.
    MissingExtraError
        Without matplotlib.
    """
    from dhflow import plot

    path = Path(path)
    if kind not in KINDS:
        raise SearchError(f"there is no figure {kind!r}; there are: {', '.join(KINDS)}")
    if path.suffix.lower() not in SUFFIXES:
        raise SearchError(f"cannot draw into {path}: its name must end with one of {', '.join(SUFFIXES)}")
    if parameters is not None and kind not in ("parameters", "surrogate"):
        raise SearchError(f"the figure {kind!r} takes no parameters; parameters and surrogate do")
    chosen = () if parameters is None else (parameters,)
    drawn = getattr(plot, f"plot_{kind}")(result, *chosen)
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    save(figure, path)
    return path


def usual_kind(result: Result) -> str:
    """Return the kind of figure that shows a study first."""
    return "objective" if len(result.objectives) == 1 else "pareto"


def save(figure: Figure, path: Path) -> None:
    """Write a figure, nothing clipped."""
    try:
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15, facecolor="white")
    except OSError as error:
        raise DhflowError(f"the figure cannot be written to {path}: {error.strerror or error}") from error


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, `width` by `height` inches.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        # The figure itself, not pyplot: that would keep every figure, and choose a backend for the whole process.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib", "plot") from error
    return Figure(figsize=(width, height), layout="constrained")


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure."""
    return new_figure(width, height).add_subplot()


def tidy(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Give axes the look of all figures here: two spines, a faint grid behind what is drawn."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=DARK, labelsize=9)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color="#E5E5E5", linewidth=0.8)


def head(axes: Axes, text: str, detail: str = "", handles: list[Any] | None = None) -> None:
    """Write a title at the left, a detail at the right, and under them the legend on a line of its own."""
    axes.set_title(text, loc="left", fontsize=12, color=DARK, fontweight="bold", pad=28)
    if detail:
        axes.set_title(detail, loc="right", fontsize=9, color="#666666", pad=28)
    known = {} if handles is None else {"handles": handles}
    axes.legend(
        **known,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=8,
        frameon=False,
        fontsize=9,
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def name_of(result: Result) -> str:
    """Return what a study is called in a title."""
    return "study" if result.history is None else result.history.stem
