"""Acquisition functions: how much a candidate is worth, from what the surrogate says of it.

Everything is minimised, the acquisition too: lower is more promising.

Notation
--------
mean, std : (n,) posterior moments at n candidates, in units of the surrogate's targets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import FloatArray, as_vector


def lower_confidence_bound(mean: npt.ArrayLike, std: npt.ArrayLike, kappa: float = 1.96) -> FloatArray:
    r"""Return ``mean - kappa * std``, the optimistic end of the belief about a minimised target.

    Parameters
    ----------
    mean, std : (n,)
        Posterior moments, in the same units; ``std >= 0``.
    kappa : float
        Weight of the uncertainty, not negative; 1.96 bounds 97.5 % of a normal belief.

    Returns
    -------
    (n,)
        Lower is more promising.

    Raises
    ------
    SurrogateError
        If shapes differ, a number is NaN, a ``std`` is negative or `kappa` is negative or not finite.

    Notes
    -----
    Cox and John (1992), sec. 2. For a maximised objective the same quantity reads as the upper
    bound ``mean + kappa * std``: dhflow flips the objective before it comes here.
    """
    centre, spread = _moments(mean, std)
    if not (np.isfinite(kappa) and kappa >= 0):
        raise SurrogateError(f"kappa is {kappa}: it must be a number of at least 0")
    return centre - kappa * spread


def _moments(mean: npt.ArrayLike, std: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    centre, spread = as_vector("mean", mean), as_vector("std", std)
    if centre.shape != spread.shape:
        raise SurrogateError(f"mean has {centre.size} entries and std {spread.size}")
    if (spread < 0).any():
        raise SurrogateError(f"std must not be negative, its lowest entry is {spread.min()}")
    return centre, spread
