"""A study's record as tables, and back: what the HDF5 file holds, without the file.

:func:`from_record` and :func:`to_record` are inverse to each other; learning curves, and what else
the monitor keeps, which the record does not hold, become rows in :mod:`dhflow.history.monitor_tables`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, cast

import numpy as np

from dhflow.errors import HistoryCorruptError
from dhflow.history.column import ABSENT, Array, Column, Nullable, Plain, Text, infer
from dhflow.history.event import SessionEnded, SessionStarted, StudyHeader, StudyRecord
from dhflow.history.schema import TABLES, ColumnSpec
from dhflow.objective import MetricValue
from dhflow.trial import Attempt, Trial, TrialFailure, TrialSource, TrialStatus

Table = dict[str, Column]
_GAP = object()
_NAN = float("nan")
_EXACT = 2**53  # integers up to here are exact in float64
_TYPES: dict[type, str] = {float: "float", int: "int", bool: "bool", str: "str", type(None): "null"}


@dataclass(slots=True)
class Tables:
    """All tables of a history.

    Parameters
    ----------
    header : StudyHeader
    tables : dict from name to Table
        As in :data:`~dhflow.history.schema.TABLES`.
    config : Table
        One column per parameter, in the order in which they first came; rows as in ``trials``.
    array_values : float64
        The numbers of ``arrays``.
    """

    header: StudyHeader
    tables: dict[str, Table] = field(default_factory=dict)
    config: Table = field(default_factory=dict)
    array_values: Array = field(default_factory=lambda: np.zeros(0))


def from_record(record: StudyRecord, others: Mapping[str, Table], array_values: Array | None = None) -> Tables:
    """Return the tables of a record.

    Parameters
    ----------
    record : StudyRecord
    others : dict from name to Table
        The tables that a record does not hold, at least ``measurements``; those not given are empty.
    array_values : float64, optional

    Raises
    ------
    HistoryCorruptError
        If the record has no header.
    """
    if record.header is None:
        raise HistoryCorruptError("the journal begins without saying what study it is of")
    trials = list(record.trials.values())
    rows: dict[str, Iterable[Sequence[Any]]] = {
        "sessions": map(_session_row, record.sessions),
        "trials": map(_trial_row, trials),
        "attempts": (_attempt_row(trial.trial_id, each) for trial in trials for each in trial.attempts),
        "values": (row for trial in trials for row in _value_rows(record.header, trial)),
    }
    tables = {name: make_table(specs, rows.get(name, ())) for name, specs in TABLES.items()}
    numbers = np.zeros(0) if array_values is None else array_values
    return Tables(record.header, tables | dict(others), _config_columns(trials), numbers)


def to_record(tables: Tables) -> StudyRecord:
    """Return the record that :func:`from_record` was given."""
    attempts = _grouped(map(_read_attempt, *_cells(tables, "attempts")))
    values = _grouped(map(_read_value, *_cells(tables, "values")))
    configs = _read_configs(tables.config, len(tables.tables["trials"]["trial_id"]))
    record = StudyRecord(header=tables.header)
    for config, row in zip(configs, zip(*_cells(tables, "trials"), strict=True), strict=True):
        trial = _read_trial(config, row, attempts.get(row[0], ()), values.get(row[0], ()))
        record.trials[trial.trial_id] = trial
        record.n_outcomes += trial.outcome_number is not None
    record.sessions = [*map(_read_session, *_cells(tables, "sessions"))]
    return record


def extended(table: Table, more: Table) -> Table:
    """Return the rows of `table` and then those of `more`, of the same columns."""
    return {name: _joined(column, more[name]) for name, column in table.items()}


def make_table(specs: Sequence[ColumnSpec], rows: Iterable[Sequence[Any]]) -> Table:
    """Make a table of rows, whose cells come in the order of `specs`; None is absent."""
    columns = list(zip(*rows, strict=True)) or [()] * len(specs)
    return {spec.name: _make_column(spec, cells) for spec, cells in zip(specs, columns, strict=True)}


def _make_column(spec: ColumnSpec, cells: Sequence[Any]) -> Column:
    match spec.kind:
        case "text":
            return Text.of(cells)
        case "json":
            return Text.of_json(cells)
        case "nullable-int64":
            return Nullable.of(cells, int)
        case kind:
            return Plain(np.array(cells, kind))


def _joined(first: Column, second: Column) -> Column:
    if isinstance(first, Text) and isinstance(second, Text):
        return first.extended(second)
    if isinstance(first, Plain) and isinstance(second, Plain):
        return Plain(np.concatenate([first.values, second.values]))
    if isinstance(first, Nullable) and isinstance(second, Nullable):
        return Nullable(np.concatenate([first.values, second.values]), np.concatenate([first.mask, second.mask]))
    raise HistoryCorruptError("a column is not of the type that it has by the format")


def _cells(tables: Tables, name: str) -> list[list[Any]]:
    return [tables.tables[name][spec.name].to_list() for spec in TABLES[name]]


def _grouped(rows: Iterable[tuple[int, Any]]) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = {}
    for trial_id, row in rows:
        groups.setdefault(trial_id, []).append(row)
    return groups


# -- sessions


def _session_row(session: tuple[SessionStarted, SessionEnded | None]) -> Sequence[Any]:
    started, ended = session
    end = (_NAN, None) if ended is None else (ended.at, ended.info)
    return started.session, started.at, end[0], started.info, end[1]


def _read_session(
    number: int, started_at: float, ended_at: float, info: Any, end_info: Any
) -> tuple[SessionStarted, SessionEnded | None]:
    ended = None if end_info is None else SessionEnded(number, ended_at, end_info)
    return SessionStarted(number, started_at, info), ended


# -- trials


def _trial_row(trial: Trial) -> Sequence[Any]:
    return (
        trial.trial_id,
        trial.status.value,
        trial.source.value,
        _or_nan(trial.budget),
        _or_absent(trial.parent_id),
        trial.priority,
        trial.seed,
        _or_absent(trial.ask_number),
        _or_absent(trial.ask_saw),
        _or_absent(trial.outcome_number),
        trial.created_at,
        dict(trial.meta) or None,
    )


def _read_trial(
    config: dict[str, Any],
    row: Sequence[Any],
    attempts: Sequence[Attempt],
    values: Sequence[tuple[str, str, MetricValue]],
) -> Trial:
    trial_id, status, source, budget, parent_id, priority, seed, ask_number, ask_saw, outcome, created_at, meta = row
    return Trial(
        trial_id,
        config,
        TrialStatus(status),
        _not_nan(budget),
        _not_absent(parent_id),
        priority,
        meta or {},
        seed,
        TrialSource(source),
        _not_absent(ask_number),
        _not_absent(ask_saw),
        created_at,
        cast("dict[str, float]", {name: value for role, name, value in values if role == "objective"}),
        cast("tuple[float, ...]", tuple(value for role, _, value in values if role == "loss")),
        {name: value for role, name, value in values if role == "metric"},
        tuple(attempts),
        _not_absent(outcome),
    )


def _config_columns(trials: Sequence[Trial]) -> Table:
    names = dict.fromkeys(name for trial in trials for name in trial.config)
    return {name: infer([trial.config.get(name, _GAP) for trial in trials], _GAP) for name in names}


def _read_configs(columns: Table, n_trials: int) -> Iterator[dict[str, Any]]:
    cells = [column.to_list(_GAP) for column in columns.values() if isinstance(column, Nullable | Text)]
    for row in zip(*cells, strict=True) if cells else [()] * n_trials:
        yield {name: value for name, value in zip(columns, row, strict=True) if value is not _GAP}


# -- attempts


def _attempt_row(trial_id: int, attempt: Attempt) -> Sequence[Any]:
    failure = attempt.failure
    return (
        trial_id,
        attempt.number,
        attempt.status.value,
        attempt.submitted_at,
        _or_nan(attempt.started_at),
        _or_nan(attempt.ended_at),
        _or_nan(attempt.received_at),
        attempt.host,
        attempt.worker,
        *(_NO_FAILURE if failure is None else astuple(failure)),
    )


_NO_FAILURE = (None,) * 7


def _read_attempt(trial_id: int, number: int, status: str, *rest: Any) -> tuple[int, Attempt]:
    submitted_at, started_at, ended_at, received_at, host, worker, *failure = rest
    return trial_id, Attempt(
        number,
        TrialStatus(status),
        submitted_at,
        _not_nan(started_at),
        _not_nan(ended_at),
        _not_nan(received_at),
        host,
        worker,
        None if failure[0] is None else TrialFailure(*failure),
    )


# -- values


def _value_rows(header: StudyHeader, trial: Trial) -> Iterator[Sequence[Any]]:
    for name, value in trial.values.items():
        yield trial.trial_id, "objective", name, *_value_cells(value)
    for number, loss in enumerate(trial.losses):
        name = header.objectives[number].name if number < len(header.objectives) else str(number)
        yield trial.trial_id, "loss", name, *_value_cells(loss)
    for name, metric in trial.metrics.items():
        yield trial.trial_id, "metric", name, *_value_cells(metric)


def _value_cells(value: MetricValue) -> tuple[str, float, str | None]:
    if isinstance(value, float):
        return "float", value, None
    kind = _TYPES.get(type(value), "json")
    if kind == "json":
        return kind, _NAN, json.dumps(value)
    if value is None or isinstance(value, str):
        return kind, _NAN, value
    return (kind, float(value), None) if abs(value) <= _EXACT else (kind, _approximate(value), str(value))


def _approximate(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return _NAN


def _read_value(trial_id: int, role: str, name: str, *cells: Any) -> tuple[int, tuple[str, str, MetricValue]]:
    kind, number, text = cells
    value: MetricValue = number
    match kind:
        case "int":
            value = int(number) if text is None else int(text)
        case "bool":
            value = bool(number)
        case "str":
            value = text
        case "null":
            value = None
        case "json":
            value = json.loads(text or "null")
    return trial_id, (role, name, value)


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


def _not_nan(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - only NaN differs from itself


def _or_absent(value: int | None) -> int:
    return ABSENT if value is None else value


def _not_absent(value: int) -> int | None:
    return None if value == ABSENT else value
