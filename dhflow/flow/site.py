"""Sites: named functions that make a Parsl configuration, checked before anything starts.

A site file is plain Parsl: a Python file with ``make_config(*, …) -> parsl.Config``. Those of
``site_configs/`` are found by name, any other by its path.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dhflow.errors import SiteError

if TYPE_CHECKING:
    from parsl import Config

_PACKAGE = Path(__file__).resolve().parent.parent
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class SiteArgument:
    """One argument of a site's ``make_config``."""

    name: str
    annotation: str
    is_required: bool
    default: Any


def site_folder() -> Path:
    """Return the folder of the shipped site files: in the wheel inside the package, in a checkout beside it."""
    inside = _PACKAGE / "site_configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "site_configs"


def site_names() -> list[str]:
    """Return the names of the shipped sites, sorted."""
    return sorted(each.stem for each in site_folder().glob("*.py") if not each.stem.startswith("_"))


def load_site(name_or_path: str | Path, **arguments: Any) -> Config:
    """Make the Parsl configuration of a site.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped site's name, or a Python file with ``make_config``.
    **arguments
        For ``make_config``; strings (as a command line gives them) become what its annotations say.

    Returns
    -------
    parsl.Config

    Raises
    ------
    SiteError
        If the site is unknown, an argument is missing, unknown or of the wrong type, or the site refuses them;
        before anything starts.
    """
    make_config = _make_config_of(_find(name_or_path))
    checked = check_arguments(str(name_or_path), make_config, arguments)
    try:
        return make_config(**checked)
    except Exception as error:
        raise SiteError(f"site {str(name_or_path)!r}: {error}", _argument_in(str(error), checked)) from error


def site_arguments(name_or_path: str | Path) -> list[SiteArgument]:
    """Return the arguments that a site takes, in its own order."""
    make_config = _make_config_of(_find(name_or_path))
    return [
        SiteArgument(
            each.name,
            each.annotation if isinstance(each.annotation, str) else getattr(each.annotation, "__name__", "any"),
            each.default is each.empty,
            None if each.default is each.empty else each.default,
        )
        for each in inspect.signature(make_config).parameters.values()
    ]


def site_summary(name_or_path: str | Path) -> str:
    """Return the first line of a site file's docstring."""
    return (_load_file(_find(name_or_path)).__doc__ or "").strip().partition("\n")[0]


def check_site_arguments(name_or_path: str | Path, arguments: Mapping[str, Any]) -> None:
    """Check the names and types of a site's arguments; what they mean where the site is, it says itself there.

    Raises
    ------
    SiteError
        As :func:`load_site`.
    """
    check_arguments(str(name_or_path), _make_config_of(_find(name_or_path)), arguments)


def check_arguments(site: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return `arguments` as `function` wants them.

    Raises
    ------
    SiteError
        Naming the argument at fault and what is allowed.
    """
    parameters = inspect.signature(function).parameters
    for name in arguments:
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes: {', '.join(parameters)}"
            raise SiteError(f"site {site!r} has no argument {name!r}; {hint}", name)
    missing = [each.name for each in parameters.values() if each.default is each.empty and each.name not in arguments]
    if missing:
        raise SiteError(f"site {site!r} needs {', '.join(repr(each) for each in missing)}", missing[0])
    hints = typing.get_type_hints(function)
    return {name: _convert(site, name, value, hints.get(name, object)) for name, value in arguments.items()}


def _argument_in(message: str, names: Iterable[str]) -> str | None:
    """Return the argument that a site's own message begins with, if it does."""
    first = message.partition(" ")[0]
    return first if first in names else None


def _convert(site: str, name: str, value: Any, wanted: Any) -> Any:
    for kind in _alternatives(wanted):
        converted, fits = _as_kind(value, kind)
        if fits:
            return converted
    words = " or ".join(_describe(each) for each in _alternatives(wanted))
    raise SiteError(f"site {site!r}: {name} must be {words}, not {value!r}", name)


def _alternatives(wanted: Any) -> tuple[Any, ...]:
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return typing.get_args(wanted)
    return (wanted,)


def _as_kind(value: Any, kind: Any) -> tuple[Any, bool]:
    """Return `value` as `kind` and whether it is one."""
    if typing.get_origin(kind) is Literal:
        return value, value in typing.get_args(kind)
    if kind in (object, Any) or not isinstance(kind, type):
        return value, True
    if isinstance(value, str) and kind in (bool, int, float):
        return _parse(value, kind)
    if kind is float and type(value) is int:
        return float(value), True
    return value, isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _parse(text: str, kind: type) -> tuple[Any, bool]:
    if kind is bool:
        return text.lower() in _TRUE, text.lower() in _TRUE + _FALSE
    try:
        return kind(text), True
    except ValueError:
        return text, False


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " or ".join(repr(each) for each in typing.get_args(kind))
    return "None" if kind is types.NoneType else str(getattr(kind, "__name__", kind))


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".py":
        if not path.is_file():
            raise SiteError(f"there is no site file {path}")
        return path
    shipped = site_folder() / f"{name_or_path}.py"
    if not shipped.is_file():
        names = site_names()
        close = difflib.get_close_matches(str(name_or_path), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}, or a path to a .py file"
        raise SiteError(f"there is no site {str(name_or_path)!r}; {hint}")
    return shipped


def _load_file(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"dhflow_site_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SiteError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SiteError(f"the site file {path} fails when it is loaded: {error!r}") from error
    return module


def _make_config_of(path: Path) -> Callable[..., Config]:
    make_config = getattr(_load_file(path), "make_config", None)
    if not callable(make_config):
        raise SiteError(f"{path} has no function make_config(*, …) -> parsl.Config")
    return typing.cast("Callable[..., Config]", make_config)
