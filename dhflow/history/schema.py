"""The tables of a history file, version 1: their columns and what these mean.

``FORMAT.md`` states the same for people who write a reader; a test compares the two. Any change here is a new
`VERSION`, an archive file of it under ``tests/archives`` and a reader for the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FORMAT = "dhflow-history"
VERSION = 1

Kind = Literal["int64", "float64", "nullable-int64", "text", "json"]


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that every file has.

    Parameters
    ----------
    name : str
    kind : str
        In memory ``int64`` and ``float64`` are :class:`~dhflow.history.column.Plain`, ``nullable-int64`` is
        :class:`~dhflow.history.column.Nullable`, ``text`` and ``json`` are :class:`~dhflow.history.column.Text`.
    meaning : str
        With its unit, and what stands for "absent".
    """

    name: str
    kind: Kind
    meaning: str


def _table(*columns: tuple[str, Kind, str]) -> tuple[ColumnSpec, ...]:
    return tuple(ColumnSpec(*each) for each in columns)


CONFIG = "config"
"""Group within ``trials`` that has one more column per parameter of the space."""

ARRAY_VALUES = "array_values"
"""Dataset of float64 that holds the numbers of all ``arrays``, one array after the other."""

TABLES: dict[str, tuple[ColumnSpec, ...]] = {
    "sessions": _table(
        ("session", "int64", "number of the run of the driver, from 0"),
        ("started_at", "float64", "UTC epoch seconds"),
        ("ended_at", "float64", "UTC epoch seconds; NaN if the driver did not end in order"),
        ("info", "json", "searcher, site, objective, versions, host, limits"),
        ("end_info", "json", "utilisation and why the session stopped; absent like ended_at"),
    ),
    "trials": _table(
        ("trial_id", "int64", "from 0, in the order of creation"),
        ("status", "text", "pending, running, completed, failed, stopped or lost"),
        ("source", "text", "searcher, default, user, advice or added"),
        ("budget", "float64", "units of the problem's budget; NaN for the full one"),
        ("parent_id", "int64", "the trial that this one continues; -1 if none"),
        ("priority", "int64", "lower runs sooner"),
        ("seed", "int64", "given to the objective"),
        ("ask_number", "int64", "which ask of the searcher proposed it, from 0; -1 if none did"),
        ("ask_saw", "int64", "how many outcomes had been told before that ask; -1 if none asked"),
        ("outcome_number", "int64", "place in the order of outcomes, from 0; -1 if not finished"),
        ("created_at", "float64", "UTC epoch seconds"),
        ("meta", "json", "what the searcher wanted back; absent if nothing"),
    ),
    "attempts": _table(
        ("trial_id", "int64", "a trial"),
        ("attempt", "int64", "from 1"),
        ("status", "text", "running, completed, failed, stopped or lost"),
        ("submitted_at", "float64", "handed to the executor, UTC epoch seconds"),
        ("started_at", "float64", "on the worker, UTC epoch seconds; NaN if unknown"),
        ("ended_at", "float64", "on the worker, UTC epoch seconds; NaN if unknown"),
        ("received_at", "float64", "back in the driver, UTC epoch seconds; NaN if it is not"),
        ("host", "text", "where it ran, or empty"),
        ("worker", "text", "which worker of that host, begins with the process id; or empty"),
        ("failure_kind", "text", "type of the exception; absent if the attempt has not failed"),
        ("failure_message", "text", "absent like failure_kind"),
        ("failure_traceback", "text", "absent like failure_kind"),
        ("failure_location", "text", "file:line of the user's line, or empty; absent like failure_kind"),
        ("failure_host", "text", "absent like failure_kind"),
        ("failure_signal", "text", "name of the signal that killed the worker, or empty; absent like failure_kind"),
        ("failure_last_step", "nullable-int64", "the last step reported before the failure"),
    ),
    "values": _table(
        ("trial_id", "int64", "a trial"),
        ("role", "text", "objective (in the user's sign), loss (the same, minimised) or metric"),
        ("name", "text", "of the objective or the metric"),
        ("type", "text", "float, int, bool, str, null or json"),
        ("value", "float64", "the number, 0 or 1 for bool; NaN for str, null and json"),
        ("text", "text", "of a str, a json, or an int that float64 does not hold; else absent"),
    ),
    "measurements": _table(
        ("trial_id", "int64", "a trial"),
        ("attempt", "int64", "which of its attempts reported it"),
        ("step", "int64", "as reported"),
        ("time", "float64", "on the worker, UTC epoch seconds"),
        ("name", "text", "of what was measured; the monitor's own begin with /"),
        ("value", "float64", "may be NaN or infinite"),
    ),
    "arrays": _table(
        ("trial_id", "int64", "a trial"),
        ("attempt", "int64", "which of its attempts reported it"),
        ("step", "int64", "as reported"),
        ("time", "float64", "on the worker, UTC epoch seconds"),
        ("name", "text", "of what the numbers are"),
        ("shape", "json", "lengths of the axes, row-major"),
        ("start", "int64", "where its numbers begin in the dataset array_values"),
        ("length", "int64", "how many numbers it has there"),
    ),
    "facts": _table(
        ("trial_id", "int64", "a trial"),
        ("attempt", "int64", "which of its attempts reported it"),
        ("name", "text", "network or data"),
        ("value", "json", "what is known of it before it trains"),
    ),
    "findings": _table(
        ("trial_id", "int64", "a trial"),
        ("attempt", "int64", "which of its attempts it is about"),
        ("step", "nullable-int64", "where in the run"),
        ("time", "float64", "when it was found, UTC epoch seconds"),
        ("rule", "text", "which rule found it"),
        ("family", "text", "the symptom family of the rule"),
        ("severity", "text", "note, warning or critical"),
        ("message", "text", "for people"),
        ("probability", "float64", "of what it says; 1 for what was simply seen"),
        ("evidence", "json", "numbers by name; absent if none"),
        ("advice", "json", "list of suggestions, for programs; absent if none"),
        ("source", "text", "where the rule comes from"),
    ),
    "commands": _table(
        ("time", "float64", "when it was taken up, UTC epoch seconds"),
        ("command", "text", "accept, stop, control, add, pause or go_on"),
        ("trial_id", "nullable-int64", "the trial that it is about"),
        ("origin", "text", "who gave it: a person, a policy or a stopper"),
        ("arguments", "json", "absent if none"),
        ("reply", "json", "what became of it; absent if nothing"),
        ("command_id", "text", "names it among all commands, or empty"),
    ),
}
