r"""Reinforcement learning with a recurrent policy: REINFORCE and proximal policy optimisation.

Notation
--------
B : outcomes learned from at once;  T : decisions;  A : (B,) advantages;  :math:`\pi` : the policy as it is,
:math:`\mu` : as it was when a trial was suggested;  :math:`\tau` : a trial's decisions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.searcher.decision import BoolArray
from dhflow.searcher.option import check_count, check_number
from dhflow.searcher.policy import Adam, RecurrentPolicy
from dhflow.searcher.sequential import SequentialSearcher
from dhflow.space import SearchSpace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

BASELINE_DECAY = 0.95
"""Of the moving average of rewards that advantages are measured from."""


class PolicySearcher(SequentialSearcher):
    """Base of the searchers whose decisions a policy draws.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_levels, n_hidden, learning_rate, batch_size, entropy, max_weight
        See :class:`Reinforce`, whose defaults they have.

    Notes
    -----
    A subclass says what an update does (:meth:`_update`).
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_levels: int = 10,
        n_hidden: int = 32,
        learning_rate: float = 0.02,
        batch_size: int = 4,
        entropy: float = 0.01,
        max_weight: float = 2.0,
    ) -> None:
        super().__init__(space, seed=seed, n_levels=n_levels)
        check_count("n_hidden", n_hidden)
        check_number("learning_rate", learning_rate, above=0.0)
        check_count("batch_size", batch_size)
        check_number("entropy", entropy)
        check_number("max_weight", max_weight, above=0.0)
        self.batch_size = batch_size
        self.entropy = entropy
        self.max_weight = max_weight
        self.policy = RecurrentPolicy(self.decisions.n_levels, n_hidden, self._stream(0))
        self._adam = Adam(len(self.policy.theta), learning_rate)
        self._baseline = 0.0
        self._n_waiting = 0

    def _draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray, FloatArray]:
        tokens, state = self.policy.start(n)
        total = np.zeros(n)

        def choose(t: int, levels: IntArray, is_there: BoolArray) -> IntArray:
            nonlocal tokens, state
            if t:
                tokens = self.policy.next_tokens(t - 1, tokens, levels[:, t - 1])
            step = self.policy.step(t, tokens, state, is_there)
            state = step.after
            below = np.cumsum(np.exp(step.log_p[:, :-1]), axis=1)
            chosen: IntArray = (rng.random(n)[:, None] >= below).sum(axis=1)
            total[is_there] += step.log_p[is_there, chosen[is_there]]
            return chosen

        X, levels = self.decisions.draw(n, choose, rng)
        return X, levels, total

    def _learn(self) -> None:
        self._n_waiting += 1
        if self._n_waiting < self.batch_size:
            return
        self._n_waiting = 0
        rewards = self._rewards()[-self.batch_size :]
        latest = list(self._memory)[-self.batch_size :]
        advantages = np.empty(len(rewards))
        for i, reward in enumerate(rewards):
            advantages[i] = reward - self._baseline
            self._baseline += (1.0 - BASELINE_DECAY) * (reward - self._baseline)
        levels = np.array([each.levels for each in latest])
        self._update(levels, advantages, np.array([each.log_probability for each in latest]))

    def _importance(self, log_p: FloatArray, behaviour: FloatArray) -> FloatArray:
        """Return how much more probable (B,) decisions are by the policy than where they were taken, cut off above."""
        weights: FloatArray = np.exp(np.minimum(log_p - behaviour, np.log(self.max_weight)))
        return weights

    @abstractmethod
    def _update(self, levels: IntArray, advantages: FloatArray, behaviour: FloatArray) -> None:
        """Learn from decisions (B, T), what they gained (B,), and how probable they were when taken (B,)."""

    def _climb(self, gradient: FloatArray) -> None:
        self.policy.theta += self._adam.step(gradient)


