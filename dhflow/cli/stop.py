"""``dhflow stop``."""

from __future__ import annotations

from pathlib import Path

import click

from dhflow.cli.option import Verb


@click.command(cls=Verb, examples=["stop digits.h5 17"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("trial", type=click.IntRange(0), metavar="TRIAL")
def command(history: Path, trial: int) -> None:
    """Ask one running trial of HISTORY to end and to give its value so far; the search goes on."""
    from dhflow.commands import stop

    stop(history, trial)
    click.echo(f"trial {trial} is asked to stop")
