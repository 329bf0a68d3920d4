"""Parameters whose values are written out: Ordinal, Categorical and Constant."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space.parameter import Parameter
from dhflow.space.value import Scalar, is_number, is_scalar, key, plain, read_number, read_scalars, show


@dataclass(frozen=True, eq=False, repr=False)
class Listed(Parameter):
    """A parameter whose values are written out."""

    @property
    @abstractmethod
    def listed(self) -> tuple[Scalar, ...]:
        """Its values, in order."""

    def number(self, value: object) -> int:
        """Return the place of `value` among the listed ones; booleans equal booleans only.

        Raises
        ------
        ConfigNotInSpaceError
            If it is not listed.
        """
        wanted = plain(value)
        if is_scalar(wanted):
            for i, each in enumerate(self.listed):
                if key(each) == key(wanted):
                    return i
        raise ConfigNotInSpaceError(f"{show(value)} is not one of {show(list(self.listed))}")

    def check(self, value: object) -> Any:
        """Return the listed value that `value` equals."""
        return self.listed[self.number(value)]

    @property
    def n_values(self) -> float:
        """How many values are listed."""
        return float(len(self.listed))


@dataclass(frozen=True, eq=False, repr=False)
class Ordinal(Listed):
    """One of several values that have an order.

    Parameters
    ----------
    values : sequence of scalars
        In their order; numbers must rise or fall throughout.
    default, when, group
        See :class:`Parameter`; the default's default is the (lower) middle value.

    Raises
    ------
    SpaceError
        If anything does not fit; ``path`` names the argument.
    """

    values: Sequence[Any]

    def _check_fields(self) -> None:
        values = read_scalars(self.values, "values")
        self._set("values", values)
        numbers = [each for each in values if isinstance(each, int | float) and is_number(each)]
        rises = [after > before for before, after in itertools.pairwise(numbers)]
        if len(numbers) == len(values) and any(rises) and not all(rises):
            raise SpaceError(f"numbers must rise or fall throughout, not {show(numbers)}", "values")

    @classmethod
    def geometric(cls, low: float, high: float, factor: float, **options: Any) -> Ordinal:
        """Return low, low·factor, low·factor², …, high: whole numbers if all three are.

        Raises
        ------
        SpaceError
            If the bounds are no positive range or the steps do not meet `high`.
        """
        start, stop, ratio = (_decimal(each) for each in (low, high, factor))
        if not 0 < start < stop or ratio <= 1:
            raise SpaceError(f"need 0 < low < high and factor > 1, not {low}, {high} and {factor}", "values")
        steps = math.log(stop / start) / math.log(ratio)
        n_steps = _meeting(steps, f"factors of {factor} from {low} do not meet {high}")
        return cls(_numbers([start * ratio**i for i in range(n_steps)], low, high, factor), **options)

    @classmethod
    def arithmetic(cls, low: float, high: float, step: float, **options: Any) -> Ordinal:
        """Return low, low + step, low + 2·step, …, high: whole numbers if all three are.

        Raises
        ------
        SpaceError
            If the bounds are no range or the steps do not meet `high`.
        """
        start, stop, stride = (_decimal(each) for each in (low, high, step))
        if start >= stop or stride <= 0:
            raise SpaceError(f"need low < high and step > 0, not {low}, {high} and {step}", "values")
        n_steps = _meeting(float((stop - start) / stride), f"steps of {step} from {low} do not meet {high}")
        return cls(_numbers([start + stride * i for i in range(n_steps)], low, high, step), **options)

    @property
    def listed(self) -> tuple[Scalar, ...]:
        """Its values, in order."""
        return tuple(self.values)

    def _middle(self) -> Any:
        return self.values[(len(self.values) - 1) // 2]


@dataclass(frozen=True, eq=False, repr=False)
class Categorical(Listed):
    """One of several values without order.

    Parameters
    ----------
    choices : sequence of scalars
        Strings, numbers, booleans or None. ``True`` and ``1`` are different, ``1`` and ``1.0`` are not.
    default, when, group
        See :class:`Parameter`; the default's default is the first choice.

    Raises
    ------
    SpaceError
        If anything does not fit; ``path`` names the argument.
    """

    choices: Sequence[Any]

    def _check_fields(self) -> None:
        self._set("choices", read_scalars(self.choices, "choices"))

    @property
    def listed(self) -> tuple[Scalar, ...]:
        """Its choices."""
        return tuple(self.choices)

    @property
    def is_categorical(self) -> bool:
        """True."""
        return True

    def _middle(self) -> Any:
        return self.choices[0]


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Listed):
    """A value that does not vary, but belongs to every config in which it is active.

    Parameters
    ----------
    value : scalar
    default, when, group
        See :class:`Parameter`.

    Raises
    ------
    SpaceError
        If it is no JSON scalar.
    """

    value: Any

    def _check_fields(self) -> None:
        self._set("value", read_scalars([self.value], "value")[0])

    @property
    def listed(self) -> tuple[Scalar, ...]:
        """The value alone."""
        return (self.value,)

    def _middle(self) -> Any:
        return self.value


def _decimal(value: object) -> Decimal:
    # Decimal arithmetic on the written digits: three steps of 0.1 are 0.3.
    number = plain(value)
    return Decimal(number) if isinstance(number, int) else Decimal(repr(read_number(value, "values")))


def _meeting(steps: float, complaint: str) -> int:
    if abs(steps - round(steps)) > 1e-6:
        raise SpaceError(complaint, "values")
    return round(steps)


def _numbers(below_high: Sequence[Decimal], low: float, high: float, step: float) -> list[float]:
    if all(isinstance(plain(each), int) for each in (low, high, step)):
        return [*map(int, below_high), int(high)]
    return [*map(float, below_high), float(high)]
