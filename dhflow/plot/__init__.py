"""Figures of a study; matplotlib is imported when one is drawn, and its global state left alone.

Every function takes a :class:`~dhflow.result.Result` and, where it draws one picture, the axes to
draw on; it returns the axes or the figure, to be changed or saved as anybody likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.plot.architecture import plot_architecture as plot_architecture
    from dhflow.plot.figure import draw as draw
    from dhflow.plot.objective import plot_objective as plot_objective
    from dhflow.plot.parallel import plot_parallel as plot_parallel
    from dhflow.plot.parameters import plot_parameters as plot_parameters
    from dhflow.plot.pareto import plot_pareto as plot_pareto
    from dhflow.plot.retraining import plot_retraining as plot_retraining
    from dhflow.plot.surrogate import plot_surrogate as plot_surrogate
    from dhflow.plot.timeline import plot_timeline as plot_timeline

_HOMES = {
    "draw": "figure",
    "plot_architecture": "architecture",
    "plot_objective": "objective",
    "plot_parallel": "parallel",
    "plot_parameters": "parameters",
    "plot_pareto": "pareto",
    "plot_retraining": "retraining",
    "plot_surrogate": "surrogate",
    "plot_timeline": "timeline",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
