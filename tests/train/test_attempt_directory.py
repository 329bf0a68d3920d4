from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.train import attempt_directory as files
from dhflow.train.curve import to_line
from dhflow.trial import Measurement, TrialFailure, TrialResult, TrialStatus

RESULT = TrialResult(
    trial_id=3,
    attempt=2,
    status=TrialStatus.STOPPED,
    started_at=10.5,
    ended_at=11.25,
    values={"objective": 0.125},
    metrics={"n": 3, "name": "ä", "flag": True, "none": None},
    failure=TrialFailure("ValueError", "no", "Traceback…", "f.py:3", "node", "SIGKILL", 4),
    host="node",
    worker="12",
    budget=4.0,
)


def test_begin_makes_all_folders_and_marks_every_start(tmp_path: Path) -> None:
    directory = tmp_path / "trials" / "4" / "1"
    assert files.read_start(directory) is None
    files.begin(str(directory))
    files.begin(str(directory))
    starts = files.read_starts(directory)
    assert len(starts) == 2
    assert starts[0].pid == os.getpid()
    assert starts[0].host == files.host_name()
    assert starts[0].time <= starts[1].time
    assert files.read_start(directory) == starts[1]


def test_a_directory_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        files.begin(str(tmp_path / "file" / "1"))


def test_a_result_reads_back_with_the_curve(tmp_path: Path) -> None:
    files.write_result(str(tmp_path), RESULT)
    (tmp_path / files.RECORDS).write_bytes(to_line((1, 2.0, {"loss": 0.5})))
    read = files.read_result(tmp_path)
    assert read is not None
    assert read.measurements == (Measurement(1, 2.0, "loss", 0.5),)
    assert files.result_from_json(files.result_to_json(RESULT)) == RESULT
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith("tmp")] == []


def test_a_failed_write_leaves_no_half_result(tmp_path: Path) -> None:
    (tmp_path / files.RESULT).mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_result(str(tmp_path), RESULT)
    assert [each.name for each in tmp_path.iterdir()] == [files.RESULT]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 600))
def test_a_torn_result_is_none(tmp_path: Path, cut: int) -> None:
    files.write_result(str(tmp_path), RESULT)
    whole = (tmp_path / files.RESULT).read_bytes()
    (tmp_path / files.RESULT).write_bytes(whole[:cut])
    assert files.read_result(tmp_path) == (RESULT if cut >= len(whole) else None)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"trial_id": 1, "status": "odd"}', "\x00"])
def test_what_is_no_result_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / files.RESULT).write_text(text)
    assert files.read_result(tmp_path) is None


def test_readers_tolerate_missing_files(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert files.read_result(gone) is None
    assert files.read_start(gone) is None
    assert files.last_step(gone) is None
    assert files.read_timeout(gone) is None
    assert files.read_measurements(gone) == ()
    assert files.read_output(gone) == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_torn_curve_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    lines = [to_line((step, float(step), {"loss": 1.0 / step})) for step in range(1, 6)]
    (tmp_path / files.RECORDS).write_bytes(b"".join(lines)[:cut])
    n_whole = sum(cut >= len(b"".join(lines[:index])) - 1 for index in range(1, 6))  # the newline itself may be torn
    assert [each.step for each in files.read_measurements(tmp_path)] == list(range(1, n_whole + 1))
    assert files.last_step(tmp_path) == (n_whole or None)


def test_last_step_reads_only_the_end(tmp_path: Path) -> None:
    with (tmp_path / files.RECORDS).open("wb") as file:
        for step in range(5_000):
            file.write(to_line((step, 0.0, {"loss": 0.0})))
        file.write(b'{"step": 5000, "ti')
    assert files.last_step(tmp_path) == 4_999


def test_torn_start_markers_are_skipped(tmp_path: Path) -> None:
    (tmp_path / files.START).write_text('{"host": "a", "pid": 1, "time": 2.0}\n[]\n{"host": "b", "pi')
    assert files.read_start(tmp_path) == files.Start("a", 1, 2.0)


def test_an_empty_timeout_file_is_no_timeout(tmp_path: Path) -> None:
    (tmp_path / files.TIMEOUT).write_text("")
    assert files.read_timeout(tmp_path) is None
    (tmp_path / files.TIMEOUT).write_text("Timeout (0:00:01)!\n")
    assert files.read_timeout(tmp_path) == "Timeout (0:00:01)!\n"
