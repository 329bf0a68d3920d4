"""A damaged history is made usable again, and nothing of it is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryLockedError
from dhflow.history import History, load_record, recover
from dhflow.history.journal import journal_path
from dhflow.testing.history import HEADER, finished_trial


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


def left_open(path: Path, n_before: int, n_after: int) -> None:
    """Leave a history as a killed driver would: some trials in the file (if any), some only in the journal."""
    history = History.create(path, HEADER, in_process=True)
    for number in range(n_before):
        history.append(finished_trial(number))
    if n_before:
        history.checkpoint(wait=True)
    for number in range(n_before, n_before + n_after):
        history.append(finished_trial(number))
    history.release()


def damage_line(path: Path, number: int) -> bytes:
    """Change one character of a line of the journal; return the journal as it is then."""
    lines = journal_path(path).read_bytes().splitlines(keepends=True)
    lines[number] = lines[number][:20] + b"#" + lines[number][21:]
    journal_path(path).write_bytes(b"".join(lines))
    return b"".join(lines)


def trials_after(path: Path) -> list[int]:
    """Go on with the history, and return its trials as a reader sees them."""
    with History.open(path, in_process=True) as history:
        history.append(finished_trial(100))
    return list(load_record(path).trials)


@pytest.mark.parametrize("n_before", [0, 2])
def test_a_damaged_line_ends_the_journal(path: Path, n_before: int) -> None:
    left_open(path, n_before, 3)
    damaged = damage_line(path, -5)  # the first of the last trial but one is kept
    with pytest.raises(HistoryCorruptError, match=r"recover\("):
        load_record(path)
    with pytest.raises(HistoryCorruptError, match=r"recover\("):
        History.open(path)
    report = recover(path)
    assert report.n_trials == n_before + 2
    assert report.n_lost_lines == 5
    assert [each.name for each in report.set_aside] == ["h.h5.journal.damaged-1"]
    assert report.set_aside[0].read_bytes() == damaged
    assert trials_after(path) == [*range(n_before + 2), 100]


def test_damage_that_the_file_makes_good_needs_no_recovery(path: Path) -> None:
    left_open(path, 2, 1)
    damage_line(path, 3)
    assert list(load_record(path).trials) == [0, 1, 2]
    assert recover(path).set_aside == ()
    assert trials_after(path) == [0, 1, 2, 100]


def test_a_sound_history_is_left_alone(path: Path) -> None:
    left_open(path, 1, 1)
    with journal_path(path).open("ab") as file:
        file.write(b"0badf00d {torn")
    before = (path.read_bytes(), journal_path(path).read_bytes())
    report = recover(path)
    assert (report.n_trials, report.n_lost_lines, report.set_aside) == (2, 0, ())
    assert (path.read_bytes(), journal_path(path).read_bytes()) == before


def test_a_damaged_file_is_built_anew_from_its_first_journal(path: Path) -> None:
    left_open(path, 2, 1)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(HistoryCorruptError, match=r"recover\("):
        load_record(path)
    report = recover(path)
    assert report.n_trials == 3
    assert [each.name for each in report.set_aside] == ["h.h5.damaged-1"]
    assert trials_after(path) == [0, 1, 2, 100]


def test_a_damaged_file_with_a_later_journal_is_beyond_help(path: Path) -> None:
    left_open(path, 1, 0)
    History.open(path, in_process=True).close()
    history = History.open(path, in_process=True)
    history.append(finished_trial(1))
    history.release()
    path.write_bytes(path.read_bytes()[:5000])
    before = sorted(each.name for each in path.parent.iterdir())
    with pytest.raises(HistoryCorruptError, match="backup"):
        recover(path)
    assert sorted(each.name for each in path.parent.iterdir()) == before


def test_without_its_head_a_journal_alone_is_read_on(path: Path) -> None:
    left_open(path, 0, 2)
    damage_line(path, 0)
    with pytest.raises(HistoryCorruptError):
        load_record(path)
    assert recover(path).n_trials == 2
    assert trials_after(path) == [0, 1, 100]


def test_without_its_head_a_journal_beside_a_file_is_set_aside(path: Path) -> None:
    left_open(path, 2, 1)
    damage_line(path, 0)
    report = recover(path)
    assert report.n_trials == 2
    assert [each.name for each in report.set_aside] == ["h.h5.journal.damaged-1"]
    assert trials_after(path) == [0, 1, 100]


def test_a_journal_of_nothing_but_damage_is_beyond_help(path: Path) -> None:
    left_open(path, 0, 1)
    journal_path(path).write_bytes(b"\xff" * 300 + b"\n")
    with pytest.raises(HistoryCorruptError, match="nothing"):
        recover(path)


def test_damaged_twice_is_set_aside_twice(path: Path) -> None:
    left_open(path, 0, 3)
    damage_line(path, -1)
    recover(path)
    damage_line(path, -2)
    report = recover(path)
    assert [each.name for each in report.set_aside] == ["h.h5.journal.damaged-2"]
    assert (path.parent / "h.h5.journal.damaged-1").exists()


def test_only_one_recovers_and_nobody_while_it_is_written_to(path: Path) -> None:
    with History.create(path, HEADER, in_process=True), pytest.raises(HistoryLockedError):
        recover(path)
    with pytest.raises(HistoryError, match="no history"):
        recover(path.with_name("other.h5"))
