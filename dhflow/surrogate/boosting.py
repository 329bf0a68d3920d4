"""Gradient-boosted quantiles: three boosted ensembles say where the objective's low, middle and high values lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import FloatArray
from dhflow.surrogate.belief import Places
from dhflow.surrogate.refit import Refitted

QUANTILES = (0.16, 0.5, 0.84)
"""A normal belief's mean and one standard deviation to either side."""
N_ESTIMATORS = 60
SUBSAMPLE = 0.8
"""Share of the rows that each tree is grown on."""
_LEAST_TO_SUBSAMPLE = 10


class BoostedQuantiles(Refitted):
    """Gradient boosting with the quantile loss.

    Parameters
    ----------
    training : TrainingSet
    seed : int

    Notes
    -----
    Friedman (2001), *Greedy function approximation: a gradient boosting machine*, with the pinball loss, by
    scikit-learn: the median is the mean of the belief, half the distance of the 16 % and 84 % quantiles its standard
    deviation. What it says of a point cannot be changed by a lie, so pending trials are shunned instead
    (:class:`~dhflow.surrogate.belief.PenalisedBelief`). A fit takes some 0.1 to 0.5 s of CPU.
    """

    def belief(self) -> QuantileBelief:
        """Return what the ensembles say."""
        return QuantileBelief(self._models)

    def _fit(self, X: FloatArray, y: FloatArray, seed: list[int]) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        share = SUBSAMPLE if len(y) >= _LEAST_TO_SUBSAMPLE else 1.0
        state = int(np.random.default_rng(np.random.SeedSequence(seed)).integers(2**31))
        self._models = [
            GradientBoostingRegressor(
                loss="quantile", alpha=each, n_estimators=N_ESTIMATORS, subsample=share, random_state=state
            ).fit(X, y)
            for each in QUANTILES
        ]


class QuantileBelief:
    """What three quantile models say.

    Parameters
    ----------
    models : list
        Of the quantiles 0.16, 0.5 and 0.84.
    """

    def __init__(self, models: list[Any]) -> None:
        self._low, self._middle, self._high = models

    def add(self, places: Places, y: FloatArray) -> None:
        """Raise SurrogateError: these models take nothing in between two fits."""
        raise SurrogateError("boosted quantiles cannot be told a lie; use a PenalisedBelief")

    def mean(self, places: Places) -> FloatArray:
        """Return the medians (k,) at points."""
        medians: FloatArray = self._middle.predict(places.features)
        return medians

    def moments(self, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return median and half the distance of the outer quantiles (k,), which may cross and then are 0."""
        spread = (self._high.predict(places.features) - self._low.predict(places.features)) / 2
        return self.mean(places), np.maximum(spread, 0.0)
