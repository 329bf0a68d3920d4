"""Search spaces from and for the ConfigSpace package (the extra ``configspace``).

What carries over both ways: uniform and normal floats and integers, with or without ``log``, ordinals, categoricals,
constants, conditions by equality (one value or several, joined by *and*), forbidden values and their conjunctions.
From ConfigSpace come too: conditions that compare (``<``, ``>``, ``!=``) or are joined by *or*, so long as each
is about one countable parent, as lists of the values that meet them; and any other forbidden clause, comparisons,
disjunctions and relations between parameters among them: as lists of values where it can be written so, else as a
code constraint. Everything else raises :class:`SpaceError`. The order of the parameters follows the package that
wrote them.

ConfigSpace rounds bounds of floats to 13 decimals; a space that would notice is refused. On a logarithmic scale,
its normal prior of ``mu`` and ``sigma`` has the standard deviation ``abs(log(lower + sigma))`` in the logarithm
(``UnitScaler.vectorize_size`` of version 1.2), and that is what carries over.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from dhflow.errors import MissingExtraError, SpaceError
from dhflow.space.choice import Categorical, Constant, Ordinal
from dhflow.space.parameter import HYPERPARAMETER, Float, Integer, Normal, Parameter
from dhflow.space.rule import Constraint
from dhflow.space.space import SearchSpace
from dhflow.space.value import Clause, Scalar, plain

_GROUP = "dhflow_group"
_DECIMALS = 13
# Rounding that moves a bound by less than this share of it is no change.
_SAME = 1e-6
_MAX_LISTED = 4096


def to_configspace(space: SearchSpace) -> Any:
    """Return `space` as a ``ConfigSpace.ConfigurationSpace``.

    Raises
    ------
    SpaceError
        If ConfigSpace cannot express it: code constraints, starting points, bounds that it would round away.
    MissingExtraError
        If ConfigSpace is not installed.
    """
    package = _package()
    if space.constraints:
        raise SpaceError("ConfigSpace cannot hold code constraints", "constraints")
    if space.starting_points:
        raise SpaceError("ConfigSpace cannot hold starting points", "starting_points")
    made = {name: _guarded(name, _export, package, name, each) for name, each in space.parameters.items()}
    result = package.ConfigurationSpace()
    result.add(*made.values())
    for name, each in space.parameters.items():
        if each.when is not None:
            terms = [_condition(package, made[name], made[parent], values) for parent, values in each.when.items()]
            result.add(terms[0] if len(terms) == 1 else package.AndConjunction(*terms))
    for clause in space.forbidden:
        forbidden = [_forbidden(package, made[name], values) for name, values in clause.items()]
        result.add(forbidden[0] if len(forbidden) == 1 else package.ForbiddenAndConjunction(*forbidden))
    return result


def from_configspace(configuration_space: Any) -> SearchSpace:
    """Return a ``ConfigSpace.ConfigurationSpace`` as a search space.

    Raises
    ------
    SpaceError
        If something of it has no counterpart here: beta priors, weights of choices, conditions on real numbers or on
        whole numbers of more than 4,096 values that compare, conditions on several parents joined by *or*.
    MissingExtraError
        If ConfigSpace is not installed.
    """
    package = _package()
    when = {}
    for condition in configuration_space.conditions:
        name = _atoms(condition)[0].child.name
        when[name] = _read_condition(package, condition, f"{name}.when")
    parameters = {
        name: _guarded(name, _import, package, name, each, when.get(name)) for name, each in configuration_space.items()
    }
    forbidden: list[Clause] = []
    constraints: list[Constraint] = []
    for term in configuration_space.forbidden_clauses:
        for each in _flat(package.ForbiddenOrConjunction, term):
            clause = _read_forbidden(package, each)
            if clause is None:
                constraints.append(Constraint(str(each), Refusal(each)))
            elif all(clause.values()):
                forbidden.append(clause)
    return SearchSpace(parameters, forbidden=forbidden, constraints=constraints)


class Refusal:
    """A ConfigSpace's forbidden clause as a constraint: True where it does not forbid.

    Parameters
    ----------
    term : ConfigSpace.types.ForbiddenLike
    """

    def __init__(self, term: Any) -> None:
        self.term = term

    def __call__(self, config: dict[str, Any]) -> bool:
        """Tell whether `config` is allowed."""
        return not self.term.is_forbidden_value(config)


def _package() -> Any:
    try:
        return importlib.import_module("ConfigSpace")
    except ImportError as error:
        raise MissingExtraError("reading and writing ConfigSpace's spaces", "configspace") from error


def _guarded(name: str, make: Any, *arguments: Any) -> Any:
    try:
        return make(*arguments)
    except SpaceError as error:
        raise SpaceError(error.message, name if error.path is None else f"{name}.{error.path}") from None
    except (ValueError, TypeError) as error:
        raise SpaceError(f"ConfigSpace refuses it: {error}", name) from error


# Export


def _export(package: Any, name: str, parameter: Parameter) -> Any:
    options: dict[str, Any] = {}
    if parameter.group != HYPERPARAMETER:
        options["meta"] = {_GROUP: parameter.group}
    if isinstance(parameter, Constant):
        return package.Constant(name, parameter.value, **options)
    options["default_value"] = parameter.default
    if isinstance(parameter, Categorical):
        return package.CategoricalHyperparameter(name, parameter.choices, **options)
    if isinstance(parameter, Ordinal):
        return package.OrdinalHyperparameter(name, parameter.values, **options)
    if not isinstance(parameter, Float | Integer):
        raise SpaceError(f"ConfigSpace has no {type(parameter).__name__}")
    kind = "Float" if isinstance(parameter, Float) else "Integer"
    if isinstance(parameter, Float):
        _check_rounding(parameter)
    bounds = {"lower": parameter.low, "upper": parameter.high, "log": parameter.log}
    if parameter.prior is None:
        return getattr(package, f"Uniform{kind}Hyperparameter")(name, **bounds, **options)
    mu, sigma = parameter.prior.mean, parameter.prior.std
    if parameter.log:
        mu, sigma = math.exp(mu), math.exp(sigma) - parameter.low
        if sigma <= 0:
            raise SpaceError("ConfigSpace cannot express so narrow a prior on a logarithmic scale", "prior")
    return getattr(package, f"Normal{kind}Hyperparameter")(name, mu=mu, sigma=sigma, **bounds, **options)


def _check_rounding(parameter: Float) -> None:
    for path in ("low", "high"):
        bound = getattr(parameter, path)
        if abs(round(bound, _DECIMALS) - bound) > _SAME * abs(bound):
            raise SpaceError(f"ConfigSpace would round {bound} to {_DECIMALS} decimals", path)


def _condition(package: Any, child: Any, parent: Any, values: tuple[Scalar, ...]) -> Any:
    if len(values) == 1:
        return package.EqualsCondition(child, parent, values[0])
    return package.InCondition(child, parent, list(values))


def _forbidden(package: Any, parameter: Any, values: tuple[Scalar, ...]) -> Any:
    if len(values) == 1:
        return package.ForbiddenEqualsClause(parameter, values[0])
    return package.ForbiddenInClause(parameter, list(values))


# Import


def _import(package: Any, name: str, given: Any, when: Clause | None) -> Parameter:
    meta = given.meta if isinstance(given.meta, Mapping) else {}
    options: dict[str, Any] = {"when": when, "group": meta.get(_GROUP, HYPERPARAMETER)}
    if isinstance(given, package.Constant):
        return Constant(given.value, **options)
    options["default"] = plain(given.default_value)
    if isinstance(given, package.CategoricalHyperparameter):
        if given.weights is not None and len(set(given.weights)) > 1:
            raise SpaceError("choices with different weights have no counterpart here", "choices")
        return Categorical(given.choices, **options)
    if isinstance(given, package.OrdinalHyperparameter):
        return Ordinal(given.sequence, **options)
    prior = None
    if isinstance(given, package.NormalFloatHyperparameter | package.NormalIntegerHyperparameter):
        prior = _prior(given)
    elif not isinstance(given, package.UniformFloatHyperparameter | package.UniformIntegerHyperparameter):
        raise SpaceError(f"a {type(given).__name__} has no counterpart here")
    is_float = isinstance(given, package.UniformFloatHyperparameter | package.NormalFloatHyperparameter)
    return (Float if is_float else Integer)(given.lower, given.upper, log=given.log, prior=prior, **options)


def _prior(given: Any) -> Normal:
    if given.log:
        return Normal(math.log(given.mu), abs(math.log(given.lower + given.sigma)))
    return Normal(given.mu, given.sigma)


def _read_condition(package: Any, condition: Any, path: str) -> Clause:
    terms = _by_parameter(package.AndConjunction, condition)
    if terms is None:
        raise SpaceError(f"conditions on several parents joined by 'or' have no counterpart here: {condition}", path)
    clause: Clause = {}
    for parent, parts in terms:
        values = _meeting(package, parent, parts, "satisfied_by_value")
        if values is None:
            raise SpaceError(f"a condition that compares {parent.name!r} has no counterpart here: {condition}", path)
        if not values:
            raise SpaceError(f"no value of {parent.name!r} meets it: {condition}", path)
        clause = {**clause, parent.name: values}
    return clause


def _read_forbidden(package: Any, term: Any) -> Clause | None:
    """Return a forbidden term as lists of values, None if it cannot be written so."""
    terms = _by_parameter(package.ForbiddenAndConjunction, term)
    if terms is None:
        return None
    found = {about.name: _meeting(package, about, parts, "is_forbidden_value") for about, parts in terms}
    return None if None in found.values() else {name: values for name, values in found.items() if values is not None}


def _by_parameter(conjunction: Any, term: Any) -> list[tuple[Any, list[Any]]] | None:
    """Return the parts that *and* joins, by the parameter that each is about; None if one is about several."""
    parts: dict[str, tuple[Any, list[Any]]] = {}
    for part in _flat(conjunction, term):
        atoms = _atoms(part)
        if any(hasattr(each, "left") for each in atoms):
            return None
        about = [each.parent if hasattr(each, "parent") else each.hyperparameter for each in atoms]
        if len({each.name for each in about}) > 1:
            return None
        parts.setdefault(about[0].name, (about[0], []))[1].append(part)
    return list(parts.values())


def _meeting(package: Any, about: Any, parts: list[Any], test: str) -> tuple[Scalar, ...] | None:
    """Return the values that meet all `parts`; None if `about` has none that can be listed."""
    values = _values(package, about, parts[0])
    if values is None:
        return None
    return tuple(plain(each) for each in values if all(getattr(part, test)({about.name: each}) for part in parts))


def _values(package: Any, about: Any, part: Any) -> Iterable[Any] | None:
    """Return the values of a parameter, or those that `part` names where there are too many."""
    if isinstance(about, package.CategoricalHyperparameter | package.OrdinalHyperparameter | package.Constant):
        listed: Iterable[Any] = getattr(about, "choices", None) or getattr(about, "sequence", None) or [about.value]
        return listed
    if not isinstance(about, package.UniformIntegerHyperparameter | package.NormalIntegerHyperparameter):
        return None
    if about.upper - about.lower < _MAX_LISTED:
        return range(about.lower, about.upper + 1)
    if isinstance(part, package.EqualsCondition | package.ForbiddenEqualsClause):
        return [part.value]
    if isinstance(part, package.InCondition | package.ForbiddenInClause):
        values: Iterable[Any] = part.values
        return values
    return None


def _atoms(term: Any) -> list[Any]:
    return [atom for each in term.components for atom in _atoms(each)] if hasattr(term, "components") else [term]


def _flat(conjunction: Any, term: Any) -> Iterable[Any]:
    if isinstance(term, conjunction):
        for each in term.components:
            yield from _flat(conjunction, each)
    else:
        yield term
