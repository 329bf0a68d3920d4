"""Records as lines of strict JSON: how they travel, and how a program that is not Python reports.

A line says what it is with ``"record"``: one of the keys of ``RECORD_TYPES``; the other keys are the fields of that
class, and those that are missing have their defaults. A line without it is a reading of an epoch; its numbers may stand
beside the step: ``{"step": 3, "val_loss": 0.5}``. What JSON has no number for is a text: ``"nan"``, ``"inf"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from dhflow.monitor.record import (
    KINDS,
    ClassRecord,
    DataFacts,
    Layer,
    Listening,
    MachineRecord,
    NetworkFacts,
    Reading,
    Record,
    TensorRecord,
    TimeLimit,
    WorstSample,
)

RECORD_TYPES: Mapping[str, type[Any]] = {
    "reading": Reading,
    "tensor": TensorRecord,
    "machine": MachineRecord,
    "classes": ClassRecord,
    "worst": WorstSample,
    "network": NetworkFacts,
    "data": DataFacts,
    "listening": Listening,
    "time_limit": TimeLimit,
}
_NAMES = {each: name for name, each in RECORD_TYPES.items()}
_NOT_FINITE = {"nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"}
_OWN_KEYS = {"record", "step", "time", "per"}


def to_line(record: Record) -> bytes:
    """Return a record as one line; fields that have their default are left out."""
    return json.dumps(to_json(record), separators=(",", ":")).encode() + b"\n"


def to_json(record: Record) -> dict[str, Any]:
    """Return a record as strict JSON; fields that have their default are left out."""
    data = {"record": _NAMES[type(record)]}
    for each in fields(record):
        value = getattr(record, each.name)
        if each.default is MISSING or not _same(value, each.default):
            data[each.name] = _strict(value)
    return data


def from_line(line: bytes | str) -> Record | None:
    """Return the record in a line, or None if the line is torn or is no record.

    Keys that a record of this version does not have are left aside: a newer worker may write them.
    """
    try:
        return from_json(json.loads(line))
    except (ValueError, RecursionError):
        return None


def from_json(data: Any) -> Record | None:
    """Return the record that :func:`to_json` wrote, or None if `data` is none."""
    try:
        name = data.get("record", "reading")
        found: Record | None = _reading(data) if name == "reading" else _record(RECORD_TYPES[name], data)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return found


def from_lines(lines: Iterable[bytes | str]) -> list[Record]:
    """Return the records in those lines that hold one."""
    return [record for record in map(from_line, lines) if record is not None]


def _reading(data: Mapping[str, Any]) -> Reading | None:
    named = data["values"] if isinstance(data.get("values"), dict) else data
    values = {
        str(name): float(value)
        for name, value in named.items()
        if not (named is data and name in _OWN_KEYS) and _is_number(value)
    }
    per = "batch" if data.get("per") == "batch" else "epoch"
    return Reading(int(data["step"]), values, float(data.get("time", 0.0)), per)  # type: ignore[arg-type]


def _record(made: type[Any], data: Mapping[str, Any]) -> Any:
    given = {each.name: _read(each.name, str(each.type), data[each.name]) for each in fields(made) if each.name in data}
    record = made(**given)
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    """Tell whether rules and tables can do with a record, whoever wrote it."""
    match record:
        case TensorRecord():
            are_numbers = all(isinstance(each, int | float) for each in (*record.edges, *record.counts))
            fit = len(record.edges) == len(record.counts) + 1 if record.counts else not record.edges
            return record.kind in KINDS and record.scale in ("linear", "log") and are_numbers and fit
        case ClassRecord():
            rows = record.counts
            are_counts = all(isinstance(each, int) for row in rows for each in row)
            return are_counts and all(len(row) == len(rows) for row in rows)
    return True


def _read(name: str, kind: str, value: Any) -> Any:
    """Return a field's value as the type that its class declares."""
    if name == "layers":
        return tuple(Layer(*each) for each in value)
    if kind == "float":
        return float(value)
    if kind == "int":
        return int(value)
    if kind == "bool":
        return bool(value)
    if kind.startswith("tuple"):
        return _tuple(value)
    return str(value)


def _tuple(value: Any) -> Any:
    return tuple(_tuple(each) for each in value) if isinstance(value, list | tuple) else value


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _strict(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_strict(each) for each in value]
    return value


def _same(value: object, default: object) -> bool:
    is_nan = isinstance(value, float) and math.isnan(value)
    return (is_nan and isinstance(default, float) and math.isnan(default)) or value == default


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value in _NOT_FINITE)
