from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.train import Task, WorkerNotes
from dhflow.train.line_file import LineFile
from dhflow.train.worker_files import WorkerFiles, worker_files
from dhflow.train.worker_notes import host_name, result_from_line, result_line
from dhflow.trial import Measurement, TrialFailure, TrialResult, TrialStatus

TaskMaker = Callable[..., Task]

RESULT = TrialResult(
    trial_id=3,
    attempt=2,
    status=TrialStatus.STOPPED,
    started_at=10.5,
    ended_at=11.25,
    values={"objective": 0.125, 'a "quoted" name': 1e300},
    metrics={"n": 3, "name": "ä", "flag": True, "none": None},
    failure=TrialFailure("ValueError", "no", "Traceback…", "f.py:3", "node", "SIGKILL", 4),
    host="node",
    worker="12",
    budget=4.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    session = tmp_path / "workers" / "0"
    session.mkdir(parents=True)
    return session


def task_of(make_task: TaskMaker, trial_id: int, attempt: int = 1) -> Task:
    return replace(make_task(lambda config: 1.0), trial_id=trial_id, attempt=attempt)


def done(trial_id: int, attempt: int = 1) -> TrialResult:
    return replace(RESULT, trial_id=trial_id, attempt=attempt)


def test_a_line_reads_back() -> None:
    assert result_from_line(result_line(RESULT)) == RESULT
    bare = TrialResult(0, 1, TrialStatus.COMPLETED, 1.0, 2.0, values={"objective": 0.1})
    assert result_from_line(result_line(bare)) == bare
    assert json.loads(result_line(bare))["values"] == {"objective": 0.1}
    curve = replace(bare, measurements=(Measurement(1, 2.0, "loss", 0.5),))
    assert result_from_line(result_line(curve)) == bare


def test_notes_of_one_worker(make_task: TaskMaker, folder: Path) -> None:
    files, notes = WorkerFiles(str(folder)), WorkerNotes(folder.parent)
    files.begin(task_of(make_task, 3, 2))
    notes.refresh({3: 2})
    start = notes.start(3, 2)
    assert start is not None
    assert (start.host, start.pid) == (host_name(), os.getpid())
    assert notes.result(3, 2) is None
    assert notes.start(3, 1) is None
    files.end(RESULT)
    notes.refresh({3: 2})
    assert notes.result(3, 2) == RESULT
    assert notes.start(3, 2) == start
    notes.refresh({})
    assert notes.result(3, 2) is None
    assert notes.start(3, 2) is None


def test_only_wanted_attempts_are_kept(make_task: TaskMaker, folder: Path) -> None:
    files, notes = WorkerFiles(str(folder)), WorkerNotes(folder.parent)
    for trial_id in range(50):
        files.begin(task_of(make_task, trial_id))
        files.end(done(trial_id))
    notes.refresh({7: 1, 8: 2})
    assert notes.result(7, 1) == done(7)
    assert notes.result(8, 1) is None
    notes.refresh({7: 1, 9: 1})
    assert notes.result(7, 1) == done(7)
    assert notes.result(9, 1) is None


def test_every_process_and_every_session_has_files_of_its_own(make_task: TaskMaker, folder: Path) -> None:
    other = folder.parent / "1"
    other.mkdir()
    first, second, third = WorkerFiles(str(folder)), WorkerFiles(str(folder)), WorkerFiles(str(other))
    for trial_id, files in enumerate((first, second, third)):
        files.begin(task_of(make_task, trial_id))
    base = f"{host_name()}-{os.getpid()}"
    assert {each.name for each in folder.iterdir()} == {f"{base}.jsonl", f"{base}.1.jsonl"}
    notes = WorkerNotes(folder.parent)
    notes.refresh({0: 1, 1: 1, 2: 1})
    assert all(notes.start(trial_id, 1) for trial_id in range(3))


def test_a_process_has_one_set_of_files_and_a_fork_its_own(
    make_task: TaskMaker, worker: ProcessPoolExecutor, folder: Path
) -> None:
    assert worker.submit(fork_and_note, task_of(make_task, 1), str(folder)).result() == 0
    assert len(list(folder.glob("*.jsonl"))) == 2


def fork_and_note(task: Task, folder: str) -> int:
    worker_files(folder).begin(task)
    assert worker_files(folder) is worker_files(folder)
    child = os.fork()
    if child == 0:
        worker_files(folder).begin(replace(task, trial_id=2))
        os._exit(0)
    return os.waitpid(child, 0)[1]


def count_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_files_of_ended_sessions_are_closed(make_task: TaskMaker, folder: Path) -> None:
    old = worker_files(str(folder))
    old.begin(task_of(make_task, 1))
    old.spare_log().take()
    old.spare_log().give_back()
    n_open = count_open()
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    other = folder.parent / "1"
    other.mkdir()
    worker_files(str(other))
    assert count_open() == n_open - 2


def test_threads_write_whole_lines(make_task: TaskMaker, folder: Path) -> None:
    files, task = WorkerFiles(str(folder)), make_task(lambda config: 1.0)

    def note(number: int) -> None:
        for trial_id in range(number * 100, number * 100 + 100):
            files.begin(replace(task, trial_id=trial_id, attempt=1))
            files.end(done(trial_id))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(8)))
    notes = WorkerNotes(folder.parent)
    notes.refresh(dict.fromkeys(range(800), 1))
    assert all(notes.start(trial_id, 1) and notes.result(trial_id, 1) for trial_id in range(800))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=6))
