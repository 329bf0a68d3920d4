"""What every surrogate offers: a belief about the objective, to which lies about pending trials are added.

Notation
--------
p : features;  k : points;  T : trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from dhflow.surrogate.array import FloatArray, IntArray
from dhflow.surrogate.training import TrainingSet


@dataclass(frozen=True, slots=True)
class Places:
    """Points, and where a surrogate has them: looked up once, scored many times.

    Parameters
    ----------
    features : (k, p)
    leaves : (T, k), optional
        Their leaves in a forest.
    """

    features: npt.NDArray[np.floating[Any]]
    leaves: IntArray | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Any) -> Places:
        """Return some of the points; `index` is a slice, a mask or a list of numbers."""
        return Places(self.features[index], None if self.leaves is None else self.leaves[:, index])


def joined(parts: Sequence[Places]) -> Places:
    """Return the points of all `parts`, in order."""
    leaves = [each.leaves for each in parts if each.leaves is not None]
    return Places(
        np.concatenate([each.features for each in parts]),
        np.concatenate(leaves, axis=1) if len(leaves) == len(parts) else None,
    )


class Belief(Protocol):
    """What a surrogate believes in one ask; lies change it."""

    def add(self, places: Places, y: FloatArray) -> None:
        """Take targets `y` (k,) at points as if they had been observed."""

    def mean(self, places: Places) -> FloatArray:
        """Return the predictions (k,) at points."""

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k,) at points, in units of the targets."""


class Surrogate(Protocol):
    """A model of the objective that follows a training set.

    Parameters
    ----------
    training : TrainingSet
        Grows by tells; looked at in :meth:`sync`.
    """

    training: TrainingSet
    uses_blas: ClassVar[bool]
    """Whether it is worth giving linear algebra one thread while it is asked."""

    @property
    def rows(self) -> IntArray:
        """Which told trials train the model since the last :meth:`sync`, (m,)."""

    @property
    def targets(self) -> FloatArray:
        """Their current targets, (m,)."""

    def sync(self) -> int:
        """Bring the model to the state that belongs to the told trials; return how many parts were fitted anew.

        Raises
        ------
        SurrogateError
            If there is no trial to learn from.
        """

    def place(self, features: FloatArray) -> Places:
        """Look points up (k, p)."""

    def belief(self) -> Belief:
        """Return a new belief, so that lies may be added to it."""


class PenalisedBelief:
    r"""A belief whose uncertainty vanishes around points that are tried already, whatever they may bring.

    Parameters
    ----------
    belief : Belief
        Lies do not reach it.
    radius : float
        Length :math:`\ell`, in root mean square differences of features, each in [0, 1].

    Notes
    -----
    After González, Dai, Hennig and Lawrence (2016), *Batch Bayesian optimization via local penalization*. They
    multiply the acquisition by the probability that a point lies outside the balls which pending ones
    exclude, from a Lipschitz constant. Here, where trees have none, the standard deviation is multiplied by
    :math:`\prod_j (1 - e^{-d_j^2 / 2 \ell^2})` over the pending points' distances :math:`d_j`.
    """

    def __init__(self, belief: Belief, radius: float = 0.03) -> None:
        self._belief = belief
        self._radius = radius
        self._pending: list[FloatArray] = []
        self._latest: tuple[Places | None, int, FloatArray] = (None, 0, np.zeros(0))

    def add(self, places: Places, y: FloatArray) -> None:
        """Lower the uncertainty around points; `y` is of no account."""
        del y
        self._pending.append(np.asarray(places.features, dtype=np.float64))

    def mean(self, places: Places) -> FloatArray:
        """Return the predictions (k,) at points."""
        return self._belief.mean(places)

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k,) at points."""
        mean, std = self._belief.moments(places)
        return mean, std * np.exp(self._log_left(places))

    def _log_left(self, places: Places) -> FloatArray:
        """Return the logarithm of the share of the uncertainty (k,) that is left at points."""
        latest, n_seen, log_left = self._latest
        if latest is not places:
            n_seen, log_left = 0, np.zeros(len(places))
        if n_seen < len(self._pending):
            # The points of one ask are scored again whenever one of them is chosen: only that one is new then.
            log_left = log_left + self._log_share(places, np.concatenate(self._pending[n_seen:]))
        self._latest = (places, len(self._pending), log_left)
        return log_left

    def _log_share(self, places: Places, pending: FloatArray) -> FloatArray:
        features = np.asarray(places.features, dtype=np.float64)
        square = np.square(features).sum(axis=1)[:, None] + np.square(pending).sum(axis=1) - 2 * features @ pending.T
        square = np.maximum(square, 0.0) / features.shape[1]
        shares: FloatArray = np.log1p(-np.exp(-square / (2 * self._radius**2)) * (1 - 1e-12)).sum(axis=1)
        return shares