class Reinforce(PolicySearcher):
    r"""REINFORCE with a baseline: decisions that did better than usual become more probable.

    Williams 1992 (*Simple statistical gradient-following algorithms for connectionist reinforcement learning*, eq. 4)
    with a recurrent policy, as Zoph and Le 2017 (*Neural architecture search with reinforcement learning*, ICLR, sec.
    3.2) search architectures.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_levels : int
        A parameter of more values, or of real numbers, is divided into so many stretches of equal prior probability;
        within one the value is drawn from the prior.
    n_hidden : int
        Units of the policy.
    learning_rate : float
    batch_size : int
        Outcomes between two updates of the policy, which are what it learns from.
    entropy : float
        Weight of the policy's entropy, which keeps it from settling too soon.
    max_weight : float
        Importance weights are cut off there.

    Notes
    -----
    The policy (:class:`~dhflow.searcher.policy.RecurrentPolicy`) decides on one parameter after the other, parents
    before those that depend on them; inactive ones are passed over. At first it is the space's prior.

    Outcomes are learned from ask by ask, as they have arrived by then (those between two asks in the order of their
    ids, so that how fast trials asked for together were does not change the search), `batch_size` at a time, each by

    .. math:: \rho A \nabla \log \pi(\tau), \qquad \rho = \min(\pi(\tau) / \mu(\tau), \bar\rho),

    :math:`\mu(\tau)` being the probability that the decisions had when they were taken, which the suggestion's
    ``meta`` keeps: with many workers the policy has moved on by the time that a result is there. Ionides (2008),
    *Truncated importance sampling*, has the bound :math:`\bar\rho`. A is the reward less a moving average of
    rewards; a reward is the normal score of the trial's rank (:class:`~dhflow.searcher.sequential.SequentialSearcher`).

    *Departures.* Rewards are of ranks, so that no scale has to be chosen. A gated recurrent unit stands in for the
    paper's LSTM. No config is tried twice: what was tried is drawn again, which :math:`\mu` leaves out of account, and
    after some draws in vain comes from the prior. Trials from elsewhere count as drawn from the prior.

    *Cost.* Some 3 ms of CPU per trial for six decisions, in proportion to their number. Use it to compare with, and for
    long searches (thousands of trials) among structures; with hundreds of trials ``evolution`` and
    model-based searchers find more.
    """

    name: ClassVar[str] = "reinforce"

    def _update(self, levels: IntArray, advantages: FloatArray, behaviour: FloatArray) -> None:
        done = self.policy.run(levels)
        weights = self._importance(done.log_probabilities().sum(axis=1), behaviour) * advantages
        n = len(levels)
        self._climb(self.policy.gradient(done, np.tile(weights[:, None] / n, levels.shape[1]), self.entropy / n))


class Ppo(PolicySearcher):
    r"""Proximal policy optimisation: several steps from the same outcomes, but none that leads far.

    Schulman et al. 2017 (arXiv:1707.06347, eq. 7, algorithm 1) with a recurrent policy.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_levels, n_hidden, learning_rate, batch_size, entropy, max_weight
        See :class:`Reinforce`.
    n_epochs : int
        Steps of an update.
    clip : float
        A decision's probability gains nothing from moving further than by this share within an update.

    Notes
    -----
    With r the ratio of a decision's probability to that at the beginning of the update, each step climbs

    .. math:: \rho \min(r A, \operatorname{clip}(r, 1 - \epsilon, 1 + \epsilon) A)

    plus the entropy. The clip is around the policy at the beginning of the update; that the decisions were taken by
    an older one still is what :math:`\rho` corrects, as for :class:`Reinforce`: Hilton, Cobbe and Schulman
    (2022), *Batch size-invariance for policy optimization*, sec. 2, keep the two apart in this way.

    *Departures.* No critic: a config is judged once, at its end, so a moving average of rewards takes its place. The
    others are those of :class:`Reinforce`.

    *Cost.* Some 3 ms of CPU per trial for six decisions, in proportion to their number. Use it as
    :class:`Reinforce`.
    """

    name: ClassVar[str] = "ppo"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_levels: int = 10,
        n_hidden: int = 32,
        learning_rate: float = 0.01,
        batch_size: int = 10,
        n_epochs: int = 8,
        clip: float = 0.2,
        entropy: float = 0.01,
        max_weight: float = 2.0,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            n_levels=n_levels,
            n_hidden=n_hidden,
            learning_rate=learning_rate,
            batch_size=batch_size,
            entropy=entropy,
            max_weight=max_weight,
        )
        check_count("n_epochs", n_epochs)
        check_number("clip", clip, above=0.0)
        self.n_epochs = n_epochs
        self.clip = clip

    def _update(self, levels: IntArray, advantages: FloatArray, behaviour: FloatArray) -> None:
        n = len(levels)
        before = self.policy.run(levels).log_probabilities()
        stale = (self._importance(before.sum(axis=1), behaviour) * advantages)[:, None] / n
        for _ in range(self.n_epochs):
            done = self.policy.run(levels)
            ratio = np.exp(done.log_probabilities() - before)
            # Where the clipped term is the smaller one, it is constant.
            is_free = np.where(advantages[:, None] > 0, ratio < 1.0 + self.clip, ratio > 1.0 - self.clip)
            self._climb(self.policy.gradient(done, np.where(is_free, stale * ratio, 0.0), self.entropy / n))
