"""``dhflow monitor``."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhflow.cli.option import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

_REFRESH_S = 1.0
_REST = 10.0
"""Times what a look has taken."""

_PIPE_WIDTH = 200


@click.command(cls=Verb, examples=["monitor digits.h5", "monitor digits.h5 --trial 17", "monitor run.h5 --once"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--trial", "trial_id", type=click.IntRange(0), help="The evidence about one trial.")
@click.option("--once", is_flag=True, help="Print once, in place of a live view.")
def command(history: Path, *, trial_id: int | None, once: bool) -> None:
    """Watch the trials that run in HISTORY: light, curve, verdict and advice, until Ctrl-C or the search's end.

    HISTORY may also be the file of a single run.
    """
    draw = partial(_all, history) if trial_id is None else partial(_one, history, trial_id)
    if once or not sys.stdout.isatty():
        _print(draw())
    else:
        _live(history, draw)


def _all(history: Path) -> RenderableType:
    from rich.console import Group

    from dhflow.cli.watching import running_lines, table_of

    lines, others = running_lines(history)
    return Group(table_of(lines), others) if lines else others


def _one(history: Path, trial_id: int) -> RenderableType:
    from rich.console import Group

    from dhflow.cli.watching import advice_lines, table_of, trial_line
    from dhflow.commands import advise
    from dhflow.flow.advice import known_trial
    from dhflow.history import load_record

    record = load_record(history)
    trial = known_trial(record, trial_id)
    lines = advice_lines(advise(history, trial_id), history)
    return Group(table_of([trial_line(history, record, trial)]), "", *lines)


def _print(shown: RenderableType) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(highlight=False, width=width, markup=False)
    with console.capture() as captured:
        console.print(shown)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _live(history: Path, draw: Callable[[], RenderableType]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            live.update(draw(), refresh=True)
            if not _is_open(history):
                return
            # A long history takes its time to read, and the file system has others to serve.
            time.sleep(max(_REFRESH_S, _REST * (time.monotonic() - began)))


def _is_open(history: Path) -> bool:
    from dhflow.flow.advice import has_space
    from dhflow.flow.run_directory import owner_of
    from dhflow.history import load_record
    from dhflow.history.run_file import is_written

    if owner_of(history) is not None:
        return True
    record = load_record(history)
    return not has_space(record) and any(is_written(history, each) for each in record.trials.values())
