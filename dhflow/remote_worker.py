"""What runs on the other side of a remote search: the search itself, and the small functions that look at it.

They take and return plain values, for any executor that carries those. Paths are those of that side.
"""

from __future__ import annotations

import pickle
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.api import load, search
from dhflow.errors import DhflowError, HistoryError
from dhflow.flow.run_directory import owner_of, run_path
from dhflow.flow.standing import Standing
from dhflow.history import copy_history, exists
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from dhflow.flow.driver import Driver
    from dhflow.result import Result

CHUNK_BYTES = 5_000_000
"""So much of a history travels at once; Globus Compute carries 10 MiB after base64."""

FORGOTTEN_S = 600.0
"""A copy from which nothing was read for so long is one whose fetch was broken off."""

STOP_REASON = "stopped from afar"
_STOP, _FETCH = "stop", "fetch"


def run_search(packed: bytes, history: str) -> dict[str, Any]:
    """Run a search; return why it ended, or as ``error`` what dhflow raised.

    Parameters
    ----------
    packed : bytes
        The cloudpickled objective (or problem), space and options of :func:`dhflow.search`.
    history : str
    """
    path = _path(history)
    path.parent.mkdir(parents=True, exist_ok=True)
    objective, space, options = pickle.loads(packed)
    try:
        result = search(objective, space, history=path, observers=[StopFile(path)], **options)
    except DhflowError as error:
        return {"error": error}
    except KeyboardInterrupt as interrupt:  # its worker was asked to end; the history is in order
        return {"reason": str(interrupt) or "interrupted"}
    return {"reason": result.reason}


class StopFile:
    """An observer that ends its search when somebody has left a file.

    Parameters
    ----------
    history : Path
    """

    def __init__(self, history: Path) -> None:
        self._file = run_path(history) / _STOP
        self._file.unlink(missing_ok=True)

    def trial_ended(self, trial: Trial) -> None:
        """Nothing to do."""

    def tick(self, driver: Driver) -> None:
        """Look for the file."""
        if self._file.exists():
            self._file.unlink(missing_ok=True)
            driver.stop(STOP_REASON)


def ask_to_stop(history: str) -> dict[str, bool]:
    """Leave the file that ends a running search.

    Returns
    -------
    dict
        Whether a search ``is_running``; if not, no file is left, as the next search would not heed it. And whether
        there ``is_history``.
    """
    path = _path(history)
    is_running = owner_of(path) is not None
    if is_running:
        (run_path(path) / _STOP).touch()
    return {"is_running": is_running, "is_history": exists(path)}


def look(history: str) -> dict[str, Any]:
    """Return how far a search is: the fields of :class:`dhflow.remote.Progress`."""
    path = _path(history)
    found: dict[str, Any] = {"is_running": owner_of(path) is not None}
    if not exists(path):
        return found
    result = load(path)
    statuses = [each.status for each in result.trials]
    return {
        **found,
        "n_trials": len(statuses),
        "n_completed": statuses.count(TrialStatus.COMPLETED),
        "n_failed": statuses.count(TrialStatus.FAILED) + statuses.count(TrialStatus.LOST),
        "n_running": statuses.count(TrialStatus.RUNNING),
        "reason": result.reason,
        **_best(result),
    }


def _best(result: Result) -> dict[str, Any]:
    if len(result.objectives) != 1:
        return {}
    (objective,) = result.objectives
    best = Standing(objective, result.trials, result.constraints).best
    return {} if best is None else {"best": best.values[objective.name], "best_config": dict(best.config)}


def fetch_part(history: str, name: str, offset: int = 0) -> dict[str, Any]:
    """Return a part of a whole copy of a history, which is made for the first part and removed with the last.

    Parameters
    ----------
    history : str
    name : str
        Of the copy; one for each fetch.
    offset : int

    Returns
    -------
    dict
        The ``data``, and the copy's ``size`` in bytes.

    Raises
    ------
    HistoryError
        If there is no history, or the copy was removed because nobody asked for its next part.
    """
    path = _path(history)
    copy = _copy_path(path, name)
    if offset == 0:
        _remove_forgotten(copy.parent)
        copy_history(path, copy)
    try:
        size = copy.stat().st_size
        with copy.open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
    except FileNotFoundError:
        raise HistoryError(
            f"the copy of {history} is gone: no part of it was fetched for {FORGOTTEN_S:g} s; fetch it again"
        ) from None
    if offset + len(data) >= size:
        copy.unlink()
    else:
        copy.touch()  # it is still wanted
    return {"size": size, "data": data}


def drop_copy(history: str, name: str) -> None:
    """Remove the copy of a fetch that is broken off; it may be gone already."""
    _copy_path(_path(history), name).unlink(missing_ok=True)


def _copy_path(history: Path, name: str) -> Path:
    return run_path(history) / _FETCH / name


def _remove_forgotten(folder: Path) -> None:
    """Remove the copies of broken fetches whose caller could not say so, and folders in which one was being made."""
    if not folder.is_dir():
        return
    for each in folder.iterdir():
        # Another fetch may remove its own meanwhile.
        with suppress(OSError):
            if time.time() - each.stat().st_mtime < FORGOTTEN_S:
                continue
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()


def _path(history: str) -> Path:
    return Path(history).expanduser()
