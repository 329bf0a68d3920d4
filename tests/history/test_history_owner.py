"""Which process owns something: named by a file, and asked whether it lives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dhflow.history.owner import is_alive, is_this_process, read_owner, this_process


def test_this_process_lives_and_knows_itself(tmp_path: Path) -> None:
    file = tmp_path / "owner"
    file.write_text(json.dumps(this_process()))
    owner = read_owner(file)
    assert is_this_process(owner)
    assert is_alive(owner) is True


def test_a_process_that_has_ended_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    owner = {**this_process(), "pid": ended.pid}
    assert is_alive(owner) is False
    assert not is_this_process(owner)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid": None}, {"pid": "12"}])
def test_of_others_nobody_can_say(change: dict[str, object]) -> None:
    owner = {**this_process(), **change}
    assert is_alive(owner) is None
    assert not is_this_process(owner)


@pytest.mark.parametrize("text", [None, "", '{"host": "n', "[1]", "\xff"])
def test_a_file_that_is_missing_or_torn_names_nobody(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "owner"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    assert read_owner(file) == {}
    assert is_alive({}) is None
