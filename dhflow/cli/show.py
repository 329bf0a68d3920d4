"""``dhflow show``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dhflow.cli.option import Verb


@click.command(
    cls=Verb,
    examples=["show digits.h5", "show digits.h5 --failed", "show digits.h5 --trial 17", "show digits.h5 --json"],
)
@click.argument("history", type=click.Path(path_type=Path))
@click.option(
    "--top",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the best.",
)
@click.option("--failed", is_flag=True, help="The failures, with their tracebacks.")
@click.option("--trial", "trial_id", type=click.IntRange(0), help="All about one trial.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(history: Path, *, top: int, failed: bool, trial_id: int | None, as_json: bool) -> None:
    """Show HISTORY: what was searched, the best trials, failures, how busy the workers were.

    With several objectives, the Pareto set in place of the best trials. A search may be running on it.
    """
    from dhflow import load
    from dhflow.cli import describe, present

    result = load(history)
    if trial_id is not None:
        trial = describe.find_trial(result, trial_id)
        if as_json:
            click.echo(json.dumps(describe.trial_json(trial, result, with_files=True), indent=2))
        else:
            present.one_trial(result, trial)
    elif as_json:
        click.echo(json.dumps(describe.study_json(result, top=top), indent=2))
    elif failed:
        present.failures(result)
    else:
        present.study(result, top=top)
