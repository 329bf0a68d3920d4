"""What commands do to a completion loop: the part of its state machine that takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dhflow.errors import DhflowError
from dhflow.history.monitor_event import CommandTaken
from dhflow.monitor.control import Control
from dhflow.trial import Suggestion, Trial, TrialSource

JsonDict = dict[str, Any]

AUTO = "policy:auto"
"""Where the commands of ``adapt="auto"`` come from."""


def suggestion_in(command: CommandTaken) -> tuple[Suggestion, TrialSource]:
    """Return the trial that ``accept`` or ``add`` asks for, and where it comes from."""
    arguments = command.arguments
    suggestion = Suggestion(arguments["config"], arguments.get("budget"), meta=_meta(command))
    return suggestion, TrialSource.ADVICE if command.command == "accept" else TrialSource.USER


def _meta(command: CommandTaken) -> Mapping[str, Any]:
    if command.command != "accept":
        return {}
    # No parent: a trial with a parent goes on from its checkpoint, and a promotion is a searcher's.
    advice = {"trial": command.trial_id, "suggestion": command.arguments.get("suggestion", ""), "by": command.origin}
    return {"advice": advice}


def control_in(command: CommandTaken) -> Control:
    """Return the control that ``control`` asks for; raises DhflowError if it is none."""
    arguments = command.arguments
    reason = arguments.get("reason", arguments.get("text", ""))
    return Control(arguments.get("control", ""), arguments.get("value"), str(reason))


def why_not(trial_id: int | None, known: Mapping[int, Trial]) -> JsonDict:
    """Return the reply to a command for a trial that does not run."""
    trial = None if trial_id is None else known.get(trial_id)
    if trial is None:
        return {"error": f"there is no trial {trial_id}"}
    if trial.is_finished:
        return {"error": f"trial {trial_id} has ended already: it is {trial.status.value}"}
    return {"error": f"trial {trial_id} does not run yet: it is {trial.status.value}"}


def refusal(error: DhflowError | LookupError | TypeError | ValueError) -> JsonDict:
    """Return the reply to a command that makes no sense."""
    return {"error": str(error) or repr(error)}
