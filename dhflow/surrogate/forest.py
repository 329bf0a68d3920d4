"""A forest that takes tells and lies at once: tree structures age a little, leaf statistics never.

scikit-learn grows the trees (Breiman 2001; Geurts, Ernst and Wehenkel 2006). What a leaf
predicts is ours: at every ask the moments of all current targets in it, pending trials'
lies included. So a tell needs no refit to be seen, and a few trees in turn are grown anew
per tell (:class:`RefreshSchedule`).

The forest is a pure function of the told trials in their order: tree `j` was last grown when
`g_j` trials were known, and `g_j` follows from the number of trials alone. A search that is
resumed with 10,000 trials grows each tree once.

Notation
--------
T : trees;  n : told trials;  m : those that train the model;  p : features;  ids : (T, k) leaves.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.surrogate.array import Float32Array, FloatArray, IntArray, as_matrix
from dhflow.surrogate.belief import Places
from dhflow.surrogate.leaf import VARIANCES, LeafStatistics
from dhflow.surrogate.training import TrainingSet

ForestKind = Literal["random_forest", "extra_trees", "bagging"]
FOREST_KINDS: tuple[ForestKind, ...] = get_args(ForestKind)

MAX_FEATURES: dict[ForestKind, float] = {"random_forest": 0.3, "extra_trees": 0.5, "bagging": 1.0}
"""Share of the features that a split may choose from: by measurement, and all of them for bagging by its definition."""
LEAF_SHARE = 1 / 150
"""Of the training rows in the smallest leaf: shallower trees are looked up faster, and with many rows cost nothing."""
EARLY_REFRESH = 10.0
"""Passes over the forest that are spread over a doubling of the told trials, roughly ``EARLY_REFRESH * ln 2``."""


class RefreshSchedule:
    """Which trees are grown anew at which tell.

    Parameters
    ----------
    n_trees : int
    refresh : int
        Trees grown per tell in the long run; more, ``n_trees * EARLY_REFRESH / n``, while each
        of few trials changes much.
    """

    def __init__(self, n_trees: int, refresh: int) -> None:
        if n_trees < 1 or not 1 <= refresh <= n_trees:
            raise SurrogateError(f"refresh is {refresh} with {n_trees} trees: it must lie between 1 and their number")
        self.n_trees = n_trees
        self.refresh = refresh
        self._grown: IntArray = np.zeros(1, np.intp)

    def grown_by(self, n: int) -> int:
        """Return how many trees have been grown when `n` trials are known."""
        if n >= self._grown.size:
            told = np.arange(1, 2 * n + 2)
            wanted = np.ceil(self.n_trees * EARLY_REFRESH / told).astype(np.intp)
            steps = np.clip(wanted, self.refresh, self.n_trees)
            self._grown = np.concatenate([[0], np.cumsum(steps)])
        return int(self._grown[n])

    def last_grown(self, n: int) -> IntArray:
        """Return for each tree (T,) how many trials were known when it was last grown, `n` >= 1 being known now."""
        if n < 1:
            raise SurrogateError(f"a forest needs at least one trial, it has {n}")
        # Trees take turns, so the last T growths concern each tree once.
        growths = np.arange(self.grown_by(n) - self.n_trees, self._grown[n])
        told = np.empty(self.n_trees, np.intp)
        told[growths % self.n_trees] = np.searchsorted(self._grown, growths, side="right")
        return told


class Forest:
    """Random forest, extremely randomised trees or bagged trees with current leaf statistics.

    Parameters
    ----------
    training : TrainingSet
        Grows by tells; the forest looks at it in :meth:`sync`.
    kind : {"random_forest", "extra_trees", "bagging"}
        Trees on bootstrap samples with the best split among some features (Breiman 2001), on all rows with
        random splits (Geurts et al. 2006), or on bootstrap samples with the best split of all (Breiman 1996).
    n_trees : int
    min_samples_leaf : int, optional
        Smallest leaf when a tree is grown; unless given, 1 and later a :data:`LEAF_SHARE` of the rows.
    max_features : float, optional
        Share of the features that a split may choose from, in (0, 1]; :data:`MAX_FEATURES` unless given.
    refresh : int
        See :class:`RefreshSchedule`.
    variance : {"total", "between"}
        See :class:`~dhflow.surrogate.leaf.LeafStatistics`.
    seed : int
    """

    uses_blas: ClassVar[bool] = False

    def __init__(
        self,
        training: TrainingSet,
        *,
        kind: ForestKind = "random_forest",
        n_trees: int = 30,
        min_samples_leaf: int | None = None,
        max_features: float | None = None,
        refresh: int = 1,
        variance: str = "total",
        seed: int = 0,
    ) -> None:
        if kind not in FOREST_KINDS:
            raise SurrogateError(f"kind is {kind!r}: it must be one of {', '.join(FOREST_KINDS)}")
        if variance not in VARIANCES:
            raise SurrogateError(f"variance is {variance!r}: it must be one of {', '.join(VARIANCES)}")
        self.training = training
        self.kind = kind
        self.n_trees = n_trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = MAX_FEATURES[kind] if max_features is None else max_features
        if not 0 < self.max_features <= 1 or (min_samples_leaf is not None and min_samples_leaf < 1):
            raise SurrogateError(f"max_features is {max_features}, min_samples_leaf {min_samples_leaf}: out of range")
        self.variance = variance
        self.seed = seed
        self.schedule = RefreshSchedule(n_trees, refresh)
        self._trees: list[Any] = [None] * n_trees
        self._grown_at: IntArray = np.zeros(n_trees, np.intp)
        self._rows: IntArray = np.zeros(0, np.intp)
        self._targets: FloatArray = np.zeros(0)
        self._ids: IntArray = np.zeros((n_trees, 0), np.intp)
        self._prior_mean: FloatArray = np.zeros((n_trees, 1))
        self._prior_variance: FloatArray = np.zeros((n_trees, 1))

    @property
    def rows(self) -> IntArray:
        """Which told trials train the model since the last :meth:`sync`, (m,)."""
        return self._rows

    @property
    def targets(self) -> FloatArray:
        """Their current targets, (m,)."""
        return self._targets

    def sync(self) -> int:
        """Bring the trees to the state that belongs to the told trials.

        Returns
        -------
        int
            How many trees were grown.

        Raises
        ------
        SurrogateError
            If there is no trial to learn from.
        """
        n = len(self.training)
        due = self.schedule.last_grown(n)
        stale = np.flatnonzero(due != self._grown_at)
        rows = self.training.select(n)
        self._targets = self.training.targets(rows)
        for told in np.unique(due[stale]):
            sample = rows if told == n else self.training.select(int(told))
            X, y = self.training.X[sample], self._targets if told == n else self.training.targets(sample)
            for tree in stale[due[stale] == told]:
                self._set_tree(int(tree), self._grow(X, y, [self.seed, int(tree), int(told)]))
        self._grown_at = due
        self._find_leaves(rows, stale)
        return int(stale.size)

    def _grow(self, X: Float32Array, y: FloatArray, seed: list[int]) -> Any:
        least = max(1, round(LEAF_SHARE * len(y))) if self.min_samples_leaf is None else self.min_samples_leaf
        return grow_tree(X, y, kind=self.kind, min_samples_leaf=least, max_features=self.max_features, seed=seed)

    def place(self, features: npt.ArrayLike) -> Places:
        """Look up the leaves of points (k, p)."""
        X = as_matrix("features", features, self.training.n_features)
        return Places(X, self._apply(X))

    def belief(self) -> LeafStatistics:
        """Return the leaf statistics of the told trials; a new object, so that lies may be added to it."""
        statistics = LeafStatistics(self._prior_mean, self._prior_variance, variance=self.variance)
        statistics.add(Places(self.training.X[self._rows], self._ids), self._targets)
        return statistics

    def _apply(self, X: Float32Array) -> IntArray:
        ids = np.empty((self.n_trees, len(X)), np.intp)
        for row, tree in zip(ids, self._trees, strict=True):
            row[:] = tree.apply(X)
        return ids

    def _set_tree(self, index: int, tree: Any) -> None:
        self._trees[index] = tree
        wider = tree.node_count - self._prior_mean.shape[1]
        if wider > 0:
            pad = ((0, 0), (0, wider))
            self._prior_mean, self._prior_variance = np.pad(self._prior_mean, pad), np.pad(self._prior_variance, pad)
        self._prior_mean[index, : tree.node_count] = tree.value[:, 0, 0]
        self._prior_variance[index, : tree.node_count] = tree.impurity

    def _find_leaves(self, rows: IntArray, grown: IntArray) -> None:
        """Look up the leaves of the training `rows`; those of rows and trees that stayed are kept."""
        X = self.training.X
        stayed = np.isin(rows, self._rows, assume_unique=True)
        ids = np.empty((self.n_trees, rows.size), np.intp)
        ids[:, stayed] = self._ids[:, np.isin(self._rows, rows, assume_unique=True)]
        if not stayed.all():
            ids[:, ~stayed] = self._apply(X[rows[~stayed]])
        training = X[rows]
        for tree in grown:
            ids[tree] = self._trees[tree].apply(training)
        self._rows, self._ids = rows, ids


def grow_tree(
    X: Float32Array, y: FloatArray, *, kind: ForestKind, min_samples_leaf: int, max_features: float, seed: list[int]
) -> Any:
    """Return the structure of one regression tree, scikit-learn's ``tree_``.

    Parameters
    ----------
    X : (m, p)
    y : (m,)
    kind, min_samples_leaf, max_features
        See :class:`Forest`.
    seed : list of int
        Fixes bootstrap and splits.
    """
    import sklearn
    from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

    rng = np.random.default_rng(np.random.SeedSequence(seed))
    options = {
        "min_samples_leaf": min_samples_leaf,
        "max_features": max_features,
        "random_state": int(rng.integers(2**31)),
    }
    # Validating parameters and input costs more than growing a small tree.
    with sklearn.config_context(skip_parameter_validation=True):
        if kind == "extra_trees":
            return ExtraTreeRegressor(**options).fit(X, y, check_input=False).tree_
        weight = np.bincount(rng.integers(0, len(y), len(y)), minlength=len(y)).astype(np.float64)
        return DecisionTreeRegressor(**options).fit(X, y, sample_weight=weight, check_input=False).tree_
