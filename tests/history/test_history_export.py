"""A history as a table for other programs."""

from __future__ import annotations

import builtins
import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhflow.errors import HistoryError, MissingExtraError
from dhflow.history import History, export_history
from dhflow.history.event import (
    AttemptEnded,
    AttemptSubmitted,
    Event,
    StudyHeader,
    StudyRecord,
    TrialCreated,
    fold,
)
from dhflow.history.export import to_csv, to_json, to_pandas, trial_rows
from dhflow.testing.history import HEADER, finished_trial
from dhflow.trial import Attempt, Trial, TrialFailure, TrialStatus

FAILED = Attempt(1, TrialStatus.FAILED, 1.0, failure=TrialFailure("ValueError", 'no "good",\nreally', "", "f.py:3"))
EVENTS: list[Event] = [
    HEADER,
    *finished_trial(0, 0.5, x=0.5, opt="sgd", n=3, flag=True, mixed=1),
    TrialCreated(Trial(1, {"x": 0.25, "opt": "adam", "mixed": "one"}, budget=3.0, parent_id=0)),
    AttemptSubmitted(1, 1, 1.0),
    AttemptEnded(1, FAILED, TrialStatus.FAILED, metrics={"share": math.nan}, outcome_number=1),
    TrialCreated(Trial(2, {"x": 0.125, "opt": "adam", "n": 4, "mixed": None})),
]


@pytest.fixture
def record() -> StudyRecord:
    return fold(EVENTS)


def test_every_row_has_every_column_and_none_is_absent(record: StudyRecord) -> None:
    rows = trial_rows(record)
    assert [row["trial_id"] for row in rows] == [0, 1, 2]
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert rows[0]["value.accuracy"] == 0.5
    assert rows[0]["config.opt"] == "sgd"
    assert rows[0]["metric.epochs"] == 3
    assert rows[0]["duration_s"] == 1.0
    assert (rows[0]["host"], rows[0]["worker"], rows[0]["n_attempts"]) == ("nid0001", "4711.0", 1)
    assert rows[1]["failure_kind"] == "ValueError"
    assert rows[1]["failure_location"] == "f.py:3"
    assert (rows[1]["budget"], rows[1]["parent_id"]) == (3.0, 0)
    assert rows[1]["value.accuracy"] is None
    assert rows[1]["config.n"] is None
    assert (rows[2]["status"], rows[2]["submitted_at"], rows[2]["n_attempts"]) == ("pending", None, 0)


def test_csv_is_read_back_by_any_reader(record: StudyRecord) -> None:
    rows = list(csv.DictReader(to_csv(record).splitlines(keepends=True)))
    assert [row["config.opt"] for row in rows] == ["sgd", "adam", "adam"]
    assert rows[1]["failure_message"] == 'no "good",\nreally'
    assert float(rows[0]["config.x"]) == 0.5
    assert rows[1]["config.n"] == ""


def test_json_is_strict(record: StudyRecord) -> None:
    rows = json.loads(to_json(record), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert rows[0]["config.flag"] is True
    assert rows[1]["metric.share"] is None
    assert rows[2]["config.n"] == 4


def test_pandas_keeps_types_in_spite_of_gaps(record: StudyRecord) -> None:
    pd = pytest.importorskip("pandas")
    frame = to_pandas(record)
    assert frame["config.n"].dtype == "Int64"
    assert frame["config.flag"].dtype == "boolean"
    assert frame["value.accuracy"].dtype == "float64"
    assert frame["trial_id"].dtype == "int64"
    assert frame["failure_kind"].dtype == "string"
    assert frame["config.n"].isna().tolist() == [False, True, False]
    assert frame["config.mixed"].tolist()[:2] == [1, "one"]
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(trial_rows(record)[0])


def test_a_study_without_trials_has_no_rows() -> None:
    pytest.importorskip("pandas")
    frame = to_pandas(StudyRecord(header=HEADER))
    assert len(frame) == 0
    assert "config.x" in frame.columns
    assert "value.accuracy" in frame.columns
    assert json.loads(to_json(StudyRecord(header=HEADER))) == []
    assert to_csv(StudyRecord(header=HEADER)).startswith("trial_id,status,source,value.accuracy,config.x,")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet", ".CSV"])
def test_files_are_written_by_their_suffix(tmp_path: Path, suffix: str) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    history = History.create(tmp_path / "h.h5", HEADER, in_process=True)
    history.append(EVENTS[1:])
    destination = tmp_path / f"out{suffix}"
    destination.write_text("something older")
    assert export_history(tmp_path / "h.h5", destination) == 3  # while it is open
    history.close()
    read = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[suffix.lower()]
    frame = read(destination)
    assert frame["trial_id"].tolist() == [0, 1, 2]
    assert frame["config.opt"].tolist() == ["sgd", "adam", "adam"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["h.h5", f"out{suffix}"]


def test_a_parquet_column_of_several_types_becomes_text(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    with History.create(tmp_path / "h.h5", HEADER, in_process=True) as history:
        history.append(EVENTS[1:])
    export_history(tmp_path / "h.h5", tmp_path / "out.parquet")
    assert pd.read_parquet(tmp_path / "out.parquet")["config.mixed"].tolist()[:2] == ["1", '"one"']


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"\.csv, \.json, \.parquet"):
        export_history(tmp_path / "h.h5", tmp_path / "out.xlsx")


def test_without_pandas_the_extra_is_named(record: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(MissingExtraError, match=r"dhflow\[pandas\]"):
        to_pandas(record)


def test_a_header_with_more_parameters_than_any_trial_has() -> None:
    space = {"version": 1, "parameters": [{"name": "x"}, {"name": "never"}]}
    header: StudyHeader = replace(HEADER, space=space)
    rows = trial_rows(fold([header, *finished_trial(0)]))
    assert rows[0]["config.never"] is None
