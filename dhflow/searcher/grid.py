"""Grid search: every combination of chosen values, once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from dhflow.errors import SpaceExhaustedError
from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.option import check_choice, check_count
from dhflow.space import SearchSpace
from dhflow.space.grid import Grid
from dhflow.trial import Suggestion, Trial

Order = Literal["shuffled", "sorted"]

_CHUNK = 512
_MAX_REFUSED = 200_000
"""Grid points in a row that the space's rules may refuse before the search is given up."""
_ROUNDS = 4


class Shuffle:
    """A permutation of ``range(n)`` that takes no memory, however large n is.

    Parameters
    ----------
    n : int
    seed : int

    Notes
    -----
    A balanced Feistel network of four rounds (Luby and Rackoff 1988) over the next power of four, walked until it
    comes back into the range (Black and Rogaway 2002): at most four steps on average.
    """

    def __init__(self, n: int, *, seed: int) -> None:
        self._n, self._seed = n, seed
        self._half = ((n - 1).bit_length() + 1) // 2
        self._mask = (1 << self._half) - 1

    def __getitem__(self, place: int) -> int:
        while True:
            left, right = place >> self._half, place & self._mask
            for turn in range(_ROUNDS):
                left, right = right, left ^ self._mixed(turn, right)
            place = (left << self._half) | right
            if place < self._n:
                return place

    def _mixed(self, turn: int, half: int) -> int:
        size = -(-self._half // 8)
        digest = hashlib.shake_128(f"{self._seed}:{turn}:{half}".encode()).digest(size)
        return int.from_bytes(digest, "big") & self._mask


class GridSearch(DistinctSearcher):
    """Full factorial: every combination of the parameters' values, each config once.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Of the order, if that is shuffled.
    resolution : int
        Values of each Float, evenly spaced on its scale (of its prior) from bound to bound; 1 is the middle.
    integer_resolution : int, optional
        The same for each Integer with more values; unless given, all are tried.
    order : {"shuffled", "sorted"}
        A random order, so that a search that is stopped early has seen something of everything, or the
        last parameter changing fastest.

    Raises
    ------
    SearchError
        If more than 65,536 combinations of parameters decide together which others there are.

    Notes
    -----
    When all have been suggested, asks return nothing. Inactive parameters multiply nothing. Configs are computed
    from their number in the grid: none is kept, so grids of any size cost the same, some 0.1 ms per suggestion.

    Use it to tabulate a small space. In more than two or three dimensions random search finds better
    configs with as many trials (Bergstra and Bengio 2012), as it tries more values of each parameter.
    """

    name: ClassVar[str] = "grid"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        resolution: int = 5,
        integer_resolution: int | None = None,
        order: Order = "shuffled",
    ) -> None:
        super().__init__(space, seed=seed)
        check_count("resolution", resolution)
        if integer_resolution is not None:
            check_count("integer_resolution", integer_resolution)
        check_choice("order", order, get_args(Order))
        self._grid_points = Grid(space, resolution=resolution, integer_resolution=integer_resolution)
        self._order: Sequence[int] | Shuffle = range(self.n_points)
        if order == "shuffled":
            self._order = Shuffle(self.n_points, seed=seed)
        self._next = 0

    @property
    def n_points(self) -> int:
        """How many configs the grid has, forbidden ones included."""
        return self._grid_points.n_points

    def state(self) -> dict[str, Any]:
        """Return the base's snapshot and the place in the grid."""
        return {**super().state(), "next_point": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot of :meth:`state` back."""
        super().restore(state)
        self._next = int(state["next_point"])

    def _see(self, trials: Sequence[Trial]) -> None:
        # As with the other designs, the place is kept in the trials, so that a record is enough to go on.
        self._next = max([self._next, *(int(each.meta.get("point", -1)) + 1 for each in trials)])

    def _fold(self, trials: Sequence[Trial]) -> None:
        super()._fold(trials)
        self._see(trials)

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        self._see(pending)
        found: list[Suggestion] = []
        refused = 0
        while len(found) < n and self._next < self.n_points:
            places = range(self._next, min(self._next + min(max(n - len(found), 1 + refused), _CHUNK), self.n_points))
            X = self.space.snap(self._grid_points.rows([self._order[place] for place in places]))
            allowed = self.space.allowed(X)
            refused = 0 if allowed.any() else refused + len(X)
            if refused > _MAX_REFUSED:
                raise SpaceExhaustedError(f"{refused} points of the grid in a row are refused by the space's rules")
            for place, row, is_allowed in zip(places, X, allowed, strict=True):
                self._next = place + 1
                if is_allowed:
                    new = np.array(self._take_new(row[None, :], 1, taken)).reshape(-1, len(self.space))
                    found += suggest(self.space, new, {"point": place})
                    if len(found) == n:
                        break
        return found
