"""A search whose disk fills up while it runs: a real, small file system, a real search."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, load

pytestmark = pytest.mark.faults

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
SIZE_BYTES = 2_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of two megabytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def test_the_search_pauses_says_so_and_goes_on(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = small_disk / "h.h5"
    ended: list[int] = []
    paused = threading.Event()

    class Watcher:
        def trial_ended(self, trial: object) -> None:
            ended.append(trial.trial_id)  # type: ignore[attr-defined]

        def tick(self, driver: object) -> None:
            if "make room" in driver.message:  # type: ignore[attr-defined]
                paused.set()

    def objective(config: dict) -> float:
        time.sleep(0.05)
        return config["x"]

    study = Study(SPACE, searcher="random", seed=1, history=history)
    with ThreadPoolExecutor(1) as outer, ThreadPoolExecutor(2) as pool:
        running = outer.submit(study.run, objective, site=pool, max_trials=60, observers=[Watcher()])
        while len(ended) < 5:
            time.sleep(0.01)
        ballast = fill(small_disk)
        assert paused.wait(30), "the search did not notice the full disk"
        n_ended = len(ended)
        acknowledged = {each.trial_id: each for each in load(history).trials if each.is_finished}
        time.sleep(1.5)
        assert not running.done()
        assert len(ended) == n_ended, "trials were announced that are not recorded"
        ballast.unlink()
        result = running.result(timeout=60)
    study.close()
    assert "make room" in caplog.text
    assert len(result) == 60
    kept = load(history)
    assert all(each.status is TrialStatus.COMPLETED for each in kept.trials)
    for trial_id, trial in acknowledged.items():
        assert kept.record.trials[trial_id] == trial


def test_no_room_at_the_end_leaves_the_journal_and_loses_nothing(small_disk: Path) -> None:
    history = small_disk / "h.h5"
    study = Study(SPACE, searcher="random", seed=1, history=history)
    for _ in range(20):
        study.tell(study.ask(), 1.0)
    ballast = fill(small_disk)
    study.close()
    assert len([each for each in load(history).trials if each.is_finished]) == 20
    ballast.unlink()
    with Study(SPACE, searcher="random", history=history, resume=True) as again:
        again.tell(again.ask(), 2.0)
    assert not history.with_name("h.h5.journal").exists()
    assert len(load(history).trials) == 21
