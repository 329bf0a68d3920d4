"""``dhflow advise``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dhflow.cli.option import Verb


@click.command(cls=Verb, examples=["advise digits.h5 --trial 17", "advise run.h5", "advise run.h5 --json"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--trial", "trial_id", type=click.IntRange(0), help="Which trial; not needed if there is only one.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(history: Path, *, trial_id: int | None, as_json: bool) -> None:
    """Say what is found about a trial of HISTORY, and what to do; `dhflow accept` does it.

    What was found earlier and holds no longer comes last. HISTORY may also be the file of a single run.
    """
    from dhflow.cli.watching import advice_lines
    from dhflow.commands import advise
    from dhflow.history import load_record
    from dhflow.monitor.finding import finding_to_json

    if trial_id is None:
        trials = load_record(history).trials
        if len(trials) != 1:
            raise click.UsageError(f"{history} has {len(trials)} trials: say which, --trial N")
        trial_id = next(iter(trials))
    advice = advise(history, trial_id)
    if as_json:
        data = {
            "trial": trial_id,
            "light": advice.light.value,
            "findings": [finding_to_json(each) for each in advice.findings],
            "earlier": [finding_to_json(each) for each in advice.earlier],
        }
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo("\n".join(advice_lines(advice, history)))
