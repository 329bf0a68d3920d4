"""Which worker ran which trial, and when."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.text import count, format_duration
from dhflow.plot import figure as look
from dhflow.trial import TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dhflow.result import Result

_COLOURS = {
    TrialStatus.COMPLETED: look.SKY,
    TrialStatus.STOPPED: look.GREEN,
    TrialStatus.RUNNING: "#F0E442",
    TrialStatus.PENDING: look.GREY,
    TrialStatus.LOST: look.DARK,
    TrialStatus.FAILED: look.VERMILION,
}
_UNITS = (
    (2 * 86400.0, 86400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (180.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)
_MAX_LABELS = 32
_MANY = 1000
_MIN_SHARE = 0.003
"""Of the width: what an attempt that failed at once is drawn as."""

_MIN_LABEL_SHARE = 0.018
"""Of the width: a bar narrower than this cannot hold its trial's number."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt: when it ran, on which worker; times in seconds since the session began."""

    worker: str
    begin_s: float
    end_s: float
    status: TrialStatus
    trial_id: int


def plot_timeline(result: Result, axes: Axes | None = None, *, session: int = -1) -> Axes:
    """Draw one row per worker with a bar for each attempt that it ran.

    Parameters
    ----------
    result : Result
    axes : Axes, optional
        New ones by default.
    session : int
        Which of the study's sessions; the last one by default.

    Returns
    -------
    Axes
        x: time since the session began; y: workers, in the order in which they began.

    Raises
    ------
    SearchError
        If nothing ran in that session.
    """
    bars = attempt_bars(result, session)
    workers = list(dict.fromkeys(each.worker for each in sorted(bars, key=lambda each: each.begin_s)))
    span = max(each.end_s for each in bars)
    unit_s, unit = next((size, name) for least, size, name in _UNITS if span >= least)
    height = min(9.0, 1.6 + 0.32 * len(workers))
    axes = look.new_axes(9.0, height) if axes is None else axes
    best = _best_id(result)
    rows = {worker: row for row, worker in enumerate(workers)}
    # Failures last: many are so short that a neighbour would cover them.
    for status in sorted({each.status for each in bars}, key=list(_COLOURS).index):
        _draw_bars(axes, [each for each in bars if each.status is status], rows, unit_s, span)
    for bar in bars:
        if bar.trial_id == best or len(workers) <= _MAX_LABELS:
            _label(axes, bar, rows[bar.worker], unit_s, span, is_best=bar.trial_id == best)
    look.tidy(axes, grid="x")
    _worker_axis(axes, workers)
    axes.set_xlim(0, span / unit_s * 1.005)
    axes.set_xlabel(f"{unit} since the session began")
    handles = _legend(bars, has_best=any(each.trial_id == best for each in bars))
    look.head(axes, look.name_of(result), _detail(result, session), handles)
    return axes


def attempt_bars(result: Result, session: int = -1) -> list[Bar]:
    """Return the attempts that began on a worker in a session.

    Raises
    ------
    SearchError
        If there are none.
    """
    sessions = result.record.sessions
    if not -len(sessions) <= session < len(sessions):
        raise SearchError(f"there is nothing to draw: the study has {count(len(sessions), 'session')}")
    number = range(len(sessions))[session]
    began, end = sessions[number]
    until = sessions[number + 1][0].at if number + 1 < len(sessions) else float("inf")
    over = end.at if end is not None else min(until, time.time())
    bars = [
        Bar(
            f"{each.host} {each.worker}".strip(),
            each.started_at - began.at,
            max(each.ended_at or each.received_at or over, each.started_at) - began.at,
            each.status,
            trial.trial_id,
        )
        for trial in result.trials
        for each in trial.attempts
        if each.started_at is not None and began.at <= each.submitted_at < until
    ]
    if not bars:
        raise SearchError("there is nothing to draw: no trial has begun on a worker in this session")
    return bars


def _draw_bars(axes: Axes, bars: list[Bar], rows: dict[str, int], unit_s: float, span: float) -> None:
    axes.barh(
        [rows[each.worker] for each in bars],
        [max(each.end_s - each.begin_s, _MIN_SHARE * span) / unit_s for each in bars],
        left=[each.begin_s / unit_s for each in bars],
        height=0.72,
        color=_COLOURS.get(bars[0].status, look.GREY),
        edgecolor="white",
        linewidth=0.6 if len(bars) <= _MANY else 0.0,
    )


def _label(axes: Axes, bar: Bar, row: int, unit_s: float, span: float, *, is_best: bool) -> None:
    middle = (bar.begin_s + bar.end_s) / 2 / unit_s
    if is_best:
        axes.scatter(
            [middle], [row], s=90, marker="*", color=look.ORANGE, edgecolors=look.DARK, linewidths=0.7, zorder=4
        )
    elif bar.end_s - bar.begin_s >= _MIN_LABEL_SHARE * len(str(bar.trial_id)) * span:
        is_dark = bar.status in (TrialStatus.LOST, TrialStatus.FAILED)
        colour = "white" if is_dark else look.DARK
        axes.text(middle, row, str(bar.trial_id), ha="center", va="center", fontsize=7, color=colour, clip_on=True)


def _worker_axis(axes: Axes, workers: list[str]) -> None:
    axes.set_ylim(len(workers) - 0.4, -0.6)
    if len(workers) > _MAX_LABELS:
        axes.set_ylabel(f"{len(workers)} workers")
        return
    # Part by part: half a process id is none.
    parts = [re.split("(?<=[ _-])", each) for each in workers]
    same = itertools.takewhile(lambda each: len(set(each)) == 1, zip(*(each[:-1] for each in parts), strict=False))
    common = "".join(each[0] for each in same) if len(workers) > 1 else ""
    axes.set_yticks(range(len(workers)), [each[len(common) :] for each in workers], fontsize=8)
    host = common.rstrip(" -_")
    axes.set_ylabel(f"workers on {host}" if host and " " not in host else "workers")


def _best_id(result: Result) -> int | None:
    return None if (summary := result.summary())["best"] is None else summary["best_trial"]


def _detail(result: Result, session: int) -> str:
    sessions = result.record.sessions
    which = f"session {range(len(sessions))[session]}" if len(sessions) > 1 else ""
    found = result.utilisation if range(len(sessions))[session] == len(sessions) - 1 else None
    busy = (
        f"{found.share:.0%} busy, start-up {format_duration(found.startup_s)}, tail {format_duration(found.tail_s)}"
        if found
        else ""
    )
    return "; ".join(each for each in (which, busy) if each)


def _legend(bars: list[Bar], *, has_best: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = {each.status for each in bars}
    handles: list[Any] = [
        Patch(color=colour, label=status.value) for status, colour in _COLOURS.items() if status in present
    ]
    if has_best:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="*",
                markersize=10,
                color=look.ORANGE,
                markeredgecolor=look.DARK,
                markeredgewidth=0.7,
                label="best",
            )
        )
    return handles
