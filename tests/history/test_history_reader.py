"""Readers meet the writer at every step of a close, and still see one whole study."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow.errors import HistoryCorruptError, HistoryError
from dhflow.history import History, exists, load_header, load_record, read_curve, read_measurements
from dhflow.history.event import AttemptEnded, AttemptSubmitted, TrialCreated
from dhflow.history.hdf5 import read_record
from dhflow.history.reader import read_parts
from dhflow.testing.history import HEADER, finished_trial
from dhflow.trial import Attempt, Measurement, Trial, TrialStatus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


def meddling(*steps: Callable[[], object]) -> Callable[[Any], Any]:
    """Read a record, and let the writer take one more step while the file is open."""
    left = iter(steps)

    def read(file: Any) -> Any:
        record = read_record(file)
        next(left, lambda: None)()
        return record

    return read


def n_trials(path: Path, *steps: Callable[[], object]) -> int:
    parts = read_parts(path, meddling(*steps))
    assert parts.found is not None
    return len(parts.found.trials) + sum(isinstance(event, TrialCreated) for event in parts.events())


def test_a_study_is_there_from_its_first_event_on(path: Path) -> None:
    assert not exists(path)
    history = History.create(path, HEADER, in_process=True)
    assert exists(path)
    assert not path.exists()
    assert load_header(path) == HEADER
    history.close()
    assert exists(str(path))
    assert load_header(str(path)) == HEADER


def test_a_checkpoint_in_the_middle_of_a_reading(path: Path) -> None:
    history = History.create(path, HEADER, in_process=True)
    history.append(finished_trial(0))
    history.checkpoint(wait=True)

    def one_more() -> None:
        history.append(finished_trial(1))
        history.checkpoint(wait=True)

    assert n_trials(path, one_more) == 2
    history.release()


def test_a_close_in_the_middle_of_a_reading(path: Path) -> None:
    history = History.create(path, HEADER, in_process=True)
    history.append(finished_trial(0))
    history.checkpoint(wait=True)
    history.append(finished_trial(1))
    assert n_trials(path, history.close) == 2


def test_a_close_and_a_new_session_in_the_middle_of_a_reading(path: Path) -> None:
    history = History.create(path, HEADER, in_process=True)
    history.append(finished_trial(0))
    history.checkpoint(wait=True)
    history.append(finished_trial(1))

    def close_and_go_on() -> None:
        history.close()
        again = History.open(path, in_process=True)
        again.append(finished_trial(2))
        again.release()

    assert n_trials(path, close_and_go_on) == 3


def test_a_writer_that_is_always_quicker_does_not_keep_a_reader_forever(path: Path) -> None:
    with History.create(path, HEADER, in_process=True) as history:
        history.append(finished_trial(0))
    numbers = iter(range(1, 100))

    def another_session() -> None:
        with History.open(path, in_process=True) as again:
            again.append(finished_trial(next(numbers)))

    assert n_trials(path, *[another_session] * 30) >= 9


def test_a_first_checkpoint_and_close_between_file_and_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History.create(path, HEADER, in_process=True)
    history.append(finished_trial(0))
    read_tail = __import__("dhflow.history.reader", fromlist=["_read_tail"])._read_tail

    def after_a_close(*arguments: Any) -> Any:
        history.close()
        return read_tail(*arguments)

    monkeypatch.setattr("dhflow.history.reader._read_tail", after_a_close)
    assert list(load_record(path).trials) == [0]


def test_a_file_gone_stale_over_nfs_is_opened_anew(path: Path) -> None:
    with History.create(path, HEADER, in_process=True):
        pass
    n_stale = 0

    def stale_once(file: Any) -> Any:
        nonlocal n_stale
        if not n_stale:
            n_stale += 1
            raise HistoryError(errno.ESTALE, "Stale file handle", str(path))
        return read_record(file)

    assert read_parts(path, stale_once).found is not None


def test_a_missing_history_says_so(path: Path) -> None:
    for read in (load_record, load_header, read_measurements):
        with pytest.raises(HistoryError, match="no history"):
            read(path)


def test_a_folder_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be read"):
        load_record(tmp_path)


def test_damage_is_told_at_once_and_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with History.create(path, HEADER, in_process=True):
        pass
    path.write_bytes(path.read_bytes()[:-600])
    n_readings = []

    def count(file: Any) -> Any:
        n_readings.append(1)
        return read_record(file)

    with pytest.raises(HistoryCorruptError):
        read_parts(path, count)
    assert len(n_readings) <= 1


def test_curves_by_trial_and_of_the_last_attempt(path: Path) -> None:
    lost = (Measurement(1, 5.0, "loss", 9.0),)
    history = History.create(path, HEADER, in_process=True)
    history.append(
        [
            TrialCreated(Trial(0, {})),
            AttemptSubmitted(0, 1, 1.0),
            AttemptEnded(0, Attempt(1, TrialStatus.LOST, 1.0), TrialStatus.PENDING, measurements=lost),
        ]
    )
    history.append(finished_trial(1))
    history.checkpoint(wait=True)
    done = (Measurement(1, 6.0, "loss", 8.0), Measurement(1, 6.0, "acc", float("inf")))
    history.append(
        [
            AttemptSubmitted(0, 2, 5.5),
            AttemptEnded(0, Attempt(2, TrialStatus.COMPLETED, 5.5), TrialStatus.COMPLETED, measurements=done),
        ]
    )
    rows = read_measurements(path, 0)
    assert rows.dtype.names == ("trial_id", "attempt", "step", "time", "name", "value")
    assert rows["attempt"].tolist() == [1, 2, 2]
    assert rows["name"].tolist() == ["loss", "loss", "acc"]
    assert rows["value"].dtype == np.float64
    assert read_curve(path, 0) == list(done)
    assert len(read_measurements(path)) == 5
    assert read_curve(path, 7) == []
    history.close()
    assert read_curve(path, 0) == list(done)
