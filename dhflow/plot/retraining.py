"""How repeated trainings of several configs are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dhflow.errors import SearchError
from dhflow.plot import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.post_training import Retraining

_COLOURS = (look.BLUE, look.ORANGE, look.GREEN, look.VERMILION, look.SKY, look.GREY)


def plot_retraining(retraining: Retraining, axes: Axes | None = None, *, as_error: bool = False) -> Axes:
    """Draw the cumulative distribution of each config's trainings, with its mean.

    Parameters
    ----------
    retraining : Retraining
        From :func:`dhflow.post_training.retrain`.
    axes : Axes, optional
    as_error : bool
        Draw 1 - value: the error of what is measured as an accuracy.

    Returns
    -------
    Axes

    Raises
    ------
    SearchError
        If no training has succeeded.
    """
    found = [each for each in retraining.repeats if each.values]
    if not found:
        raise SearchError("there is nothing to draw: no training has succeeded")
    axes = look.new_axes(8.0, 4.0) if axes is None else axes
    for i, each in enumerate(found):
        values = np.sort(1.0 - np.array(each.values)) if as_error else np.array(each.values)
        colour = _COLOURS[i % len(_COLOURS)]
        shares = np.arange(len(values) + 1) / len(values)
        label = f"{each.name}: {values.mean():.4g}" + (f" ± {each.std:.2g}" if len(values) > 1 else "")
        axes.step([values[0], *values], shares, where="post", color=colour, linewidth=1.8, label=label)
        axes.axvline(values.mean(), color=colour, linewidth=1, linestyle=":")
    what = f"1 - {retraining.measure}" if as_error else retraining.measure
    axes.set_xlabel(what)
    axes.set_ylabel("share of trainings")
    axes.set_ylim(0, 1.02)
    look.tidy(axes, grid="both")
    most = max(len(each.values) for each in found)
    axes.set_title("Trained again", loc="left", fontsize=12, color=look.DARK, fontweight="bold")
    axes.set_title(f"{most} seeds each; dotted: the mean", loc="right", fontsize=9, color="#666666")
    # Names of networks are long: above the axes they would not fit.
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    return axes
