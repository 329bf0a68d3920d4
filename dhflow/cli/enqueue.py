"""``dhflow enqueue``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli.option import Setting, Verb, parse_scalar
from dhflow.errors import SpaceError

if TYPE_CHECKING:
    from dhflow.result import Result
    from dhflow.space import SearchSpace


@click.command(
    cls=Verb,
    examples=[
        "enqueue digits.h5 learning_rate=0.01 batch_size=64 optimizer=adam",
        "enqueue digits.h5 --like best learning_rate=0.02",
    ],
)
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("settings", nargs=-1, type=Setting(), metavar="NAME=VALUE...")
@click.option("--like", metavar="TRIAL", help="Take what is not given from this trial: a number, `best` or `default`.")
@click.option("--problem", help="The problem's file, for a space with code constraints that cannot be found by itself.")
def command(history: Path, settings: Sequence[tuple[str, str]], *, like: str | None, problem: str | None) -> None:
    """Add a config of your own to HISTORY: a running search takes it next, else `dhflow resume` runs it first.

    Every parameter that the config needs must be given, unless --like fills in the others.
    """
    from dhflow import load
    from dhflow.cli.run import resume_command
    from dhflow.commands import add
    from dhflow.flow.run_directory import owner_of
    from dhflow.flow.text import format_config

    result = load(history)
    space = history_space(result, history, problem)
    config = read_config(space, settings, _base(result, space, like))
    is_running = owner_of(history) is not None
    trial_id = add(history, config, space=space)
    click.echo(f"trial {trial_id} {'is enqueued' if is_running else 'will run first'}: {format_config(config)}")
    if not is_running:
        click.echo(f"go on with: {resume_command(history)}")


def read_config(
    space: SearchSpace, settings: Sequence[tuple[str, str]], base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the config that ``name=value`` texts make, completed by `base` where that is active.

    Raises
    ------
    SpaceError
        If a name is unknown, or a value lies outside.
    """
    given = {name: read_value(space, name, text) for name, text in settings}
    return space.validate(given if base is None else _completed(space, given, base))


def read_value(space: SearchSpace, name: str, text: str) -> Any:
    """Return the value that a text stands for: of a listed parameter the listed one, else a number or a JSON scalar."""
    if name not in space.parameters:
        import difflib

        close = difflib.get_close_matches(name, space.names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(space.names)}"
        raise SpaceError(f"there is no parameter {name!r}; {hint}")
    for each in getattr(space.parameters[name], "listed", ()):
        if str(each) == text:
            return each
    return parse_scalar(text)


def _completed(space: SearchSpace, given: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with what else is active beside it, from `base` or the defaults."""
    from dhflow.space.value import is_met

    found: dict[str, Any] = {}
    for _ in space.names:  # a parent may stand behind its child: as many rounds as conditions can be nested
        for name, parameter in space.parameters.items():
            if name not in found and is_met(parameter.when, found):
                found[name] = given.get(name, base.get(name, parameter.default))
    return {**found, **given}


def history_space(result: Result, history: Path, problem: str | None) -> SearchSpace:
    """Return the space: the history's own, or with code constraints the problem's, which can call them."""
    from dhflow.cli.problem import Reference, load_problem
    from dhflow.cli.resume import find_problem, last_plan

    if problem is None and not result.space.constraints:
        return result.space
    reference = Reference.parse(problem) if problem else find_problem(last_plan(result.record), history)
    return load_problem(reference)[0].space


def _base(result: Result, space: SearchSpace, like: str | None) -> Mapping[str, Any] | None:
    from dhflow.cli.describe import find_trial

    if like is None:
        return None
    if like == "best" and len(result.objectives) > 1:
        raise click.UsageError("--like best: by several objectives no trial is the best; give a trial's number")
    if like == "best":
        return result.best.config
    if like == "default":
        return result.default.config if result.default else space.default_config()
    if not like.isdecimal():
        raise click.UsageError(f"--like {like}: give a trial's number, best or default")
    return find_trial(result, int(like)).config
