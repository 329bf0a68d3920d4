"""Constraints on what an objective returns, such as ``memory_gb <= 16``: which trials may count as good."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal

from dhflow.errors import SearchError

if TYPE_CHECKING:
    from dhflow.trial import Trial

Relation = Literal["<=", "<", ">=", ">"]

RELATIONS = ("<=", "<", ">=", ">")
_RELATION = re.compile("(<=|>=|<|>)")
_FORM = f"write a name, one of {' '.join(RELATIONS)} and a number, such as 'memory_gb <= 16'"


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on one number that the objective returns.

    Parameters
    ----------
    name : str
        Of the number: its key in the mapping that the objective returns, or an objective's name.
    relation : {"<=", "<", ">=", ">"}
        Of the number, on the left, to the bound.
    bound : float

    Raises
    ------
    SearchError
        If the name is empty or holds one of ``< > =``, the relation is another one, or the bound is not finite.
    """

    name: str
    relation: Relation
    bound: float

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or set(self.name) & set("<>="):
            raise SearchError(f"{self.name!r} cannot be what a constraint is on: {_FORM}")
        if self.relation not in RELATIONS:
            raise SearchError(f"a constraint on {self.name!r} cannot be {self.relation!r}: {_FORM}")
        if not math.isfinite(self.bound):
            raise SearchError(f"the bound of a constraint on {self.name!r} is {self.bound}: it must be finite")
        # Equal constraints have equal texts, also when one bound was written as a whole number.
        object.__setattr__(self, "bound", float(self.bound))

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Return the constraint that a text such as ``"memory_gb <= 16"`` says.

        Raises
        ------
        SearchError
            If it says none.
        """
        if not isinstance(text, str):
            raise SearchError(f"{text!r} is no constraint: {_FORM}")
        parts = [each.strip() for each in _RELATION.split(text)]
        if len(parts) != 3:
            why = "has no relation" if len(parts) < 3 else "has more than one relation (two bounds: two constraints)"
            raise SearchError(f"the constraint {text!r} {why}: {_FORM}")
        name, relation, bound = parts
        try:
            number = float(bound)
        except ValueError:
            raise SearchError(f"the constraint {text!r} has {bound!r} on its right, no number: {_FORM}") from None
        return cls(name, relation, number)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """What :meth:`parse` reads."""
        return f"{self.name} {self.relation} {repr(self.bound).removesuffix('.0')}"

    @property
    def limit(self) -> float:
        """The last number that meets it: the bound, or for a strict relation the number next to it."""
        if self.relation in ("<=", ">="):
            return self.bound
        return math.nextafter(self.bound, -math.inf if self.relation == "<" else math.inf)

    @property
    def is_upper(self) -> bool:
        """Whether it bounds from above."""
        return self.relation in ("<=", "<")

    def excess(self, value: object) -> float:
        """Return how far a value lies beyond the last one that meets the constraint, negative where it is met.

        Returns
        -------
        float
            In the value's unit; infinite if it is missing (None), infinite, NaN or no number.
        """
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return math.inf
        distance = float(value) - self.limit
        return distance if self.is_upper else -distance

    def violation(self, value: object) -> float:
        """Return how far a value is from the nearest one that meets the constraint, in the value's unit.

        Returns
        -------
        float
            0 exactly if it meets the constraint; infinite if it is missing (None), infinite, NaN or no number.
        """
        return max(0.0, self.excess(value))

    def is_met(self, value: object) -> bool:
        """Tell whether a value meets the constraint."""
        return self.violation(value) == 0.0

    def __str__(self) -> str:
        return self.text


Constraints = str | Constraint | Iterable[str | Constraint]
"""How a user writes constraints: one, or several."""


def parse_constraints(*given: Constraints) -> tuple[Constraint, ...]:
    """Return all constraints that a user wrote, each one once, in their order.

    Parameters
    ----------
    *given : str, Constraint or iterable of them
        Two on the same name are a lower and an upper bound.

    Raises
    ------
    SearchError
        If one is none, or no value meets two of them.
    """
    several = ([each] if isinstance(each, str | Constraint) else each for each in given)
    found = dict.fromkeys(
        each if isinstance(each, Constraint) else Constraint.parse(each) for one in several for each in one
    )
    for upper in found:
        for lower in found:
            if upper.name == lower.name and upper.is_upper and not lower.is_upper and upper.limit < lower.limit:
                raise SearchError(f"no value meets both constraints {lower.text!r} and {upper.text!r}")
    return tuple(found)


def value_in(trial: Trial, name: str) -> object:
    """Return what a trial's objective returned under a name, as objective or as metric; None if it did not."""
    return trial.values[name] if name in trial.values else trial.metrics.get(name)


def violations(trial: Trial, constraints: Sequence[Constraint]) -> tuple[float, ...]:
    """Return by how much a trial violates each constraint, in the constraints' order and the values' units.

    Infinite where the trial has no value, as one that failed.
    """
    return tuple(each.violation(value_in(trial, each.name)) for each in constraints)


def total_violation(trial: Trial, constraints: Sequence[Constraint]) -> float:
    """Return one figure for how far a trial is from meeting all constraints, to compare trials by.

    The sum of its violations, each as a share of the bound's size, since their units differ; those of a bound of 0
    count as they are.
    """
    found = zip(violations(trial, constraints), constraints, strict=True)
    return sum(violation / (abs(each.bound) or 1.0) for violation, each in found)


def is_feasible(trial: Trial, constraints: Sequence[Constraint]) -> bool:
    """Tell whether a trial meets all constraints."""
    return all(each.is_met(value_in(trial, each.name)) for each in constraints)
