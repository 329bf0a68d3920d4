from __future__ import annotations

import fcntl
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dhflow.cli import check_install as install
from dhflow.cli.check_disk import check_disk
from dhflow.cli.check_site import compare_versions, look_around


def test_all_is_looked_at_and_a_trial_runs(dhflow: Any, folder: Path) -> None:
    ran = dhflow("doctor", "--site-set", "executor=threads", "--path", folder)
    assert ran.code == 0, ran.out
    found = dict(re.findall(r"^  (?:ok  |warn)  (\S+(?: \S+)*) {2,}(.*)$", ran.out, re.MULTILINE))
    assert set(found) >= {"python", "dhflow", "parsl", "numpy", "tensorflow", "cores", "room", "locks", "appending"}
    assert found["locks"] == "a second process is kept out"
    assert re.match(r"first result after \d+\.\d s", found["reachable"])
    assert found["versions there"] == "as here"
    assert [each.name for each in folder.iterdir()] == ["digits.py"]  # nothing is left behind


def test_a_site_that_does_not_work_is_exit_code_1(dhflow: Any, folder: Path) -> None:
    ran = dhflow("doctor", "--site-set", "workrs=3")
    assert ran.code == 1
    assert re.search(r"fail  reachable .*did you mean 'workers'", ran.out)
    assert "1 of" in ran.out.splitlines()[-1]
    assert [each.name for each in folder.iterdir()] == ["digits.py"]


def test_without_a_site_nothing_is_started(dhflow: Any, folder: Path) -> None:
    ran = dhflow("doctor", "--site", "none")
    assert ran.code == 0
    assert not re.search(r"^site|reachable", ran.out, re.MULTILINE)


def test_a_folder_that_cannot_be_written_is_said(dhflow: Any, folder: Path) -> None:
    ran = dhflow("doctor", "--site", "none", "--path", "/proc/nothing")
    assert ran.code == 1
    assert "choose another folder with --path" in ran.out


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [("numpy", "1.26"), ("parsl", "9999.1"), ("nothing-such", "")]
    monkeypatch.setattr(install, "requirements", lambda: wanted)
    found = {each.name: each for each in install.check_install()}
    assert found["numpy"].level == "ok"
    assert (found["parsl"].level, found["parsl"].advice) == ("fail", 'pip install "parsl>=9999.1"')
    assert (found["nothing-such"].level, found["nothing-such"].advice) == ("fail", "pip install nothing-such")


def test_requirements_are_those_of_the_package() -> None:
    wanted = dict(install.requirements())
    assert wanted["parsl"].startswith("2026.")
    assert "tensorflow" not in wanted


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [("2026.7.27", "2026.7.27", True), ("2026.10.1", "2026.7.27", True), ("1.9", "1.26", False), ("3.0rc1", "3", True)],
)
def test_versions_are_compared_by_their_numbers(version: str, least: str, enough: bool) -> None:
    assert install.is_at_least(version, least) is enough


def test_a_full_disk_and_missing_locks_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    found = {each.name: each for each in check_disk(tmp_path)}
    assert (found["room"].level, found["locks"].level) == ("fail", "warn")
    assert "Function not implemented" in found["locks"].text
    assert [*tmp_path.iterdir()] == []


def test_locks_that_keep_nobody_out_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    found = {each.name: each for each in check_disk(tmp_path)}
    assert found["locks"].level == "warn"
    assert "not kept out" in found["locks"].text


def test_a_worker_that_differs_is_told_apart() -> None:
    same = look_around({})
    assert [each.level for each in compare_versions(same)] == ["ok"]
    assert [each.level for each in compare_versions({**same, "numpy": "1.0"})] == ["warn"]
    (old, rest) = compare_versions({**same, "parsl": "2024.1.1"})
    assert (old.level, rest.level) == ("fail", "ok")
    assert "install parsl==" in old.advice
    assert next(compare_versions({**same, "python": "3.8.1"})).level == "fail"
