from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.train.capped_log import CappedLog, LogWatcher
from dhflow.train.spare_file import SpareFile


def dropped(text: str) -> int:
    found = re.search(r"\[… ([\d,]+) bytes of output dropped here …\]", text)
    return 0 if found is None else int(found[1].replace(",", ""))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(0, 3_000), max_size=30), limit=st.integers(1_000, 5_000))
def test_head_and_tail_are_kept_and_the_rest_is_counted(tmp_path: Path, sizes: list[int], limit: int) -> None:
    path = tmp_path / "output.log"
    path.unlink(missing_ok=True)
    log = CappedLog(str(path), limit)
    written = b""
    for number, size in enumerate(sizes):
        data = (f"{number:06d} " * (size // 7 + 1)).encode()[:size]
        written += data
        log.write(data)
    log.close()
    if not written:
        assert not path.exists()
        return
    kept = path.read_bytes()
    assert len(kept) <= limit
    if len(written) <= limit:
        assert kept == written
        return
    text = kept.decode()
    assert written.startswith(kept[: limit // 2])
    assert written.endswith(kept[-(limit // 2 - 200) :])
    marker = re.search(r"\n\[…[^\]]*\]\n", text)
    assert marker is not None
    assert dropped(text) == len(written) - (len(kept) - len(marker[0].encode()))


def test_one_huge_write_is_no_larger_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log = CappedLog(str(path), 10_000)
    log.write(b"begin" + b"x" * 5_000_000 + b"end")
    assert path.stat().st_size < 50_000
    log.close()
    text = path.read_bytes()
    assert text.startswith(b"begin")
    assert text.endswith(b"end")
    assert dropped(text.decode()) > 4_900_000


def test_writing_after_the_end_does_nothing(tmp_path: Path) -> None:
    log = CappedLog(str(tmp_path / "log"), 10_000)
    log.close()
    log.write(b"late")
    log.close()
    assert not log.look()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_runs_log_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("first\n")
    log = CappedLog(str(path), 10_000)
    log.write(b"second\n")
    log.close()
    assert path.read_text() == "first\nsecond\n"


def test_a_file_that_others_write_to_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = CappedLog(str(path), 10_000)
    watcher = LogWatcher()
    watcher.add(log)
    largest = 0
    with subprocess.Popen(["head", "-c", "20000000", "/dev/zero"], stdout=log.fd) as process:
        while process.poll() is None:
            largest = max(largest, path.stat().st_size)
    deadline = time.monotonic() + 5
    while path.stat().st_size > 20_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.stat().st_size <= 20_000
    watcher.remove(log)
    log.close()
    assert dropped(path.read_text()) > 19_000_000


def test_an_empty_log_is_handed_on(tmp_path: Path) -> None:
    spare = SpareFile()
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    log = CappedLog(str(first), 10_000, spare)
    number = first.stat().st_ino
    log.close()
    log = CappedLog(str(second), 10_000, spare)
    assert second.stat().st_ino == number
    assert not first.exists()
    log.write(b"something")
    log.close()
    log = CappedLog(str(third), 10_000, spare)
    log.close()
    assert second.read_text() == "something"
    assert third.stat().st_ino != number


@pytest.mark.parametrize("what", ["removed", "replaced", "written"])
def test_a_spare_log_that_is_no_longer_ours_is_left(tmp_path: Path, what: str) -> None:
    spare = SpareFile()
    first, second = tmp_path / "first", tmp_path / "second"
    log = CappedLog(str(first), 10_000, spare)
    fd = os.dup(log.fd)
    log.close()
    if what == "written":
        os.write(fd, b"a process that outlived its trial")
    else:
        first.unlink()
    if what == "replaced":
        first.write_text("")
    os.close(fd)
    log = CappedLog(str(second), 10_000, spare)
    log.write(b"second")
    log.close()
    assert second.read_text() == "second"
    assert first.exists() == (what != "removed")


def test_an_existing_log_is_not_replaced_by_the_spare_one(tmp_path: Path) -> None:
    spare = SpareFile()
    CappedLog(str(tmp_path / "first"), 10_000, spare).close()
    (tmp_path / "second").write_text("earlier\n")
    log = CappedLog(str(tmp_path / "second"), 10_000, spare)
    log.close()
    assert (tmp_path / "second").read_text() == "earlier\n"
