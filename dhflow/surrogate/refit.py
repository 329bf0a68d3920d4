"""When a surrogate that cannot be updated is fitted anew: a pure function of how many trials were told.

Notation
--------
n : told trials;  m : those that train the model;  p : features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import FloatArray, IntArray, as_matrix
from dhflow.surrogate.belief import Belief, Places
from dhflow.surrogate.training import TrainingSet

GROWTH = 1.05
"""Each fit sees at least so many times the trials of the one before: n trials cost about ``20 ln n`` fits."""


class Refitted(ABC):
    """A surrogate that is fitted at some counts of told trials and predicts unchanged between them.

    Parameters
    ----------
    training : TrainingSet
    seed : int

    Notes
    -----
    The counts follow from the number of trials alone, and so does each fit, whatever had been fitted before: a
    search that is resumed fits once.
    """

    uses_blas: ClassVar[bool] = True

    def __init__(self, training: TrainingSet, *, seed: int = 0) -> None:
        self.training = training
        self.seed = seed
        self._fitted_at = 0
        self._rows: IntArray = np.zeros(0, np.intp)
        self._targets: FloatArray = np.zeros(0)

    @property
    def rows(self) -> IntArray:
        """Which told trials train the model since the last :meth:`sync`, (m,)."""
        return self._rows

    @property
    def targets(self) -> FloatArray:
        """Their current targets, (m,)."""
        return self._targets

    def sync(self) -> int:
        """Bring the model to the state that belongs to the told trials.

        Returns
        -------
        int
            1 if it was fitted, else 0.

        Raises
        ------
        SurrogateError
            If there is no trial to learn from.
        """
        n = len(self.training)
        if n < 1:
            raise SurrogateError("a surrogate needs at least one trial, it has none")
        self._rows = self.training.select(n)
        self._targets = self._targets_of(self._rows)
        due = last_fit(n)
        if due == self._fitted_at:
            return 0
        rows, targets = self._rows, self._targets
        if due != n:
            rows = self.training.select(due)
            targets = self._targets_of(rows)
        self._fit(self.training.X[rows].astype(np.float64), targets, [self.seed, due])
        self._fitted_at = due
        return 1

    def place(self, features: npt.ArrayLike) -> Places:
        """Return points (k, p) as they are."""
        return Places(as_matrix("features", features, self.training.n_features))

    def _targets_of(self, rows: IntArray) -> FloatArray:
        """Return the targets (m,) of told trials."""
        return self.training.targets(rows)

    @abstractmethod
    def belief(self) -> Belief:
        """Return a new belief, so that lies may be added to it."""

    @abstractmethod
    def _fit(self, X: FloatArray, y: FloatArray, seed: list[int]) -> None:
        """Fit to X (m, p) and targets y (m,)."""


def last_fit(n: int) -> int:
    """Return at how many told trials the model was last fitted, `n` >= 1 being known now."""
    due = 1
    while True:
        after = max(due + 1, round(due * GROWTH))
        if after > n:
            return due
        due = after
