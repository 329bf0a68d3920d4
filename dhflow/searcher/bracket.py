"""Brackets and rungs of Hyperband: how many configs start, and which share goes on to which budget.

Notation
--------
R : full budget over the smallest one;  eta : reduction factor;  s : halvings that a bracket makes;
n : configs of a rung;  r : their budget, in units of the smallest one.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

from dhflow.errors import SearchError
from dhflow.searcher.option import check_number

Sizing = Literal["floor", "ceiling"]
SIZINGS: tuple[Sizing, ...] = get_args(Sizing)


@dataclass(frozen=True, slots=True)
class RungPlan:
    """One rung of a bracket.

    Parameters
    ----------
    n : int
        Configs that reach it.
    budget : float
        In the problem's units.
    """

    n: int
    budget: float


def hyperband_brackets(low: float, high: float, eta: float = 3.0, sizing: Sizing = "floor") -> list[list[RungPlan]]:
    r"""Return Hyperband's brackets, the one with the most halvings first.

    Parameters
    ----------
    low, high : float
        Smallest and full budget.
    eta : float
        At each rung the best 1/eta go on.
    sizing : {"floor", "ceiling"}
        A bracket of s halvings starts with :math:`\lfloor (s_{max}+1)/(s+1) \rfloor \eta^s` configs, which divide
        evenly, or with :math:`\lceil (s_{max}+1) \eta^s / (s+1) \rceil`, as the paper has it.

    Raises
    ------
    SearchError
        If the budgets or `eta` are impossible.

    Notes
    -----
    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar (2018), *Hyperband: a novel bandit-based approach to
    hyperparameter optimization*, Algorithm 1; :math:`s_{max} = \lfloor \log_\eta R \rfloor`.
    """
    s_max = n_halvings(low, high, eta)
    brackets = []
    for s in range(s_max, -1, -1):
        exact = (s_max + 1) / (s + 1)
        n = math.floor(exact) * eta**s if sizing == "floor" else math.ceil(exact * eta**s - 1e-9)
        brackets.append([RungPlan(max(1, math.floor(n * eta**-i + 1e-9)), high * eta ** (i - s)) for i in range(s + 1)])
    return brackets


def n_halvings(low: float, high: float, eta: float) -> int:
    """Return how often the budget can be multiplied by `eta` from `low` up to `high`.

    Raises
    ------
    SearchError
        Unless 0 < low <= high and eta > 1.
    """
    if not (0 < low <= high and math.isfinite(high)):
        raise SearchError(f"budgets from {low:g} to {high:g}: need 0 < low <= high")
    check_number("eta", eta, above=1.0)
    return math.floor(math.log(high / low) / math.log(eta) + 1e-9)


@dataclass(slots=True)
class Rung:
    """Results at one rung, best first, and which of them have gone on.

    Parameters
    ----------
    results : list of (loss, trial id)
    promoted : set of int
        Trials that a promotion has been made of.
    """

    results: list[tuple[float, int]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)

    @property
    def n_known(self) -> int:
        """How many of the results are those of trials that may go on."""
        return bisect.bisect_left(self.results, (math.inf, -1))

    def add(self, loss: float, trial_id: int) -> None:
        """Take a result in; infinite for a trial that may not go on."""
        bisect.insort(self.results, (loss, trial_id))

    def has_any(self, trial_ids: Collection[int | None]) -> bool:
        """Return whether one of the results is of one of these trials."""
        return any(trial_id in trial_ids for _, trial_id in self.results)

    def best_waiting(self, n: int, promoted_now: set[int | None]) -> int | None:
        """Return the best trial among the first `n` that has not gone on, or None."""
        for loss, trial_id in self.results[:n]:
            if math.isinf(loss):
                return None
            if trial_id not in self.promoted and trial_id not in promoted_now:
                return trial_id
        return None
