"""What all parameters share, and the numeric ones: Float and Integer.

A parameter is checked when it is written and never changes afterwards. Numbers may be given as
numpy scalars; they are kept, and come back in configs, as plain Python.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space.scale import Scale
from dhflow.space.value import as_lists, is_number, plain, read_clause, read_flag, read_number, read_whole, show

HYPERPARAMETER = "hyperparameter"
ARCHITECTURE = "architecture"

# Cell numbers are kept in float64, with a half added: exact up to here.
_MAX_EVEN_INTEGER = 2**50
# On a logarithmic or normal scale, neighbouring integers must stay apart in u.
_MAX_UNEVEN_INTEGER = 2**40
# Beyond, sums and exponentials of bounds overflow.
_MAX_BOUND = 1e300
# A float of fewer distinguishable values is a mistake in its bounds.
_MIN_CELLS = 64


@dataclass(frozen=True)
class Normal:
    """A normal prior, truncated to the parameter's bounds.

    Parameters
    ----------
    mean, std : float
        In the parameter's own unit; with ``log=True`` those of the **natural logarithm** of the value:
        around 1e-3, within a factor of 3, is ``Normal(math.log(1e-3), math.log(3))``.

    Notes
    -----
    One percent of the prior is uniform over the bounds, so that no value is out of reach.
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", read_number(self.mean, "prior.mean"))
        object.__setattr__(self, "std", read_number(self.std, "prior.std"))
        if self.std <= 0:
            raise SpaceError(f"the standard deviation must be positive, not {self.std}", "prior.std")


