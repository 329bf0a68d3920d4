"""How candidates are scored: acquisition functions with their weights, and the portfolio that chooses among them.

Notation
--------
k : candidates;  scores : (k,), lower is better;  n : finished trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dhflow.surrogate.acquisition import (
    expected_improvement,
    log_expected_improvement,
    lower_confidence_bound,
    probability_of_improvement,
)
from dhflow.surrogate.array import FloatArray
from dhflow.surrogate.belief import Belief, Places

Acquisition = Literal["lcb", "ei", "log_ei", "pi", "hedge"]
ACQUISITIONS: tuple[Acquisition, ...] = get_args(Acquisition)
KappaDraw = Literal["fixed", "exponential"]
KAPPA_DRAWS: tuple[KappaDraw, ...] = get_args(KappaDraw)

PORTFOLIO: tuple[Acquisition, ...] = ("lcb", "log_ei", "pi")
"""Among which "hedge" chooses."""
HEDGE_MEMORY = 50
"""Nominations that "hedge" judges its members by: the latest ones."""
HEDGE_RATE = 1.0

_IMPROVEMENTS: dict[str, Callable[[FloatArray, FloatArray, float], FloatArray]] = {
    "ei": expected_improvement,
    "log_ei": log_expected_improvement,
    "pi": probability_of_improvement,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One acquisition function, ready to score.

    Parameters
    ----------
    name : str
        Not "hedge".
    best : float
        The lowest target so far; what improvements are counted from.
    kappa : float
        Weight of the uncertainty in "lcb".
    """

    name: str
    best: float
    kappa: float

    def scores(self, belief: Belief, places: Places) -> FloatArray:
        """Return the scores (k,) of points."""
        mean, std = belief.moments(places)
        if self.name == "lcb":
            return lower_confidence_bound(mean, std, self.kappa)
        return _IMPROVEMENTS[self.name](mean, std, self.best)


@dataclass(frozen=True, slots=True)
class KappaSchedule:
    r"""The weight of the uncertainty in the lower confidence bound.

    Parameters
    ----------
    kappa : float
    decay : float
        After n finished trials the weight is :math:`\kappa e^{-\mathrm{decay} \cdot n}`. Finished ones, not asks:
        with many workers asks run far ahead of what is known.
    draw : {"fixed", "exponential"}
        "exponential" draws each suggestion's weight from an exponential distribution with that mean, so that
        workers explore differently (Hutter, Hoos and Leyton-Brown 2012, *Parallel algorithm configuration*, sec. 3.1).
    """

    kappa: float = 1.96
    decay: float = 0.0
    draw: KappaDraw = "fixed"

    def at(self, n_finished: int, rng: np.random.Generator) -> float:
        """Return the weight of one suggestion."""
        kappa = self.kappa * math.exp(-self.decay * n_finished)
        return kappa if self.draw == "fixed" else float(rng.exponential(kappa)) if kappa > 0 else 0.0


class Hedge:
    r"""Chooses an acquisition function by what those before it would have found.

    Notes
    -----
    Hoffman, Brochu and de Freitas (2011), *Portfolio allocation for Bayesian optimization* ("GP-Hedge"): member i
    is drawn with probability :math:`\propto e^{\eta g_i}`, its gain :math:`g_i` being the sum of the negated
    predictions at its nominees. A departure: all gains are computed anew from the present belief, over
    the nominees of the latest trials that were told, so that they follow from the told trials alone.
    """

    def __init__(self) -> None:
        self._nominees: list[FloatArray] = []

    def tell(self, nominees: FloatArray) -> None:
        """Take the nominees (len(PORTFOLIO), d) that were noted with a told trial, encoded."""
        self._nominees = [*self._nominees[1 - HEDGE_MEMORY :], nominees]

    def choose(self, belief: Belief, place: Callable[[FloatArray], Places], rng: np.random.Generator) -> Acquisition:
        """Return the member for the next suggestion."""
        if not self._nominees:
            return PORTFOLIO[int(rng.integers(len(PORTFOLIO)))]
        means = belief.mean(place(np.concatenate(self._nominees))).reshape(-1, len(PORTFOLIO))
        gains = -HEDGE_RATE * means.sum(axis=0)
        weights = np.exp(gains - gains.max())
        return PORTFOLIO[int(rng.choice(len(PORTFOLIO), p=weights / weights.sum()))]
