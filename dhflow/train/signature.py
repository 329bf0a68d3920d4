"""How an objective wants to be called, read once from its signature."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dhflow.errors import ExecutionError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class CallForm(enum.Enum):
    """What a function is given besides its extra keyword arguments."""

    NOTHING = "per_worker()"
    CONFIG = "objective(config)"
    CONFIG_TRIAL = "objective(config, trial)"
    CONFIG_TRIAL_KEYWORD = "objective(config, trial=trial)"


def call_form(function: Callable[..., Any], arguments: Mapping[str, Any]) -> CallForm:
    """Find out how to call an objective.

    A second positional parameter gets the trial unless it has a default and another name than ``trial``,
    or is one of `arguments`; so does a keyword-only ``trial``.

    Parameters
    ----------
    function : callable
    arguments : mapping
        Extra keyword arguments given to every call.

    Raises
    ------
    ExecutionError
        If it cannot be called in any form with these arguments.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have none
        return CallForm.CONFIG
    name = name_of(function)
    _check_arguments(name, parameters, arguments)
    free = [each for each in parameters.values() if each.kind in _POSITIONAL and each.name not in arguments]
    takes_any = any(each.kind is each.VAR_POSITIONAL for each in parameters.values())
    if not free and not takes_any:
        raise ExecutionError(f"{name} takes no config: write it as objective(config) or objective(config, trial)")
    is_second_trial = len(free) > 1 and (free[1].default is free[1].empty or free[1].name == "trial")
    missing = [each.name for each in free[2 if is_second_trial else 1 :] if each.default is each.empty]
    missing += [
        each.name
        for each in parameters.values()
        if each.kind is each.KEYWORD_ONLY
        and each.default is each.empty
        and each.name not in arguments
        and each.name != "trial"
    ]
    if missing:
        raise ExecutionError(
            f"{name} is called as objective(config, trial), and nothing gives its parameter {missing[0]!r} a value: "
            f"pass it as an extra argument of the search"
        )
    if is_second_trial:
        return CallForm.CONFIG_TRIAL
    trial = parameters.get("trial")
    if trial is not None and trial.kind is trial.KEYWORD_ONLY and "trial" not in arguments:
        return CallForm.CONFIG_TRIAL_KEYWORD
    return CallForm.CONFIG


def check_needs_nothing(function: Callable[..., Any]) -> None:
    """Check that `function` can be called without arguments.

    Raises
    ------
    ExecutionError
        Naming the parameter that has no default.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    for each in parameters:
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise ExecutionError(f"{name_of(function)} is called without arguments, but needs {each.name!r}")


def name_of(function: object) -> str:
    """Return a name for messages: a function's qualified name, also under partials and in callable objects."""
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _check_arguments(name: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> None:
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for argument in arguments:
        known = parameters.get(argument)
        if (known is None or known.kind is known.POSITIONAL_ONLY) and not takes_any:
            raise ExecutionError(f"{name} has no parameter {argument!r} (it takes: {', '.join(parameters)})")
