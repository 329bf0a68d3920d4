"""Following a suggestion on the trial itself, while it runs: it takes another learning rate from its next epoch on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from dhflow.errors import SearchError
from dhflow.flow.advice import offered
from dhflow.flow.watched import Watched
from dhflow.history.monitor_event import CommandTaken
from dhflow.monitor.advice import parameter_of
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Suggestion
from dhflow.trial import Trial, TrialStatus


def changes_rate_only(suggestion: Suggestion) -> bool:
    """Tell whether a suggestion is another learning rate and nothing else."""
    is_rate = parameter_of("learning_rate", Context(config=suggestion.changes)) is not None
    return suggestion.action == "change" and is_rate and len(suggestion.changes) == 1


def applying(
    trial: Trial, name: str, findings: Sequence[Finding], watched: Watched | None, *, origin: str
) -> CommandTaken:
    """Return the command that gives a running trial the learning rate that is suggested for it.

    The suggestion says by what factor; it is applied to the rate that the trial has now, as far as that is known.

    Parameters
    ----------
    trial : Trial
    name : str
        Of the suggestion.
    findings : sequence of Finding
        Those that hold now.
    watched : Watched, optional
        What the trial has recorded; None where nothing has come.
    origin : str

    Raises
    ------
    SearchError
        If it is not suggested, is more than another learning rate, or the trial does not run or does not listen.
    """
    new_trial = f"without --running (running=True) {trial.trial_id}/{name} is tried as a new trial"
    if trial.status is not TrialStatus.RUNNING:
        raise SearchError(f"trial {trial.trial_id} does not run: it is {trial.status.value}; {new_trial}")
    suggestion, reason = offered(trial, name, findings)
    if suggestion.action == "stop":
        return CommandTaken(time.time(), "stop", trial.trial_id, origin, {"suggestion": name, "text": reason})
    if suggestion.action != "change":
        raise SearchError(f"{name!r} is advice for you, which no machine can follow: {suggestion.text}")
    if not changes_rate_only(suggestion):
        changed = ", ".join(suggestion.changes)
        raise SearchError(f"a running trial can take another learning rate, and no other {changed}; {new_trial}")
    listening = heard_by(trial, watched, "another learning rate", f"; {new_trial}")
    if listening.is_stopping:
        raise SearchError(f"trial {trial.trial_id} is being stopped; {new_trial}")
    ((parameter, value),) = suggestion.changes.items()
    written = float(trial.config[parameter])
    if not written:
        raise SearchError(f"{parameter} is 0, of which no factor can be taken; {new_trial}")
    now = _rate_now(listening, written)
    arguments = {
        "control": "learning_rate",
        "value": float(f"{now * float(value) / written:.3g}"),
        "was": now,
        "suggestion": name,
        "text": reason,
    }
    return CommandTaken(time.time(), "control", trial.trial_id, origin, arguments)


def heard_by(trial: Trial, watched: Watched | None, what: str, else_: str = "") -> Watched:
    """Return what a trial has recorded, if it hears of what it is asked.

    Raises
    ------
    SearchError
        If it has never asked for controls.
    """
    if watched is None or not watched.listens:
        raise SearchError(
            f"trial {trial.trial_id} has never asked for controls, so it would not hear of {what}: use "
            f"KerasMonitor(trial), or trial.channel.controls() after each epoch{else_}"
        )
    return watched


def _rate_now(watched: Watched, written: float) -> float:
    """Return the trial's learning rate: as it was last asked to be, as the trial says, or else as in its config."""
    said = watched.keeper.records.network.learning_rate
    known = (watched.asked_rate, said if math.isfinite(said) and said > 0 else None)
    return next((each for each in known if each is not None), written)
