"""What the monitor keeps, as rows and back."""

from __future__ import annotations

import math
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow import load
from dhflow.errors import HistoryCorruptError
from dhflow.history import (
    History,
    load_record,
    read_commands,
    read_curve,
    read_findings,
    read_measurements,
    read_records,
    write_run,
)
from dhflow.history.event import AttemptEnded, AttemptSubmitted, Event, TrialCreated, from_json, to_json
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.history.monitor_tables import metric_name, read_metric_name, to_lines
from dhflow.history.run_file import is_written
from dhflow.monitor.finding import Finding, Severity, Suggestion, finding_from_json, finding_to_json
from dhflow.monitor.record import (
    ClassRecord,
    DataFacts,
    Layer,
    MachineRecord,
    NetworkFacts,
    Reading,
    Record,
    Records,
    TensorRecord,
    WorstSample,
)
from dhflow.testing.history import HEADER
from dhflow.trial import Attempt, Measurement, Trial, TrialStatus

DETAIL: list[Record] = [
    NetworkFacts((Layer("a/b", "Dense", "relu", 64, 640), Layer("out", "Dense")), "mse", clip_norm=math.inf),
    DataFacts(1000, 256, 0.5, 0.25, class_counts=(600, 400)),
    Reading(40, {"loss": 0.25, "val loss/é": math.nan}, 1.5, "batch"),
    Reading(41, {"loss": -math.inf}, 1.5, "batch"),
    TensorRecord(1, "a/b", "weight", "kernel", 20, 1.5, n_nonfinite=2, time=2.0),
    TensorRecord(1, "a/b", "gradient", "ker%2Fnel", 20, 1.5, edges=(-1.0, 0.0, 1.0), counts=(3, 4), time=2.0),
    TensorRecord(1, "a/b", "activation", "", 20, dead_share=0.5, edges=(-3.0, 0.0), counts=(7,), scale="log"),
    MachineRecord(1, 12.5, step_time_s=0.1, input_wait_s=0.05),
    MachineRecord(2, 13.5, cpu_share=0.5),
    ClassRecord(1, ((8, 2), (1, 9)), 3.0),
    WorstSample(1, 17, 4.5, 3.0),
    WorstSample(1, 3, math.inf, 3.0),
]
STOP = Suggestion("stop", "stop", "stop this run", "overflow")
CLIP = Suggestion("clip_gradients", "change", "clip", "r", "e", {"clip": 0.1})
FINDING = Finding("overflow", Severity.CRITICAL, "überlaufen", {"n": 3, "x": "nan"}, (CLIP, STOP), "seen", "f", 2, 0.75)
CURVE = tuple(Measurement(step, float(step), name, 1.0 / step) for step in (1, 2) for name in ("loss", "/odd"))


def of_every_kind(n: int = 3) -> list[Event]:
    """Return the events of some trials with everything that the monitor keeps."""
    events: list[Event] = []
    for number in range(n):
        attempt = Attempt(1, TrialStatus.STOPPED, 1.0, 1.0, 2.0, 3.0)
        events += [
            TrialCreated(Trial(number, {"x": 0.5})),
            AttemptSubmitted(number, 1, 1.0),
            FindingMade(number, 1, 2.0, finding_to_json(replace(FINDING, step=number))),
            CommandTaken(2.5, "stop", number, "policy", {"rule": "overflow"}, {"stopped": True}, f"c{number}"),
            RecordsKept(number, 1, to_lines(DETAIL)),
            AttemptEnded(number, attempt, TrialStatus.STOPPED, measurements=CURVE, outcome_number=number),
        ]
    return [*events, CommandTaken(3.0, "pause", None)]


@pytest.mark.parametrize("event", of_every_kind(1), ids=lambda each: type(each).__name__)
def test_an_event_survives_the_journal(event: Event) -> None:
    assert from_json(to_json(event)) == event


