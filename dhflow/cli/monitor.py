"""``dhflow monitor``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhflow.cli.option import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from dhflow.history.event import StudyRecord

_REFRESH_S = 1.0
_PIPE_WIDTH = 200


@click.command(cls=Verb, examples=["monitor digits.h5", "monitor digits.h5 --trial 17", "monitor run.h5 --once"])
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--trial", "trial_id", type=click.IntRange(0), help="The evidence about one trial.")
@click.option("--once", is_flag=True, help="Print once, in place of a live view.")
def command(history: Path, *, trial_id: int | None, once: bool) -> None:
    """Watch the trials that run in HISTORY: light, curve, verdict and advice, until Ctrl-C or the search's end.

    HISTORY may also be the file of a single run.
    """
    from dhflow.history import load_record

    draw = (lambda record: _one(history, record, trial_id)) if trial_id is not None else _all(history)
    if once or not sys.stdout.isatty():
        _print(draw(load_record(history)))
        return
    _live(history, draw)


def _all(history: Path) -> Callable[[StudyRecord], RenderableType]:
    from dhflow.cli.watching import running_lines, table_of

    def draw(record: StudyRecord) -> RenderableType:
        lines = running_lines(history, record)
        if lines:
            return table_of(lines)
        n_ended = sum(each.is_finished for each in record.trials.values())
        return f"no trial of {history} runs now; {n_ended} have ended"

    return draw


def _one(history: Path, record: StudyRecord, trial_id: int) -> RenderableType:
    from rich.console import Group

    from dhflow.cli.watching import advice_lines, table_of, trial_line
    from dhflow.commands import advise
    from dhflow.flow.advice import known_trial

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


def _live(history: Path, draw: Callable[[StudyRecord], RenderableType]) -> None:
    from rich.console import Console
    from rich.live import Live

    from dhflow.flow.run_directory import owner_of
    from dhflow.history import load_record
    from dhflow.trial import TrialStatus

    console = Console(highlight=False, markup=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            record = load_record(history)
            live.update(draw(record), refresh=True)
            is_running = any(each.status is TrialStatus.RUNNING for each in record.trials.values())
            if owner_of(history) is None and not is_running:
                return
            time.sleep(_REFRESH_S)
