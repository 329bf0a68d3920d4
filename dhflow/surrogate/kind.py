"""Surrogates by name."""

from __future__ import annotations

from typing import Literal, get_args

from dhflow.errors import SurrogateError
from dhflow.surrogate.belief import Surrogate
from dhflow.surrogate.forest import FOREST_KINDS, Forest
from dhflow.surrogate.kernel import FeatureKinds
from dhflow.surrogate.training import TrainingSet

SurrogateKind = Literal[
    "random_forest", "extra_trees", "bagging", "gradient_boosting", "bayesian_network", "gaussian_process"
]
SURROGATES: tuple[SurrogateKind, ...] = get_args(SurrogateKind)

_ROW_LIMITS = {"gaussian_process": 300}
"""The cost of an ask grows with the square of a Gaussian process' points."""


_PACKAGES: dict[str, tuple[str, ...]] = {
    "gradient_boosting": ("sklearn.ensemble",),
    "bayesian_network": ("sklearn.neural_network",),
    "gaussian_process": ("scipy.optimize", "scipy.stats"),
}
"""Of surrogates that are no forests."""


def packages_of(kind: SurrogateKind) -> tuple[str, ...]:
    """Return the modules that a surrogate and the search of its acquisition import on first use."""
    return ("scipy.linalg", "scipy.special", *_PACKAGES.get(kind, ("sklearn.tree",)))


def can_be_conditioned(kind: SurrogateKind) -> bool:
    """Tell whether a surrogate takes lies about pending points in; one that does not shuns their surroundings."""
    return kind != "gradient_boosting"


def row_limit(kind: SurrogateKind) -> int:
    """Return how many trials a surrogate can be fitted to at a bearable cost."""
    return _ROW_LIMITS.get(kind, 1_000_000)


def make_surrogate(
    training: TrainingSet,
    *,
    kind: SurrogateKind,
    n_trees: int = 30,
    refresh: int = 1,
    variance: str = "total",
    seed: int = 0,
    kinds: FeatureKinds | None = None,
    warps: bool = False,
    n_first: int = 0,
) -> Surrogate:
    """Return a surrogate that follows `training`.

    Parameters
    ----------
    training : TrainingSet
    kind : str
        One of :data:`SURROGATES`.
    n_trees, refresh, variance
        Of forests: see :class:`~dhflow.surrogate.forest.Forest`.
    seed : int
    kinds : FeatureKinds, optional
        What the features are, for a Gaussian process.
    warps : bool
        Whether a Gaussian process warps its inputs.
    n_first : int
        Trials by which a Gaussian process finds the scale of losses; 0 for losses made normal.

    Raises
    ------
    SurrogateError
        If the kind is unknown or an option impossible.
    """
    if kind in FOREST_KINDS:
        return Forest(training, kind=kind, n_trees=n_trees, refresh=refresh, variance=variance, seed=seed)
    if kind == "gradient_boosting":
        from dhflow.surrogate.boosting import BoostedQuantiles

        return BoostedQuantiles(training, seed=seed)
    if kind == "bayesian_network":
        from dhflow.surrogate.network import BayesianNetwork

        return BayesianNetwork(training, seed=seed)
    if kind == "gaussian_process":
        from dhflow.surrogate.gaussian_process import GaussianProcess

        return GaussianProcess(training, kinds=kinds, seed=seed, warps=warps, n_first=n_first)
    raise SurrogateError(f"surrogate is {kind!r}: it must be one of {', '.join(SURROGATES)}")