def test_a_torn_file_is_read_as_far_as_it_is_whole(tmp_path: Path, cuts: list[int]) -> None:
    whole = b'{"trial_id": 3, "attempt": 2, "started": 1.5, "host": "a", "pid": 4}\n' + result_line(RESULT)
    session = tmp_path / "workers" / "0"
    session.mkdir(parents=True, exist_ok=True)
    file, notes = session / "a-4.jsonl", WorkerNotes(tmp_path / "workers")
    for cut in sorted(cuts):
        file.write_bytes(whole[:cut])
        notes.refresh({3: 2})
        assert (notes.start(3, 2) is not None) == (b"\n" in whole[:cut])
        assert notes.result(3, 2) == (RESULT if cut >= len(whole) else None)
    file.write_bytes(whole)
    notes.refresh({3: 2})
    assert notes.result(3, 2) == RESULT


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[1]",
        b"\x00",
        b'{"trial_id": 3, "attempt": 2, "status": "odd"}',
        b'{"trial_id": 3, "attempt": 2, "started": "x", "host": "a"}',
        b'{"trial_id": 3, "attempt": 2, "status": "completed", "failure": 3}',
    ],
)
def test_what_is_no_note_is_passed_over(folder: Path, line: bytes) -> None:
    (folder / "a-4.jsonl").write_bytes(line + b"\n" + result_line(RESULT))
    notes = WorkerNotes(folder.parent)
    notes.refresh({3: 2})
    assert notes.start(3, 2) is None
    assert notes.result(3, 2) == RESULT


def test_missing_folders_hold_nothing(tmp_path: Path) -> None:
    notes = WorkerNotes(tmp_path / "gone")
    notes.refresh({1: 1})
    assert notes.start(1, 1) is None
    assert notes.last_words(1, 1) == ""
    notes.save_output(1, 1, tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_a_dead_workers_output_and_last_words_are_those_of_the_attempt_it_was_at(
    make_task: TaskMaker, folder: Path, tmp_path: Path
) -> None:
    files, notes = WorkerFiles(str(folder)), WorkerNotes(folder.parent)
    for trial_id in (1, 2):
        files.begin(task_of(make_task, trial_id))
    os.write(files.spare_log().take(), b"from C")
    os.write(files.timeout_fd(), b"Timeout (0:00:01)!")
    notes.refresh({1: 1, 2: 1})
    for trial_id in (1, 2):
        notes.save_output(trial_id, 1, tmp_path / str(trial_id))
    assert not (tmp_path / "1").exists()
    assert (tmp_path / "2" / "output.log").read_text() == "from C"
    assert notes.last_words(1, 1) == ""
    assert notes.last_words(2, 1) == "Timeout (0:00:01)!"


def test_a_line_torn_by_a_full_disk_spoils_none_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = LineFile(str(tmp_path / "lines")), os.write

    def half_full(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[: len(data) // 2])

    file.append(b"first\n")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half_full)
        with pytest.raises(OSError, match="No space"):
            file.append(b"second second second\n")
    file.append(b"third\n")
    file.close()
    lines = (tmp_path / "lines").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("first", "third")
    file.append(b"reopened\n")
    file.close()
    assert (tmp_path / "lines").read_text().endswith("third\nreopened\n")
