"""A network as a table of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.nas.shape import text

if TYPE_CHECKING:
    from dhflow.nas.architecture import Architecture

_HEAD = ("node", "operation", "inputs", "shape", "parameters")


def layer_table(architecture: Architecture) -> str:
    """Return the layers as lines of text, the sum of parameters last."""
    rows = [_HEAD]
    for each in architecture.layers():
        count = f"of {each.share}" if each.share and not each.parameter_count else f"{each.parameter_count:,}"
        rows.append((each.name, each.operation, ", ".join(each.inputs), text(each.output_shape), count))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    outputs = ", ".join(node if node == name else f"{name} = {node}" for name, node in architecture.outputs.items())
    total = f"{architecture.parameter_count:,}"
    return "\n".join([*(_line(row, widths) for row in rows), "", f"output: {outputs}", f"parameters: {total}"])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    *texts, count = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([*texts, count.strip().rjust(widths[-1])])
