"""What the monitor keeps as rows of a history's tables, and back: records, findings and commands.

Records become rows of three tables. ``measurements`` has one row per number: a metric of an epoch under its own
name, the others under names that begin with a slash: ``/batch/loss``, ``/machine/cpu_share``, ``/worst/17`` (the
loss of sample 17). ``arrays`` has for each tensor its statistics, ``/gradient/dense_1/kernel``, and right behind
them the histogram if there is one, ``/gradient/dense_1/kernel/linear``; ``/classes`` is a confusion matrix.
``facts`` has what is known before the training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import numpy as np

from dhflow.history.column import Array, Plain
from dhflow.history.event import AttemptEnded, Event
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.history.schema import TABLES
from dhflow.history.table import Table, extended, make_table
from dhflow.monitor.finding import Finding, finding_from_json, finding_to_json
from dhflow.monitor.line import from_json, to_json
from dhflow.monitor.record import (
    ClassRecord,
    DataFacts,
    MachineRecord,
    NetworkFacts,
    Reading,
    Record,
    Records,
    TensorRecord,
    WorstSample,
)

Row = Sequence[Any]

STATISTICS = (
    "size",
    "norm",
    "mean",
    "std",
    "max_abs",
    "zero_share",
    "dead_share",
    "saturated_share",
    "n_nonfinite",
)
"""The numbers of a tensor's array, in their order."""

MACHINE = tuple(name for name in MachineRecord.__dataclass_fields__ if name not in ("step", "time"))
KEPT = ("measurements", "arrays", "facts", "findings", "commands")
"""The tables of this module; a study's record does not hold them."""


@dataclass(slots=True)
class Detail:
    """The tables of this module.

    Parameters
    ----------
    tables : dict from name to Table
        Those of :data:`KEPT`.
    array_values : (n,) float64
        The numbers of ``arrays``.
    """

    tables: dict[str, Table]
    array_values: Array

    def extended(self, more: Detail) -> Detail:
        """Return these rows and then those of `more`."""
        moved = dict(more.tables["arrays"])
        moved["start"] = Plain(np.asarray(more.tables["arrays"]["start"].to_list(), np.int64) + len(self.array_values))
        tables = {name: extended(self.tables[name], more.tables[name]) for name in KEPT if name != "arrays"}
        tables["arrays"] = extended(self.tables["arrays"], moved)
        return Detail(tables, np.concatenate([self.array_values, more.array_values]))


def detail_of(events: Iterable[Event]) -> Detail:
    """Return the rows that `events` bring, learning curves included."""
    rows = _Rows()
    for event in events:
        match event:
            case AttemptEnded():
                number = event.attempt.number
                rows.of["measurements"] += (
                    (event.trial_id, number, step, time, metric_name(name), value)
                    for step, time, name, value in event.measurements
                )
            case RecordsKept(trial_id, attempt, records):
                rows.add(trial_id, attempt, (each for line in records if (each := from_json(line)) is not None))
            case FindingMade():
                rows.of["findings"].append(_finding_row(event))
            case CommandTaken():
                rows.of["commands"].append(_command_row(event))
    return rows.detail()


def run_detail(records: Records, findings: Iterable[tuple[float, Finding]] = ()) -> Detail:
    """Return the rows of one run without a search: trial 0, attempt 1.

    Parameters
    ----------
    records : Records
    findings : iterable of (float, Finding)
        With the time of each, UTC epoch seconds.
    """
    rows = _Rows()
    every: list[Record] = [*records.readings, *records.tensors, *records.machine, *records.classes, *records.worst]
    facts: list[Record] = [each for each in (records.network, records.data) if each != type(each)()]
    rows.add(0, 1, [*every, *facts])
    for at, finding in findings:
        rows.of["findings"].append(_finding_row(FindingMade(0, 1, at, finding_to_json(finding))))
    return rows.detail()