@dataclass(frozen=True, eq=False, repr=False)
class Parameter(ABC):
    """One named choice of a search space.

    Parameters
    ----------
    default : scalar, optional
        Its value in the space's default config; None chooses one in the middle.
    when : mapping, optional
        The parameter is active, that is: part of a config, only when every named parameter is active
        and has the given value, or one of a list of values: ``{"optimizer": ["sgd", "rmsprop"]}``.
    group : str
        What it belongs to when spaces are multiplied: ``"hyperparameter"`` or ``"architecture"``.
    """

    default: Any = field(default=None, kw_only=True)
    when: Mapping[str, Any] | None = field(default=None, kw_only=True)
    group: str = field(default=HYPERPARAMETER, kw_only=True)

    def __post_init__(self) -> None:
        self._check_fields()
        if self.when is not None:
            self._set("when", read_clause(self.when, "when"))
        if not isinstance(self.group, str) or not self.group:
            raise SpaceError(f"a group is a name, not {show(self.group)}", "group")
        if self.default is None:
            self._set("default", self._middle())
        else:
            try:
                self._set("default", self.check(self.default))
            except ConfigNotInSpaceError as error:
                raise SpaceError(error.message, "default") from None

    @abstractmethod
    def _check_fields(self) -> None:
        """Check and normalise the fields of the subclass."""

    @abstractmethod
    def _middle(self) -> Any:
        """Return the default of a parameter that was given none."""

    @abstractmethod
    def check(self, value: object) -> Any:
        """Return `value` as the plain Python value that it stands for.

        Raises
        ------
        ConfigNotInSpaceError
            If the parameter cannot take it; says what is allowed.
        """

    @property
    @abstractmethod
    def n_values(self) -> float:
        """How many values it can take; ``inf`` for a :class:`Float`."""

    @property
    def is_categorical(self) -> bool:
        """Whether its values have no order."""
        return False

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        own = [each for each in fields(self) if not each.kw_only]
        options = [each for each in fields(self) if each.kw_only and each.name not in {"default", "when", "group"}]
        shown = [_repr(getattr(self, each.name)) for each in own]
        shown += [f"{each.name}={getattr(self, each.name)!r}" for each in options if getattr(self, each.name)]
        if repr(self.default) != repr(self._middle()):
            shown.append(f"default={self.default!r}")
        if self.when is not None:
            shown.append(f"when={as_lists(self.when)}")
        if self.group != HYPERPARAMETER:
            shown.append(f"group={self.group!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    # By text, since True == 1 == 1.0 in Python.
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


@dataclass(frozen=True, eq=False, repr=False)
class Float(Parameter):
    """A real number between two bounds, both included.

    Parameters
    ----------
    low, high : float
    log : bool
        Search on a logarithmic scale; `low` must be positive.
    prior : Normal, optional
        Where good values are expected; None is uniform (in the logarithm with `log`).
    default, when, group
        See :class:`Parameter`; the default's default is the prior's mean, or the middle of the scale.

    Raises
    ------
    SpaceError
        If anything does not fit; ``path`` names the argument.
    """

    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    prior: Normal | None = field(default=None, kw_only=True)

    def _check_fields(self) -> None:
        self._set("low", read_number(self.low, "low"))
        self._set("high", read_number(self.high, "high"))
        _check_range(self)
        if self.log and self.low < sys.float_info.min:
            raise SpaceError(f"log=True needs a low of at least {sys.float_info.min}, not {self.low}", "low")
        if max(abs(self.low), abs(self.high)) > _MAX_BOUND:
            raise SpaceError(f"bounds must lie within ±{_MAX_BOUND}, not at {self.low} and {self.high}", "high")
        # Below this, differences within the range would be denormal and lose their digits.
        is_one_logarithm = self.log and math.log(self.low) == math.log(self.high)
        if is_one_logarithm or self.high - self.low < sys.float_info.min / sys.float_info.epsilon:
            raise SpaceError(f"the range from {self.low} to {self.high} is too narrow", "low")
        _check_prior(self)
        if self.scale().n_cells < _MIN_CELLS:
            raise SpaceError(f"{self.low} and {self.high}, or the prior's width, leave hardly any numbers", "low")

    def scale(self) -> Scale:
        """Return the two directions between values and the unit scale."""
        mean, std = (None, None) if self.prior is None else (self.prior.mean, self.prior.std)
        return Scale(self.low, self.high, log=self.log, mean=mean, std=std)

    def _middle(self) -> float:
        if self.prior is not None:
            middle = math.exp(self.prior.mean) if self.log else self.prior.mean
        elif self.log:
            middle = math.exp((math.log(self.low) + math.log(self.high)) / 2)
        else:
            middle = self.low + (self.high - self.low) / 2
        # 1e-3, not 0.0010000000000000002.
        return min(max(float(f"{middle:.12g}"), self.low), self.high)

    def check(self, value: object) -> float:
        """Return `value` as a float within the bounds; an int is a number too, a bool is none."""
        number = plain(value)
        if is_number(number) and self.low <= number <= self.high:
            return float(number)
        raise ConfigNotInSpaceError(f"{show(value)} is not a number in [{self.low}, {self.high}]")

    @property
    def n_values(self) -> float:
        """``inf``."""
        return math.inf


@dataclass(frozen=True, eq=False, repr=False)
class Integer(Parameter):
    """A whole number between two bounds, both included.

    Parameters
    ----------
    low, high : int
    log : bool
        Search on a logarithmic scale; `low` must be at least 1. The number i owns what lies
        between i - 1/2 and i + 1/2 on that scale.
    prior : Normal, optional
        Where good values are expected; None is uniform (in the logarithm with `log`).
    default, when, group
        See :class:`Parameter`; the default's default is the prior's mean, or the middle of the scale.

    Raises
    ------
    SpaceError
        If anything does not fit; ``path`` names the argument.
    """

    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    prior: Normal | None = field(default=None, kw_only=True)

    def _check_fields(self) -> None:
        self._set("low", read_whole(self.low, "low"))
        self._set("high", read_whole(self.high, "high"))
        _check_range(self)
        limit = _MAX_UNEVEN_INTEGER if self.is_uneven else _MAX_EVEN_INTEGER
        if max(self.high - self.low, abs(self.low), abs(self.high)) >= limit:
            raise SpaceError(f"whole numbers must stay below {limit} here; use a Float and round it", "high")
        _check_prior(self)

    @property
    def is_uneven(self) -> bool:
        """Whether its values own cells of different width on the unit scale."""
        return self.log or self.prior is not None

    def scale(self) -> Scale:
        """Return the two directions between the unit scale and numbers that are yet to be rounded."""
        mean, std = (None, None) if self.prior is None else (self.prior.mean, self.prior.std)
        return Scale(self.low - 0.5, self.high + 0.5, log=self.log, mean=mean, std=std)

    def _middle(self) -> int:
        if self.prior is not None:
            middle = round(math.exp(self.prior.mean) if self.log else self.prior.mean)
        elif self.log:
            middle = round(math.sqrt(self.low * self.high))
        else:
            middle = (self.low + self.high) // 2
        return min(max(middle, self.low), self.high)

    def check(self, value: object) -> int:
        """Return `value` as an int within the bounds; ``5.0`` is the number 5, a bool is none."""
        number = plain(value)
        if is_number(number) and self.low <= number <= self.high and not number % 1:
            return int(number)
        raise ConfigNotInSpaceError(f"{show(value)} is not a whole number in [{self.low}, {self.high}]")

    @property
    def n_values(self) -> float:
        """How many whole numbers there are from low to high."""
        return float(self.high - self.low + 1)


def _check_range(parameter: Float | Integer) -> None:
    parameter._set("log", read_flag(parameter.log, "log"))
    low, high = parameter.low, parameter.high
    if low >= high:
        hint = " (a single value is a Constant)" if low == high else ""
        raise SpaceError(f"low must be below high, not {low} and {high}{hint}", "low")
    if parameter.log and low <= 0:
        raise SpaceError(f"log=True needs a positive low, not {low}", "low")


def _check_prior(parameter: Float | Integer) -> None:
    prior = parameter.prior
    if prior is None:
        return
    if not isinstance(prior, Normal):
        raise SpaceError(f"a prior is None or Normal(mean, std), not {show(prior)}", "prior")
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high = math.log(low), math.log(high)
    slack = 1e-9 * (high - low)
    if not low - slack <= prior.mean <= high + slack:
        hint = ": with log=True it is the mean of the natural logarithm" if parameter.log else ""
        raise SpaceError(f"the mean must lie in [{low:.6g}, {high:.6g}], not {prior.mean:.6g}{hint}", "prior.mean")
    if prior.std < 1e-6 * (high - low):
        raise SpaceError(f"{prior.std} is less than a millionth of the range", "prior.std")


def _repr(value: object) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
