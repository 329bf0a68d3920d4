from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dhflow.flow.blocks import Blocks, BlockWatch
from dhflow.flow.job_notes import JobNotes


def executor(label: str, provider: str, **states: str) -> Any:
    status = {each: SimpleNamespace(state=SimpleNamespace(name=name)) for each, name in states.items()}
    return SimpleNamespace(label=label, provider=SimpleNamespace(label=provider), status_facade=status)


def test_blocks_that_wait_are_counted_and_the_longest_wait_is_known() -> None:
    now = [100.0]
    slurm = executor("cpu", "slurm", b0="RUNNING", b1="PENDING", b2="COMPLETED")
    watch = BlockWatch([slurm, executor("here", "local", b0="PENDING")], [4, 2], clock=lambda: now[0])
    assert watch.look() == Blocks(1, 1, 0.0, 4)
    now[0] = 130.0
    slurm.status_facade["b3"] = slurm.status_facade["b1"]
    assert watch.look() == Blocks(2, 1, 30.0, 4)
    slurm.status_facade["b1"] = slurm.status_facade["b0"]
    now[0] = 140.0
    assert watch.look() == Blocks(1, 2, 10.0, 8)


def test_where_nothing_queues_there_is_nothing_to_say() -> None:
    assert BlockWatch([executor("here", "local", b0="RUNNING")], [2]).look() is None


@pytest.fixture
def scancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that writes down what it was to cancel."""
    said = tmp_path / "said"
    command = tmp_path / "bin" / "scancel"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\necho $* >> {said}\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    return said


def test_jobs_that_a_dead_session_has_left_are_cancelled_once(tmp_path: Path, scancel: Path) -> None:
    notes = JobNotes(tmp_path / "parsl")
    slurm: Any = SimpleNamespace(provider=SimpleNamespace(label="slurm", submit=lambda _: 12))
    notes.follow(slurm)
    assert slurm.provider.submit("a block") == 12
    notes.note("slurm", "13")
    with (tmp_path / "parsl" / "jobs.jsonl").open("a") as file:
        file.write(json.dumps({"scheduler": "unheard of", "job": "1"}) + "\n" + '{"scheduler": "slurm", "jo')
    JobNotes(tmp_path / "parsl").cancel_left()
    JobNotes(tmp_path / "parsl").cancel_left()
    assert scancel.read_text() == "12 13\n"


def test_an_orderly_end_leaves_nothing_to_cancel(tmp_path: Path, scancel: Path) -> None:
    notes = JobNotes(tmp_path / "parsl")
    notes.note("slurm", "13")
    notes.forget()
    notes.cancel_left()
    assert not scancel.exists()


def test_without_the_schedulers_command_the_user_hears_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    notes = JobNotes(tmp_path / "parsl")
    notes.note("slurm", "13")
    monkeypatch.setenv("PATH", str(tmp_path))
    notes.cancel_left()
    assert "run scancel 13" in caplog.text


def test_jobs_that_could_not_be_cancelled_are_left_for_the_next_session(
    tmp_path: Path, scancel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = JobNotes(tmp_path / "parsl")
    notes.note("slurm", "13")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PATH", str(tmp_path))
        notes.cancel_left()
    notes.cancel_left()
    assert scancel.read_text() == "13\n"


def test_only_batch_jobs_are_noted(tmp_path: Path) -> None:
    local: Any = SimpleNamespace(provider=SimpleNamespace(label="local", submit=lambda: 4711))
    JobNotes(tmp_path).follow(local)
    JobNotes(tmp_path).follow(SimpleNamespace())
    local.provider.submit()
    assert not list(tmp_path.iterdir())
