"""A history as a flat table for other programs: CSV, JSON, Parquet, pandas.

One row per trial, in the order of ids. The columns, in their order:

* ``trial_id``; ``status`` (pending, running, completed, failed, stopped, lost); ``source`` (searcher, default,
  user, advice, added);
* ``value.<objective>`` in the user's sign, absent before completion; ``config.<parameter>``, absent where the
  parameter is inactive; ``metric.<name>`` for what else the objective returned;
* ``feasible``, only of a study with constraints: whether the values meet them all, absent without values;
* ``budget`` (absent for the full one); ``parent_id`` (the trial that this one continues); ``ask_number`` and
  ``ask_saw`` (which ask proposed it, how many outcomes that had seen); ``outcome_number`` (place in the order of
  outcomes); ``seed``;
* ``created_at`` and, of the last attempt, ``submitted_at``, ``started_at``, ``ended_at``, ``received_at``, all in
  UTC epoch seconds; ``duration_s`` on the worker; ``n_attempts``; ``host`` and ``worker`` of the last attempt;
* ``failure_kind``, ``failure_message`` and ``failure_location`` of the last attempt, absent if it has not failed.

Absent is an empty cell in CSV, null in JSON and Parquet, a missing value in pandas; a parameter whose value is
None looks the same.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.constraint import Constraint, is_feasible, parse_constraints
from dhflow.errors import HistoryError, MissingExtraError
from dhflow.history.disk import PathLike, history_error, write_whole
from dhflow.history.event import StudyRecord
from dhflow.history.reader import load_record
from dhflow.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def trial_rows(record: StudyRecord) -> list[Row]:
    """Return one row per trial, every row with every column; None is absent."""
    names = _columns(record)
    return [_row(record.trials[each], *names) for each in sorted(record.trials)]


def column_names(record: StudyRecord) -> list[str]:
    """Return the names of the columns; those of the space and the objectives are there before any trial is."""
    return list(_row(Trial(0, {}), *_columns(record)))


def _columns(record: StudyRecord) -> tuple[list[str], list[str], list[str], tuple[Constraint, ...]]:
    trials = record.trials.values()
    objectives = [each.name for each in record.header.objectives] if record.header else []
    declared = record.header.space.get("parameters", ()) if record.header else ()
    config = dict.fromkeys(each["name"] for each in declared)
    config |= dict.fromkeys(name for trial in trials for name in trial.config)
    metrics = dict.fromkeys(name for trial in trials for name in trial.metrics)
    return objectives, [*config], [*metrics], parse_constraints(record.header.constraints if record.header else ())


def _row(
    trial: Trial, objectives: list[str], config: list[str], metrics: list[str], constraints: tuple[Constraint, ...]
) -> Row:
    last = trial.attempts[-1] if trial.attempts else None
    failure = trial.failure
    return {
        "trial_id": trial.trial_id,
        "status": trial.status.value,
        "source": trial.source.value,
        **{f"value.{name}": trial.values.get(name) for name in objectives},
        **{f"config.{name}": trial.config.get(name) for name in config},
        **{f"metric.{name}": trial.metrics.get(name) for name in metrics},
        **({"feasible": is_feasible(trial, constraints) if trial.values else None} if constraints else {}),
        "budget": trial.budget,
        "parent_id": trial.parent_id,
        "ask_number": trial.ask_number,
        "ask_saw": trial.ask_saw,
        "outcome_number": trial.outcome_number,
        "seed": trial.seed,
        "created_at": trial.created_at,
        **{name: last and getattr(last, name) for name in ("submitted_at", "started_at", "ended_at", "received_at")},
        "duration_s": trial.duration_s,
        "n_attempts": len(trial.attempts),
        "host": last and last.host,
        "worker": last and last.worker,
        "failure_kind": failure and failure.kind,
        "failure_message": failure and failure.message,
        "failure_location": failure and failure.location,
    }


def to_pandas(record: StudyRecord) -> pd.DataFrame:
    """Return the rows of :func:`trial_rows` as a DataFrame.

    Raises
    ------
    MissingExtraError
        Without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("a DataFrame needs pandas", "pandas") from error
    rows = trial_rows(record)
    return pd.DataFrame({name: _series(name, [row[name] for row in rows]) for name in column_names(record)})


