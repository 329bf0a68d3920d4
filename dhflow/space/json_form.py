"""The JSON form of a search space, version 1.

::

    {"version": 1,
     "parameters": [{"name": …, "type": "float", "low": …, "high": …, "log": …, "prior": {"mean": …, "std": …},
                     "default": …, "when": {name: [value, …]}, "group": …}, …],
     "forbidden": [{name: [value, …]}, …],
     "constraints": [name, …],
     "starting_points": [{name: value}, …]}

A list of parameters, since their order is the order of the columns. ``prior`` and ``when`` are absent when there is
none, and so is an empty list of the last three; other keys and other versions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dhflow.errors import SpaceError
from dhflow.space.choice import Categorical, Constant, Ordinal
from dhflow.space.parameter import Float, Integer, Normal, Parameter
from dhflow.space.rule import Constraint
from dhflow.space.value import as_lists, show

if TYPE_CHECKING:
    from dhflow.space.space import SearchSpace

VERSION = 1

_TYPES: dict[str, type[Parameter]] = {
    "float": Float,
    "integer": Integer,
    "ordinal": Ordinal,
    "categorical": Categorical,
    "constant": Constant,
}
_NAMES = {each: name for name, each in _TYPES.items()}
_OPTIONAL = ("forbidden", "constraints", "starting_points")


def to_json(space: SearchSpace) -> dict[str, Any]:
    """Return `space` as JSON values."""
    data: dict[str, Any] = {
        "version": VERSION,
        "parameters": [_write(name, each) for name, each in space.parameters.items()],
        "forbidden": [as_lists(each) for each in space.forbidden],
        "constraints": [each.name for each in space.constraints],
        "starting_points": space.starting_points,
    }
    return {name: value for name, value in data.items() if value or name not in _OPTIONAL}


def from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the :class:`~dhflow.space.SearchSpace` that `data` describes.

    Raises
    ------
    SpaceError
        If `data` has a newer version or an unknown key, or is no space.
    """
    if not isinstance(data, Mapping) or "version" not in data:
        raise SpaceError(f"this is no search space: {show(data)}", "version")
    version = data["version"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise SpaceError(f"{show(version)} is no version", "version")
    if version > VERSION:
        raise SpaceError(f"written by a newer dhflow (version {version}, this one reads up to {VERSION})", "version")
    _check_keys(data, {"version", "parameters", *_OPTIONAL}, {"parameters"}, None)
    return {
        "parameters": _read_parameters(data["parameters"]),
        "forbidden": _list(data.get("forbidden", []), "forbidden"),
        "constraints": [
            Constraint(_text(each, f"constraints[{i}]"))
            for i, each in enumerate(_list(data.get("constraints", []), "constraints"))
        ],
        "starting_points": _list(data.get("starting_points", []), "starting_points"),
    }


def _write(name: str, parameter: Parameter) -> dict[str, Any]:
    data: dict[str, Any] = {"name": name, "type": _NAMES[type(parameter)]}
    own = [each for each in fields(parameter) if each.name not in {"default", "when", "group"}]
    for each in own:
        value = getattr(parameter, each.name)
        if isinstance(value, Normal):
            data[each.name] = {"mean": value.mean, "std": value.std}
        elif isinstance(value, tuple):
            data[each.name] = list(value)
        elif each.name != "prior":
            data[each.name] = value
    data["default"] = parameter.default
    if parameter.when is not None:
        data["when"] = as_lists(parameter.when)
    data["group"] = parameter.group
    return data


def _read_parameters(data: object) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for i, each in enumerate(_list(data, "parameters")):
        path = f"parameters[{i}]"
        if not isinstance(each, Mapping) or "name" not in each:
            raise SpaceError(f"{show(each)} is no parameter", path)
        name = _text(each["name"], f"{path}.name")
        if name in parameters:
            raise SpaceError("is there twice", name)
        parameters[name] = _read_parameter(each, name)
    return parameters


def _read_parameter(data: Mapping[str, Any], name: str) -> Parameter:
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise SpaceError(f"{show(kind)} is not one of {list(_TYPES)}", f"{name}.type")
    make = _TYPES[kind]
    known = {each.name for each in fields(make)}
    needed = {each.name for each in fields(make) if not each.kw_only}
    _check_keys(data, known | {"name", "type"}, needed, name)
    options = {each: value for each, value in data.items() if each not in {"name", "type"}}
    if "prior" in options:
        prior = options["prior"]
        if not isinstance(prior, Mapping):
            raise SpaceError(f"{show(prior)} is no prior", f"{name}.prior")
        _check_keys(prior, {"mean", "std"}, {"mean", "std"}, f"{name}.prior")
    try:
        if "prior" in options:
            options["prior"] = Normal(**options["prior"])
        return make(**options)
    except SpaceError as error:
        raise SpaceError(error.message, name if error.path is None else f"{name}.{error.path}") from None


def _check_keys(data: Mapping[str, Any], known: set[str], needed: set[str], path: str | None) -> None:
    for each in data:
        if each not in known:
            raise SpaceError(f"unknown key {each!r}", path)
    for each in sorted(needed):
        if each not in data:
            raise SpaceError(f"{each!r} is missing", path)


def _list(data: object, path: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise SpaceError(f"{show(data)} is no list", path)
    return list(data)


def _text(data: object, path: str) -> str:
    if not isinstance(data, str):
        raise SpaceError(f"{show(data)} is no string", path)
    return data