@pytest.mark.parametrize("n_in_file", [0, 5, 9, 13, 19])
def test_file_and_journal_together_give_back_what_was_kept(tmp_path: Path, n_in_file: int) -> None:
    path, events = tmp_path / "h.h5", of_every_kind()
    history = History.create(path, HEADER, in_process=True)
    history.append(events[:n_in_file])
    history.checkpoint(wait=True)
    history.append(events[n_in_file:])
    for _ in range(2):
        for number in range(3):
            found = read_records(path, number)
            every = [Reading(1, {"loss": 1.0, "/odd": 1.0}, 1.0), Reading(2, {"loss": 0.5, "/odd": 0.5}, 2.0), *DETAIL]
            by_kind = Records.of(every)
            # Detail comes before the curve where it was recorded first; within a kind of number the order stays.
            assert sorted(map(repr, found.readings)) == sorted(map(repr, by_kind.readings))
            assert repr(replace(found, readings=())) == repr(replace(by_kind, readings=()))
            (event,) = read_findings(path, number)
            assert finding_from_json(event.finding) == replace(FINDING, step=number)
            assert [each.value for each in read_curve(path, number)] == [1.0, 1.0, 0.5, 0.5]
        assert read_commands(path) == [each for each in events if isinstance(each, CommandTaken)]
        assert set(read_measurements(path)["name"]) == {"loss", "/odd"}
        assert len(read_findings(path)) == 3
        history.close()


def test_a_finding_of_a_trial_that_was_never_made_is_refused(tmp_path: Path) -> None:
    with History.create(tmp_path / "h.h5", HEADER, in_process=True) as history, pytest.raises(HistoryCorruptError):
        history.append([FindingMade(7, 1, 0.0, finding_to_json(FINDING))])


@given(st.text(max_size=12))
def test_a_metric_keeps_its_name(name: str) -> None:
    assert read_metric_name(metric_name(name)) == name
    assert not metric_name(name).startswith("/")


@pytest.mark.parametrize("status", [TrialStatus.RUNNING, TrialStatus.COMPLETED, TrialStatus.STOPPED])
def test_a_run_without_a_search_has_a_file_of_its_own(tmp_path: Path, status: TrialStatus) -> None:
    path = tmp_path / "run.h5"
    curve = [Reading(n, {"val_accuracy": 0.1 * n, "loss": 1.0 / n}, 100.0 + n) for n in (1, 2, 3)]
    records = Records.of([*curve, *DETAIL])
    for n in (1, 3):  # again and again, as the run goes on
        write_run(
            path,
            Records.of([*curve[:n], *DETAIL]),
            [(101.0, FINDING)],
            metric="val_accuracy",
            direction="maximize",
            config={"lr": 0.1},
            budget=5.0,
            status=status,
            started_at=100.0,
        )
    assert repr(read_records(path, 0)) == repr(records)
    assert [finding_from_json(each.finding) for each in read_findings(path)] == [FINDING]
    trial = load(path).record.trials[0]
    assert (trial.status, dict(trial.config)) == (status, {"lr": 0.1})
    assert (trial.objective is None) == (status is TrialStatus.RUNNING)
    if trial.objective is not None:
        assert np.isclose(trial.objective, 0.3)
    assert trial.budget == (3.0 if status is TrialStatus.STOPPED else 5.0)
    assert load_record(path).header is not None


def test_a_run_whose_every_loss_overflowed_has_failed(tmp_path: Path) -> None:
    write_run(tmp_path / "r.h5", Records.of([Reading(1, {"val_loss": math.nan})]), status=TrialStatus.COMPLETED)
    assert load_record(tmp_path / "r.h5").trials[0].status is TrialStatus.FAILED


def test_whether_a_run_goes_on_is_known_by_its_process_and_elsewhere_by_the_age_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    began = time.time() - 10_000.0
    write_run(path, Records.of([Reading(1, {"val_loss": 1.0})]), started_at=began)
    trial = load_record(path).trials[0]
    assert is_written(path, trial)
    attempt = trial.attempts[0]
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    gone = replace(trial, attempts=(replace(attempt, worker=str(ended.pid)),))
    assert not is_written(path, gone)
    elsewhere = replace(trial, attempts=(replace(attempt, host="elsewhere"),))
    assert is_written(path, elsewhere)
    for silent_s, goes_on in ((3_000.0, True), (5_500.0, False)):
        now = time.time() - silent_s
        os.utime(path, (now, now))
        assert is_written(path, elsewhere) is goes_on
    write_run(path, Records.of([Reading(1, {"val_loss": 1.0})]), status=TrialStatus.COMPLETED)
    assert not is_written(path, load_record(path).trials[0])
