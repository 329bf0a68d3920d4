"""A proposer that weighs several things at once: many objectives, whether a config works, and how long it takes.

Notation
--------
K : objectives;  C : constraints;  k : candidates;  w : (K,) weights;  g : scalarised target, lower is better;
S : random draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dhflow.searcher.evidence import Evidence
from dhflow.searcher.features import Features
from dhflow.searcher.proposer import N_INCUMBENTS, Proposer, ProposerOptions, tell_lies
from dhflow.space import SearchSpace
from dhflow.surrogate.acquisition import log_expected_improvement, probability_of_improvement
from dhflow.surrogate.array import BoolArray, FloatArray, IntArray
from dhflow.surrogate.belief import Belief, PenalisedBelief, Places, Surrogate, joined

N_DRAWS = 64
"""Of the beliefs about several objectives; the same for all candidates."""
AUGMENTATION = 0.05
"""Weight of the sum beside the maximum in the scalarisation."""
SOFTNESS = 1e-3
"""In units of the targets: keeps apart candidates of which no draw improves."""
LEAST_STD = 1e-3
"""Of a constraint's value, in units of its targets."""
LEAST_PROBABILITY = 1e-6
"""Of working; so that the other scores still tell hopeless candidates apart."""


@dataclass(frozen=True, slots=True)
class JointPlaces:
    """Points as each surrogate has them.

    Parameters
    ----------
    parts : tuple of Places
    """

    parts: tuple[Places, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def features(self) -> npt.NDArray[np.floating[Any]]:
        """Features (k, p)."""
        return self.parts[0].features

    def take(self, index: Any) -> JointPlaces:
        """Return some of the points."""
        return JointPlaces(tuple(each.take(index) for each in self.parts))


class JointBelief:
    """Beliefs of several surrogates: of the objectives, of the constraints, of what works and of the cost.

    Parameters
    ----------
    parts : sequence of Belief
    """

    def __init__(self, parts: Sequence[Belief]) -> None:
        self.parts = parts

    def moments(self, places: JointPlaces) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k,) of the first objective."""
        return self.parts[0].moments(places.parts[0])

    def all_moments(self, places: JointPlaces, n: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (k, n) of the first `n` surrogates' targets."""
        both = [belief.moments(place) for belief, place in zip(self.parts[:n], places.parts, strict=False)]
        return np.stack([mean for mean, _ in both], axis=1), np.stack([std for _, std in both], axis=1)


@dataclass(frozen=True, slots=True)
class JointRule:
    r"""Scores of candidates by several beliefs: an improvement, the chance that they work, and their cost.

    Parameters
    ----------
    weights : (K,)
    ideal : (K,)
        The best target of each objective.
    best : float
        The best scalarised target of a feasible trial; infinite if there is none.
    draws : (S, K)
        Standard normal.
    bounds : (C,)
        Targets that a constraint's model gives to a value at its bound.
    validity : Calibration, optional
        From the belief of the surrogate after the constraints' to the chance that a config does not work.
    cost : Calibration, optional
        From the belief of the last surrogate to the logarithm of seconds.

    Notes
    -----
    *One objective*: the logarithm of the expected improvement. *Several*: Knowles (2006), *ParEGO: a hybrid algorithm
    with on-line landscape approximation for expensive multiobjective optimization problems*, eq. 2, the augmented
    Chebyshev function :math:`g = \max_i w_i (f_i - z_i) + \rho \sum_i w_i (f_i - z_i)` with random weights. Departures:
    each objective has a model of its own, and the expected improvement of g is the mean over draws from them.

    *Constraints*: that is multiplied by the probability of feasibility (Gardner et al. 2014, *Bayesian optimization
    with inequality constraints*, eq. 5), from a model of each constraint's value; without any feasible trial that
    probability alone counts. *Failures*: and by that of working, from a forest of what worked and what did not.

    *Cost*: Snoek, Larochelle and Adams (2012), *Practical Bayesian optimization of machine learning algorithms*, sec.
    3.2: the expected improvement per second.
    """

    weights: FloatArray
    ideal: FloatArray
    best: float
    draws: FloatArray
    bounds: FloatArray
    validity: Calibration | None = None
    cost: Calibration | None = None

    def scalarised(self, targets: FloatArray) -> FloatArray:
        """Return g (...,) of targets (..., K)."""
        weighted = (targets - self.ideal) * self.weights
        value: FloatArray = weighted.max(axis=-1) + AUGMENTATION * weighted.sum(axis=-1)
        return value

    def scores(self, belief: Any, places: Any) -> FloatArray:
        """Return the scores (k,) of points."""
        scores = self._improvement(belief, places) if math.isfinite(self.best) else np.zeros(len(places))
        n = len(self.weights)
        for bound, part, where in zip(self.bounds, belief.parts[n:], places.parts[n:], strict=False):
            mean, std = part.moments(where)
            # A leaf of equal values is not certain.
            scores = scores + probability_of_improvement(mean, np.maximum(std, LEAST_STD), float(bound))
        if self.validity is not None:
            n += len(self.bounds)
            mean = belief.parts[n].mean(places.parts[n])
            works = 1.0 - np.clip(self.validity.of(mean), 0.0, 1.0)
            scores = scores - np.log(LEAST_PROBABILITY + (1 - LEAST_PROBABILITY) * works)
        if self.cost is not None:
            scores = scores + self.cost.of(belief.parts[-1].mean(places.parts[-1]))
        return scores

    def _improvement(self, belief: JointBelief, places: JointPlaces) -> FloatArray:
        mean, std = belief.all_moments(places, len(self.weights))
        if len(self.weights) == 1:
            return log_expected_improvement(mean[:, 0], std[:, 0], self.best)
        drawn = self.scalarised(mean[:, None, :] + std[:, None, :] * self.draws)
        gain = SOFTNESS * np.logaddexp(0.0, (self.best - drawn) / SOFTNESS)
        scores: FloatArray = -np.log(gain.mean(axis=1) + np.finfo(np.float64).tiny)
        return scores