class _Rows:
    """Rows as they come, and the numbers of the arrays."""

    def __init__(self) -> None:
        self.of: dict[str, list[Row]] = {name: [] for name in KEPT}
        self._numbers: list[float] = []

    def add(self, trial_id: int, attempt: int, records: Iterable[Record]) -> None:
        for record in records:
            match record:
                case NetworkFacts() | DataFacts():
                    data = to_json(record)
                    self.of["facts"].append((trial_id, attempt, data.pop("record"), data))
                case TensorRecord() | ClassRecord():
                    for name, shape, numbers in _arrays_of(record):
                        place = len(self._numbers), len(numbers)
                        row = (trial_id, attempt, record.step, record.time, name, shape, *place)
                        self.of["arrays"].append(row)
                        self._numbers += numbers
                case Reading() | MachineRecord() | WorstSample():
                    self.of["measurements"] += (
                        (trial_id, attempt, record.step, record.time, name, value)
                        for name, value in _numbers_of(record)
                    )

    def detail(self) -> Detail:
        tables = {name: make_table(TABLES[name], rows) for name, rows in self.of.items()}
        return Detail(tables, np.array(self._numbers, np.float64))


# Names --------------------------------------------------------------------------------------------------


def metric_name(name: str) -> str:
    """Return a metric's name as the tables have it: a slash or a percent sign in front is percent-encoded."""
    return quote(name[0], safe="") + name[1:] if name[:1] in ("/", "%") else name


def read_metric_name(name: str) -> str:
    """Return the metric that :func:`metric_name` named."""
    return unquote(name[:3]) + name[3:] if name[:3] in ("%2F", "%25") else name


def is_detail(name: str) -> bool:
    """Tell whether a name in ``measurements`` is one of the monitor's own, and no metric of an epoch."""
    return name.startswith("/")


def _path(*parts: str) -> str:
    return "".join(f"/{quote(each, safe='', errors='surrogatepass')}" for each in parts)


def _parts(name: str) -> list[str]:
    return [unquote(each, errors="surrogatepass") for each in name.split("/")[1:]]


# Numbers ------------------------------------------------------------------------------------------------


def _numbers_of(record: Reading | MachineRecord | WorstSample) -> Iterator[tuple[str, float]]:
    match record:
        case Reading():
            for name, value in record.values.items():
                yield (_path("batch", name) if record.per == "batch" else metric_name(name)), value
        case MachineRecord():
            for name in MACHINE:
                value = getattr(record, name)
                if not math.isnan(value):
                    yield _path("machine", name), value
        case WorstSample():
            yield _path("worst", str(record.index)), record.loss


class _Number(NamedTuple):
    step: int
    time: float
    kind: str
    name: str
    value: float


def _read_number(row: Row) -> _Number:
    _, _, step, time, name, value = row
    if not is_detail(name):
        return _Number(step, time, "epoch", read_metric_name(name), value)
    kind, *rest = _parts(name)
    return _Number(step, time, kind, "/".join(rest), value)


def _read_numbers(rows: Iterable[Row]) -> Iterator[Record]:
    """Numbers that stand together, of one step, time and kind, were one record."""
    group: list[_Number] = []
    for number in map(_read_number, rows):
        if group and (number[:3] != group[0][:3] or any(each.name == number.name for each in group)):
            yield from _read_group(group)
            group = []
        group.append(number)
    yield from _read_group(group)


def _read_group(group: list[_Number]) -> Iterator[Record]:
    if not group:
        return
    step, time, kind, *_ = group[0]
    values = {each.name: each.value for each in group}
    if kind in ("epoch", "batch"):
        yield Reading(step, values, time, kind)  # type: ignore[arg-type]
    elif kind == "machine":
        yield MachineRecord(step, time, **{name: value for name, value in values.items() if name in MACHINE})
    elif kind == "worst":
        for index, loss in values.items():
            yield WorstSample(step, int(index), loss, time)


# Arrays -------------------------------------------------------------------------------------------------


def _arrays_of(record: TensorRecord | ClassRecord) -> Iterator[tuple[str, list[int], list[float]]]:
    if isinstance(record, ClassRecord):
        n = len(record.counts)
        yield "/classes", [n, n], [float(each) for row in record.counts for each in row]
        return
    where = (record.kind, record.layer, record.name)
    numbers = [float(getattr(record, name)) for name in STATISTICS]
    yield _path(*where), [len(numbers)], numbers
    if record.counts:
        shape = [len(record.edges) + len(record.counts)]
        yield _path(*where, record.scale), shape, [*map(float, record.edges), *map(float, record.counts)]


