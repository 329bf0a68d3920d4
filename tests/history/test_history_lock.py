"""One writer at a time: who holds the lock is told, and a dead holder holds nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dhflow.errors import HistoryLockedError
from dhflow.history.lock import WriterLock, lock_path

HOLDER = """
import sys
from pathlib import Path
from dhflow.history.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


def holder_of(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_another_process_is_named_and_its_death_sets_free(path: Path) -> None:
    with holder_of(path) as holder:
        with pytest.raises(HistoryLockedError, match=f"process {holder.pid} on {os.uname().nodename}") as caught:
            WriterLock(path)
        assert str(path) in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        holder.kill()
        holder.wait()
    WriterLock(path).release()


def test_a_second_one_in_this_process_is_refused_too(path: Path) -> None:
    lock = WriterLock(path)
    with pytest.raises(HistoryLockedError, match=r"\(this one\)"):
        WriterLock(path)
    lock.release()
    lock.release()
    WriterLock(path).release()
    assert not lock_path(path).exists()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    lock = WriterLock(path)
    until, go = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # outlives the lock, as a process pool's worker outlives a killed driver
        os.close(go)
        os.write(tell, b"x")
        os.read(until, 1)
        os._exit(0)
    try:
        os.read(told, 1)
        os.close(lock._fd)  # as the kernel does for a killed process: without unlocking
        lock._fd = -1
        WriterLock(path).release()
    finally:
        for each in (go, until, told, tell):
            os.close(each)
        os.waitpid(child, 0)


def test_a_file_removed_by_the_last_holder_is_not_what_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    n_removals = iter([True])

    def after_a_removal(fd: int, operation: int) -> None:
        if next(n_removals, False):  # between our open and our lock
            lock_path(path).unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", after_a_removal)
    lock = WriterLock(path)
    with pytest.raises(HistoryLockedError):
        WriterLock(path)
    lock.release()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, as Lustre is when mounted without them."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_there_is_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lock = WriterLock(path)
    assert "no locks" in caplog.text
    assert json.loads(lock_path(path).read_text())["pid"] == os.getpid()
    with pytest.raises(HistoryLockedError, match="remove that file"):
        WriterLock(path)
    lock.release()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("text", ['{"host": "elsewhere", "pid": 1}', "", "[]", "\xff"])
def test_without_locks_a_stale_file_does_not_hinder(path: Path, text: str) -> None:
    lock_path(path).write_text(text, encoding="latin-1")
    WriterLock(path).release()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_file_of_a_dead_process_does_not_hinder(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    lock_path(path).write_text(json.dumps({"host": os.uname().nodename, "pid": child.pid}))
    WriterLock(path).release()
