"""From what a surrogate believes to the next configs: candidates, lies about pending trials, and the pick.

Notation
--------
X : (k, d) encoded configs;  places : where the surrogate has k points;  scores : (k,) acquisition, lower is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from dhflow.searcher.candidate import Candidates
from dhflow.searcher.distinct import Taken
from dhflow.searcher.evidence import Evidence
from dhflow.searcher.features import Features
from dhflow.searcher.plateau import Plateaus
from dhflow.searcher.scoring import PORTFOLIO, Acquisition, Hedge, KappaSchedule, Rule
from dhflow.space import SearchSpace
from dhflow.surrogate.array import IntArray
from dhflow.surrogate.belief import Belief, PenalisedBelief, Places, Surrogate, joined
from dhflow.surrogate.blas import single_threaded

FloatArray = npt.NDArray[np.float64]

Liar = Literal["believer", "min", "mean", "max"]
LIARS: tuple[Liar, ...] = get_args(Liar)
Multipoint = Literal["adaptive", "conditioned", "penalised", "naive"]
MULTIPOINTS: tuple[Multipoint, ...] = get_args(Multipoint)

_LIES: dict[str, Callable[[FloatArray], np.floating[Any]]] = {"min": np.min, "mean": np.mean, "max": np.max}
N_INCUMBENTS = 10
"""Best trials, and later best candidates, whose neighbours are looked at."""
_CLIMB_ROUNDS = 4
_EXPLORERS = 3
"""Times as many random candidates where no others are looked at."""
_EXPLORING = KappaSchedule(draw="exponential")
LEAST_CROWD, LARGEST_CROWD = 32, 1024
"""Pending and wanted trials from and up to which "adaptive" may penalise: fewer gain little, more cost much."""
FINISHED_PER_CROWD = 2.0
"""It does until so many trials have finished for each pending or wanted one."""


@dataclass(frozen=True)
class ProposerOptions:
    """How configs are proposed; see :class:`~dhflow.searcher.ambs.Ambs`.

    Parameters
    ----------
    acquisition, liar, multipoint : str
    kappa : KappaSchedule
    n_candidates : int
    leaves_plateaus : bool
        Explore as often as results repeat earlier values.
    least_crowd : int
        Pending and wanted trials from which "adaptive" penalises.
    """

    acquisition: Acquisition
    kappa: KappaSchedule
    liar: Liar
    multipoint: Multipoint
    n_candidates: int
    leaves_plateaus: bool = False
    least_crowd: int = LEAST_CROWD


class Pool(NamedTuple):
    """Candidates of one ask.

    Parameters
    ----------
    X : (k, d)
    places : Places
    scores : (k,)
    """

    X: FloatArray
    places: Places
    scores: FloatArray


class Proposer:
    """Proposes configs that one surrogate likes.

    Parameters
    ----------
    space : SearchSpace
    model : Surrogate
    options : ProposerOptions
    features : Features
        What the model is told of a config.
    candidates : Candidates, optional
        Among what it chooses; the whole space unless given.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: Surrogate,
        options: ProposerOptions,
        features: Features,
        candidates: Candidates | None = None,
    ) -> None:
        self.model = model
        self.options = options
        self.level = 1.0
        """At which budget, on the unit scale, configs are to be good; for a model that knows budgets."""
        self.n_fitted = 0
        self._space = space
        self._candidates = candidates or Candidates(space)
        self._features = features
        self._hedge = Hedge()
        self._plateaus = Plateaus()

    @property
    def n_told(self) -> int:
        """How many trials it was told of."""
        return len(self.model.training)

    @property
    def n_completed(self) -> int:
        """How many of them tell what the objective is."""
        return self.model.training.n_completed

    def tell(self, X: FloatArray, evidence: Sequence[Evidence], *, level: float | None = None) -> None:
        """Tell the model of trials at X (k, d), at this budget."""
        features = self._features.of(X, self.level if level is None else level)
        losses, censored = [each.loss for each in evidence], [each.is_censored for each in evidence]
        self.model.training.append(features, losses, censored)
        self._plateaus.tell(each.losses for each in evidence if each.losses)

    def tell_nominees(self, nominees: FloatArray) -> None:
        """Take note of what the members of the portfolio had named when a trial was suggested that is now told."""
        self._hedge.tell(self._features.of(nominees, self.level))

    def propose(
        self, n: int, pending: Sequence[FloatArray], taken: Taken, rng: np.random.Generator
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Return up to `n` untried configs (k, d), the best first, and what to note with them.

        Parameters
        ----------
        n : int
        pending : sequence of (d,)
        taken : Taken
            The chosen ones are added.
        rng : Generator
        """
        with single_threaded() if self.model.uses_blas else nullcontext():
            self.sync()
            belief = self.belief(pending, n)
            n_exploring = self._n_exploring(n, rng)
            found, meta = self._refine(n - n_exploring, belief, taken, rng)
            if n_exploring:
                found = np.concatenate([found, self._explore(n_exploring, belief, taken, rng)])
        return found, meta

    def _n_exploring(self, n: int, rng: np.random.Generator) -> int:
        share = self._plateaus.share if self.options.leaves_plateaus else 0.0
        return int(rng.binomial(n, share)) if share else 0

    def sync(self) -> None:
        """Bring the model to the state that belongs to the told trials."""
        self.n_fitted += self.model.sync()

    def belief(self, pending: Sequence[FloatArray] = (), n_wanted: int = 0) -> Belief:
        """Return what the model believes of the trials it was told before its last sync, with lies about others.

        Parameters
        ----------
        pending : sequence of (d,)
        n_wanted : int
            How many configs are to be chosen with it.
        """
        belief = self._new_belief(is_penalised=self._is_penalised(len(pending) + n_wanted))
        if len(pending) and self.options.multipoint != "naive":
            self._tell_lies(belief, self.place(np.array(pending)))
        return belief

    def _is_penalised(self, crowd: int) -> bool:
        if self.options.multipoint != "adaptive":
            return self.options.multipoint == "penalised"
        return self.options.least_crowd <= crowd <= LARGEST_CROWD and self.n_completed < FINISHED_PER_CROWD * crowd

    def _new_belief(self, *, is_penalised: bool) -> Belief:
        belief = self.model.belief()
        return PenalisedBelief(belief) if is_penalised else belief

    def place(self, X: FloatArray) -> Places:
        """Look configs up (k, d)."""
        return self.model.place(self._features.of(X, self.level))

    def _tell_lies(self, belief: Belief, places: Places) -> None:
        """Tell the belief the lie about each point."""
        tell_lies(belief, places, self.options.liar, self.model.targets)

    def _rule(self, belief: Belief, rng: np.random.Generator) -> Rule:
        """Return what scores the candidates for the next suggestion."""
        name = self.options.acquisition
        if name == "hedge":
            name = self._hedge.choose(belief, self.model.place, rng)
        kappa = self.options.kappa.at(self.model.training.n_completed, rng)
        return Rule(name, float(self.model.targets.min()), kappa)

    def _refine(
        self, n: int, belief: Belief, taken: Taken, rng: np.random.Generator
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Return the configs (k, d) that the acquisition likes best, and what to note with them."""
        if not n:
            return np.empty((0, len(self._space))), {}
        pool = self._pool(belief, self._rule(belief, rng), rng)
        meta = self._nominees(pool, belief)
        return pool.X[self._pick(n, pool, belief, taken, rng, rule=self._rule)], meta

    def _explore(self, n: int, belief: Belief, taken: Taken, rng: np.random.Generator) -> FloatArray:
        """Return configs (k, d) from anywhere, each by a weight of the uncertainty of its own."""
        X = self._candidates.sample(_EXPLORERS * self.options.n_candidates, rng)
        places = self.place(X)
        pool = Pool(X, places, self._exploring(belief, rng).scores(belief, places))
        return X[self._pick(n, pool, belief, taken, rng, rule=self._exploring)]

    def _exploring(self, belief: Belief, rng: np.random.Generator) -> Rule:
        """Return what scores the candidates for the next suggestion that explores."""
        del belief
        kappa = _EXPLORING.at(self.model.training.n_completed, rng)
        return Rule("lcb", float(self.model.targets.min()), kappa)

    def _pool(self, belief: Belief, rule: Rule, rng: np.random.Generator) -> Pool:
        """Return candidates; some may be tried, or there twice."""
        n, candidates = self.options.n_candidates, self._candidates
        X = np.concatenate([candidates.sample(n, rng), candidates.neighbours(self._incumbents(rule), n // 2, rng)])
        places = [self.place(X)]
        scores = rule.scores(belief, places[0])
        for _ in range(_CLIMB_ROUNDS):
            n_top = min(N_INCUMBENTS, len(X) - 1)
            top = X[np.argpartition(scores, n_top)[:n_top]] if n_top else X
            more = candidates.neighbours(top, n // 5, rng)
            places.append(self.place(more))
            scores = np.concatenate([scores, rule.scores(belief, places[-1])])
            X = np.concatenate([X, more])
        return Pool(X, self._join(places), scores)

    def _join(self, parts: Sequence[Places]) -> Places:
        return joined(parts)

    def _incumbents(self, rule: Rule) -> FloatArray:
        """Return the configs (k, d) of the best trials."""
        del rule
        return self._configs(self.model.training.best(self.model.rows, N_INCUMBENTS))

    def _configs(self, rows: IntArray) -> FloatArray:
        return self.model.training.X[rows, : len(self._space)].astype(np.float64)

    def _pick(
        self,
        n: int,
        pool: Pool,
        belief: Belief,
        taken: Taken,
        rng: np.random.Generator,
        *,
        rule: Callable[[Belief, np.random.Generator], Rule],
    ) -> list[int]:
        """Return up to `n` untried candidates, the best first; each becomes a lie before `rule` scores the next."""
        X, places, scores = pool
        chosen: list[int] = []
        is_open = np.ones(len(X), np.bool_)
        while len(chosen) < n and is_open.any():
            index = int(np.where(is_open, scores, np.inf).argmin())
            if not is_open[index]:  # what is left has an infinite score
                index = int(is_open.argmax())
            is_open[index] = False
            (key,) = self._space.identities(X[index : index + 1])
            if key in taken:
                # Seldom: looked up for all only now, and one by one where that is dear.
                if self._space.canonical is None:
                    is_open &= [each not in taken for each in self._space.identities(X)]
                continue
            taken.add(key)
            chosen.append(index)
            if len(chosen) < n:
                if self.options.multipoint != "naive":
                    self._tell_lies(belief, places.take(chosen[-1:]))
                scores = rule(belief, rng).scores(belief, places)
        return chosen

    def _nominees(self, pool: Pool, belief: Belief) -> dict[str, Any]:
        """Return what each member of the portfolio likes best, to be judged by when the trials are told."""
        if self.options.acquisition != "hedge":
            return {}
        best = float(self.model.targets.min())
        rules = [Rule(each, best, self.options.kappa.kappa) for each in PORTFOLIO]
        return {"nominees": [pool.X[int(each.scores(belief, pool.places).argmin())].tolist() for each in rules]}


def tell_lies(belief: Belief, places: Places, liar: Liar, targets: FloatArray) -> None:
    """Tell a belief the lie about each point; `targets` (m,) are those of the told trials."""
    lies = belief.mean(places) if liar == "believer" else np.full(len(places), _LIES[liar](targets))
    belief.add(places, lies)
