"""A network as a drawing: its nodes from the inputs at the top to the outputs at the bottom."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from dhflow.nas import sequence, window
from dhflow.nas.elementary import Activation, BatchNorm, Dense, Dropout, Embedding, LayerNorm, NormalHead
from dhflow.nas.merge import Merge, Pad
from dhflow.nas.operation import Input
from dhflow.nas.shape import text
from dhflow.plot import figure as look
from dhflow.plot.layout import Layout, layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.nas import Architecture, ArchitectureNode
    from dhflow.nas.operation import AnyOperation

_WIDTH, _HEIGHT = 1.75, 0.42
"""Of a box, in inches."""
_COLUMN, _ROW = 2.0, 0.8
"""From one node to the next, in inches."""
_MOST_INCHES = 60.0
"""A larger figure is scaled down."""

_WEIGHTS = (Dense, Embedding, NormalHead)
_SEQUENCES = (
    sequence.SimpleRNN,
    sequence.LSTM,
    sequence.GRU,
    sequence.Bidirectional,
    sequence.MultiHeadAttention,
    sequence.TimeDistributed,
)
_CONVOLUTIONS = (window.Conv1D, window.Conv2D, window.SeparableConv2D, window.DepthwiseConv2D)
_QUIET = (Activation, BatchNorm, Dropout, LayerNorm, Pad, window.GlobalPool)


def plot_architecture(architecture: Architecture, *, title: str = "") -> Axes:
    """Draw a network.

    Parameters
    ----------
    architecture : Architecture
    title : str

    Returns
    -------
    Axes
        Of a figure as large as the network needs. A box has the operation and the shape of what it makes; boxes
        that share their weights have a frame of vermilion.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    edges = [(each, node.name) for node in architecture.nodes for each in node.inputs]
    layout = layered([each.name for each in architecture.nodes], edges)
    n_columns = max(x for x, _ in layout.nodes.values()) + 1
    n_rows = max(y for _, y in layout.nodes.values()) + 1
    inches = max(_COLUMN * n_columns, 3.5), _ROW * n_rows + 0.5
    scale = min(1.0, _MOST_INCHES / max(inches))
    axes = look.new_axes(inches[0] * scale, inches[1] * scale)
    axes.set_axis_off()
    axes.set_xlim(-0.6, n_columns - 0.4)
    axes.set_ylim(n_rows - 0.4, -0.6)
    _draw_edges(axes, layout, scale)
    ends = set(architecture.outputs.values())
    for node in architecture.nodes:
        _draw_node(axes, node, layout.nodes[node.name], scale, is_end=node.name in ends)
    detail = f"{architecture.parameter_count:,} parameters"
    axes.set_title(f"{title}\n{detail}" if title else detail, fontsize=10, color=look.DARK, loc="left")
    return axes


def _draw_node(axes: Axes, node: ArchitectureNode, place: tuple[float, int], scale: float, *, is_end: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    width, height = _WIDTH / _COLUMN, _HEIGHT / _ROW
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2 + 0.03, y - height / 2 + 0.03),
            width - 0.06,
            height - 0.06,
            boxstyle="round,pad=0.03,rounding_size=0.06",
            facecolor=_colour(node.operation),
            edgecolor=look.VERMILION if node.share else look.DARK,
            linewidth=(1.8 if node.share or is_end else 0.8) * scale,
            zorder=3,
        )
    )
    lines = (
        (-0.09, _short(node.operation.label, 27), 7.5, "black"),
        (0.13, f"{_short(node.name, 22)}  ·  {text(node.output_shape)}", 6.0, look.DARK),
    )
    for down, shown, size, colour in lines:
        axes.text(x, y + down, shown, ha="center", va="center", fontsize=size * scale, color=colour, zorder=4)


def _draw_edges(axes: Axes, layout: Layout, scale: float) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = _HEIGHT / _ROW / 2
    for points in layout.edges:
        places = [(x, float(y)) for x, y in points]
        places[0] = (places[0][0], places[0][1] + half)
        places[-1] = (places[-1][0], places[-1][1] - half)
        steps, codes = [places[0]], [Path.MOVETO]
        for (x, y), (to_x, to_y) in itertools.pairwise(places):
            # Both ends of each piece are upright, so that pieces meet without a corner.
            middle = (y + to_y) / 2
            steps += [(x, middle), (to_x, middle), (to_x, to_y)]
            codes += [Path.CURVE4] * 3
        arrow = FancyArrowPatch(
            path=Path(steps, codes),
            arrowstyle="-|>",
            mutation_scale=8 * scale,
            color="#666666",
            linewidth=0.9 * scale,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
        axes.add_patch(arrow)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}" if "." in name else f"{name[: most - 1]}…"


def _colour(operation: AnyOperation) -> str:
    """Return a light colour, so that black text is read on it."""
    for kinds, colour in (
        (Input, "#E5E5E5"),
        (Merge, "#FFFFFF"),
        (_WEIGHTS, "#A9D3EA"),
        (_CONVOLUTIONS, "#F7D488"),
        (_SEQUENCES, "#9FDCC6"),
        (_QUIET, "#F2F2F2"),
    ):
        if isinstance(operation, kinds):
            return colour
    return "#EBD3E3"