def _read_arrays(rows: Iterable[Row], numbers: Array) -> Iterator[Record]:
    last: TensorRecord | None = None
    for _, _, step, time, name, shape, start, length in rows:
        parts, values = _parts(name), numbers[start : start + length].tolist()
        is_histogram = last is not None and len(parts) == 4
        if last is not None and is_histogram:
            n_counts = (length - 1) // 2
            edges, counts = tuple(values[: n_counts + 1]), tuple(map(int, values[n_counts + 1 :]))
            last = replace(last, edges=edges, counts=counts, scale=parts[3])  # type: ignore[arg-type]
            continue
        if last is not None:
            yield last
        last = None
        if parts == ["classes"]:
            counts_of = np.array(values, np.int64).reshape(shape).tolist()
            yield ClassRecord(step, tuple(tuple(row) for row in counts_of), time)
        elif len(parts) == 3:
            last = _read_tensor(step, time, parts, values)
    if last is not None:
        yield last


def _read_tensor(step: int, time: float, parts: list[str], values: list[float]) -> TensorRecord:
    kind, layer, name = parts
    known: dict[str, Any] = dict(zip(STATISTICS, values, strict=False))
    known |= {each: int(known[each]) for each in ("size", "n_nonfinite")}
    return TensorRecord(step, layer, kind, name, time=time, **known)  # type: ignore[arg-type]


# Reading ------------------------------------------------------------------------------------------------


def rows_of(table: Table, name: str, trial_id: int | None = None) -> list[Row]:
    """Return a table's rows, of one trial if it is given."""
    columns = [table[spec.name] for spec in TABLES[name]]
    if trial_id is not None:
        where = [spec.name for spec in TABLES[name]].index("trial_id")
        return [row for row in zip(*(each.to_list() for each in columns), strict=True) if row[where] == trial_id]
    return list(zip(*(each.to_list() for each in columns), strict=True))


def records_in(detail: Detail, trial_id: int, attempt: int | None = None) -> Records:
    """Return what is kept of one attempt, by default of the trial's last one of which anything is.

    Within a kind the records have the order in which they were made.
    """
    rows = {name: rows_of(detail.tables[name], name, trial_id) for name in ("measurements", "arrays", "facts")}
    numbers = [row[1] for every in rows.values() for row in every]
    wanted = max(numbers, default=1) if attempt is None else attempt
    mine = {name: [row for row in every if row[1] == wanted] for name, every in rows.items()}
    facts = (from_json({**value, "record": name}) for _, _, name, value in mine["facts"])
    return Records.of(
        [
            *_read_numbers(mine["measurements"]),
            *_read_arrays(mine["arrays"], detail.array_values),
            *(each for each in facts if each is not None),
        ]
    )


def findings_in(table: Table, trial_id: int | None = None) -> list[FindingMade]:
    """Return the findings of a table, in the order of their making."""
    return [_read_finding(row) for row in rows_of(table, "findings", trial_id)]


def commands_in(table: Table) -> list[CommandTaken]:
    """Return the commands of a table, in the order in which they were taken up."""
    return [_read_command(row) for row in rows_of(table, "commands")]


def _finding_row(event: FindingMade) -> Row:
    finding = finding_from_json(event.finding)
    data = finding_to_json(finding)
    return (
        event.trial_id,
        event.attempt,
        finding.step,
        event.at,
        finding.rule,
        finding.family,
        finding.severity.value,
        finding.text,
        finding.probability,
        data["evidence"] or None,
        data["suggestions"] or None,
        finding.source,
    )


def _read_finding(row: Row) -> FindingMade:
    trial_id, attempt, step, at, rule, family, severity, text, probability, evidence, advice, source = row
    data = {
        "rule": rule,
        "severity": severity,
        "text": text,
        "evidence": evidence or {},
        "suggestions": advice or [],
        "source": source,
        "family": family,
        "step": step or 0,
        "probability": probability,
    }
    return FindingMade(trial_id, attempt, at, data)


def _command_row(event: CommandTaken) -> Row:
    arguments, reply = event.arguments or None, event.reply or None
    return event.at, event.command, event.trial_id, event.origin, arguments, reply, event.command_id


def _read_command(row: Row) -> CommandTaken:
    at, command, trial_id, origin, arguments, reply, command_id = row
    return CommandTaken(at, command, trial_id, origin or "", arguments or {}, reply or {}, command_id or "")


def plain_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Return the rows of ``measurements`` that are metrics of epochs, under their own names."""
    for row in rows:
        if not is_detail(row[4]):
            yield (*row[:4], read_metric_name(row[4]), row[5])


def to_lines(records: Iterable[Record]) -> tuple[dict[str, Any], ...]:
    """Return records as a journal's event has them."""
    return tuple(to_json(each) for each in records)