def _series(name: str, cells: list[Any]) -> Any:
    import pandas as pd

    # Missing values must turn neither whole numbers into floats nor truth values into objects.
    kinds = {type(cell) for cell in cells if cell is not None}
    dtype = _KNOWN_DTYPES.get(name) or _DTYPES.get(frozenset(kinds), "object")
    return pd.Series(cells, dtype=dtype, name=name)


_KNOWN_DTYPES = {
    "feasible": "boolean",
    **dict.fromkeys(("trial_id", "seed", "n_attempts"), "int64"),
    **dict.fromkeys(("parent_id", "ask_number", "ask_saw", "outcome_number"), "Int64"),
    **dict.fromkeys(("host", "worker", "failure_kind", "failure_message", "failure_location"), "string"),
}
_DTYPES: dict[frozenset[type], str] = {
    frozenset(): "float64",
    frozenset({float}): "float64",
    frozenset({int}): "Int64",
    frozenset({bool}): "boolean",
    frozenset({str}): "string",
}


def to_csv(record: StudyRecord) -> str:
    """Return the rows of :func:`trial_rows` as CSV with a header line; Unix line ends, UTF-8 when written."""
    text = io.StringIO()
    writer = csv.DictWriter(text, column_names(record), lineterminator="\n")
    writer.writeheader()
    writer.writerows(trial_rows(record))
    return text.getvalue()


def to_json(record: StudyRecord) -> str:
    """Return the rows of :func:`trial_rows` as a JSON list of objects; NaN and infinities become null."""
    rows = [{name: _finite_or_none(cell) for name, cell in row.items()} for row in trial_rows(record)]
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows) + "\n]\n"


def _finite_or_none(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def to_parquet(record: StudyRecord) -> bytes:
    """Return the rows of :func:`trial_rows` as a Parquet file.

    Raises
    ------
    MissingExtraError
        Without pandas and pyarrow.
    """
    frame = to_pandas(record)
    # A Parquet column has one type: a parameter whose choices are of several becomes text.
    for name in frame.select_dtypes("object").columns:
        if len({type(cell) for cell in frame[name].dropna()}) > 1:
            frame[name] = frame[name].map(json.dumps, na_action="ignore")
    file = io.BytesIO()
    try:
        frame.to_parquet(file, engine="pyarrow", index=False)
    except ImportError as error:
        raise MissingExtraError("a Parquet file needs pyarrow", "pandas") from error
    return file.getvalue()


def _encoded(write: Callable[[StudyRecord], str]) -> Callable[[StudyRecord], bytes]:
    return lambda record: write(record).encode("utf-8", errors="backslashreplace")


FORMATS: Mapping[str, Callable[[StudyRecord], bytes]] = {
    ".csv": _encoded(to_csv),
    ".json": _encoded(to_json),
    ".parquet": to_parquet,
}
"""How to write each kind of file, by its suffix."""


def export_history(history: PathLike, destination: PathLike) -> int:
    """Write a history as CSV, JSON or Parquet, whichever the suffix of `destination` says.

    Parameters
    ----------
    history : path
        May be in use by a search.
    destination : path
        Replaced whole if it is there.

    Returns
    -------
    int
        How many trials were written.

    Raises
    ------
    HistoryError
        If the history cannot be read, the suffix is unknown, or the file cannot be written.
    MissingExtraError
        For Parquet, without pandas and pyarrow.
    """
    destination = Path(destination)
    write = FORMATS.get(destination.suffix.lower())
    if write is None:
        raise HistoryError(f"cannot export to {destination}: its name must end with one of {', '.join(FORMATS)}")
    record = load_record(history)
    try:
        write_whole(destination, write(record))
    except OSError as error:
        raise history_error(error, "the export cannot be written", destination) from error
    return len(record.trials)
