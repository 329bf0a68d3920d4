"""The search space: parameters, when they are active, and which combinations are allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dhflow.errors import ConfigNotInSpaceError, SpaceError, SpaceExhaustedError
from dhflow.space import json_form
from dhflow.space.condition import Activity, BoolArray, by_depth, check_clause
from dhflow.space.encoding import Encoding, Rows
from dhflow.space.enumeration import all_cells, count_configs
from dhflow.space.mutation import mutated
from dhflow.space.parameter import ARCHITECTURE, Parameter
from dhflow.space.rule import Constraint, Rules
from dhflow.space.scale import FloatArray
from dhflow.space.value import Clause, as_lists, read_clause, show

Canonical = Callable[[dict[str, Any]], str]

# Rejection sampling gives up once so many draws were made and fewer than one in a thousand was allowed.
_MIN_DRAWS = 20_000
_MIN_ALLOWED_SHARE = 1e-3
_MAX_CHUNK = 20_000


class SearchSpace:
    """What a search may vary.

    Parameters
    ----------
    parameters : mapping
        Name to :class:`Float`, :class:`Integer`, :class:`Ordinal`, :class:`Categorical` or :class:`Constant`.
    forbidden : sequence of mapping
        Each maps names to a value or a list of values; a config in which every one of them is active
        and has (one of) the values is not allowed.
    constraints : sequence of callable
        Each takes a config, which it must not change, and returns True where it is allowed.
    starting_points : sequence of mapping
        Configs to try first, besides the default one.
    canonical : callable, optional
        Takes a config and returns a text that configs share whose :attr:`architecture` is the same in effect; a
        searcher that repeats no config then repeats no such architecture either. Not part of the JSON form.

    Raises
    ------
    SpaceError
        If anything does not fit, the default config and the starting points included; ``path`` says where.

    Examples
    --------
    >>> from dhflow.space import Categorical, Float, SearchSpace
    >>> space = SearchSpace({
    ...     "learning_rate": Float(1e-5, 1e-1, log=True),
    ...     "optimizer": Categorical(["adam", "sgd"]),
    ...     "momentum": Float(0.0, 0.99, when={"optimizer": "sgd"}),
    ... })
    >>> space.default_config()
    {'learning_rate': 0.001, 'optimizer': 'adam'}

    Notes
    -----
    Arrays ``X`` are (n, d) in [0, 1], one column per parameter; any such numbers stand for configs.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        forbidden: Sequence[Mapping[str, Any]] = (),
        constraints: Sequence[Callable[[dict[str, Any]], bool] | Constraint] = (),
        starting_points: Sequence[Mapping[str, Any]] = (),
        canonical: Canonical | None = None,
    ) -> None:
        self._parameters = _checked(parameters)
        levels = by_depth(self._parameters)
        clauses = [
            check_clause(read_clause(clause, f"forbidden[{i}]"), self._parameters, f"forbidden[{i}]")
            for i, clause in enumerate(_list(forbidden, "forbidden"))
        ]
        functions = [Constraint.of(each) for each in _list(constraints, "constraints")]
        self._rules = Rules(self._parameters, levels, clauses, functions)
        self._activity = Activity(self._parameters, levels)
        self._encoding = Encoding(self._parameters, self._activity)
        self._default = self._rules.point(self._rules.default(), "default")
        points = enumerate(_list(starting_points, "starting_points"))
        self._starting_points = [self._rules.point(each, f"starting_points[{i}]") for i, each in points]
        self.canonical = canonical

    # What it consists of

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in the order of the columns."""
        return self._encoding.names

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Name to parameter, read-only."""
        return MappingProxyType(self._parameters)

    @property
    def forbidden(self) -> tuple[Clause, ...]:
        """The forbidden combinations."""
        return self._rules.forbidden

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The code constraints, with their names."""
        return self._rules.constraints

    @property
    def starting_points(self) -> list[dict[str, Any]]:
        """The configs to try first, as copies."""
        return [dict(each) for each in self._starting_points]

    @property
    def architecture(self) -> tuple[str, ...]:
        """The parameters of the group ``"architecture"``: what is built, as opposed to how it is trained."""
        return self.groups.get(ARCHITECTURE, ())

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group to the names of its parameters."""
        groups: dict[str, tuple[str, ...]] = {}
        for name, parameter in self._parameters.items():
            groups[parameter.group] = (*groups.get(parameter.group, ()), name)
        return groups

    @cached_property
    def is_categorical(self) -> BoolArray:
        """(d,) whether each parameter's values have no order; read-only."""
        flags = np.array([each.is_categorical for each in self._parameters.values()], dtype=np.bool_)
        flags.setflags(write=False)
        return flags

    @property
    def has_conditions(self) -> bool:
        """Whether some parameters are part of a config only with certain values of others."""
        return self._activity.has_conditions

    @cached_property
    def n_values(self) -> FloatArray:
        """(d,) how many values each parameter can take, inf for a Float; read-only."""
        counts = np.array([each.n_values for each in self._parameters.values()], dtype=np.float64)
        counts.setflags(write=False)
        return counts

    @cached_property
    def n_configs(self) -> float:
        """How many different configs there are, inf with a Float.

        Forbidden ones are left out, constraints are not looked at. An upper bound where more than
        65,536 combinations of parents and forbidden values hang together.
        """
        return count_configs(self._parameters, self._activity, self.forbidden)

    def __len__(self) -> int:
        return len(self._parameters)

    def __contains__(self, config: object) -> bool:
        """Tell whether there is a parameter of that name, or whether a config is valid."""
        if isinstance(config, str):
            return config in self._parameters
        try:
            self.validate(config)  # type: ignore[arg-type]
        except ConfigNotInSpaceError:
            return False
        return True

    def default_config(self) -> dict[str, Any]:
        """Return the config in which every active parameter has its default."""
        return dict(self._default)

    # Between configs and arrays

    def encode(self, configs: Iterable[Mapping[str, Any]]) -> FloatArray:
        """Return (n, d) the codes of `configs`, an inactive parameter's being its default's.

        Raises
        ------
        ConfigNotInSpaceError
            If a config lacks an active parameter, has another, or has a value outside;
            forbidden combinations and constraints are not looked at.
        """
        given = list(configs)
        try:
            return self._encoding.read(given).code
        except (KeyError, TypeError, ValueError, AttributeError):
            # Say what does not fit, or take what is only written in an unusual way, such as numpy scalars.
            return self._encoding.read([self._rules.shaped(each) for each in given]).code

    def decode(self, X: npt.ArrayLike) -> list[dict[str, Any]]:
        """Return the configs at X, each value the one that owns the place; inactive parameters are absent.

        Notes
        -----
        ``decode(encode(configs)) == configs`` holds exactly for configs that :meth:`decode` or :meth:`sample`
        returned, and for every value that is no float. Any other float comes back within 2**-48 of its
        range (of its logarithm's range with ``log``; coarser if the bounds agree in many digits or with a
        narrow prior), and never outside its bounds.
        """
        return self._encoding.write(self._rows(X))

    def snap(self, X: npt.ArrayLike) -> FloatArray:
        """Return the codes of the configs at X: ``encode(decode(X)) == snap(X)``, exactly."""
        return self._rows(X).code

    def active(self, X: npt.ArrayLike) -> BoolArray:
        """Return (n, d) which parameters the configs at X have."""
        array = self._matrix(X)
        if not self.has_conditions:
            return np.ones(array.shape, dtype=np.bool_)
        return self._activity.of(self._encoding.cells.index(array))

    def allowed(self, X: npt.ArrayLike) -> BoolArray:
        """Return (n,) whether the configs at X are neither forbidden nor refused by a constraint."""
        return self._rules.allowed(self._rows(X), self._encoding)

    def keys(self, X: npt.ArrayLike) -> list[bytes]:
        """Return what identifies the configs at X: equal for equal configs, in every process."""
        data = self._rows(X).index.tobytes()
        width = 8 * len(self)
        return [data[i : i + width] for i in range(0, len(data), width)]

    def identities(self, X: npt.ArrayLike) -> list[bytes]:
        """Return what identifies the trials at X: as :meth:`keys`, but equal architectures are one.

        Notes
        -----
        With a ``canonical`` function it is called for every row, so it costs more than :meth:`keys`.
        """
        if self.canonical is None:
            return self.keys(X)
        rows = self._rows(X)
        others = [j for j, name in enumerate(self.names) if name not in self.architecture]
        exact = rows.index[:, others]
        return [
            row.tobytes() + self.canonical(config).encode()
            for row, config in zip(exact, self._encoding.write(rows), strict=True)
        ]

    def mutate(
        self,
        X: npt.ArrayLike,
        rng: np.random.Generator,
        *,
        step: float = 0.1,
        resample: float = 0.2,
        among: Iterable[str] | None = None,
    ) -> FloatArray:
        """Return X with one random active parameter of each row changed to another value.

        Parameters
        ----------
        X : (n, d)
        rng : numpy.random.Generator
        step : float
            Standard deviation of a numeric step on the unit scale, reflected at the bounds.
        resample : float
            Share of the numeric changes that draw the value anew instead.
        among : iterable of str, optional
            Change these parameters only; None is all.

        Returns
        -------
        (n, d)
            Snapped. A parameter that becomes active gets a random value. A row comes back as it is only
            when none of its (named) active parameters can take another value. Whether a result is allowed
            is not looked at.
        """
        only = None
        if among is not None:
            wanted = set(among)
            unknown = sorted(wanted - self._parameters.keys())
            if unknown:
                raise SpaceError(f"there is no parameter {unknown[0]!r}", "among")
            only = np.array([name in wanted for name in self.names], dtype=np.bool_)
        return mutated(self._encoding, self._rows(X), rng, step=step, resample=resample, only=only)

    # Drawing and listing

    def sample(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return `n` random allowed configs, each parameter drawn from its prior.

        Raises
        ------
        SpaceExhaustedError
            If hardly any config is allowed.
        """
        return self._encoding.write(self._draw(n, rng))

    def sample_encoded(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return (n, d) the codes of `n` random allowed configs; see :meth:`sample`."""
        return self._draw(n, rng).code

    def all_encoded(self, limit: int = 10_000) -> FloatArray | None:
        """Return (n, d) the codes of every allowed config, or None if more than `limit` may have to be tried."""
        cells = all_cells(self.n_values, limit)
        if cells is None:
            return None
        rows = self._encoding.canonical(cells)
        _, first = np.unique(rows.index, axis=0, return_index=True)
        rows = rows.take(np.sort(first))
        return rows.code[self._rules.allowed(rows, self._encoding)]

    def _draw(self, n: int, rng: np.random.Generator) -> Rows:
        if self._rules.allow_everything:
            return self._encoding.rows(rng.random((n, len(self))))
        kept = [np.empty((0, len(self)))]
        n_kept = n_drawn = 0
        while n_kept < n:
            share = max(n_kept / n_drawn, 0.01) if n_drawn else 1.0
            size = min(int(1.1 * (n - n_kept) / share) + 8, _MAX_CHUNK)
            rows = self._encoding.rows(rng.random((size, len(self))))
            allowed = self._rules.allowed(rows, self._encoding)
            kept.append(rows.index[allowed])
            n_kept += int(allowed.sum())
            n_drawn += size
            if n_kept < n and n_drawn >= _MIN_DRAWS and n_kept < _MIN_ALLOWED_SHARE * n_drawn:
                raise SpaceExhaustedError(
                    f"only {n_kept} of {n_drawn} draws were allowed by the space's rules "
                    f"({self._rules.refusals(rows, self._encoding)}): check whether they contradict each other, "
                    "or write what is allowed into the parameters themselves"
                )
        return self._encoding.canonical(np.concatenate(kept)[:n])

    # One config

    def validate(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config` in plain Python and in the space's order.

        Raises
        ------
        ConfigNotInSpaceError
            If a name is unknown, missing or inactive, if a value is outside, or if the config is
            forbidden or refused by a constraint; ``path`` names the parameter.
        """
        shaped = self._rules.shaped(config)
        self._rules.check(shaped)
        return shaped

    # Groups, products, JSON

    def grouped(self, group: str) -> SearchSpace:
        """Return the same space with every parameter in `group`."""
        return SearchSpace(
            {name: replace(each, group=group) for name, each in self._parameters.items()},
            forbidden=self.forbidden,
            constraints=self.constraints,
            starting_points=self._starting_points,
            canonical=self.canonical,
        )

    def __mul__(self, other: object) -> SearchSpace:
        """Return the space of both spaces' parameters; a starting point is completed by the other's default."""
        if not isinstance(other, SearchSpace):
            return NotImplemented
        shared = sorted(self._parameters.keys() & other._parameters.keys())
        if shared:
            raise SpaceError(f"both spaces have {', '.join(map(repr, shared))}", "parameters")
        return SearchSpace(
            {**self._parameters, **other._parameters},
            forbidden=[*self.forbidden, *other.forbidden],
            constraints=[*self.constraints, *other.constraints],
            starting_points=[
                *({**each, **other._default} for each in self._starting_points),
                *({**self._default, **each} for each in other._starting_points),
            ],
            canonical=_joined(self.canonical, other.canonical),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values (:mod:`dhflow.space.json_form`); constraints by name only."""
        return json_form.to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Return the space of :meth:`to_json`; its constraints have names, but cannot be called.

        Raises
        ------
        SpaceError
            If `data` has a newer version or an unknown key, or is no space.
        """
        return cls(**json_form.from_json(data))

    def __eq__(self, other: object) -> bool:
        # By text, since True == 1 == 1.0 in Python.
        return isinstance(other, SearchSpace) and json.dumps(self.to_json()) == json.dumps(other.to_json())

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json()))

    def __repr__(self) -> str:
        lines = [f"    {name!r}: {each!r}," for name, each in self._parameters.items()]
        options = f", forbidden={[as_lists(each) for each in self.forbidden]}" if self.forbidden else ""
        if self.constraints:
            options += f", constraints=[{', '.join(each.name for each in self.constraints)}]"
        if self._starting_points:
            options += f", starting_points={self._starting_points}"
        return "\n".join(["SearchSpace({", *lines, f"}}{options})"])

    # Helpers

    def _rows(self, X: npt.ArrayLike) -> Rows:
        return self._encoding.rows(self._matrix(X))

    def _matrix(self, X: npt.ArrayLike) -> FloatArray:
        array = np.asarray(X, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self):
            raise SpaceError(f"codes of this space have the shape (n, {len(self)}), not {array.shape}")
        return array


def _checked(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    if not isinstance(parameters, Mapping):
        raise SpaceError(f"a space is a mapping from names to parameters, not {show(parameters)}", "parameters")
    if not parameters:
        raise SpaceError("the space is empty", "parameters")
    checked: dict[str, Parameter] = {}
    for name, each in parameters.items():
        if not isinstance(name, str) or not name:
            raise SpaceError(f"a name is a string that is not empty, not {show(name)}", "parameters")
        if not isinstance(each, Parameter):
            raise SpaceError(f"is {show(each)}, not a Float, Integer, Ordinal, Categorical or Constant", name)
    for name, each in parameters.items():
        when = each.when
        checked[name] = each if when is None else replace(each, when=check_clause(when, parameters, f"{name}.when"))
    return checked


def _joined(first: Canonical | None, second: Canonical | None) -> Canonical | None:
    if first is None or second is None:
        return first or second
    return partial(_both_texts, first, second)


def _both_texts(first: Canonical, second: Canonical, config: dict[str, Any]) -> str:
    return f"{first(config)} {second(config)}"


def _list(values: object, path: str) -> list[Any]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise SpaceError(f"give a list, not {show(values)}", path)
    return list(values)
