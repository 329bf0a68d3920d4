"""``dhflow accept``."""

from __future__ import annotations

from pathlib import Path

import click

from dhflow.cli.option import Verb

_EXAMPLES = [
    "accept digits.h5 17/clip_gradients",
    "accept digits.h5 17/stop",
    "accept digits.h5 17/lower_learning_rate --running",
]


@click.command(cls=Verb, examples=_EXAMPLES)
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("suggestion", metavar="TRIAL/NAME")
@click.option("--running", is_flag=True, help="Give the trial itself the suggested learning rate, and make no new one.")
@click.option("--problem", help="The problem's file, for a space with code constraints that cannot be found by itself.")
def command(history: Path, suggestion: str, *, running: bool, problem: str | None) -> None:
    """Do what `dhflow advise` suggests for a trial of HISTORY: enqueue the changed config, or stop the trial.

    While a search runs on HISTORY the new trial starts before the searcher's; else `dhflow resume` runs it first. With
    --running the trial goes on with another learning rate from its next epoch on: it must listen to its channel.
    """
    from dhflow import load
    from dhflow.cli.enqueue import history_space
    from dhflow.cli.run import resume_command
    from dhflow.commands import accept
    from dhflow.flow.advice import has_space
    from dhflow.flow.run_directory import owner_of
    from dhflow.flow.text import format_config

    if running:
        _apply(history, suggestion)
        return
    is_running, result = owner_of(history) is not None, load(history)
    space = None
    if not is_running and has_space(result.record):
        space = history_space(result, history, problem)
    trial_id = accept(history, suggestion, space=space)
    if trial_id is None:
        click.echo(f"trial {suggestion.partition('/')[0]} is asked to stop")
        return
    config = format_config(load(history).record.trials[trial_id].config)
    click.echo(f"trial {trial_id} {'is enqueued' if is_running else 'will run first'}: {config}")
    if not is_running:
        click.echo(f"go on with: {resume_command(history)}")


def _apply(history: Path, suggestion: str) -> None:
    from dhflow.commands import accept
    from dhflow.flow.advice import parse_suggestion
    from dhflow.flow.text import format_value
    from dhflow.history import read_commands

    accept(history, suggestion, running=True)
    number, _ = parse_suggestion(suggestion)
    done = next(each for each in reversed(read_commands(history)) if each.trial_id == number)
    if done.command == "stop":
        click.echo(f"trial {number} is asked to stop")
        return
    now, was = (format_value(done.arguments[name]) for name in ("value", "was"))
    click.echo(
        f"trial {number} is asked to go on with a learning rate of {now} instead of {was}, from its next epoch on"
    )
