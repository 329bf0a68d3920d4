"""Asynchronous model-based search.

Notation
--------
X : (k, d) encoded configs;  places : where the surrogate has k points;  scores : (k,) acquisition, lower is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.searcher.candidate import Candidates
from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.evidence import highest_budget, read_evidence
from dhflow.searcher.option import check_choice, check_count, check_number
from dhflow.searcher.point import LatinHypercube, Sobol
from dhflow.searcher.quasi_random import PointDesign
from dhflow.searcher.scoring import (
    ACQUISITIONS,
    KAPPA_DRAWS,
    PORTFOLIO,
    Acquisition,
    Hedge,
    KappaDraw,
    KappaSchedule,
    Rule,
)
from dhflow.space import SearchSpace
from dhflow.surrogate.belief import Belief, PenalisedBelief, Places, Surrogate, joined
from dhflow.surrogate.gaussian_process import MAX_ROWS
from dhflow.surrogate.kernel import FeatureKinds
from dhflow.surrogate.kind import SURROGATES, SurrogateKind, can_be_conditioned, make_surrogate
from dhflow.surrogate.leaf import VARIANCES
from dhflow.surrogate.training import FAILED_AS, FailedAs, TrainingSet
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]

InitialDesign = Literal["random", "lhs", "sobol"]
Liar = Literal["believer", "min", "mean", "max"]
Multipoint = Literal["conditioned", "penalised", "naive"]

_LIES: dict[str, Callable[[FloatArray], np.floating[Any]]] = {"min": np.min, "mean": np.mean, "max": np.max}
_N_INCUMBENTS = 10
"""Best trials, and later best candidates, whose neighbours are looked at."""
_CLIMB_ROUNDS = 4


class Ambs(DistinctSearcher):
    """Asynchronous model-based search: a surrogate learns from every trial and proposes the next.

    The method of Balaprakash et al. 2018 (*DeepHyper: asynchronous hyperparameter search for deep
    neural networks*, HiPC, sec. III-B): after an initial design, whenever a worker is free, the
    surrogate is asked for the config with the best acquisition, a lie standing in for every trial that
    still runs. ``surrogate="random_forest", acquisition="lcb"`` is what the paper describes; the
    defaults are what did best on our test functions.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_initial : int, optional
        Finished trials before the model takes over; ``max(10, d)`` for d parameters unless given.
    initial_design : {"random", "lhs", "sobol"}
        What is tried before.
    surrogate : {"extra_trees", "random_forest", "bagging", "gradient_boosting", "bayesian_network"}
        The first three are forests (:class:`~dhflow.surrogate.forest.Forest`), which take up every tell and every lie
        at once; the others (:mod:`~dhflow.surrogate.boosting`, :mod:`~dhflow.surrogate.network`) are fitted
        anew at every twentieth more trials.
    n_trees : int
        Of forests.
    acquisition : {"log_ei", "ei", "pi", "lcb", "hedge"}
        Logarithm of the expected improvement, expected improvement, probability of improvement, lower confidence
        bound ``mean - kappa * std``, or a portfolio of them (:class:`~dhflow.searcher.scoring.Hedge`).
    kappa : float
        Weight of the uncertainty in "lcb"; 1.96 is the bound of 97.5 % of a normal belief, 0 only exploits.
    kappa_decay : float
        `kappa` shrinks by this rate per *finished* trial, exponentially.
    kappa_draw : {"fixed", "exponential"}
        "exponential" draws each suggestion's own weight, with mean `kappa`.
    liar : {"believer", "min", "mean", "max"}
        What the surrogate is told of a pending trial; see Notes.
    multipoint : {"conditioned", "penalised", "naive"}
        "conditioned": every pending trial, and every config chosen before within the same ask,
        is a lie. "penalised": the uncertainty around them vanishes instead
        (:class:`~dhflow.surrogate.belief.PenalisedBelief`), always so with "gradient_boosting". "naive": pending
        trials are ignored but for duplicates; for comparison, or with ``kappa_draw="exponential"``.
    failed : {"worst", "mean", "leave_out"}
        What a failed trial is told as: one rank worse than the worst completed one, the mean,
        or nothing. Targets are scores of ranks, so a failure cannot distort the others.
    variance : {"total", "between"}
        Of forests: within and between the trees' leaves, or between alone.
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

    *Cost.* With a forest an ask and tell takes about 5 ms of CPU, independent of the history's length beyond
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
        surrogate: SurrogateKind = "extra_trees",
        n_trees: int = 30,
        acquisition: Acquisition = "log_ei",
        kappa: float = 1.96,
        kappa_decay: float = 0.0,
        kappa_draw: KappaDraw = "fixed",
        liar: Liar = "believer",
        multipoint: Multipoint = "conditioned",
        failed: FailedAs = "worst",
        variance: str = "total",
        n_candidates: int = 300,
        max_training: int = 600,
        refresh: int = 1,
    ) -> None:
        super().__init__(space, seed=seed)
        d = len(space)
        self.n_initial = max(10, d) if n_initial is None else n_initial
        check_count("n_initial", self.n_initial)
        check_choice("initial_design", initial_design, get_args(InitialDesign))
        check_choice("surrogate", surrogate, SURROGATES)
        check_count("n_trees", n_trees)
        check_choice("acquisition", acquisition, ACQUISITIONS)
        check_number("kappa", kappa)
        check_number("kappa_decay", kappa_decay)
        check_choice("kappa_draw", kappa_draw, KAPPA_DRAWS)
        check_choice("liar", liar, get_args(Liar))
        check_choice("multipoint", multipoint, get_args(Multipoint))
        check_choice("failed", failed, FAILED_AS)
        check_choice("variance", variance, VARIANCES)
        check_count("n_candidates", n_candidates, least=20)
        check_count("max_training", max_training, least=30)
        check_count("refresh", refresh)
        self.acquisition = acquisition
        self.kappa = kappa
        self._kappa = KappaSchedule(kappa, kappa_decay, kappa_draw)
        self.liar = liar
        self.multipoint = multipoint if can_be_conditioned(surrogate) or multipoint == "naive" else "penalised"
        self.n_candidates = n_candidates
        self._candidates = Candidates(space)
        self._conditional = np.array([each.when is not None for each in space.parameters.values()])
        self._surrogate_options: dict[str, Any] = {
            "kind": surrogate,
            "n_trees": n_trees,
            "refresh": min(refresh, n_trees),
            "variance": variance,
            "seed": seed,
            "kinds": self._feature_kinds(),
        }
        max_rows = min(max_training, MAX_ROWS) if surrogate == "gaussian_process" else max_training
        self._training_options: dict[str, Any] = {"max_rows": max_rows, "failed": failed, "seed": seed}
        self._budget = 0.0
        self._start_model()
        self._n_grown = 0
        self._design: PointDesign | None = None
        if initial_design == "lhs":
            self._design = PointDesign(space, LatinHypercube(d, seed=seed, block_size=self.n_initial))
        elif initial_design == "sobol":
            self._design = PointDesign(space, Sobol(d, seed=seed))

    @property
    def n_fitted(self) -> int:
        """How many parts of the surrogate (trees) this object has fitted so far."""
        return self._n_grown

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
        self._surrogate: Surrogate = make_surrogate(self._training, **self._surrogate_options)
        self._hedge = Hedge()

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
        if self.acquisition == "hedge":
            for each in trials:
                if "nominees" in each.meta:
                    self._hedge.tell(np.array(each.meta["nominees"], dtype=np.float64))

    def _feature_kinds(self) -> FeatureKinds:
        activity = np.full(len(self.space), -1, np.intp)
        activity[self._conditional] = len(self.space) + np.arange(int(self._conditional.sum()))
        return FeatureKinds(self.space.is_categorical, activity)

    def _features(self, X: FloatArray) -> FloatArray:
        """Return X with a column of 0 or 1 for each conditional parameter: whether it is active."""
        if not self._conditional.any():
            return X
        return np.hstack([X, self.space.active(X)[:, self._conditional]])

    def _place(self, X: FloatArray) -> Places:
        return self._surrogate.place(self._features(X))

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        if len(self._training) < self.n_initial or not self._training.n_completed:
            return self._propose_initial(n, pending, taken, rng)
        self._n_grown += self._surrogate.sync()
        belief = self._surrogate.belief()
        if self.multipoint == "penalised":
            belief = PenalisedBelief(belief)
        if pending and self.multipoint != "naive":
            P = np.array([self._pending_rows[each.trial_id][0] for each in pending])
            self._tell_lies(belief, self._place(P))
        rule = self._rule(belief, rng)
        X, places, scores = self._pool(belief, rule, taken, rng)
        meta = self._nominees(X, belief, places)
        chosen = self._pick(n, places, scores, belief, rng)
        for key in self.space.keys(X[chosen]):
            taken.add(key)
        suggestions = suggest(self.space, X[chosen], meta)
        if len(chosen) < n:
            suggestions += suggest(self.space, self._random(n - len(chosen), taken, rng))
        return suggestions

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

    def _tell_lies(self, belief: Belief, places: Places) -> None:
        """Tell the belief the lie about each point."""
        if self.liar == "believer":
            lies = belief.mean(places)
        else:
            lies = np.full(len(places), _LIES[self.liar](self._surrogate.targets))
        belief.add(places, lies)

    def _rule(self, belief: Belief, rng: np.random.Generator) -> Rule:
        """Return what scores the candidates for the next suggestion."""
        name = self.acquisition
        if name == "hedge":
            name = self._hedge.choose(belief, self._place, rng)
        kappa = self._kappa.at(self._training.n_completed, rng)
        return Rule(name, float(self._surrogate.targets.min()), kappa)

    def _pool(
        self, belief: Belief, rule: Rule, taken: Taken, rng: np.random.Generator
    ) -> tuple[FloatArray, Places, FloatArray]:
        """Return untried candidates, each once, with their places and scores."""
        n, candidates = self.n_candidates, self._candidates
        best = self._training.best(self._surrogate.rows, _N_INCUMBENTS)
        incumbents = self._training.X[best, : len(self.space)].astype(np.float64)
        X = np.concatenate([candidates.sample(n, rng), candidates.neighbours(incumbents, n // 2, rng)])
        found = [X]
        places = [self._place(X)]
        scores = rule.scores(belief, places[0])
        for _ in range(_CLIMB_ROUNDS):
            top = X[np.argpartition(scores, _N_INCUMBENTS)[:_N_INCUMBENTS]]
            found.append(candidates.neighbours(top, n // 5, rng))
            places.append(self._place(found[-1]))
            scores = np.concatenate([scores, rule.scores(belief, places[-1])])
            X = np.concatenate([X, found[-1]])
        first: dict[bytes, int] = {}
        for index, key in enumerate(self.space.keys(X)):
            if key not in taken:
                first.setdefault(key, index)
        fresh = list(first.values())
        return X[fresh], joined(places).take(fresh), scores[fresh]

    def _pick(self, n: int, places: Places, scores: FloatArray, belief: Belief, rng: np.random.Generator) -> list[int]:
        """Return which `n` candidates to try, the best first; each becomes a lie before the next is chosen."""
        chosen: list[int] = []
        while len(chosen) < min(n, len(scores)):
            if chosen:
                if self.multipoint != "naive":
                    self._tell_lies(belief, places.take(chosen[-1:]))
                scores = self._rule(belief, rng).scores(belief, places)
                scores[chosen] = np.inf
            chosen.append(int(scores.argmin()))
        return chosen

    def _nominees(self, X: FloatArray, belief: Belief, places: Places) -> dict[str, Any]:
        """Return what each member of the portfolio likes best, to be judged by when the trials are told."""
        if self.acquisition != "hedge":
            return {}
        best = float(self._surrogate.targets.min())
        rules = [Rule(each, best, self.kappa) for each in PORTFOLIO]
        return {"nominees": [X[int(each.scores(belief, places).argmin())].tolist() for each in rules]}
