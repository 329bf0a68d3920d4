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
    with_level : bool
        Whether the budget of an evaluation is a feature, after the parameters.
    """

    def __init__(self, space: SearchSpace, *, with_level: bool = False) -> None:
        self._space = space
        self._with_level = with_level
        self._conditional = np.array([each.when is not None for each in space.parameters.values()], dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._conditional) + int(self._with_level) + int(self._conditional.sum())

    @property
    def kinds(self) -> FeatureKinds:
        """What the columns are."""
        level = [False] if self._with_level else []
        conditional = np.concatenate([self._conditional, level]).astype(np.bool_)
        d = len(conditional)
        activity = np.full(d, -1, np.intp)
        activity[conditional] = d + np.arange(int(conditional.sum()))
        return FeatureKinds(np.concatenate([self._space.is_categorical, level]).astype(np.bool_), activity)

    def of(self, X: FloatArray, level: float = 1.0) -> FloatArray:
        """Return X (k, d) with a column of 0 or 1 for each conditional parameter: whether it is active.

        Parameters
        ----------
        X : (k, d)
        level : float
            The budget on the unit scale, in a column before those if it is a feature.
        """
        columns = [X]
        if self._with_level:
            columns.append(np.full((len(X), 1), level))
        if self._conditional.any():
            columns.append(self._space.active(X)[:, self._conditional].astype(np.float64))
        return np.hstack(columns) if len(columns) > 1 else X
