"""Searchers over budgets whose new configs a model proposes that has learned from every budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.searcher.asha import Asha
from dhflow.searcher.bracket import hyperband_brackets
from dhflow.searcher.distinct import Taken
from dhflow.searcher.evidence import Evidence
from dhflow.searcher.features import Features
from dhflow.searcher.option import check_count, check_share
from dhflow.searcher.proposer import Proposer, ProposerOptions
from dhflow.searcher.scoring import KappaSchedule
from dhflow.space import SearchSpace
from dhflow.surrogate.kind import SurrogateKind, make_surrogate, packages_of, row_limit
from dhflow.surrogate.training import TrainingSet
from dhflow.trial import Suggestion, Trial, TrialStatus

FloatArray = npt.NDArray[np.float64]

KINDS: tuple[SurrogateKind, ...] = ("gaussian_process", "extra_trees")
"""The first proposes until there are more than so many finished or pending trials, then the second."""
UNTIL_FINISHED = 1_000
UNTIL_PENDING = 128
MAX_TRAINING = 600


class ModelHyperband(Asha):
    """Asynchronous Hyperband whose new configs a model proposes.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    eta : float
        Budgets of neighbouring rungs differ by this factor.
    random_share : float
        Share of new configs that are drawn at random; they start at the smallest budget.
    model_rung : int
        Rung at which the model's configs start, 0 being the smallest budget.
    n_initial : int, optional
        Results before a model takes over; ``max(8, d + 1)`` for d parameters unless given.
    budget_range : (float, float)
        Of the problem: its smallest and full budget.

    Notes
    -----
    After Falkner, Klein and Hutter (2018), *BOHB: robust and efficient hyperparameter optimization at scale*: Hyperband
    decides on the budgets, a model on the configs. Departures:

    * Halving is asynchronous (:class:`Asha`).
    * In the place of a kernel density fitted to the highest budget with enough results, one model is fitted to
      the results at all budgets, of which the budget is a feature (on a logarithmic scale), and asked for configs
      that are good at the highest budget seen, as in Klein et al. (2020), *Model-based asynchronous hyperparameter and
      neural architecture search*. It is a Gaussian process, beyond 1,000 results extra trees; a lie stands in
      for every pending trial.
    * Brackets are not dealt in turn. Random configs start at the smallest budget. The model's have passed their
      first test in the model, and start one rung higher: there they show whether the model is right, and
      they do not crowd out the random ones that small budgets rank middling and large ones high.

    *Cost.* Some 15 ms of CPU an ask of the model. Use it when a small budget tells good configs from bad ones.
    """

    name: ClassVar[str] = "bohb"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        eta: float = 3.0,
        random_share: float = 2 / 3,
        model_rung: int = 1,
        n_initial: int | None = None,
        budget_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(space, seed=seed, eta=eta, budget_range=budget_range)
        check_share("random_share", random_share)
        self.random_share = random_share
        check_count("model_rung", model_rung, least=0)
        self.model_rung = min(model_rung, len(self._plans) - 1)
        self.n_initial = max(8, len(space) + 1) if n_initial is None else n_initial
        check_count("n_initial", self.n_initial)
        self._proposers = [self._make_proposer(each) for each in KINDS]
        self._highest = 0.0

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that its models load at their first fit."""
        return tuple(dict.fromkeys(name for kind in KINDS for name in packages_of(kind)))

    def _make_plans(self) -> list[list[float]]:
        return [[rung.budget for rung in each] for each in hyperband_brackets(self.low, self.high, self.eta)]

    def _make_proposer(self, kind: SurrogateKind) -> Proposer:
        features = Features(self.space, with_level=True)
        training = TrainingSet(len(features), max_rows=min(MAX_TRAINING, row_limit(kind)), seed=self.seed)
        model = make_surrogate(training, kind=kind, seed=self.seed, kinds=features.kinds)
        options = ProposerOptions("log_ei", KappaSchedule(), "believer", "conditioned", 300)
        return Proposer(self.space, model, options, features)

    def _level(self, budget: float | None) -> float:
        """Return a budget on a logarithmic scale from 0, the smallest, to 1, the full one."""
        if budget is None or self.high == self.low:
            return 1.0
        return math.log(budget / self.low) / math.log(self.high / self.low)

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        for trial, row in zip(trials, X, strict=True):
            if trial.status in (TrialStatus.LOST, TrialStatus.STOPPED):
                continue
            level = self._level(trial.budget)
            losses: tuple[float, ...] = ()
            if trial.status is TrialStatus.COMPLETED and trial.losses and math.isfinite(trial.losses[0]):
                losses = trial.losses
                self._highest = max(self._highest, level)
            for each in self._proposers:
                each.tell(row[None], [Evidence(0, losses)], level=level)

    def _new(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        n_told = self._proposers[0].n_told
        is_ready = self._proposers[0].n_completed >= self.n_initial
        n_modelled = int(np.count_nonzero(rng.random(n) >= self.random_share)) if is_ready else 0
        found: list[Suggestion] = []
        if n_modelled:
            is_large = n_told > UNTIL_FINISHED or len(pending) + n > UNTIL_PENDING
            proposer = self._proposers[-1 if is_large else 0]
            proposer.level = self._highest
            rows = [self._pending_rows[each.trial_id][0] for each in pending]
            X, _ = proposer.propose(n_modelled, rows, taken, rng)
            found += self._start(self.model_rung, self._plans[self.model_rung][0], X)
        if len(found) < n:
            found += self._start(0, self._plans[0][0], self._configs_for(n - len(found), pending, taken, rng))
        return found
