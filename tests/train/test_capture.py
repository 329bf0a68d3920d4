from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from dhflow.train.capture import ProcessCapture, ThreadCapture
from dhflow.train.spare_file import SpareFile

LIMIT = 20_000


def speak_in_every_way() -> None:
    """Write to standard output and error through Python, a subprocess and C."""
    print("from print")
    sys.stderr.write("from stderr\n")
    sys.stdout.buffer.write(b"from bytes\n")
    os.write(1, b"from the descriptor\n")
    subprocess.run(["/bin/sh", "-c", "echo from a subprocess; echo and its error >&2"], check=True)
    ctypes.CDLL(None).puts(b"from C")
    logging.getLogger("trial").warning("from logging")
    print("ünïcödé 🙂")


WAYS = (
    "from print",
    "from stderr",
    "from bytes",
    "from the descriptor",
    "from a subprocess",
    "and its error",
    "from C",
    "from logging",
    "ünïcödé 🙂",
)


def captured_in_worker(path: str) -> tuple[bool, bool, bool]:
    before = sys.stdout, sys.stderr, os.fstat(1).st_ino, os.fstat(2).st_ino
    with ProcessCapture(path, LIMIT):
        speak_in_every_way()
        is_replaced = sys.stdout is not before[0]
    print("back in the worker's own output", flush=True)
    return (
        is_replaced,
        (sys.stdout, sys.stderr) == before[:2],
        (os.fstat(1).st_ino, os.fstat(2).st_ino) == before[2:],
    )


def test_a_worker_process_catches_every_way_of_writing(worker: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert worker.submit(captured_in_worker, str(path)).result() == (True, True, True)
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(WAYS)


def print_from_a_fork(path: str) -> None:
    with ProcessCapture(path, LIMIT):
        print("parent")
        child = os.fork()
        if child == 0:
            print("child")
            os._exit(0)
        os.waitpid(child, 0)
        print("parent again")


def test_a_forked_child_writes_into_the_same_log(worker: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    worker.submit(print_from_a_fork, str(path)).result()
    assert path.read_text() == "parent\nchild\nparent again\n"


def print_much(path: str) -> None:
    with ProcessCapture(path, LIMIT):
        for number in range(100_000):
            print("line", number)
        subprocess.run(["head", "-c", "3000000", "/dev/zero"], check=True)
        print("the last line")


def test_a_flood_keeps_its_head_and_tail(worker: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    worker.submit(print_much, str(path)).result()
    text = path.read_text()
    assert path.stat().st_size <= LIMIT
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("the last line\n")
    assert "bytes of output dropped here" in text


def test_what_was_buffered_before_does_not_end_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    sys.stdout.write("before, without a newline")
    with ProcessCapture(str(path), LIMIT):
        sys.stdout.write("inside, without a newline")
    assert path.read_text() == "inside, without a newline"


def test_output_is_in_the_log_while_the_trial_runs(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    with ProcessCapture(str(path), LIMIT):
        print("epoch 1")
        seen = path.read_text()
    assert seen == "epoch 1\n"


def test_a_silent_trial_leaves_no_log(tmp_path: Path) -> None:
    spare = SpareFile(str(tmp_path / "spare"))
    for name in ("first", "second"):
        with ProcessCapture(str(tmp_path / name), LIMIT):
            pass
        with ProcessCapture(str(tmp_path / "trial" / name), LIMIT, spare):
            pass
    assert [(each.name, each.stat().st_size) for each in tmp_path.iterdir()] == [("spare", 0)]
    spare.close()


def test_output_of_others_is_in_its_place_while_the_trial_runs(tmp_path: Path) -> None:
    spare = SpareFile(str(tmp_path / "spare"))
    log = tmp_path / "trial" / "log"
    with ProcessCapture(str(log), LIMIT, spare):
        os.write(1, b"from C\n")
        deadline = time.monotonic() + 10
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert log.read_text() == "from C\n"
        os.write(1, b"more\n")
    assert log.read_text() == "from C\nmore\n"
    assert not (tmp_path / "spare").exists()


def test_streams_come_back_after_an_objective_that_replaced_them(tmp_path: Path) -> None:
    before = sys.stdout
    with ProcessCapture(str(tmp_path / "log"), LIMIT):
        sys.stdout = io.StringIO()
    assert sys.stdout is before


def test_captures_nest(tmp_path: Path) -> None:
    with ProcessCapture(str(tmp_path / "outer"), LIMIT):
        print("outer")
        with ProcessCapture(str(tmp_path / "inner"), LIMIT):
            print("inner")
        print("outer again")
    assert (tmp_path / "outer").read_text() == "outer\nouter again\n"
    assert (tmp_path / "inner").read_text() == "inner\n"


def in_threads(n_threads: int, function: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(n_threads) as pool:
        for future in [pool.submit(function, number) for number in range(n_threads)]:
            future.result()


def test_threads_have_a_log_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stdout, stderr = sys.stdout, sys.stderr
    together = threading.Barrier(5)

    def trial(number: int) -> None:
        with ThreadCapture(str(tmp_path / str(number)), LIMIT):
            together.wait(5)
            for _ in range(20):
                print("trial", number)
            sys.stderr.write(f"error {number}\n")
            sys.stdout.buffer.write(b"bytes\n")
            print("flushed", flush=True)
            together.wait(5)

    def driver() -> None:
        together.wait(5)
        print("progress")
        assert sys.stdout.encoding
        together.wait(5)

    speaker = threading.Thread(target=driver)
    speaker.start()
    in_threads(4, trial)
    speaker.join()
    for number in range(4):
        expected = f"trial {number}\n" * 20 + f"error {number}\nbytes\nflushed\n"
        assert (tmp_path / str(number)).read_text() == expected
    assert (sys.stdout, sys.stderr) == (stdout, stderr)
    assert capsys.readouterr().out == "progress\n"


def test_a_subprocess_given_the_stream_writes_into_the_threads_log(tmp_path: Path) -> None:
    def trial(_: int) -> None:
        with ThreadCapture(str(tmp_path / "log"), LIMIT):
            subprocess.run(["echo", "hello"], stdout=sys.stdout, check=True)
            assert not sys.stdout.isatty()

    in_threads(1, trial)
    assert (tmp_path / "log").read_text() == "hello\n"


def test_a_flood_in_a_thread_is_capped_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    largest = []

    def trial(_: int) -> None:
        with ThreadCapture(str(path), LIMIT):
            for number in range(20_000):
                print("line", number)
                if number % 100 == 0:
                    largest.append(path.stat().st_size)

    in_threads(1, trial)
    assert max(largest) < 4 * LIMIT
    assert path.stat().st_size <= LIMIT
    assert path.read_text().endswith("line 19999\n")


def test_somebody_elses_stream_stays_when_the_last_trial_ends(tmp_path: Path) -> None:
    before = sys.stdout
    theirs = io.StringIO()

    def trial(_: int) -> None:
        with ThreadCapture(str(tmp_path / "log"), LIMIT):
            sys.stdout = theirs

    with contextlib.ExitStack() as stack:
        stack.callback(setattr, sys, "stdout", before)
        in_threads(1, trial)
        assert sys.stdout is theirs
    assert not before.closed
