"""Asynchronous model-based search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError
from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.point import LatinHypercube, Sobol
from dhflow.searcher.quasi_random import PointDesign
from dhflow.space import SearchSpace
from dhflow.surrogate.acquisition import lower_confidence_bound
from dhflow.surrogate.forest import Forest, ForestKind
from dhflow.surrogate.leaf import LeafStatistics
from dhflow.surrogate.training import FailedAs, TrainingSet
from dhflow.trial import Suggestion, Trial, TrialStatus

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Liar = Literal["believer", "min", "mean", "max"]

K = dict(msl=1, mf=1.0, n_inc=10, rounds=4, per_round=100, n_local=300, top=10, mut="own", p=None, smin=0.01, smax=0.3, minstd=0.0, acq="lcb", kmode="fix", clip=None)


class Ambs(DistinctSearcher):
    name: ClassVar[str] = "ambs"

    def __init__(self, space: SearchSpace, *, seed: int = 0, n_initial: int | None = None,
        initial_design: str = "random", surrogate: ForestKind = "random_forest", n_trees: int = 30, kappa: float = 1.96,
        liar: Liar = "believer", multipoint: str = "conditioned", failed: FailedAs = "worst", n_candidates: int = 500,
        max_training: int = 600, refresh: int = 1, variance: str = "total", **k) -> None:
        super().__init__(space, seed=seed)
        self.k = {**K, **k}
        d = len(space)
        self.n_initial = max(10, 2 * d) if n_initial is None else n_initial
        self.kappa, self.liar, self.multipoint, self.n_candidates = kappa, liar, multipoint, n_candidates
        self._design = None
        if initial_design == "lhs":
            self._design = PointDesign(space, LatinHypercube(d, seed=seed, block_size=self.n_initial))
        elif initial_design == "sobol":
            self._design = PointDesign(space, Sobol(d, seed=seed))
        self._conditional = np.array([p.when is not None for p in space.parameters.values()], bool)
        self._training = TrainingSet(d + int(self._conditional.sum()), max_rows=max_training, failed=failed, seed=seed)
        self._forest = Forest(self._training, kind=surrogate, n_trees=n_trees, refresh=refresh, seed=seed,
                              min_samples_leaf=self.k["msl"], max_features=self.k["mf"], variance=variance)
        self._rows = np.empty((0, d))
        self.n_refits = 0

    def _features(self, X):
        if self._conditional.any():
            return np.hstack([X, self.space.active(X)[:, self._conditional]])
        return X

    def _fold_encoded(self, trials, X):
        super()._fold_encoded(trials, X)
        loss = np.array([t.losses[0] if t.losses else np.nan for t in trials])
        self._rows = np.concatenate([self._rows, X])
        self._training.append(self._features(X), loss)

    def _propose(self, n, pending, taken, rng):
        if len(self._training) < self.n_initial:
            if self._design is None:
                return suggest(self.space, self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng))
            self._design.see(pending)
            return suggest(self.space, self._untried(n, taken, self._design.draw, rng), self._design.meta)
        self.n_refits += self._forest.sync()
        stats = self._forest.statistics()
        self._kap = self.kappa
        self._best = self._training.targets(self._forest._rows).min()
        if self.k["kmode"] == "exp": self._kap = rng.exponential(self.kappa)
        if self.k["kmode"] == "alt": self._kap = self.kappa * [0.25, 1, 1.5][self._n_asks % 3]
        if self.k["kmode"] == "logu": self._kap = self.kappa * math.exp(rng.uniform(-1.5, 0.7))
        if pending and self.multipoint == "conditioned":
            P = np.array([self._pending_rows[t.trial_id][0] for t in pending])
            ids = self._forest.leaves(self._features(P))
            stats.add(ids, self._lie(stats, ids))
        X, ids = self._pool(stats, rng, n)
        return suggest(self.space, self._pick(n, X, ids, stats, taken))

    def _lie(self, stats, ids):
        if self.liar == "believer":
            return stats.mean(ids)
        y = self._training.targets(self._forest._rows)
        return np.full(ids.shape[1], {"min": y.min, "mean": y.mean, "max": y.max}[self.liar]())

    def _score(self, stats, ids):
        mean, std = stats.moments(ids)
        if self.k["acq"] == "logei":
            from scipy.special import ndtr, log_ndtr
            std = np.maximum(std, 1e-3)
            z = (self._best - mean) / std
            h = np.exp(-z*z/2)/2.5066 + z*ndtr(z)
            with np.errstate(all="ignore"):
                return -(np.log(std) + np.where(z > -5, np.log(np.maximum(h, 1e-300)), -z*z/2 - 0.919 - 2*np.log(np.abs(z)+1e-9)))
        return mean - self._kap * np.maximum(std, self.k["minstd"])

    def _mutate(self, X, rng):
        k = self.k
        if k["mut"] == "space":
            return self.space.mutate(X, rng)
        n, d = X.shape
        p = k["p"] or 1.5 / d
        mask = rng.random((n, d)) < p
        mask[np.arange(n), rng.integers(0, d, n)] = True
        scale = np.exp(rng.uniform(np.log(k["smin"]), np.log(k["smax"]), (n, 1)))
        Y = X + rng.normal(size=(n, d)) * scale
        Y = np.abs(Y); Y = np.where(Y > 1, 2 - Y, Y).clip(0, 1)
        U = rng.random((n, d))
        Y = np.where(self.space.is_categorical | (rng.random((n, d)) < 0.05), U, Y)
        return self.space.snap(np.where(mask, Y, X))

    def _pool(self, stats, rng, n):
        k = self.k
        loss = self._training.loss
        best = np.argsort(loss, kind="stable")[: k["n_inc"]]
        inc = self._rows[best]
        X = [self.space.sample_encoded(self.n_candidates, rng)]
        if k["n_local"]:
            X.append(self._mutate(inc[np.arange(k["n_local"]) % len(inc)], rng))
        X = np.concatenate(X)
        ids = self._forest.leaves(self._features(X))
        s = self._score(stats, ids)
        for _ in range(k["rounds"]):
            top = np.argpartition(s, k["top"])[: k["top"]]
            Y = self._mutate(X[np.repeat(top, k["per_round"] // k["top"])], rng)
            yi = self._forest.leaves(self._features(Y))
            X, ids, s = np.concatenate([X, Y]), np.concatenate([ids, yi], axis=1), np.concatenate([s, self._score(stats, yi)])
        return X, ids

    def _pick(self, n, X, ids, stats, taken):
        out = []
        alive = np.ones(len(X), bool)
        s = self._score(stats, ids)
        while len(out) < n and alive.any():
            i = int(np.argmin(np.where(alive, s, np.inf)))
            alive[i] = False
            key = self.space.keys(X[i : i + 1])[0]
            if key in taken:
                continue
            taken.add(key)
            out.append(X[i])
            if len(out) < n and self.multipoint == "conditioned":
                j = ids[:, i : i + 1]
                stats.add(j, self._lie(stats, j))
                s = self._score(stats, ids)
        return np.array(out)
