"""Whether the options of a callback make sense: said when it is made, not after the first epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhflow.errors import SearchError
from dhflow.monitor.context import Context

_OF_A_TRIAL = ("channel", "report", "should_stop")


def check_trial(trial: Any, path: str | Path | None) -> None:
    """Refuse what is no trial.

    Raises
    ------
    SearchError
        If it is a path, has nothing that a trial has, or a path is given too.
    """
    if isinstance(trial, str | Path):
        raise SearchError(f"KerasMonitor: {str(trial)!r} is no trial; did you mean path={str(trial)!r}?")
    if trial is not None and not any(hasattr(trial, each) for each in _OF_A_TRIAL):
        raise SearchError(
            f"KerasMonitor: a trial is what an objective gets as its second argument, not {type(trial).__name__}; "
            "options are given by name, such as path= and probe="
        )
    if path is not None and trial is not None:
        raise SearchError("KerasMonitor: give a trial or a path, not both: a trial's records are in its history")


def checked_path(path: str | Path | None) -> Path | None:
    """Return where the file is to be.

    Raises
    ------
    SearchError
        If nothing can be written there.
    """
    if path is None:
        return None
    found = Path(path)
    if found.is_dir():
        raise SearchError(f"KerasMonitor: path {str(path)!r} is a folder: name a file in it")
    if not found.parent.is_dir():
        raise SearchError(f"KerasMonitor: path {str(path)!r}: there is no folder {str(found.parent)!r}; make it first")
    return found


def check_intervals(*intervals: int | None) -> None:
    """Refuse intervals that are no whole numbers above 0; raises SearchError."""
    for each in intervals:
        if each is not None and not _is_whole(each, 1):
            raise SearchError(f"KerasMonitor: intervals are whole numbers above 0, not {each!r}")


def check_counts(**counts: int) -> None:
    """Refuse counts that are no whole numbers of at least 0; raises SearchError."""
    for name, each in counts.items():
        if not _is_whole(each, 0):
            raise SearchError(f"KerasMonitor: {name} must be a whole number of at least 0, not {each!r}")


def check_others(max_cost: object, context: object, **callables: object) -> None:
    """Refuse other options of a wrong kind; raises SearchError."""
    if isinstance(max_cost, bool) or not isinstance(max_cost, int | float) or not max_cost > 0:
        raise SearchError(f"KerasMonitor: max_cost must be positive, not {max_cost!r}")
    if context is not None and not isinstance(context, Context):
        raise SearchError(f"KerasMonitor: context is a dhflow.monitor.Context, not {type(context).__name__}")
    for name, each in callables.items():
        if each is not None and not callable(each):
            raise SearchError(f"KerasMonitor: {name} is a function, not {type(each).__name__}")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
