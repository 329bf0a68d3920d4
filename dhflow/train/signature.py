"""How an objective wants to be called, read once from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, NamedTuple

from dhflow.errors import ExecutionError


class CallForm(NamedTuple):
    """What an objective is given besides its extra keyword arguments.

    Parameters
    ----------
    takes_trial : bool
        Whether it is ``objective(config, trial)`` and not ``objective(config)``.
    config_name, trial_name : str, optional
        Given by this keyword; by position without it.
    """

    takes_trial: bool = False
    config_name: str | None = None
    trial_name: str | None = None

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any], config: Any, trial: Any) -> Any:
        """Call an objective."""
        values = [config] if self.config_name is None else []
        named = dict(arguments) if self.config_name is None else {**arguments, self.config_name: config}
        if self.takes_trial and self.trial_name is None:
            values.append(trial)
        elif self.trial_name is not None:
            named[self.trial_name] = trial
        return function(*values, **named)


def call_form(function: Callable[..., Any], arguments: Mapping[str, Any]) -> CallForm:
    """Find out how to call an objective.

    The first positional parameter that is not one of `arguments` gets the config. The second gets the
    trial, unless it has a default and another name than ``trial``; so does a keyword-only ``trial``.

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
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        return CallForm()
    name = name_of(function)
    _check_arguments(name, parameters, arguments)
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    free = [each for each in positional if each.name not in arguments]
    if not free and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        raise ExecutionError(f"{name} takes no config: write it as objective(config) or objective(config, trial)")
    form = _form(parameters, positional, free, arguments)
    given = {*arguments, *(each.name for each in free[: 2 if form.takes_trial else 1]), form.trial_name}
    for each in parameters:
        if _is_required(each) and each.name not in given:
            raise ExecutionError(
                f"{name} is called as objective(config, trial), and nothing gives its parameter {each.name!r} "
                f"a value: pass it as an extra argument of the search"
            )
    return form


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
        if _is_required(each):
            raise ExecutionError(f"{name_of(function)} is called without arguments, but needs {each.name!r}")


def name_of(function: object) -> str:
    """Return a name for messages: a function's qualified name, also under partials and in callable objects."""
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _form(
    parameters: list[Parameter], positional: list[Parameter], free: list[Parameter], arguments: Mapping[str, Any]
) -> CallForm:
    # By position where possible: a wrapped function may have other names than its signature says.
    config_name = free[0].name if free and free[0] is not positional[0] else None
    if len(free) > 1 and (_is_required(free[1]) or free[1].name == "trial"):
        return CallForm(
            takes_trial=True,
            config_name=config_name,
            trial_name=None if free[:2] == positional[:2] else free[1].name,
        )
    by_keyword = any(each.name == "trial" and each.kind is each.KEYWORD_ONLY for each in parameters)
    takes_trial = by_keyword and "trial" not in arguments
    return CallForm(takes_trial, config_name, "trial" if takes_trial else None)


def _is_required(parameter: Parameter) -> bool:
    is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_open


def _check_arguments(name: str, parameters: list[Parameter], arguments: Mapping[str, Any]) -> None:
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    known = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    for argument in arguments:
        if argument not in known and not takes_any:
            raise ExecutionError(f"{name} has no parameter {argument!r} (it takes: {', '.join(known)})")