@dataclass(frozen=True, slots=True)
class Calibration:
    """From a surrogate's targets back to what they stand for, between the told trials.

    Parameters
    ----------
    targets : (m,)
        Ascending.
    values : (m,)
    """

    targets: FloatArray
    values: FloatArray

    @classmethod
    def by(cls, model: Surrogate) -> Calibration:
        """Return that of a surrogate's training rows."""
        order = np.argsort(model.targets, kind="stable")
        return cls(model.targets[order], model.training.loss[model.rows][order])

    def of(self, belief: FloatArray) -> FloatArray:
        """Return the values (k,) of what is believed (k,)."""
        values: FloatArray = np.interp(belief, self.targets, self.values)
        return values


class JointProposer(Proposer):
    """Proposes configs by several surrogates at once.

    Parameters
    ----------
    space : SearchSpace
    models : sequence of Surrogate
        One for each objective.
    options : ProposerOptions
        With expected improvement as the acquisition.
    features : Features
    limits : sequence of Surrogate
        One for each constraint: by how much its value lies beyond the bound.
    validity, cost : Surrogate, optional
        Learn what works, and the logarithm of seconds.
    """

    def __init__(
        self,
        space: SearchSpace,
        models: Sequence[Surrogate],
        options: ProposerOptions,
        features: Features,
        *,
        limits: Sequence[Surrogate] = (),
        validity: Surrogate | None = None,
        cost: Surrogate | None = None,
    ) -> None:
        super().__init__(space, models[0], options, features)
        self._models = list(models)
        self._limits = list(limits)
        self._validity = validity
        self._cost = cost
        self._n_told = 0
        self._feasible: list[bool] = []

    @property
    def n_told(self) -> int:
        """How many trials it was told of."""
        return self._n_told

    def tell(self, X: FloatArray, evidence: Sequence[Evidence], *, level: float | None = None) -> None:
        """Tell each model what it learns from: objectives of what has losses, working or not, seconds where known."""
        self._n_told += len(evidence)
        features = self._features.of(X, self.level if level is None else level)
        known = [i for i, each in enumerate(evidence) if each.losses]
        censored = [evidence[i].is_censored for i in known]
        for k, model in enumerate(self._models):
            model.training.append(features[known], [evidence[i].losses[k] for i in known], censored)
        self._plateaus.tell(evidence[i].losses for i in known)
        self._feasible += [evidence[i].is_feasible for i in known]
        judged = [i for i, each in enumerate(evidence) if all(map(math.isfinite, each.excesses)) and each.excesses]
        for c, model in enumerate(self._limits):
            model.training.append(features[judged], [evidence[i].excesses[c] for i in judged])
        if self._validity is not None:
            self._validity.training.append(features, [float(not each.losses) for each in evidence])
        timed = [i for i, each in enumerate(evidence) if each.seconds > 0]
        if self._cost is not None and timed:
            self._cost.training.append(features[timed], [math.log(evidence[i].seconds) for i in timed])

    def _used(self) -> list[Surrogate]:
        """Return the surrogates that know anything, the objectives' first."""
        others = [*self._limits, self._validity, self._cost]
        return [*self._models, *(each for each in others if each is not None and len(each.training))]

    def sync(self) -> None:
        """Bring every model to the state that belongs to the told trials."""
        self.n_fitted += sum(each.sync() for each in self._used())

    def place(self, X: FloatArray) -> JointPlaces:  # type: ignore[override]
        """Look configs up (k, d)."""
        features = self._features.of(X, self.level)
        return JointPlaces(tuple(each.place(features) for each in self._used()))

    def _join(self, parts: Sequence[Any]) -> Any:
        return JointPlaces(tuple(joined(each) for each in zip(*(part.parts for part in parts), strict=True)))

    def _new_belief(self, *, is_penalised: bool) -> Any:
        beliefs = [each.belief() for each in self._used()]
        if is_penalised:
            beliefs[: len(self._models)] = [PenalisedBelief(each) for each in beliefs[: len(self._models)]]
        return JointBelief(beliefs)

    def _tell_lies(self, belief: Any, places: Any) -> None:
        for model, part, where in zip(self._models, belief.parts, places.parts, strict=False):
            tell_lies(part, where, self.options.liar, model.targets)

    def _rule(self, belief: Any, rng: np.random.Generator) -> Any:
        del belief
        n = len(self._models)
        rows, targets = self._common()
        feasible = self._are_feasible(rows)
        validity = self._validity
        # With nothing but successes, or nothing but failures, there is nothing to tell apart.
        is_useful = validity is not None and len(np.unique(validity.training.loss)) == 2
        rule = JointRule(
            weights=np.ones(1) if n == 1 else rng.dirichlet(np.ones(n)),
            # A scalarised target of one objective is the target itself.
            ideal=np.zeros(1) if n == 1 else targets.min(axis=0),
            best=math.inf,
            draws=rng.standard_normal((N_DRAWS, n)) if n > 1 else np.zeros((1, 1)),
            bounds=np.array([_target_of_zero(each) for each in self._limits if len(each.training)]),
            validity=Calibration.by(validity) if validity is not None and is_useful else None,
            cost=Calibration.by(self._cost) if self._cost is not None and len(self._cost.training) else None,
        )
        reached = rule.scalarised(targets) if n > 1 else targets[:, 0]
        best = float(reached[feasible].min()) if feasible.any() else math.inf
        return replace(rule, best=best)

    def _exploring(self, belief: Any, rng: np.random.Generator) -> Any:
        return self._rule(belief, rng)

    def _common(self) -> tuple[IntArray, FloatArray]:
        """Return the rows (m,) that train every objective's model, and their targets (m, K)."""
        rows = self._models[0].rows
        for each in self._models[1:]:
            rows = np.intersect1d(rows, each.rows, assume_unique=True)
        return rows, np.stack([each.targets[np.searchsorted(each.rows, rows)] for each in self._models], axis=1)

    def _are_feasible(self, rows: IntArray) -> BoolArray:
        return np.array(self._feasible, dtype=np.bool_)[rows]

    def _incumbents(self, rule: Any) -> FloatArray:
        rows, targets = self._common()
        value = rule.scalarised(targets) if len(self._models) > 1 else targets[:, 0]
        # What does not work stands behind all that does.
        order = np.lexsort((value, ~self._are_feasible(rows)))
        return self._configs(rows[order[:N_INCUMBENTS]])


def _target_of_zero(model: Surrogate) -> float:
    """Return the target that belongs to a loss of 0, beyond the told ones by a straight line."""
    known = Calibration.by(model)
    targets, values = known.targets, known.values
    spread = float(values.std()) or 1.0
    if values[0] > 0:
        return float(targets[0] - values[0] / spread)
    if values[-1] < 0:
        return float(targets[-1] - values[-1] / spread)
    return float(np.interp(0.0, values, targets))
