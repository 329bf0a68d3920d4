"""Small random changes of configs, for local search and evolution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.space.condition import BoolArray
from dhflow.space.encoding import Cells, Encoding, Rows
from dhflow.space.scale import FloatArray


def mutated(
    encoding: Encoding, rows: Rows, rng: np.random.Generator, *, step: float, resample: float, only: BoolArray | None
) -> FloatArray:
    """Return the codes of `rows` with one active parameter of each changed; see ``SearchSpace.mutate``."""
    cells, shape = encoding.cells, rows.code.shape
    can_change = cells.top > 0.0 if only is None else (cells.top > 0.0) & only
    lottery = rng.random(shape)
    lottery *= can_change if rows.active is None else rows.active & can_change
    columns = lottery.argmax(axis=1)
    at = np.flatnonzero(lottery.any(axis=1))
    columns = columns[at]
    index = rows.index[at, columns]
    new = _numeric_changes(cells, columns, index, rows.code[at, columns], rng, step=step, resample=resample)
    others = (index + 1.0 + np.floor(rng.random(len(at)) * cells.top[columns])) % cells.n[columns]
    new = np.where(encoding.is_categorical[columns], others, new)
    # What a change brings to life starts anywhere, not always at its default.
    code = rows.code.copy() if rows.active is None else np.where(rows.active, rows.code, rng.random(shape))
    code[at, columns] = cells.code_at(new, columns)
    return encoding.rows(code).code


def _numeric_changes(
    cells: Cells,
    columns: npt.NDArray[np.intp],
    index: FloatArray,
    units: FloatArray,
    rng: np.random.Generator,
    *,
    step: float,
    resample: float,
) -> FloatArray:
    moves = step * rng.standard_normal(len(columns))
    # Reflected at both bounds; what is still outside is cut off by index_at.
    moved = 1.0 - np.abs(1.0 - np.abs(units + moves))
    moved = np.where(rng.random(len(columns)) < resample, rng.random(len(columns)), moved)
    new = cells.index_at(moved, columns)
    # A step that stays in its own cell goes on to the neighbour, or back from a bound.
    direction = np.where(moves < 0.0, -1.0, 1.0)
    neighbour = index + direction
    is_outside = (neighbour < 0.0) | (neighbour > cells.top[columns])
    return np.where(new == index, np.where(is_outside, index - direction, neighbour), new)
