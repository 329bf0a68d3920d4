from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.train import attempt_directory as files
from dhflow.train.curve import to_line


def test_making_a_directory_twice_is_no_error(tmp_path: Path) -> None:
    directory = tmp_path / "trials" / "4" / "1"
    files.make_directory(str(directory))
    files.make_directory(str(directory))
    assert directory.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        files.make_directory(str(tmp_path / "file" / "1"))


def test_older_files_are_kept_beside_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "trial" / "log"
    for number in range(3):
        new = tmp_path / "new"
        new.write_text(str(number))
        files.put_in_place(str(new), str(log))
    assert {each.name: each.read_text() for each in log.parent.iterdir()} == {"log": "2", "log.1": "0", "log.2": "1"}


def test_readers_tolerate_missing_files(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert files.last_step(gone) is None
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
