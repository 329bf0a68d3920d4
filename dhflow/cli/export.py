"""``dhflow export``."""

from __future__ import annotations

from pathlib import Path

import click

from dhflow.cli.option import Verb


@click.command(cls=Verb, examples=["export digits.h5 digits.csv", "export digits.h5 digits.parquet"])
@click.argument("history", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(history: Path, file: Path) -> None:
    """Write the trials of HISTORY, one row each, to FILE: .csv, .json or .parquet.

    A search may be running on it.
    """
    from dhflow.history import export_history

    n_trials = export_history(history, file)
    click.echo(f"{n_trials} trials in {file}")
