"""The events of the monitor and of commands; they change no trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordsKept:
    """What the monitor keeps of an attempt beside its learning curve.

    Parameters
    ----------
    trial_id, attempt : int
    records : tuple of dict
        JSON forms of records, as :mod:`dhflow.monitor.line` writes them.
    """

    trial_id: int
    attempt: int
    records: tuple[JsonDict, ...]


@dataclass(frozen=True, slots=True)
class FindingMade:
    """A rule of the monitor found something new about an attempt.

    Parameters
    ----------
    trial_id, attempt : int
    at : float
    finding : dict
        JSON form, as :func:`dhflow.monitor.finding.finding_to_json` makes it.
    """

    trial_id: int
    attempt: int
    at: float
    finding: JsonDict


@dataclass(frozen=True, slots=True)
class CommandTaken:
    """A command was carried out or refused.

    Parameters
    ----------
    at : float
    command : str
        ``"accept"``, ``"stop"``, …
    trial_id : int, optional
        The trial that it is about.
    origin : str
        Who gave it: ``user@host``, or the policy or stopper.
    arguments, reply : dict
        JSON.
    command_id : str
        Names it among all commands; "" for one that nobody waits for.
    """

    at: float
    command: str
    trial_id: int | None
    origin: str = ""
    arguments: JsonDict = field(default_factory=dict)
    reply: JsonDict = field(default_factory=dict)
    command_id: str = ""


def command_to_json(event: CommandTaken) -> JsonDict:
    """Return the JSON form of a command; default values are left out."""
    data: JsonDict = {"t": event.at, "command": event.command}
    named = {"id": event.trial_id, "origin": event.origin, "arguments": event.arguments, "reply": event.reply}
    named["name"] = event.command_id
    return data | {name: value for name, value in named.items() if value not in (None, "", {})}


def command_from_json(data: JsonDict) -> CommandTaken:
    """Return the command that :func:`command_to_json` wrote."""
    return CommandTaken(
        at=data["t"],
        command=data["command"],
        trial_id=data.get("id"),
        origin=data.get("origin", ""),
        arguments=data.get("arguments", {}),
        reply=data.get("reply", {}),
        command_id=data.get("name", ""),
    )
