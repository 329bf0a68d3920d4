"""Q-learning over the decisions that make a config.

Notation
--------
T : decisions;  k_t : levels of decision t;  Q : value of a decision in a state;  m : remembered outcomes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.searcher.decision import ABSENT, BoolArray
from dhflow.searcher.option import check_count, check_number, check_share
from dhflow.searcher.sequential import SequentialSearcher
from dhflow.space import SearchSpace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


class QLearning(SequentialSearcher):
    r"""Q-learning: a table of what each decision is worth after the one before, learned from replayed trials.

    Baker, Gupta, Naik and Raskar 2017 (*Designing neural network architectures using reinforcement learning*, ICLR:
    MetaQNN, sec. 4 and algorithm 1), after Watkins (1989).

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_levels : int
        A parameter of more values, or of real numbers, is divided into so many stretches of equal prior probability;
        within one the value is drawn from the prior.
    learning_rate : float
        :math:`\alpha`.
    n_replayed : int
        Remembered trials, drawn at random, from which it learns again with each new outcome.
    n_exploring : int
        Finished trials during which every decision is random.
    n_annealing : int
        Finished trials after those during which the share of random decisions falls to `least_epsilon`.
    least_epsilon : float
        Share of the decisions that stay random.

    Notes
    -----
    The state is the last decision that was taken and which one is next. A trial is replayed from its last decision to
    its first: :math:`Q(s, a) \leftarrow Q(s, a) + \alpha (\max_{a'} Q(s', a') - Q(s, a))`, eq. 3 with no
    discount, the trial's reward in the place of the maximum after the last decision. A reward is the normal score of
    the trial's rank, so that 0, what nothing is known of, is a middling trial.

    *Departures from the paper.* The schedule of :math:`\epsilon` is that of some hundred trials, in a straight line, in
    place of 2,700 in steps; :math:`\alpha` is ten times larger, and 50 trials instead of 100 are replayed. Rewards are
    of ranks. No config is tried twice.

    *Cost.* Some 1.5 ms of CPU per trial for six decisions. Use it to compare with: a decision's worth may hang on more
    than the one before it, which the other searchers see.
    """

    name: ClassVar[str] = "q_learning"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_levels: int = 10,
        learning_rate: float = 0.1,
        n_replayed: int = 50,
        n_exploring: int = 20,
        n_annealing: int = 100,
        least_epsilon: float = 0.1,
    ) -> None:
        super().__init__(space, seed=seed, n_levels=n_levels)
        check_number("learning_rate", learning_rate, above=0.0)
        check_count("n_replayed", n_replayed)
        check_count("n_exploring", n_exploring)
        check_count("n_annealing", n_annealing)
        check_share("least_epsilon", least_epsilon)
        self.learning_rate = learning_rate
        self.n_replayed = n_replayed
        self.n_exploring, self.n_annealing = n_exploring, n_annealing
        self.least_epsilon = least_epsilon
        self._offsets = np.concatenate([[0], np.cumsum(self.decisions.n_levels)]).astype(np.intp)
        # One table for each decision: a row for each last decision that was taken, the last one for none.
        self._values = [np.zeros((int(self._offsets[t]) + 1, k)) for t, k in enumerate(self.decisions.n_levels)]

    @property
    def epsilon(self) -> float:
        """Share of the configs that are drawn at random now."""
        done = max(0, self._n_told - self.n_exploring) / self.n_annealing
        return max(self.least_epsilon, 1.0 - (1.0 - self.least_epsilon) * done)

    def _draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray, FloatArray]:
        state = np.full(n, -1, dtype=np.intp)
        epsilon = self.epsilon

        def choose(t: int, levels: IntArray, is_there: BoolArray) -> IntArray:
            nonlocal state
            if t:
                before = levels[:, t - 1]
                state = np.where(before == ABSENT, state, self._offsets[t - 1] + before)
            values = self._values[t][state]
            # Of equal values a random one.
            best = np.where(values == values.max(axis=1, keepdims=True), rng.random(values.shape), -1.0).argmax(axis=1)
            anything = self.decisions.prior_levels(t, rng.random(n))
            return np.where(rng.random(n) < epsilon, anything, best)

        X, levels = self.decisions.draw(n, choose, rng)
        return X, levels, np.zeros(n)

    def _learn(self) -> None:
        rewards = self._rewards().tolist()
        rng = np.random.default_rng(self._stream(1, self._n_told))
        last = len(self._memory) - 1
        for i in [last, *rng.integers(0, last + 1, self.n_replayed).tolist()]:
            self._replay(self._memory[i].levels, rewards[i])

    def _replay(self, levels: IntArray, reward: float) -> None:
        """Move the values of a trial's decisions towards what followed, the last one first."""
        path = []
        state = -1
        for t in np.flatnonzero(levels != ABSENT).tolist():
            path.append((self._values[t][state], int(levels[t])))
            state = int(self._offsets[t]) + int(levels[t])
        target = reward
        for values, level in reversed(path):
            values[level] += self.learning_rate * (target - values[level])
            target = values.max()
