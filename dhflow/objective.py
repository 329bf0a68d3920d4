"""What is optimised: names and directions; the only place where a sign is flipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal

from dhflow.errors import ObjectiveError, SearchError

if TYPE_CHECKING:
    from dhflow.constraint import Constraint

Direction = Literal["minimize", "maximize"]
MetricValue = float | int | str | bool | None

DEFAULT_NAME = "objective"
_DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True, slots=True)
class Objective:
    """One quantity to minimise or maximise.

    Parameters
    ----------
    name : str
        Its key in the mapping that the user's function returns.
    direction : {"minimize", "maximize"}
    """

    name: str = DEFAULT_NAME
    direction: Direction = "minimize"

    def to_loss(self, value: float) -> float:
        """Return `value` (the user's sign) as a quantity to minimise."""
        return -value if self.direction == "maximize" else value

    def from_loss(self, loss: float) -> float:
        """Return a minimised `loss` in the user's sign."""
        return -loss if self.direction == "maximize" else loss

    def is_better(self, value: float, than: float) -> bool:
        """Tell whether `value` beats `than`, both in the user's sign."""
        return self.to_loss(value) < self.to_loss(than)


def parse_direction(direction: str | Mapping[str, str]) -> tuple[Objective, ...]:
    """Turn a direction, or a mapping from objective name to direction, into objectives.

    Raises
    ------
    SearchError
        If a direction is neither ``"minimize"`` nor ``"maximize"``, or none is given.
    """
    named = {DEFAULT_NAME: direction} if isinstance(direction, str) else dict(direction)
    if not named:
        raise SearchError('direction is empty: say "minimize" or "maximize", or map names to them')
    for name, each in named.items():
        if each not in _DIRECTIONS:
            raise SearchError(f'direction of {name!r} is {each!r}: it must be "minimize" or "maximize"')
    return tuple(Objective(name, each) for name, each in named.items())  # type: ignore[arg-type]


def read_returned(
    returned: object, objectives: tuple[Objective, ...], constraints: tuple[Constraint, ...] = ()
) -> tuple[dict[str, float], dict[str, MetricValue]]:
    """Split what an objective function returned into objective values and further metrics.

    Parameters
    ----------
    returned : float or mapping
        A number (with one objective), or a mapping that holds every objective by name
        (or under ``"objective"`` when there is one) and further metrics.
    objectives : tuple of Objective
    constraints : tuple of Constraint
        What they are on must be among the values or the metrics.

    Returns
    -------
    values, metrics : dict
        In the user's sign; metrics that a constraint is on are floats.

    Raises
    ------
    ObjectiveError
        If an objective or what a constraint is on is missing, is no number, or is NaN or infinite.
    """
    if not isinstance(returned, Mapping):
        if len(objectives) != 1:
            names = ", ".join(repr(each.name) for each in objectives)
            raise ObjectiveError(f"the objective returned {_describe(returned)}: return a mapping with {names}")
        values = {objectives[0].name: _finite(objectives[0].name, returned)}
        return values, _constrained(constraints, values, {})
    rest = dict(returned)
    values = {}
    for each in objectives:
        key = DEFAULT_NAME if len(objectives) == 1 and each.name not in rest else each.name
        if key not in rest:
            raise ObjectiveError(f"the objective returned a mapping without {each.name!r} (it has: {sorted(rest)})")
        values[each.name] = _finite(each.name, rest.pop(key))
    metrics = {str(name): _metric(value) for name, value in rest.items()}
    return values, metrics | _constrained(constraints, values, rest)


def _constrained(
    constraints: tuple[Constraint, ...], values: dict[str, float], rest: dict[str, object]
) -> dict[str, MetricValue]:
    """Return those metrics that constraints are on."""
    found: dict[str, MetricValue] = {}
    for each in constraints:
        if each.name in values:
            continue
        if each.name not in rest:
            has = sorted(map(str, [*values, *rest]))
            raise ObjectiveError(
                f"the constraint '{each.text}' needs {each.name!r}, which the objective did not return: "
                f"it must return a mapping with {each.name!r} (it returned: {', '.join(has)})"
            )
        try:
            found[each.name] = _finite(each.name, rest[each.name])
        except ObjectiveError as error:
            raise ObjectiveError(f"{error}; the constraint '{each.text}' needs it") from error
    return found


def _finite(name: str, value: object) -> float:
    # bool is a Real, yet returning True as an accuracy is always a mistake.
    if isinstance(value, bool) or not (isinstance(value, Real) or hasattr(value, "__float__")):
        raise ObjectiveError(f"{name!r} must be a number, the objective returned {_describe(value)}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ObjectiveError(f"{name!r} must be one number, the objective returned {_describe(value)}") from error
    if not math.isfinite(number):
        raise ObjectiveError(f"{name!r} is {number}: the objective must return a finite number")
    return number


def _metric(value: object) -> MetricValue:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        return _metric(value.item())
    return repr(value)[:200]


def _describe(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:80]}{'…' if len(text) > 80 else ''}"
