r"""Leaf statistics of a forest: what is refreshed at every tell and for every lie, without a refit.

A tree is a partition of the space; what it predicts are moments of the targets in each cell.
The partition is costly and may be a little old; the moments are cheap and always current.

Notation
--------
T : trees;  ids : (T, k) leaf of each of k points in each tree;  y : (k,) targets;
per leaf: count, total = Σ y, square = Σ y².
"""

from __future__ import annotations

import numpy as np

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import FloatArray, IntArray
from dhflow.surrogate.belief import Places

VARIANCES = ("total", "between")


class LeafStatistics:
    """Moments of the targets in every leaf of every tree.

    Parameters
    ----------
    prior_mean, prior_variance : (T, s)
        Used for a leaf without any point; `s` is at least the largest leaf id plus 1.
    variance : {"total", "between"}
        "total" adds the mean variance within the leaves to the variance between the trees.
    """

    def __init__(self, prior_mean: FloatArray, prior_variance: FloatArray, *, variance: str = "total") -> None:
        if variance not in VARIANCES:
            raise SurrogateError(f"variance is {variance!r}: it must be one of {', '.join(VARIANCES)}")
        self.variance = variance
        n_trees, self._stride = prior_mean.shape
        self._offset = (np.arange(n_trees, dtype=np.intp) * self._stride)[:, None]
        self._prior_mean, self._prior_variance = prior_mean.ravel(), prior_variance.ravel()
        size = prior_mean.size
        self._count, self._total, self._square = np.zeros(size), np.zeros(size), np.zeros(size)
        self._mean, self._within = self._prior_mean.copy(), self._prior_variance.copy()

    def add(self, places: Places, y: FloatArray) -> None:
        """Put points with targets `y` (k,) into their leaves.

        Raises
        ------
        SurrogateError
            If shapes do not fit, or a target is not finite.
        """
        ids = self._ids(places)
        if ids.shape != (len(self._offset), y.size):
            raise SurrogateError(f"{y.size} targets in {len(self._offset)} trees, but leaf ids of shape {ids.shape}")
        if not np.isfinite(y).all():
            raise SurrogateError("targets must be finite")
        flat = (ids + self._offset).ravel()
        weight = np.broadcast_to(y, ids.shape).ravel()
        if y.size > 8:
            size = self._count.size
            self._count += np.bincount(flat, minlength=size)
            self._total += np.bincount(flat, weight, size)
            self._square += np.bincount(flat, weight * weight, size)
            touched = np.flatnonzero(self._count)
        else:
            np.add.at(self._count, flat, 1.0)
            np.add.at(self._total, flat, weight)
            np.add.at(self._square, flat, weight * weight)
            touched = flat
        count = self._count[touched]
        mean = self._total[touched] / count
        self._mean[touched] = mean
        self._within[touched] = np.maximum(self._square[touched] / count - mean * mean, 0.0)

    def mean(self, places: Places) -> FloatArray:
        """Return the prediction (k,) at points: the mean of the leaf means."""
        mean: FloatArray = self._mean[self._ids(places) + self._offset].mean(axis=0)
        return mean

    def _ids(self, places: Places) -> IntArray:
        if places.leaves is None:
            raise SurrogateError("these points were not looked up in a forest")
        return places.leaves

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        r"""Return mean and standard deviation (k,) at points.

        Notes
        -----
        Hutter, Xu, Hoos and Leyton-Brown (2014), sec. 4.3.2: by the law of total variance

        .. math:: \sigma^2 = \frac1T \sum_t \sigma_t^2 + \frac1T \sum_t \mu_t^2 - \mu^2 ,

        the mean of the leaf variances plus the variance of the leaf means; ``variance="between"``
        keeps the second part alone. Leaf variances are those of the sample (divisor: count).
        """
        flat = self._ids(places) + self._offset
        leaf_means = self._mean[flat]
        mean = leaf_means.mean(axis=0)
        variance = np.square(leaf_means - mean).mean(axis=0)
        if self.variance == "total":
            variance += self._within[flat].mean(axis=0)
        return mean, np.sqrt(variance)
