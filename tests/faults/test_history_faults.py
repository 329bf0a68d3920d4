"""Processes killed at every write call and at random moments, and a disk that runs full.

By default a sample of the moments is tried; ``DHFLOW_FAULTS=all`` tries every one.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dhflow.errors import HistoryError
from dhflow.history import History, exists, hdf5, load_record, read_measurements
from dhflow.history.event import Event, fold
from dhflow.testing.history import HEADER, canonical, finished_trial

pytestmark = pytest.mark.faults

RUN = Path(__file__).with_name("recorded_run.py")
N_TRIALS = 60
EVERY = os.environ.get("DHFLOW_FAULTS") == "all"
CALLS = "write,pwrite64,writev,pwritev,rename,renameat,renameat2,unlink,unlinkat,ftruncate,truncate,fsync,fdatasync"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
    "PYTHONDONTWRITEBYTECODE": "1",
}

RecordProperty = Callable[[str, object], None]
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def command(path: Path, *more: object) -> list[str]:
    return [sys.executable, str(RUN), str(path), str(N_TRIALS), *map(str, more)]


def acknowledged(output: Path) -> tuple[int, int]:
    """Return how many trials were said to be created and ended."""
    lines = output.read_text().splitlines()
    return sum(line.startswith("created") for line in lines), sum(line.startswith("ended") for line in lines)


def check_history(path: Path, n_created: int, n_ended: int) -> None:
    """Check that all that was acknowledged is there, that every table reads whole, and that it goes on."""
    if not exists(path):
        assert n_created == 0
        History.create(path, HEADER, in_process=True).close()
        return
    record = load_record(path)
    assert record.header is not None
    assert n_created <= len(record.trials) <= n_created + 1
    assert n_ended <= record.n_outcomes <= n_ended + 1
    assert list(record.trials) == list(range(len(record.trials)))
    assert [each.values for each in record.trials.values() if each.is_finished] == [
        {"loss": number / 3} for number in range(record.n_outcomes)
    ]
    assert len(read_measurements(path)) == 5 * record.n_outcomes
    if path.exists():
        with hdf5.opened(path) as file:
            hdf5.read_tables(file)
    with History.open(path, in_process=True) as history:
        assert canonical(history.record) == canonical(record)
        history.append(finished_trial(len(record.trials)))
    assert len(load_record(path).trials) == len(record.trials) + 1
    with hdf5.opened(path) as file:
        assert len(hdf5.read_tables(file).tables["trials"]["trial_id"]) == len(record.trials) + 1


def calls_in(log: Path) -> list[str]:
    """Return for each call that strace logged how to kill at it; strace counts each kind of call by itself."""
    n_seen: Counter[str] = Counter()
    kills = []
    for line in log.read_text().splitlines():
        if not line.startswith(("---", "+++")):
            name = line.split("(")[0]
            n_seen[name] += 1
            kills.append(f"inject={name}:signal=SIGKILL:when={n_seen[name]}")
    return kills


def chosen(kills: list[str], n_sampled: int) -> list[str]:
    """Return all, or an evenly spaced sample with both ends."""
    if EVERY or len(kills) <= n_sampled:
        return kills
    return [kills[round(i * (len(kills) - 1) / (n_sampled - 1))] for i in range(n_sampled)]


# -- at every write call


@needs_strace
def test_the_driver_killed_at_write_calls(tmp_path: Path, record_testsuite_property: RecordProperty) -> None:
    log = tmp_path / "calls"
    traced = ["strace", "-o", str(log), "-e", f"trace={CALLS}"]
    subprocess.run([*traced, *command(tmp_path / "whole.h5")], env=ENVIRONMENT, check=True, capture_output=True)
    check_history(tmp_path / "whole.h5", N_TRIALS, N_TRIALS)
    kills = calls_in(log)
    assert len(kills) > 4 * N_TRIALS  # an append and a line of output, twice per trial
    for kill in chosen(kills, 10):
        path, output = tmp_path / f"{kill}.h5", tmp_path / f"{kill}.out"
        with output.open("wb") as file:
            subprocess.run(
                [*traced, "-e", kill, *command(path)],
                env=ENVIRONMENT,
                check=False,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        assert "killed by SIGKILL" in log.read_text(), kill
        try:
            check_history(path, *acknowledged(output))
        except Exception as error:
            raise AssertionError(f"the driver, killed by {kill}, had called\n{log.read_text()[-300:]}") from error
    record_testsuite_property("driver killed", f"{len(chosen(kills, 10))} of {len(kills)} write calls")


def interpreter(folder: Path, *options: str, run: int) -> Path:
    """Make a Python that traces the helper's run of this number, and starts all others as they are."""
    script = folder / "python"
    # -D: the tracer is no parent of the helper, which looks whether its parent is the driver.
    script.write_text(
        f"#!/bin/sh\necho >> {folder}/runs\n"
        f'if [ "$(wc -l < {folder}/runs)" -ne {run} ]; then exec {sys.executable} "$@"; fi\n'
        f'exec strace -D -o {folder}/calls -e trace={CALLS} {" ".join(options)} {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return script


@needs_strace
@pytest.mark.parametrize("run", [1, 2, 3], ids=["first checkpoint", "later checkpoint", "close"])
def test_a_helper_killed_at_write_calls(tmp_path: Path, record_testsuite_property: RecordProperty, run: int) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    subprocess.run(
        command(whole / "h.h5", interpreter(whole, run=run)), env=ENVIRONMENT, check=True, capture_output=True
    )
    kills = calls_in(whole / "calls")
    assert len(kills) >= 6  # the journal synced; the file written, synced, renamed; the folder synced; the report
    for number, kill in enumerate(chosen(kills, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        python = interpreter(folder, "-e", kill, run=run)
        subprocess.run(command(folder / "h.h5", python), env=ENVIRONMENT, check=True, capture_output=True)
        assert "killed by SIGKILL" in (folder / "calls").read_text(), kill
        names = {each.name for each in folder.iterdir()} - {"python", "runs", "calls"}
        assert names <= {"h.h5", "h.h5.journal"}, kill
        check_history(folder / "h.h5", N_TRIALS, N_TRIALS)
    record_testsuite_property(f"helper {run} killed", f"{len(chosen(kills, 4))} of {len(kills)} write calls")


# -- at random moments


def test_the_driver_killed_at_random_moments(tmp_path: Path, record_testsuite_property: RecordProperty) -> None:
    began = time.monotonic()
    subprocess.run(command(tmp_path / "whole.h5"), env=ENVIRONMENT, check=True, capture_output=True)
    duration = time.monotonic() - began
    moments = random.Random(2)
    n_amid = 0
    for number in range(200 if EVERY else 25):
        path, output = tmp_path / f"{number}.h5", tmp_path / f"{number}.out"
        with output.open("wb") as file, subprocess.Popen(command(path), env=ENVIRONMENT, stdout=file) as driver:
            try:
                driver.wait(timeout=moments.uniform(0.0, duration))
            except subprocess.TimeoutExpired:
                driver.kill()
        n_created, n_ended = acknowledged(output)
        n_amid += exists(path) and n_ended > 0 and path.with_name(path.name + ".journal").exists()
        check_history(path, n_created, n_ended)
    assert n_amid > 0
    record_testsuite_property("driver killed at random", f"{n_amid} of {number + 1} amid the recorded run")


# -- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(history: History) -> tuple[list[Event], list[Event]]:
    """Append until the disk is full; return what was acknowledged and what was not."""
    taken: list[Event] = []
    for number in range(100_000):
        events = finished_trial(number)
        try:
            history.append(events)
        except HistoryError as error:
            if error.errno != errno.ENOSPC:
                raise
            return taken, events
        taken += events
        if number == 20:
            history.checkpoint(wait=True)
    raise AssertionError("the disk does not run full")


def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "h.h5"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    history = History.create(path, HEADER)
    taken, refused = fill(history)
    old = path.read_bytes()
    for _ in range(3):
        with pytest.raises(HistoryError, match="No space left") as caught:
            history.append(refused)
        assert caught.value.errno == errno.ENOSPC
    known = [HEADER, *taken]
    assert canonical(load_record(path)) == canonical(fold(known))
    history.checkpoint(wait=True)
    assert history.problem is not None
    assert "No space left" in history.problem
    assert path.read_bytes() == old
    assert canonical(load_record(path)) == canonical(fold(known))

    assert history.close() is False
    assert re.search(r"h\.h5\.journal", history.problem or "")
    history = History.open(path)
    assert canonical(history.record) == canonical(fold(known))
    with pytest.raises(HistoryError):
        history.append(refused)

    ballast.unlink()
    history.append(refused)
    history.checkpoint(wait=True)
    assert history.problem is None
    assert history.close() is True
    assert canonical(load_record(path)) == canonical(fold([*known, *refused]))
    assert [each.name for each in small_disk.iterdir()] == ["h.h5"]


def test_no_room_to_begin(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(640 * 1024 - 4096))
    with pytest.raises(HistoryError) as caught:
        History.create(small_disk / "h.h5", HEADER).append(finished_trial(0))
    assert caught.value.errno == errno.ENOSPC
    (small_disk / "ballast").unlink()
