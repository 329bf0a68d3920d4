"""Types of the numeric code, and the checks of its inputs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError

FloatArray: TypeAlias = npt.NDArray[np.float64]
Float32Array: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.intp]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def as_vector(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return `values` as a float vector without NaN.

    Parameters
    ----------
    name : str
        What to call it in an error.
    values : (n,)

    Raises
    ------
    SurrogateError
        If it is no vector of numbers, or holds NaN.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SurrogateError(f"{name} must be numbers, got {values!r:.80}") from error
    if vector.ndim != 1:
        raise SurrogateError(f"{name} must be a vector, its shape is {vector.shape}")
    if np.isnan(vector).any():
        raise SurrogateError(f"{name} holds NaN")
    return vector


def as_matrix(name: str, values: npt.ArrayLike, n_columns: int) -> Float32Array:
    """Return `values` as a finite (n, n_columns) matrix in C order, in the single precision that trees split on.

    Raises
    ------
    SurrogateError
        If the shape is another one, or a number is not finite.
    """
    matrix = np.ascontiguousarray(values, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != n_columns:
        raise SurrogateError(f"{name} must have {n_columns} columns, its shape is {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise SurrogateError(f"{name} holds numbers that are not finite")
    return matrix
