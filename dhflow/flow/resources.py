"""How wide a trial is: the resource specification that Parsl's MPIExecutor takes with each task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from dhflow.errors import SearchError
from dhflow.flow.pool import Pool
from dhflow.trial import Config

Resources = Mapping[str, Any] | Callable[[Config], Mapping[str, Any]]


def check_resources(resources: Resources | None, names: Collection[str], pool: Pool) -> None:
    """Check that a pool takes a specification, if there is one, and has one, if it needs it.

    Parameters
    ----------
    resources : mapping or callable, optional
        A word among its values stands for the parameter of that name.
    names : collection of str
        The space's parameters.
    pool : Pool

    Raises
    ------
    SearchError
        If it does not, or if a word is no parameter.
    """
    if resources is None:
        if pool.needs_resources:
            raise SearchError(
                f"{pool.description} runs MPI programs and must know how wide a trial is: "
                'pass resources={"num_nodes": 2, "ranks_per_node": 4}; the name of a parameter stands for its value'
            )
        return
    if pool.kernel is None or pool.is_in_process:
        raise SearchError(f"{pool.description} knows no resources; Parsl's MPIExecutor and HighThroughputExecutor do")
    for name, value in resources.items() if isinstance(resources, Mapping) else ():
        if isinstance(value, str) and name != "launcher_options" and value not in names:
            raise SearchError(f"resources: {name} is to be {value!r}, which is no parameter of the space")


def resources_of(resources: Resources, config: Config) -> dict[str, Any]:
    """Return the specification for one trial.

    Raises
    ------
    SearchError
        If it names a parameter that is not active in this config.
    """
    if not isinstance(resources, Mapping):
        return dict(resources(config))
    return {name: _value(name, value, config) for name, value in resources.items()}


def _value(name: str, value: Any, config: Config) -> Any:
    if not isinstance(value, str) or name == "launcher_options":
        return value
    if value not in config:
        raise SearchError(f"resources: {name} is to be {value!r}, which is not active in {dict(config)}")
    return config[value]
