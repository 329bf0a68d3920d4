r"""A recurrent policy over a sequence of decisions, with its gradient written out.

Notation
--------
B : sequences;  T : decisions;  k_t : levels of decision t;  K : all levels together;  h : hidden units;
L : (B, T) levels, -1 where a decision is not there;  :math:`\theta` : (p,) all weights in one vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dhflow.searcher.decision import ABSENT

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Step:
    """What the gradient needs of one decision.

    Parameters
    ----------
    tokens : (B,)
        Which embedding came in.
    is_there : (B,)
    x, before, z, r, n, recurrent : (B, h)
        Input, state before, update gate, reset gate, candidate, and what of the state the candidate was offered.
    after : (B, h)
    log_p : (B, k_t)
    """

    tokens: IntArray
    is_there: BoolArray
    x: FloatArray
    before: FloatArray
    z: FloatArray
    r: FloatArray
    n: FloatArray
    recurrent: FloatArray
    after: FloatArray
    log_p: FloatArray


@dataclass(slots=True)
class Pass:
    """A run of the policy through sequences.

    Parameters
    ----------
    levels : (B, T)
    steps : list of Step
    """

    levels: IntArray
    steps: list[Step] = field(default_factory=list)

    def log_probabilities(self) -> FloatArray:
        """Return those (B, T) of the decisions that were taken; 0 where a decision is not there."""
        columns = []
        for t, step in enumerate(self.steps):
            level = np.maximum(self.levels[:, t], 0)
            columns.append(np.where(step.is_there, np.take_along_axis(step.log_p, level[:, None], 1)[:, 0], 0.0))
        return np.stack(columns, axis=1)


class RecurrentPolicy:
    r"""A gated recurrent unit that is fed its own last decision, with a softmax for each next one.

    Parameters
    ----------
    n_levels : sequence of int
        Of each decision.
    n_hidden : int
    seed : SeedSequence

    Notes
    -----
    Cho et al. (2014, arXiv:1406.1078), eqs. 5 to 8, the reset gate after the product as in cuDNN:
    :math:`z = \sigma(W_z x + U_z s + b_z)`, :math:`r = \sigma(W_r x + U_r s + b_r)`,
    :math:`n = \tanh(W_n x + b_n + r \odot (U_n s))`, :math:`s' = (1 - z) \odot n + z \odot s`. The input x is an
    embedding of the last decision plus one of the place in the sequence; a decision that is not there leaves state and
    last decision as they are. The softmax weights start at 0, so that the first policy is the prior.
    """

    def __init__(self, n_levels: Sequence[int], n_hidden: int, seed: np.random.SeedSequence) -> None:
        self.n_levels = tuple(n_levels)
        self.offsets = np.concatenate([[0], np.cumsum(self.n_levels)]).astype(np.intp)
        self.n_hidden = h = n_hidden
        n_all = int(self.offsets[-1])
        shapes = {
            "tokens": (n_all + 1, h),
            "places": (len(self.n_levels), h),
            "W": (h, 3 * h),
            "U": (h, 3 * h),
            "b": (3 * h,),
            "V": (h, n_all),
            "c": (n_all,),
        }
        self._slices: dict[str, tuple[slice, tuple[int, ...]]] = {}
        start = 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            self._slices[name] = (slice(start, start + size), shape)
            start += size
        self.theta: FloatArray = np.zeros(start)
        rng = np.random.default_rng(seed)
        for name in ("tokens", "places", "W", "U"):
            part = self.weights(name)
            part[...] = rng.standard_normal(part.shape) / np.sqrt(h)

    def weights(self, name: str, of: FloatArray | None = None) -> FloatArray:
        """Return a view of one group of the weights, or of the same part of another vector (p,)."""
        where, shape = self._slices[name]
        return (self.theta if of is None else of)[where].reshape(shape)

    def start(self, n: int) -> tuple[IntArray, FloatArray]:
        """Return the first embedding's number (n,) and the first state (n, h)."""
        return np.full(n, self.offsets[-1], dtype=np.intp), np.zeros((n, self.n_hidden))

    def step(self, t: int, tokens: IntArray, state: FloatArray, is_there: BoolArray) -> Step:
        """Return what happens at decision `t`, before it is taken."""
        h = self.n_hidden
        x = self.weights("tokens")[tokens] + self.weights("places")[t]
        given = x @ self.weights("W") + self.weights("b")
        recurrent = state @ self.weights("U")
        z = _sigmoid(given[:, :h] + recurrent[:, :h])
        r = _sigmoid(given[:, h : 2 * h] + recurrent[:, h : 2 * h])
        n = np.tanh(given[:, 2 * h :] + r * recurrent[:, 2 * h :])
        after = np.where(is_there[:, None], (1.0 - z) * n + z * state, state)
        here = slice(self.offsets[t], self.offsets[t + 1])
        logits = after @ self.weights("V")[:, here] + self.weights("c")[here]
        return Step(tokens, is_there, x, state, z, r, n, recurrent[:, 2 * h :], after, _log_softmax(logits))

    def next_tokens(self, t: int, tokens: IntArray, levels: IntArray) -> IntArray:
        """Return the numbers (n,) of the embeddings of the last decisions, after `levels` (n,) were taken at `t`."""
        return np.where(levels == ABSENT, tokens, self.offsets[t] + levels)

    def run(self, levels: IntArray) -> Pass:
        """Go through sequences that were decided."""
        found = Pass(levels)
        tokens, state = self.start(len(levels))
        for t in range(len(self.n_levels)):
            step = self.step(t, tokens, state, levels[:, t] != ABSENT)
            found.steps.append(step)
            state, tokens = step.after, self.next_tokens(t, tokens, levels[:, t])
        return found

    def gradient(self, done: Pass, weights: FloatArray, entropy: float) -> FloatArray:
        r"""Return the gradient (p,) of :math:`\sum_{bt} w_{bt} \log \pi_{bt} + \beta \sum_{bt} H_{bt}`.

        Parameters
        ----------
        done : Pass
            Of this policy with its present weights.
        weights : (B, T)
            w.
        entropy : float
            :math:`\beta`, weight of the entropies H of the decisions that are there.
        """
        gradient = np.zeros_like(self.theta)
        to_state = np.zeros((len(done.levels), self.n_hidden))
        for t in reversed(range(len(done.steps))):
            step = done.steps[t]
            by_logits = _by_logits(step, done.levels[:, t], weights[:, t], entropy)
            here = slice(self.offsets[t], self.offsets[t + 1])
            self.weights("V", gradient)[:, here] += step.after.T @ by_logits
            self.weights("c", gradient)[here] += by_logits.sum(axis=0)
            to_state = self._through_unit(t, step, to_state + by_logits @ self.weights("V")[:, here].T, gradient)
        return gradient

    def _through_unit(self, t: int, step: Step, to_after: FloatArray, gradient: FloatArray) -> FloatArray:
        """Add the unit's own gradient at decision `t`; return that by the state before (B, h)."""
        there = step.is_there[:, None]
        inner = np.where(there, to_after, 0.0)
        by_n = inner * (1.0 - step.z) * (1.0 - np.square(step.n))
        by_z = inner * (step.before - step.n) * step.z * (1.0 - step.z)
        by_r = by_n * step.recurrent * step.r * (1.0 - step.r)
        by_given = np.concatenate([by_z, by_r, by_n], axis=1)
        by_recurrent = np.concatenate([by_z, by_r, by_n * step.r], axis=1)
        self.weights("W", gradient)[...] += step.x.T @ by_given
        self.weights("U", gradient)[...] += step.before.T @ by_recurrent
        self.weights("b", gradient)[...] += by_given.sum(axis=0)
        by_x = by_given @ self.weights("W").T
        np.add.at(self.weights("tokens", gradient), step.tokens, by_x)
        self.weights("places", gradient)[t] += by_x.sum(axis=0)
        back: FloatArray = by_recurrent @ self.weights("U").T + np.where(there, inner * step.z, to_after)
        return back


