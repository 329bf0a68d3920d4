"""Asynchronous model-based search.

Notation
--------
X : (k, d) encoded configs;  ids : (T, k) leaves of k configs in T trees;  scores : (k,) acquisition, lower is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.errors import SurrogateError
from dhflow.searcher.candidate import Candidates
from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.evidence import highest_budget, read_evidence
from dhflow.searcher.option import check_choice, check_count, check_number
from dhflow.searcher.point import LatinHypercube, Sobol
from dhflow.searcher.quasi_random import PointDesign
from dhflow.space import SearchSpace
from dhflow.surrogate.acquisition import lower_confidence_bound
from dhflow.surrogate.forest import FOREST_KINDS, Forest, ForestKind
from dhflow.surrogate.leaf import VARIANCES, LeafStatistics
from dhflow.surrogate.training import FAILED_AS, FailedAs, TrainingSet
from dhflow.trial import Config, Suggestion, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

InitialDesign = Literal["random", "lhs", "sobol"]
Liar = Literal["believer", "min", "mean", "max"]
Multipoint = Literal["conditioned", "naive"]

_LIES: dict[str, Callable[[FloatArray], np.floating[Any]]] = {"min": np.min, "mean": np.mean, "max": np.max}
_N_INCUMBENTS = 10
"""Best trials, and later best candidates, whose neighbours are looked at."""
_CLIMB_ROUNDS = 4


class Ambs(DistinctSearcher):
    """Asynchronous model-based search: a forest learns from every trial, its lower confidence bound proposes the next.

    The method of Balaprakash et al. 2018 (*DeepHyper: asynchronous hyperparameter search for deep
    neural networks*, HiPC, sec. III-B): after an initial design, whenever a worker is free, the
    surrogate is asked for the config that minimises ``mean - kappa * std``, with a lie
    standing in for every trial that is still running.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_initial : int, optional
        Finished trials before the model takes over; ``max(10, d)`` for d parameters unless given.
    initial_design : {"random", "lhs", "sobol"}
        What is tried before.
    surrogate : {"random_forest", "extra_trees"}
        Trees with the best splits of bootstrap samples, or with random splits. On our smooth test
        functions random splits left a quarter less regret, for a tenth more CPU.
    n_trees : int
    kappa : float
        Weight of the uncertainty; 1.96 is the bound of 97.5 % of a normal belief, 0 only exploits.
    liar : {"believer", "min", "mean", "max"}
        What the surrogate is told of a pending trial; see Notes.
    multipoint : {"conditioned", "naive"}
        "conditioned": every pending trial, and every config chosen before within the same ask,
        is a lie. "naive": the n best configs of one acquisition, pending ones ignored but for
        duplicates; for comparison.
    failed : {"worst", "mean", "leave_out"}
        What a failed trial is told as: one rank worse than the worst completed one, the mean,
        or nothing. Targets are scores of ranks, so a failure cannot distort the others.
    variance : {"total", "between"}
        Within and between the trees' leaves, or between alone.
    n_candidates : int
        Random candidates of an ask; half as many neighbours of the best trials, and four times
        a fifth as many neighbours of the best candidates come on top.
    max_training : int
        Trials that the surrogate is fitted to, at most: a third each the best, the latest and
        others at random.
    refresh : int
        Trees grown anew per tell in the long run; at the beginning more.

    Notes
    -----
    *Liars.* "min", "mean" and "max" are meant of the losses, which are minimised: "min" is the
    best value so far, the optimistic liar (of a user who maximises an accuracy: the highest
    one), "max" the worst. In DeepHyper the same words changed their meaning between
    versions, so compare by meaning and not by name. "believer", the surrogate's own
    prediction (Ginsbourger, Le Riche and Carraro 2010, sec. 4.1, "Kriging believer"), is the
    default: with eight asynchronous workers and random splits its regret was half of the mean liar's, a quarter of
    the pessimist's ("max") and a fifth of the optimist's ("min").

    *Departures from the paper.* Targets are normal scores of ranks. Leaf statistics take up
    every tell and every lie at once while a few trees in turn are grown anew, instead of a refit per
    ask (:mod:`dhflow.surrogate.forest`). Candidates climb instead of being a random sample. No config is tried twice.

    *Budgets.* Only trials at the highest budget that has completed train the model; a trial that was
    stopped early counts as no better than the median.

    *Cost.* An ask and tell takes 5 to 10 ms of CPU, independent of the history's length beyond
    `max_training`, and 64 at once take some 20 ms. Use it when a trial takes longer than that
    and the space is not tiny.
    """

    name: ClassVar[str] = "ambs"
    max_objectives: ClassVar[int | None] = 1

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_initial: int | None = None,
        initial_design: InitialDesign = "random",
        surrogate: ForestKind = "random_forest",
        n_trees: int = 30,
        kappa: float = 1.96,
        liar: Liar = "believer",
        multipoint: Multipoint = "conditioned",
        failed: FailedAs = "worst",
        variance: str = "total",
        n_candidates: int = 500,
        max_training: int = 600,
        refresh: int = 1,
    ) -> None:
        super().__init__(space, seed=seed)
        d = len(space)
        self.n_initial = max(10, d) if n_initial is None else n_initial
        check_count("n_initial", self.n_initial)
        check_choice("initial_design", initial_design, get_args(InitialDesign))
        check_choice("surrogate", surrogate, FOREST_KINDS)
        check_count("n_trees", n_trees)
        check_number("kappa", kappa)
        check_choice("liar", liar, get_args(Liar))
        check_choice("multipoint", multipoint, get_args(Multipoint))
        check_choice("failed", failed, FAILED_AS)
        check_choice("variance", variance, VARIANCES)
        check_count("n_candidates", n_candidates, least=20)
        check_count("max_training", max_training, least=30)
        check_count("refresh", refresh)
        self.kappa = kappa
        self.liar = liar
        self.multipoint = multipoint
        self.n_candidates = n_candidates
        self._candidates = Candidates(space)
        self._conditional = np.array([each.when is not None for each in space.parameters.values()])
        self._forest_options: dict[str, Any] = {
            "kind": surrogate,
            "n_trees": n_trees,
            "refresh": min(refresh, n_trees),
            "variance": variance,
            "seed": seed,
        }
        self._training_options: dict[str, Any] = {"max_rows": max_training, "failed": failed, "seed": seed}
        self._budget = 0.0
        self._start_model()
        self._n_grown = 0
        self._design: PointDesign | None = None
        if initial_design == "lhs":
            self._design = PointDesign(space, LatinHypercube(d, seed=seed, block_size=self.n_initial))
        elif initial_design == "sobol":
            self._design = PointDesign(space, Sobol(d, seed=seed))

    @property
    def n_trees_grown(self) -> int:
        """How many trees this object has grown so far."""
        return self._n_grown

    def predict(self, configs: Sequence[Config], pending: Sequence[Trial] = ()) -> tuple[FloatArray, FloatArray]:
        """Return what the surrogate believes at `configs`, as the last ask knew the told trials.

        Parameters
        ----------
        configs : sequence of mapping
        pending : sequence of Trial
            Each is lied about as in an ask.

        Returns
        -------
        mean, std : (len(configs),)
            In normal scores of the losses: lower is better, 0 is the median trial.

        Raises
        ------
        SurrogateError
            If the initial design is not over, so that there is no surrogate yet.
        """
        if not self._has_model:
            raise SurrogateError(f"there is no surrogate yet: it begins after {self.n_initial} finished trials")
        self._n_grown += self._forest.sync()
        belief = self._forest.statistics()
        if pending and self.multipoint == "conditioned":
            P = self.space.encode([each.config for each in pending])
            self._tell_lies(belief, self._forest.leaves(self._features(P)))
        X = self.space.encode(configs)
        return belief.moments(self._forest.leaves(self._features(X)))

    @property
    def _has_model(self) -> bool:
        return len(self._training) >= self.n_initial and self._training.n_completed > 0

    def state(self) -> dict[str, Any]:
        """Return the base's snapshot and the place in the initial design."""
        return {**super().state(), "next_point": self._design.next_point if self._design else 0}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot of :meth:`state` back."""
        super().restore(state)
        if self._design:
            self._design.next_point = int(state["next_point"])

    def _start_model(self) -> None:
        n_features = len(self.space) + int(self._conditional.sum())
        self._training = TrainingSet(n_features, **self._training_options)
        self._forest = Forest(self._training, **self._forest_options)

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        if self._design:
            self._design.see(trials)
        budget = highest_budget(trials, self._budget)
        if budget > self._budget:
            # What was learned of lower budgets is not comparable.
            self._budget = budget
            self._start_model()
        evidence = read_evidence(trials, self._budget)
        if evidence:
            places, losses, censored = map(list, zip(*evidence, strict=True))
            self._training.append(self._features(X[places]), losses, censored)

    def _features(self, X: FloatArray) -> FloatArray:
        """Return X with a column of 0 or 1 for each conditional parameter: whether it is active."""
        if not self._conditional.any():
            return X
        return np.hstack([X, self.space.active(X)[:, self._conditional]])

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        if not self._has_model:
            return self._propose_initial(n, pending, taken, rng)
        self._n_grown += self._forest.sync()
        belief = self._forest.statistics()
        if pending and self.multipoint == "conditioned":
            P = np.array([self._pending_rows[each.trial_id][0] for each in pending])
            self._tell_lies(belief, self._forest.leaves(self._features(P)))
        X, ids, scores = self._pool(belief, taken, rng)
        rows = X[self._pick(n, ids, scores, belief)]
        for key in self.space.keys(rows):
            taken.add(key)
        if len(rows) < n:
            rows = np.concatenate([rows, self._random(n - len(rows), taken, rng)])
        return suggest(self.space, rows)

    def _propose_initial(
        self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator
    ) -> list[Suggestion]:
        if self._design is None:
            return suggest(self.space, self._random(n, taken, rng))
        self._design.see(pending)
        X = self._untried(n, taken, self._design.draw, rng)
        return suggest(self.space, X, self._design.meta)

    def _random(self, n: int, taken: Taken, rng: np.random.Generator) -> FloatArray:
        return self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)

    def _tell_lies(self, belief: LeafStatistics, ids: IntArray) -> None:
        """Put the lie about each config into its leaves."""
        if self.liar == "believer":
            lies = belief.mean(ids)
        else:
            lies = np.full(ids.shape[1], _LIES[self.liar](self._forest.targets))
        belief.add(ids, lies)

    def _scores(self, belief: LeafStatistics, ids: IntArray) -> FloatArray:
        return lower_confidence_bound(*belief.moments(ids), self.kappa)

    def _pool(
        self, belief: LeafStatistics, taken: Taken, rng: np.random.Generator
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """Return untried candidates, each once, with their leaves and scores."""
        n, candidates = self.n_candidates, self._candidates
        best = self._training.best(self._forest.rows, _N_INCUMBENTS)
        incumbents = self._training.X[best, : len(self.space)].astype(np.float64)
        X = np.concatenate([candidates.sample(n, rng), candidates.neighbours(incumbents, n // 2, rng)])
        ids = self._forest.leaves(self._features(X))
        scores = self._scores(belief, ids)
        for _ in range(_CLIMB_ROUNDS):
            top = X[np.argpartition(scores, _N_INCUMBENTS)[:_N_INCUMBENTS]]
            more = candidates.neighbours(top, n // 5, rng)
            more_ids = self._forest.leaves(self._features(more))
            X, ids = np.concatenate([X, more]), np.concatenate([ids, more_ids], axis=1)
            scores = np.concatenate([scores, self._scores(belief, more_ids)])
        first: dict[bytes, int] = {}
        for index, key in enumerate(self.space.keys(X)):
            if key not in taken:
                first.setdefault(key, index)
        fresh = list(first.values())
        return X[fresh], ids[:, fresh], scores[fresh]

    def _pick(self, n: int, ids: IntArray, scores: FloatArray, belief: LeafStatistics) -> list[int]:
        """Return which `n` candidates to try, the best first; each becomes a lie before the next is chosen."""
        if self.multipoint == "naive":
            return [int(index) for index in np.argsort(scores, kind="stable")[:n]]
        chosen: list[int] = []
        while len(chosen) < min(n, len(scores)):
            if chosen:
                self._tell_lies(belief, ids[:, chosen[-1:]])
                scores = self._scores(belief, ids)
                scores[chosen] = np.inf
            chosen.append(int(scores.argmin()))
        return chosen
