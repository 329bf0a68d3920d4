"""Base of the searchers that make a config by one decision after the other and learn from how it did.

Notation
--------
d : parameters;  X : (n, d) encoded configs, snapped;  T : decisions;  L : (n, T) levels, -1 where a decision is
not there;  m : remembered outcomes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from dhflow.searcher.decision import Decisions
from dhflow.searcher.distinct import DistinctSearcher, Taken
from dhflow.searcher.evidence import Evidence, highest_budget, read_evidence
from dhflow.searcher.option import check_count
from dhflow.space import SearchSpace
from dhflow.surrogate.target import normal_scores
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

MEMORY = 500
"""Outcomes that rewards compare a trial with: the last ones, so many."""
_FIRST_STREAM = 0x5E
"""Keeps generators that belong to no ask apart from those of the asks."""
_REDRAWS = 8
_REDRAW_ROWS = 32
"""Draws by a searcher's own rule, and rows of each but the first, before configs are drawn at random."""


class Outcome(NamedTuple):
    """What is remembered of a finished trial.

    Parameters
    ----------
    levels : (T,)
    loss : float
        Infinite for a failure.
    is_censored : bool
        It was stopped early.
    log_probability : float
        Of the decisions, at the time and by the rule by which they were taken.
    """

    levels: IntArray
    loss: float
    is_censored: bool
    log_probability: float


class SequentialSearcher(DistinctSearcher):
    """Base of the searchers that decide on one parameter after the other.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_levels : int
        Stretches into which a parameter of more values is divided.

    Notes
    -----
    A subclass says how configs are drawn (:meth:`_draw`) and how it learns of each outcome (:meth:`_learn`).

    A *reward* is the normal score of a trial's rank among the last :data:`MEMORY` outcomes: losses have any scale and
    any outliers, rewards do not. A failed trial has the worst rank; one that was stopped early has a reward of 0 at
    best.
    """

    max_objectives: ClassVar[int | None] = 1

    def __init__(self, space: SearchSpace, *, seed: int, n_levels: int) -> None:
        super().__init__(space, seed=seed)
        check_count("n_levels", n_levels, least=2)
        self.decisions = Decisions(space, n_levels)
        self._memory: deque[Outcome] = deque(maxlen=MEMORY)
        self._n_told = 0
        self._budget = 0.0

    @abstractmethod
    def _draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray, FloatArray]:
        """Return configs (n, d), snapped, their levels (n, T), and the logarithm (n,) of how probable these were."""

    @abstractmethod
    def _learn(self) -> None:
        """Learn from the last outcome in the memory, and from those before."""

    def _stream(self, *numbers: int) -> np.random.SeedSequence:
        """Return a seed for what belongs to no ask."""
        return np.random.SeedSequence([self.seed, _FIRST_STREAM, *numbers])

    def _rewards(self) -> FloatArray:
        """Return the rewards (m,) of the remembered outcomes."""
        scores = -normal_scores([each.loss for each in self._memory])
        return np.where([each.is_censored for each in self._memory], np.minimum(scores, 0.0), scores)

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        budget = highest_budget(trials, self._budget)
        if budget > self._budget:
            # Losses of lower budgets are not comparable; what was learned from them still holds.
            self._budget = budget
            self._memory.clear()
        evidence = read_evidence(trials, self._budget)
        if not len(self.decisions) or not evidence:
            return
        levels = self.decisions.levels(X[[each.place for each in evidence]])
        prior = self.decisions.prior_log_probability(levels)
        for each, row, log_p in zip(evidence, levels, prior, strict=True):
            self._memory.append(_outcome(each, row, trials[each.place], float(log_p)))
            self._n_told += 1
            self._learn()

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        rows: list[FloatArray] = []
        log_ps: list[float] = []
        for draws in range(_REDRAWS if len(self.decisions) else 0):
            if len(rows) == n:
                break
            X, _, log_p = self._draw(n if draws == 0 else max(n, _REDRAW_ROWS), rng)
            is_allowed = self.space.allowed(X)
            for (row, key), each in zip(self._identified(X[is_allowed]), log_p[is_allowed], strict=True):
                if len(rows) == n:
                    break
                if key not in taken:
                    taken.add(key)
                    rows.append(row)
                    log_ps.append(float(each))
        if len(rows) < n:
            others = self._untried(n - len(rows), taken, lambda k: self.space.sample_encoded(k, rng), rng)
            rows += list(others)
            log_ps += self.decisions.prior_log_probability(self.decisions.levels(others)).tolist()
        configs = self.space.decode(np.array(rows)) if rows else []
        return [
            Suggestion(config, meta={"log_probability": log_p}) for config, log_p in zip(configs, log_ps, strict=True)
        ]


def _outcome(evidence: Evidence, levels: IntArray, trial: Trial, prior: float) -> Outcome:
    # A trial from elsewhere says nothing about how it was chosen: the prior stands in.
    log_p = float(trial.meta.get("log_probability", prior))
    loss = evidence.loss if evidence.losses else np.inf
    return Outcome(levels, loss, evidence.is_censored, log_p)
