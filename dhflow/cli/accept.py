"""``dhflow accept``."""

from __future__ import annotations

from pathlib import Path

import click

from dhflow.cli.option import Verb


@click.command(cls=Verb, examples=["accept digits.h5 17/clip_gradients", "accept digits.h5 17/stop"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("suggestion", metavar="TRIAL/NAME")
@click.option("--problem", help="The problem's file, for a space with code constraints that cannot be found by itself.")
def command(history: Path, suggestion: str, *, problem: str | None) -> None:
    """Do what `dhflow advise` suggests for a trial of HISTORY: enqueue the changed config, or stop the trial.

    While a search runs on HISTORY the new trial starts before the searcher's; else `dhflow resume` runs it first.
    """
    from dhflow import load
    from dhflow.cli.enqueue import history_space
    from dhflow.cli.run import resume_command
    from dhflow.commands import accept
    from dhflow.flow.advice import has_space
    from dhflow.flow.run_directory import owner_of
    from dhflow.flow.text import format_config

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
