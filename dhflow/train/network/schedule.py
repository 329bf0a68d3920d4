"""Learning rates that change while a network is trained.

Notation
--------
epoch : epochs trained so far, a fraction within one;  factor : share of the learning rate that was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dhflow.errors import SearchError

KINDS = ("fixed", "step", "exponential", "cosine")


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes down, and at the beginning up.

    Parameters
    ----------
    kind : {"fixed", "step", "exponential", "cosine"}
        ``"step"``: times `rate` at each of `at_epochs`. ``"exponential"``: times `rate` within every `every_epochs`
        epochs, with `staircase` at their end. ``"cosine"``: half a period from 1 to `floor` over the whole training
        (Loshchilov and Hutter 2017, without restarts).
    rate : float
    at_epochs : tuple of float
    every_epochs : float
    staircase : bool
    floor : float
        Least factor.
    warm_up_epochs : float
        The factor rises linearly, step by step, from `warm_up_from` to 1 before all that; 0: not.
    warm_up_from : float

    Raises
    ------
    SearchError
        If an argument makes no sense.
    """

    kind: str = "fixed"
    rate: float = 0.1
    at_epochs: tuple[float, ...] = ()
    every_epochs: float = 1.0
    staircase: bool = False
    floor: float = 0.0
    warm_up_epochs: float = 0.0
    warm_up_from: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_epochs", tuple(self.at_epochs))
        if self.kind not in KINDS:
            raise SearchError(f"there is no schedule {self.kind!r}; there are: {', '.join(KINDS)}")
        if self.kind == "step" and not self.at_epochs:
            raise SearchError('Schedule("step") needs at_epochs, such as (30, 60)')
        if not 0 < self.rate <= 1 or self.every_epochs <= 0:
            raise SearchError(
                f"a schedule's rate lies above 0, up to 1, and every_epochs is positive, not {self.rate} and "
                f"{self.every_epochs}"
            )
        if not (0 <= self.floor <= 1 and 0 <= self.warm_up_from <= 1) or self.warm_up_epochs < 0:
            raise SearchError(
                "a schedule's floor and warm_up_from are shares from 0 to 1 and warm_up_epochs is 0 or more, not "
                f"{self.floor}, {self.warm_up_from} and {self.warm_up_epochs}"
            )

    @property
    def is_constant(self) -> bool:
        """Whether the factor is always 1."""
        return self.kind == "fixed" and self.warm_up_epochs == 0

    def factor(self, epoch: Any, epochs: float, xp: Any = None) -> Any:
        """Return the factor after `epoch` epochs of a training of `epochs`.

        Parameters
        ----------
        epoch : float or tensor
        epochs : float
        xp : module, optional
            That computes: ``keras.ops`` for tensors; NumPy by default.
        """
        if xp is None:
            import numpy as xp
        down = xp.maximum(self._down(epoch, epochs, xp), self.floor)
        if self.warm_up_epochs == 0:
            return down
        share = xp.minimum(epoch / self.warm_up_epochs, 1.0)
        up = self.warm_up_from + (1.0 - self.warm_up_from) * share
        # As published for large batches, the rise comes before the schedule, whose epochs it takes part in.
        return xp.where(share < 1.0, up, down)

    def _down(self, epoch: Any, epochs: float, xp: Any) -> Any:
        if self.kind == "step":
            passed = sum(xp.where(epoch >= each, 1.0, 0.0) for each in self.at_epochs)
            return self.rate**passed
        if self.kind == "exponential":
            turns = epoch / self.every_epochs
            return self.rate ** (xp.floor(turns) if self.staircase else turns)
        if self.kind == "cosine":
            left = max(epochs - self.warm_up_epochs, 1e-9)
            share = xp.minimum(xp.maximum((epoch - self.warm_up_epochs) / left, 0.0), 1.0)
            return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + xp.cos(math.pi * share))
        return xp.ones_like(epoch)
