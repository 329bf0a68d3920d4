"""Where a snapshot of a running session is drawn: a terminal, plain lines, or a notebook."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from dhflow.flow.text import count, format_duration, format_rate, format_value

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dhflow.flow.snapshot import Snapshot

_BAR_WIDTH = 30

_FIRST_GAP_S = 3.0
_LAST_GAP_S = 600.0
_GAP_GROWTH = 1.5


class View(Protocol):
    """What draws snapshots."""

    def begin(self) -> None:
        """Get ready; the first snapshot may come later."""

    def show(self, snapshot: Snapshot, *, is_last: bool = False) -> None:
        """Draw one."""

    def close(self) -> None:
        """Leave the stream as it was found."""


def make_view(stream: TextIO) -> View:
    """Return the view that suits where `stream` leads."""
    if _is_notebook():
        return NotebookView()
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return TerminalView(stream)
    return LineView(stream)


def facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return what there is to say beside how far it is, the most wanted first; each with a style."""
    found = []
    if snapshot.best is not None:
        best = f"best {snapshot.name} {format_value(snapshot.best)} (trial {snapshot.best_trial})"
        found.append((best, "bold green"))
    elif snapshot.n_pareto:
        size = f"Pareto set of {count(snapshot.n_pareto, 'trial')} (newest: trial {snapshot.best_trial})"
        found.append((size, "bold green"))
    if snapshot.rate is not None:
        found.append((format_rate(snapshot.rate).replace("/", " trials/"), ""))
    found.append((f"{snapshot.n_busy}/{snapshot.n_workers} workers busy", ""))
    if snapshot.queue:
        found.append((snapshot.queue, "yellow"))
    if snapshot.n_infeasible:
        found.append((f"{snapshot.n_infeasible} infeasible", "yellow"))
    if snapshot.n_failed:
        found.append((f"{snapshot.n_failed} failed", "yellow"))
    if snapshot.n_retries:
        found.append((f"{snapshot.n_retries} retried", "yellow"))
    return found


def how_far(snapshot: Snapshot) -> str:
    """Return the trials done, of how many."""
    if snapshot.max_trials is None:
        return count(snapshot.n_ended, "trial")
    return f"{snapshot.n_ended}/{count(snapshot.max_trials, 'trial')}"


def how_long(snapshot: Snapshot) -> str:
    """Return the time that has passed and the time that is left."""
    passed = format_duration(snapshot.elapsed_s, whole=True)
    if snapshot.left_s is None or snapshot.share == 1.0:
        return passed
    return f"{passed}, about {format_duration(snapshot.left_s, whole=True)} left"


class LineView:
    """Plain lines for a pipe or a log: the first at once, then at growing intervals and when the best changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_at = self._next_best_at = float("-inf")
        self._gap_s = _FIRST_GAP_S
        self._said: tuple[int | None, str] = (None, "")
        self._line = ""

    def begin(self) -> None:
        """Nothing to do."""

    def show(self, snapshot: Snapshot, *, is_last: bool = False) -> None:
        """Write a line if it is time for one, or if there is news."""
        now = snapshot.elapsed_s
        best, phase = self._said
        is_news = snapshot.phase != phase or (snapshot.best_trial != best and now >= self._next_best_at)
        if not (is_last or is_news or now >= self._next_at):
            return
        self._gap_s = min(_LAST_GAP_S, self._gap_s * _GAP_GROWTH)
        self._next_at = now + self._gap_s
        self._next_best_at = now + self._gap_s / 3
        self._said = (snapshot.best_trial, snapshot.phase)
        line = plain_line(snapshot)
        if line != self._line:
            self._line = line
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Nothing to do."""


def plain_line(snapshot: Snapshot) -> str:
    """Return a snapshot as one line."""
    parts = [how_far(snapshot), *(text for text, _ in facts(snapshot)), *([snapshot.phase] if snapshot.phase else [])]
    return f"dhflow  {how_long(snapshot)}: {', '.join(parts)}"


class TerminalView:
    """Two or three lines that stay in place at the bottom of a terminal; what others print scrolls above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=Console(file=stream, highlight=False),
            auto_refresh=False,  # no thread of its own: drawn when the driver ticks
            redirect_stdout=sys.stdout.isatty(),  # a redirected standard output must not turn up here
            vertical_overflow="visible",
        )

    def begin(self) -> None:
        """Have what others print scroll above."""
        self._live.start()

    def show(self, snapshot: Snapshot, *, is_last: bool = False) -> None:
        """Draw over what was drawn before."""
        del is_last
        self._live.update(lines(snapshot), refresh=True)

    def close(self) -> None:
        """Show the cursor again and leave the last state standing."""
        self._live.stop()


class NotebookView:
    """One output of a cell, renewed in place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def begin(self) -> None:
        """Nothing to do."""

    def show(self, snapshot: Snapshot, *, is_last: bool = False) -> None:
        """Renew the output."""
        del is_last
        from IPython import display as ipython

        text = {"text/plain": plain_line(snapshot)}
        if self._handle is None:
            show: Any = ipython.display  # has no types
            self._handle = show(text, raw=True, display_id=True)
        else:
            self._handle.update(text, raw=True)

    def close(self) -> None:
        """Nothing to do."""


def lines(snapshot: Snapshot) -> RenderableType:
    """Return a snapshot for rich."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    first = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = [Text(how_far(snapshot), style="bold"), Text(how_long(snapshot))]
    if snapshot.share is not None:
        first.add_column(width=_BAR_WIDTH)
        cells.insert(
            0,
            ProgressBar(
                total=1.0, completed=snapshot.share, width=_BAR_WIDTH, complete_style="cyan", finished_style="green"
            ),
        )
    first.add_row(*cells)
    second = Text()
    for i, (text, style) in enumerate(facts(snapshot)):
        second.append("   " if i else "").append(text, style=style)
    rest: list[RenderableType] = [first, second]
    if snapshot.phase:
        rest.append(Text(snapshot.phase, style="bold yellow" if snapshot.is_paused else "dim"))
    return Group(*rest)


def _is_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # type: ignore[attr-defined,unused-ignore]

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"
