"""Which configs belong to a space: shape, values, forbidden combinations, code constraints."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space.condition import BoolArray, ClauseTable, number_clause
from dhflow.space.encoding import Encoding, Rows
from dhflow.space.parameter import Parameter
from dhflow.space.value import Clause, is_met, show


@dataclass(frozen=True)
class Constraint:
    """A function of a config that says whether it is allowed.

    Parameters
    ----------
    name : str
    function : callable, optional
        None in a space that was read from JSON, where only the name is kept.
    """

    name: str
    function: Callable[[dict[str, Any]], bool] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, given: object) -> Constraint:
        """Return a callable as a constraint under its own name."""
        if isinstance(given, Constraint):
            return given
        if not callable(given):
            raise SpaceError(f"a constraint is a function of a config, not {show(given)}", "constraints")
        named: Any = given
        while isinstance(named, partial):
            named = named.func
        return cls(getattr(named, "__name__", type(named).__name__), given)

    def allows(self, config: dict[str, Any]) -> bool:
        """Call the function.

        Raises
        ------
        SpaceError
            If there is none, if it raises, or if it returns neither True nor False.
        """
        if self.function is None:
            raise SpaceError(
                f"constraint {self.name!r} is known by its name only, since this space was read from JSON: "
                "use the space that the problem defines",
                "constraints",
            )
        try:
            answer = self.function(config)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise SpaceError(f"constraint {self.name!r} raised {what}, for {config}", "constraints") from error
        if not isinstance(answer, bool | np.bool_):
            raise SpaceError(
                f"constraint {self.name!r} returned {show(answer)}, not True or False, for {config}", "constraints"
            )
        return bool(answer)


class Rules:
    """What a config must satisfy.

    Parameters
    ----------
    parameters : mapping
        With checked conditions.
    levels : sequence of sequence of str
        Their names by depth.
    forbidden : sequence of checked clauses
    constraints : sequence of Constraint
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        levels: Sequence[Sequence[str]],
        forbidden: Sequence[Clause],
        constraints: Sequence[Constraint],
    ) -> None:
        self._parameters = parameters
        self._order = [name for names in levels for name in names]
        self.forbidden = tuple(forbidden)
        self.constraints = tuple(constraints)
        self._table = ClauseTable([number_clause(each, parameters) for each in forbidden]) if forbidden else None

    # Many configs

    @property
    def allow_everything(self) -> bool:
        """Whether nothing is forbidden or constrained."""
        return self._table is None and not self.constraints

    def allowed(self, rows: Rows, encoding: Encoding) -> BoolArray:
        """Return (n,) whether each row is neither forbidden nor refused by a constraint."""
        allowed: BoolArray = np.ones(len(rows.index), dtype=np.bool_)
        if self._table is not None:
            allowed = ~np.logical_or.reduce(self._table.matches(rows.index, rows.active), axis=1)
        if self.constraints:
            at = np.flatnonzero(allowed)
            configs = encoding.write(rows.take(at))
            allowed[at] = [all(each.allows(config) for each in self.constraints) for config in configs]
        return allowed

    def refusals(self, rows: Rows, encoding: Encoding) -> str:
        """Say how many of `rows` each forbidden combination and each constraint refuses."""
        parts = []
        if self._table is not None:
            counts = self._table.matches(rows.index, rows.active).sum(axis=0).tolist()
            parts = [f"forbidden[{i}] refused {count}" for i, count in enumerate(counts)]
        configs = encoding.write(rows)
        for each in self.constraints:
            parts.append(f"constraint {each.name!r} refused {sum(not each.allows(config) for config in configs)}")
        return f"{', '.join(parts)} of the last {len(configs)}"

    # One config

    def shaped(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config` in plain Python and in order, if its names and values fit.

        Raises
        ------
        ConfigNotInSpaceError
            If a name is unknown, missing or inactive, or a value is outside.
        """
        if not isinstance(config, Mapping):
            raise ConfigNotInSpaceError(f"a config is a mapping from names to values, not {show(config)}")
        for name in config:
            if name not in self._parameters:
                close = difflib.get_close_matches(str(name), self._parameters, n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise ConfigNotInSpaceError(f"the space has no such parameter{hint}", str(name))
        found: dict[str, Any] = {}
        for name in self._order:
            parameter = self._parameters[name]
            if is_met(parameter.when, found):
                found[name] = _checked_value(parameter, config, name)
            elif name in config:
                raise ConfigNotInSpaceError(f"is given but inactive: it needs {_text(parameter.when or {})}", name)
        return {name: found[name] for name in self._parameters if name in found}

    def default(self) -> dict[str, Any]:
        """Return the config of the defaults."""
        found: dict[str, Any] = {}
        for name in self._order:
            if is_met(self._parameters[name].when, found):
                found[name] = self._parameters[name].default
        return {name: found[name] for name in self._parameters if name in found}

    def check(self, config: dict[str, Any], *, skip_nameless: bool = False) -> None:
        """Refuse a shaped `config` that is forbidden or that a constraint refuses.

        Raises
        ------
        ConfigNotInSpaceError
        """
        for i, clause in enumerate(self.forbidden):
            if is_met(clause, config):
                given = {name: config[name] for name in clause}
                raise ConfigNotInSpaceError(f"the combination {given} is forbidden", f"forbidden[{i}]")
        for each in self.constraints:
            if not (skip_nameless and each.function is None) and not each.allows(dict(config)):
                raise ConfigNotInSpaceError(f"constraint {each.name!r} refuses {config}", "constraints")

    def point(self, config: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Return a config that is part of the space's definition, checked.

        Raises
        ------
        SpaceError
            At `path`.
        """
        try:
            point = self.shaped(config)
            self.check(point, skip_nameless=True)
        except ConfigNotInSpaceError as error:
            hint = ": give the parameters other defaults" if path == "default" else ""
            raise SpaceError(f"{error}{hint}", path) from None
        return point


def _checked_value(parameter: Parameter, config: Mapping[str, Any], name: str) -> Any:
    if name not in config:
        raise ConfigNotInSpaceError("is missing", name)
    try:
        return parameter.check(config[name])
    except ConfigNotInSpaceError as error:
        raise ConfigNotInSpaceError(error.message, name) from None


def _text(clause: Clause) -> str:
    return " and ".join(
        f"{name} = {values[0]!r}" if len(values) == 1 else f"{name} in {list(values)}"
        for name, values in clause.items()
    )
