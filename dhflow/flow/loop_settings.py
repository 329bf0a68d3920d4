"""How a completion loop behaves, besides its limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a session behaves, besides its limits.

    Parameters
    ----------
    seed : int
    max_attempts : int
        A trial whose worker was lost this often is LOST for good.
    abort_after : int, optional
        Stop when the first trials all fail on the same line, or are all lost for good, this many of them.
    prefetch : int, optional
        Length of the ready queue; None adapts it.
    full_budget : float
        Units that a trial without a budget of its own counts.
    session : int
    """

    seed: int = 0
    max_attempts: int = 3
    abort_after: int | None = 3
    prefetch: int | None = None
    full_budget: float = 1.0
    session: int = 0