class Adam:
    """Steps uphill whose size adapts to each weight (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    size : int
    rate : float
    """

    def __init__(self, size: int, rate: float) -> None:
        self._rate = rate
        self._mean, self._square = np.zeros(size), np.zeros(size)
        self._n_steps = 0

    def step(self, gradient: FloatArray) -> FloatArray:
        """Return what to add to the weights (p,)."""
        self._n_steps += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * np.square(gradient)
        mean = self._mean / (1.0 - 0.9**self._n_steps)
        square = self._square / (1.0 - 0.999**self._n_steps)
        change: FloatArray = self._rate * mean / (np.sqrt(square) + 1e-8)
        return change


def _by_logits(step: Step, levels: IntArray, weights: FloatArray, entropy: float) -> FloatArray:
    """Return the gradient (B, k_t) by the logits of one decision."""
    p = np.exp(step.log_p)
    taken = np.zeros_like(p)
    np.put_along_axis(taken, np.maximum(levels, 0)[:, None], 1.0, axis=1)
    chaos = -(p * step.log_p).sum(axis=1, keepdims=True)
    by_logits = weights[:, None] * (taken - p) - entropy * p * (step.log_p + chaos)
    return np.where(step.is_there[:, None], by_logits, 0.0)


def _sigmoid(values: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
