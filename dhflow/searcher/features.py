"""What a surrogate sees of a config: its parameters on the unit scale, and which conditional ones are active."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhflow.space import SearchSpace
from dhflow.surrogate.kernel import FeatureKinds

FloatArray = npt.NDArray[np.float64]


class Features:
    """From encoded configs to a surrogate's features.

    Parameters
    ----------
    space : SearchSpace
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._conditional = np.array([each.when is not None for each in space.parameters.values()], dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._conditional) + int(self._conditional.sum())

    @property
    def kinds(self) -> FeatureKinds:
        """What the columns are."""
        d = len(self._conditional)
        activity = np.full(d, -1, np.intp)
        activity[self._conditional] = d + np.arange(int(self._conditional.sum()))
        return FeatureKinds(self._space.is_categorical, activity)

    def of(self, X: FloatArray) -> FloatArray:
        """Return X (k, d) with a column of 0 or 1 for each conditional parameter: whether it is active."""
        if not self._conditional.any():
            return X
        return np.hstack([X, self._space.active(X)[:, self._conditional]])
