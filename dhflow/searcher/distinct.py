"""Base of the searchers that never suggest a config twice, and how they find untried ones.

Notation
--------
d : parameters;  X : (n, d) encoded configs, snapped;  key : identity of a trial, ``space.identities(X)``;
taken : keys of everything tried or pending.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dhflow.searcher.base import Searcher
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]
Draw = Callable[[int], FloatArray]

MAX_GRID = 65_536
"""Finite spaces up to this size are enumerated when drawing finds nothing new."""
OWN_DRAWS = 4
"""Draws by a searcher's own rule before new configs are looked for in other ways."""
REDRAWS = 11
"""Draws at random, each of twice as many rows as the one before, before the search for new configs is given up."""
REDRAW_ROWS = 64
"""Least rows of the first of them."""


class Taken:
    """Keys of tried and pending configs, and those chosen within the present ask.

    Parameters
    ----------
    tried : collection of bytes
        Looked at, never changed.
    pending : collection of bytes
    """

    def __init__(self, tried: Collection[bytes], pending: Collection[bytes]) -> None:
        self._tried = tried
        self._now = set(pending)

    def __contains__(self, key: object) -> bool:
        return key in self._now or key in self._tried

    def add(self, key: bytes) -> None:
        """Take one more."""
        self._now.add(key)


class DistinctSearcher(Searcher):
    """A searcher that suggests neither a tried nor a pending config.

    Parameters
    ----------
    space : SearchSpace
    seed : int

    Notes
    -----
    A subclass implements :meth:`_propose`. Where the space holds no more untried configs an
    ask returns fewer suggestions than wanted, and none at the end.
    """

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        super().__init__(space, seed=seed)
        self._tried: set[bytes] = set()
        self._pending_rows: dict[int, tuple[FloatArray, bytes]] = {}
        self._grid: dict[bytes, FloatArray] | None = None

    def _ask(self, n: int, pending: Sequence[Trial], rng: np.random.Generator) -> list[Suggestion]:
        rows = self._encode_pending(pending)
        taken = Taken(self._tried, {key for _, key in rows.values()})
        return self._propose(n, pending, taken, rng)

    @abstractmethod
    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        """Suggest up to `n` configs whose keys are not in `taken`."""

    def _fold(self, trials: Sequence[Trial]) -> None:
        self._fold_encoded(trials, self.space.encode([each.config for each in trials]))

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        """Learn from finished trials and their encoded configs; an override calls this too."""
        self._tried.update(self.space.identities(X))

    def _encode_pending(self, pending: Sequence[Trial]) -> dict[int, tuple[FloatArray, bytes]]:
        """Return row and key of each pending trial by id; those known from the last ask are not encoded again."""
        new = [each for each in pending if each.trial_id not in self._pending_rows]
        X = self.space.encode([each.config for each in new]) if new else np.empty((0, len(self.space)))
        keys = self.space.identities(X) if new else []
        known = {
            **self._pending_rows,
            **{each.trial_id: (row, key) for each, row, key in zip(new, X, keys, strict=True)},
        }
        self._pending_rows = {each.trial_id: known[each.trial_id] for each in pending}
        return self._pending_rows

    def _untried(self, n: int, taken: Taken, draw: Draw, rng: np.random.Generator) -> FloatArray:
        """Return up to `n` untried configs (k, d).

        Drawn by `draw`; at random where it repeats itself; at last from the list of all configs.

        Parameters
        ----------
        n : int
        taken : Taken
            The chosen ones are added.
        draw : callable
            Returns up to as many rows as asked for; they need not be new.
        """
        found: list[FloatArray] = []
        for draws in range(OWN_DRAWS + REDRAWS):
            missing = n - len(found)
            if missing == 0:
                break
            if draws < OWN_DRAWS:
                X = draw(missing)
            elif self._all_configs():
                found.extend(self._left(missing, taken, rng))
                break
            else:
                X = self.space.sample_encoded(max(missing, REDRAW_ROWS << (draws - OWN_DRAWS)), rng)
            found.extend(self._take_new(X, missing, taken))
        return np.array(found).reshape(-1, len(self.space))

    def _take_new(self, X: FloatArray, n: int, taken: Taken) -> list[FloatArray]:
        chosen: list[FloatArray] = []
        for row, key in self._identified(X):
            if len(chosen) == n:
                break
            if key not in taken:
                taken.add(key)
                chosen.append(row)
        return chosen

    def _identified(self, X: FloatArray) -> Iterator[tuple[FloatArray, bytes]]:
        """Go through rows with their keys; where a key is dear, none is made that nobody asks for."""
        if self.space.canonical is None:
            return zip(X, self.space.identities(X), strict=True)
        return ((row, self.space.identities(row[None, :])[0]) for row in X)

    def _all_configs(self) -> dict[bytes, FloatArray]:
        """Return all configs of a small finite space by key; none of another space."""
        if self._grid is None:
            X = self.space.all_encoded(MAX_GRID)
            self._grid = {} if X is None else dict(zip(self.space.keys(X), X, strict=True))
        return self._grid

    def _left(self, n: int, taken: Taken, rng: np.random.Generator) -> list[FloatArray]:
        """Take up to `n` of the configs that are left, at random."""
        configs = self._all_configs()
        left = [key for key in configs if key not in taken]
        X = np.array([configs[left[index]] for index in rng.permutation(len(left))])
        return self._take_new(X.reshape(-1, len(self.space)), n, taken)


def suggest(space: SearchSpace, X: FloatArray, meta: Mapping[str, Any] = MappingProxyType({})) -> list[Suggestion]:
    """Return suggestions of the configs X (k, d), each with a copy of `meta`."""
    return [Suggestion(config, meta=dict(meta)) for config in space.decode(X)] if len(X) else []
