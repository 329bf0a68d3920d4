"""``dhflow plot``."""

from __future__ import annotations

from pathlib import Path

import click

from dhflow.cli.option import Verb

KINDS = ("objective", "timeline", "parameters", "parallel", "pareto", "surrogate")


@click.command(
    cls=Verb,
    examples=[
        "plot digits.h5",
        "plot digits.h5 --kind timeline -o timeline.png",
        "plot digits.h5 --kind parameters -o p.pdf",
        "plot digits.h5 --kind surrogate --parameters learning_rate,units",
    ],
)
@click.argument("history", type=click.Path(path_type=Path))
@click.option(
    "--kind", type=click.Choice(KINDS), help="What to draw.  [default: objective; pareto with several objectives]"
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="PNG, PDF or SVG file.  [default: HISTORY-KIND.png]"
)
@click.option("--parameters", help="For parameters: which ones; for surrogate: the one or two to look along.")
def command(history: Path, *, kind: str | None, output: str | None, parameters: str | None) -> None:
    """Draw HISTORY.

    objective: values over trials, the best so far and the default config's; pareto: several objectives against
    each other; timeline: when each worker ran what; parameters: the objective over each parameter; parallel:
    whole configs, coloured by objective; surrogate: what the model of an auto, gp or ambs search believed, from its
    first ask to its last. With several objectives, objective, parameters and parallel show the first one.
    """
    from dhflow import load
    from dhflow.plot import draw
    from dhflow.plot.figure import usual_kind

    result = load(history)
    shown = kind or usual_kind(result)
    where = output or f"{history.stem}-{shown}.png"
    chosen = None if parameters is None else [each.strip() for each in parameters.split(",")]
    click.echo(draw(result, shown, where, parameters=chosen))
