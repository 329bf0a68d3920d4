"""``dhflow search``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dhflow.cli.option import DEFAULT_SEARCHER, Setting, Verb, limit_options, run_options, run_settings, scalars


@click.command(
    cls=Verb,
    examples=[
        "search digits.py --max-trials 30",
        "search digits.py --site-set workers=2 --wall-time 10m --plot digits.png",
        'search digits.py --max-trials 100 --constraint "memory_gb <= 16" --constraint "latency_ms < 5"',
        "search digits.py:other --searcher random --history other.h5 --resume --max-trials 100",
    ],
)
@click.argument("problem")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HDF5 file that keeps every trial.  [default: PROBLEM's name with .h5, in this folder]",
)
@click.option("--resume", is_flag=True, help="Go on from the history if it is there, start it if it is not.")
@click.option("--searcher", default=DEFAULT_SEARCHER, show_default=True, help="Which searcher suggests configs.")
@click.option("--searcher-set", multiple=True, type=Setting(), help="Option of the searcher, e.g. n_initial=20.")
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="TEXT",
    help='Bound on what the objective returns, e.g. "memory_gb <= 16", beside the problem\'s; may be repeated.',
)
@click.option("--seed", type=int, help="Fixes the search; drawn and recorded when not given.")
@limit_options
@run_options
def command(
    problem: str,
    *,
    history: Path | None,
    resume: bool,
    searcher: str,
    searcher_set: Sequence[tuple[str, str]],
    constraints: Sequence[str],
    seed: int | None,
    figure: str | None,
    progress: bool,
    **options: Any,
) -> None:
    """Search the space of PROBLEM, a Python file (problem.py, or problem.py:name) or module:name.

    The file has a module-level `problem = Problem(space, objective, direction=...)`.
    """
    from dhflow.cli.problem import Reference, load_problem
    from dhflow.cli.run import Plan, run

    found, reference = load_problem(Reference.parse(problem))
    run(
        Plan(
            found,
            reference,
            history or Path(f"{reference.stem}.h5"),
            resume=resume,
            searcher=searcher,
            searcher_options=scalars(searcher_set),
            constraints=constraints,
            seed=seed,
            options=run_settings(options),
            figure=figure,
            progress=progress,
        )
    )
