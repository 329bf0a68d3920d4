"""Commands to a study, running or not, from any process: accept advice, stop a trial, add one, pause.

>>> from dhflow import commands
>>> commands.accept("h.h5", "17/clip_gradients")                                   # doctest: +SKIP
21

They go through files beside the history, and return when the study's owner has recorded them. When nobody runs the
study, what makes a trial is recorded here, and runs when the study goes on; the rest is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.advice import Advice, accepting, advice_on, has_space, parse_suggestion, space_of
from dhflow.flow.command_files import FOLDER, give, wait_for_reply, who
from dhflow.flow.run_directory import owner_of, run_path
from dhflow.flow.taking import suggestion_in
from dhflow.history import History, load_record
from dhflow.history.event import Event, TrialCreated
from dhflow.history.monitor_event import CommandTaken
from dhflow.trial import Config, Trial, trial_seed

if TYPE_CHECKING:
    from dhflow.space import SearchSpace

TIMEOUT_S = 30.0


def advise(history: str | Path, trial_id: int, *, space: SearchSpace | None = None) -> Advice:
    """Return what is found about a trial now, what is suggested, and what was found earlier and holds no longer.

    Parameters
    ----------
    history : path
        Of a study, running or not, or of a single run (then trial 0).
    trial_id : int
    space : SearchSpace, optional
        The history's own by default.

    Raises
    ------
    UnknownTrialError
        If there is no such trial.
    HistoryError
        If the history cannot be read.
    """
    path = Path(history)
    record = load_record(path)
    return advice_on(path, record, trial_id, space or space_of(record))


def accept(
    history: str | Path,
    suggestion: str,
    *,
    running: bool = False,
    space: SearchSpace | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int | None:
    """Do what was suggested: enqueue the changed config, or stop the trial.

    Parameters
    ----------
    history : path
    suggestion : str
        Trial and name: ``"17/clip_gradients"``.
    running : bool
        No new trial: the trial itself goes on with the suggested learning rate, from its next epoch on. The
        suggestion may change nothing else, and the trial must run and listen to its channel.
    space : SearchSpace, optional
        To check the config with when nobody runs the study; the history's own by default.
    timeout_s : float
        How long the study's owner may take to answer.

    Returns
    -------
    int or None
        The new trial's id; None if the trial was stopped or changed.

    Raises
    ------
    SearchError
        If it is not suggested, no machine can do it, or the owner does not answer.
    """
    path = _owned(history) if running else Path(history)
    trial_id, name = parse_suggestion(suggestion)
    if owner_of(path) is not None:
        arguments = {"suggestion": name, "running": True} if running else {"suggestion": name}
        asked = CommandTaken(time.time(), "accept", trial_id, who(), arguments)
        return _trial_in(_send(path, asked, timeout_s))
    record = load_record(path)
    known = space or space_of(record)
    advice = advice_on(path, record, trial_id, known)
    command = accepting(record.trials[trial_id], name, advice.given, known, origin=who())
    if command.command == "stop":
        raise SearchError(f"nobody runs {path}: trial {trial_id} does not run, so it cannot be stopped")
    if not has_space(record):
        changed = ", ".join(f"{key}={value}" for key, value in command.arguments["changes"].items())
        raise SearchError(f"{path} is a run without a search: train it again with {changed}")
    return _record_trial(path, command)


def stop(history: str | Path, trial_id: int, *, timeout_s: float = TIMEOUT_S) -> None:
    """Ask a running trial to end and to return its value so far; its status becomes STOPPED.

    Raises
    ------
    SearchError
        If it does not run, or its owner does not answer.
    """
    _send(_owned(history), CommandTaken(time.time(), "stop", trial_id, who()), timeout_s)


def set_learning_rate(history: str | Path, trial_id: int, value: float, *, timeout_s: float = TIMEOUT_S) -> None:
    """Have a running trial train on with another learning rate, from its next epoch on.

    Raises
    ------
    SearchError
        As :func:`stop`; and if the trial has never asked for controls, so that it would not hear of it.
    """
    arguments = {"control": "learning_rate", "value": float(value)}
    _send(_owned(history), CommandTaken(time.time(), "control", trial_id, who(), arguments), timeout_s)


def checkpoint(history: str | Path, trial_id: int, *, timeout_s: float = TIMEOUT_S) -> None:
    """Have a running trial keep its weights at the end of the epoch; raises as :func:`set_learning_rate`."""
    arguments = {"control": "checkpoint"}
    _send(_owned(history), CommandTaken(time.time(), "control", trial_id, who(), arguments), timeout_s)


def add(
    history: str | Path,
    config: Config,
    *,
    budget: float | None = None,
    space: SearchSpace | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Add a config of one's own, which runs before the searcher's; return its trial's id.

    Raises
    ------
    ConfigNotInSpaceError
        If it does not lie in the space, where nobody runs the study.
    SearchError
        If it does not, where the study's owner says so; or if that does not answer.
    """
    path = Path(history)
    arguments: dict[str, Any] = {"config": dict(config)} | ({} if budget is None else {"budget": budget})
    command = CommandTaken(time.time(), "add", None, who(), arguments)
    if owner_of(path) is not None:
        return int(_send(path, command, timeout_s)["trial"])
    known = space or space_of(load_record(path))
    if known is not None:
        arguments["config"] = dict(known.validate(config))
    return _record_trial(path, command)


def pause(history: str | Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Have a running study start no more trials until :func:`go_on`; raises as :func:`stop`."""
    _send(_owned(history), CommandTaken(time.time(), "pause", None, who()), timeout_s)


def go_on(history: str | Path, *, timeout_s: float = TIMEOUT_S) -> None:
    """Let a paused study start trials again; raises as :func:`stop`."""
    _send(_owned(history), CommandTaken(time.time(), "go_on", None, who()), timeout_s)


def _owned(history: str | Path) -> Path:
    path = Path(history)
    if owner_of(path) is None:
        load_record(path)  # which says so if there is no history at all
        raise SearchError(f"nobody runs {path}: no trial of it runs now")
    return path


def _send(path: Path, command: CommandTaken, timeout_s: float) -> Mapping[str, Any]:
    folder = run_path(path) / FOLDER
    try:
        reply = wait_for_reply(folder, give(folder, command), timeout_s)
    except OSError as error:
        raise SearchError(f"the command cannot be left in {folder}: {error.strerror or error}") from error
    if reply is None:
        owner = owner_of(path) or {}
        whose = f"process {owner.get('pid')} on {owner.get('host')}"
        raise SearchError(f"{whose}, which runs {path}, has not answered in {timeout_s:g} s; the command is taken back")
    if "error" in reply:
        raise SearchError(str(reply["error"]))
    return reply


def _trial_in(reply: Mapping[str, Any]) -> int | None:
    return int(reply["trial"]) if "trial" in reply else None


def _record_trial(path: Path, command: CommandTaken) -> int:
    with History.open(path) as history:
        record = history.record
        trial_id = max(record.trials, default=-1) + 1
        suggestion, source = suggestion_in(command)
        trial = Trial(
            trial_id,
            suggestion.config,
            budget=suggestion.budget,
            meta=suggestion.meta,
            seed=trial_seed(record.header.seed if record.header else 0, trial_id),
            source=source,
            created_at=time.time(),
        )
        events: Sequence[Event] = [TrialCreated(trial), replace(command, reply={"trial": trial_id})]
        history.append(events)
    return trial_id


__all__ = [
    "Advice",
    "accept",
    "add",
    "advise",
    "checkpoint",
    "go_on",
    "pause",
    "set_learning_rate",
    "stop",
]
