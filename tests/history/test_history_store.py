"""The open history: checkpoints in the background, closing, and what is left when something goes wrong."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryFormatError
from dhflow.history import History, exists, load_header, load_record, read_measurements
from dhflow.history.checkpoint import CheckpointRequest, fold_journal, main
from dhflow.history.disk import temporary_path
from dhflow.history.event import StudyHeader
from dhflow.history.journal import scan
from dhflow.history.store import COST_RATIO, FIRST_CHECKPOINT_S, MIN_INTERVAL_S
from dhflow.objective import Objective
from dhflow.testing.history import HEADER, canonical, finished_trial


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.h5"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    history = History.create(path, HEADER, in_process=True)
    yield history
    history.release()


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def problem_of(history: History) -> str | None:
    return history.problem


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def request_for(history: History, **options: object) -> CheckpointRequest:
    journal = history._journal
    assert journal is not None
    known = {"path": str(history.path), "journal_id": journal.head.journal_id, "stop": journal.end}
    return CheckpointRequest(**(known | options))  # type: ignore[arg-type]


# -- when checkpoints come


def test_the_first_checkpoint_comes_soon_and_then_only_with_news(path: Path, history: History) -> None:
    history.maybe_checkpoint(100.0)
    assert not path.exists()
    history.maybe_checkpoint(100.0 + FIRST_CHECKPOINT_S)
    assert load_header(path) == HEADER
    written = path.stat().st_mtime_ns
    history.maybe_checkpoint(1e6)
    assert path.stat().st_mtime_ns == written
    history.append(finished_trial(0))
    history.maybe_checkpoint(1e6 + 1)
    assert path.stat().st_mtime_ns > written


def test_checkpoints_cost_at_most_their_share(path: Path, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.maybe_checkpoint(0.0)
    durations = iter([0.1, 10.0, 0.1])
    times = [0.0]
    started: list[float] = []

    def fold(request: CheckpointRequest) -> object:
        report = fold_journal(request)
        started.append(times[-1])
        return type(report)(report.n_events, report.file_bytes, next(durations))

    monkeypatch.setattr("dhflow.history.helper.fold_journal", fold)
    for number in range(560):
        times.append(times[-1] + 1.0)
        history.append(finished_trial(number)[:1])
        history.maybe_checkpoint(times[-1])
    first, second, third = started
    assert first == FIRST_CHECKPOINT_S
    assert second - first == MIN_INTERVAL_S
    assert third - second == 10.0 * COST_RATIO


def test_helper_processes_do_it_while_the_driver_goes_on(path: Path) -> None:
    with History.create(path, HEADER) as history:
        history.append(finished_trial(0))
        history.checkpoint()
        process = history._helper._process
        history.append(finished_trial(1))
        history.checkpoint()  # never a second one beside it
        assert process is not None
        assert history._helper._process is process
        process.wait()
        history.maybe_checkpoint(0.0)
        assert history._helper.poll() is None
        assert history.problem is None
        assert path.exists()
        history.checkpoint(wait=True)
        assert not history._is_behind()
    assert names_in(path.parent) == ["h.h5"]
    assert list(load_record(path).trials) == [0, 1]


def test_the_helper_sees_the_modules_of_the_driver(tmp_path: Path) -> None:
    # As in a notebook that put the checkout on its path; and a stray file of the user's must not matter.
    (tmp_path / "h5py.py").write_text("raise SystemExit('the wrong h5py')")
    script = (
        "import sys; sys.path[:] = [each for each in sys.path if each] + [sys.argv[1]]\n"
        "from dhflow.history import History\n"
        "from dhflow.testing.history import HEADER\n"
        "history = History.create('h.h5', HEADER)\n"
        "print(history.close(), history.problem)\n"
    )
    root = Path(sys.modules["dhflow.history"].__file__ or "").parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True None\n", done.stderr


# -- what goes wrong


def test_a_killed_helper_is_reported_and_followed_by_another(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with History.create(path, HEADER) as history:
        history.append(finished_trial(0))
        history.checkpoint()
        process = history._helper._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        (path.parent / f"h.h5.tmp-{process.pid}").write_text("half a file")
        process.wait()
        with caplog.at_level(logging.WARNING):
            history.maybe_checkpoint(0.0)
        assert history.problem is not None
        assert "SIGKILL" in history.problem
        assert "Nothing is lost" in caplog.text
        assert not path.exists()
        assert names_in(path.parent) == ["h.h5.journal", "h.h5.lock"]
        history.checkpoint(wait=True)
        assert problem_of(history) is None
        assert list(load_record(path).trials) == [0]


def test_a_helper_that_cannot_write_is_reported_and_retried(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    history.checkpoint(wait=True)
    old = path.read_bytes()
    history.append(finished_trial(1))
    obstacle = temporary_path(path)  # stands for a full disk, which root would not see as a missing permission
    obstacle.mkdir()
    history.maybe_checkpoint(0.0)
    history.maybe_checkpoint(FIRST_CHECKPOINT_S)
    assert history.problem is not None
    assert "cannot be written anew" in history.problem
    assert path.read_bytes() == old
    history.append(finished_trial(2))
    obstacle.rmdir()
    history.maybe_checkpoint(FIRST_CHECKPOINT_S + 1)
    assert history.problem is not None  # not at once again
    history.maybe_checkpoint(FIRST_CHECKPOINT_S + MIN_INTERVAL_S)
    assert problem_of(history) is None
    assert path.read_bytes() != old
    assert list(load_record(path).trials) == [0, 1, 2]


def test_a_close_that_cannot_fold_keeps_the_journal_and_says_so(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    temporary_path(path).mkdir()
    assert history.close() is False
    assert history.problem is not None
    assert str(journal_of(path)) in history.problem
    temporary_path(path).rmdir()
    assert names_in(path.parent) == ["h.h5.journal"]
    again = History.open(path, in_process=True)
    assert list(again.record.trials) == [0]
    assert again.close() is True
    assert names_in(path.parent) == ["h.h5"]


def test_a_closed_history_takes_nothing(path: Path, history: History) -> None:
    assert history.close() is True
    assert history.close() is True
    calls: list[Callable[[], None]] = [
        lambda: history.append(finished_trial(0)),
        history.checkpoint,
        history.maybe_checkpoint,
    ]
    for call in calls:
        with pytest.raises(HistoryError, match="has been closed"):
            call()


def test_opening_and_closing_without_news_leaves_the_file_alone(path: Path, history: History) -> None:
    history.close()
    before = (path.stat().st_ino, path.read_bytes())
    with History.open(path) as again:
        again.append([])
        again.maybe_checkpoint(0.0)
        again.maybe_checkpoint(1e9)
    assert (path.stat().st_ino, path.read_bytes()) == before
    assert names_in(path.parent) == ["h.h5"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="No such file") as caught:
        History.create(tmp_path / "nowhere" / "h.h5", HEADER)
    assert "nowhere" in str(caught.value)


def test_what_a_killed_process_left_aside_is_removed(path: Path, history: History) -> None:
    history.release()
    for name in ("h.h5.tmp-17", "h.h5.tmp-17-journal"):
        (path.parent / name).write_text("half")
    (path.parent / "other.h5.tmp-17").write_text("not ours")
    History.open(path, in_process=True).release()
    assert names_in(path.parent) == ["h.h5.journal", "other.h5.tmp-17"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    link = tmp_path / "h.h5"
    link.symlink_to(scratch / "h.h5")
    history = History.create(link, HEADER, in_process=True)
    history.append(finished_trial(0))
    assert exists(link)
    assert list(load_record(link).trials) == [0]
    history.close()
    assert link.is_symlink()
    assert names_in(scratch) == ["h.h5"]
    assert len(read_measurements(link)) == 2


def test_a_checkpoint_keeps_the_permissions(path: Path, history: History) -> None:
    history.checkpoint(wait=True)
    path.chmod(0o640)
    history.append(finished_trial(0))
    history.close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_close_that_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History.create(path, HEADER)
    history.append(finished_trial(0))
    monkeypatch.setattr("dhflow.history.store.CLOSE_TIMEOUT_S", 0.01)
    assert history.close() is False
    assert "longer" in (history.problem or "")
    assert names_in(path.parent) == ["h.h5.journal"]
    assert list(load_record(path).trials) == [0]


# -- crashes between the steps


def test_a_crash_between_replacing_and_removing_at_close(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    journal = journal_of(path).read_bytes()
    fold_journal(request_for(history))
    history.release()
    assert journal_of(path).read_bytes() == journal
    again = History.open(path, in_process=True)
    again.append(finished_trial(1))
    again.close()
    assert list(load_record(path).trials) == [0, 1]
    assert names_in(path.parent) == ["h.h5"]


def test_a_helper_that_outlived_its_driver_cannot_bring_the_past_back(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    late = request_for(history)
    history.append(finished_trial(1))
    history.close()
    with pytest.raises(HistoryError, match="cannot be opened"):
        fold_journal(late)
    again = History.open(path, in_process=True)
    again.append(finished_trial(2))
    with pytest.raises(HistoryError, match="another journal"):
        fold_journal(late)
    again.release()
    assert list(load_record(path).trials) == [0, 1, 2]


def test_a_helper_that_waited_for_another_finds_its_journal_gone(
    path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append(finished_trial(0))
    request = request_for(history)
    real = fcntl.flock

    def after_another(fd: int, operation: int) -> None:
        journal_of(path).unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", after_another)
    with pytest.raises(HistoryError, match="folded by another process"):
        fold_journal(request)


def test_a_helper_killed_behind_its_last_step_has_closed_the_history(
    path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_and_die(request: CheckpointRequest) -> object:
        fold_journal(request)
        raise HistoryError("killed before it could report")

    history.append(finished_trial(0))
    monkeypatch.setattr("dhflow.history.helper.fold_journal", fold_and_die)
    assert history.close() is True
    assert history.problem is None
    assert names_in(path.parent) == ["h.h5"]


def test_a_helper_gives_up_when_its_driver_is_gone(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    with pytest.raises(HistoryError, match="is gone"):
        fold_journal(request_for(history, parent=1 << 22))
    assert not path.exists()
    assert names_in(path.parent) == ["h.h5.journal", "h.h5.lock"]


def test_a_checkpoint_of_less_than_the_file_holds_changes_nothing_for_readers(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    early = request_for(history)
    history.append(finished_trial(1))
    history.checkpoint(wait=True)
    fold_journal(early)
    assert list(load_record(path).trials) == [0, 1]
    history.append(finished_trial(2))
    assert list(load_record(path).trials) == [0, 1, 2]


def test_what_was_never_acknowledged_is_not_folded(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    request = request_for(history)
    whole = journal_of(path).stat().st_size
    history.append(finished_trial(1))
    fold_journal(request)
    with journal_of(path).open("r+b") as file:  # as a failed append cuts it off
        file.truncate(whole)
    assert list(load_record(path).trials) == [0]


def test_a_journal_that_a_lost_node_cut_short_is_followed_by_a_new_one(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    history.checkpoint(wait=True)
    history.release()
    with journal_of(path).open("r+b") as file:
        file.truncate(journal_of(path).stat().st_size - 100)
    assert list(load_record(path).trials) == [0]
    again = History.open(path, in_process=True)
    again.append(finished_trial(1))
    assert list(load_record(path).trials) == [0, 1]
    assert list(scan(journal_of(path)).events()) == finished_trial(1)
    again.release()
    again = History.open(path, in_process=True)
    again.append(finished_trial(2))
    again.close()
    assert list(load_record(path).trials) == [0, 1, 2]


def test_file_and_journal_of_different_moments_are_refused(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    history.close()
    first = path.read_bytes()
    again = History.open(path, in_process=True)
    again.append(finished_trial(1))
    again.close()
    third = History.open(path, in_process=True)
    third.append(finished_trial(2))
    third.release()
    path.write_bytes(first)
    with pytest.raises(HistoryCorruptError, match="do not belong together"):
        History.open(path)
    path.unlink()
    with pytest.raises(HistoryCorruptError, match="is gone"):
        load_record(path)


# -- the rest


def test_another_study_is_refused(path: Path, history: History) -> None:
    history.check_same_study(HEADER)
    other = StudyHeader("x", HEADER.space, (Objective("accuracy", "minimize"),), 1, 2.0)
    with pytest.raises(HistoryFormatError, match=r"h\.h5 belongs to another search"):
        history.check_same_study(other)


def test_a_dead_drivers_history_is_folded_by_hand(
    path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history.append(finished_trial(0))
    assert main([str(path)]) == 1
    assert "being written to" in json.loads(capsys.readouterr().out)["error"]
    history.release()
    assert main([str(path)]) == 0
    assert names_in(path.parent) == ["h.h5"]
    assert main([]) == 2


def test_the_record_is_what_was_there_at_opening(path: Path, history: History) -> None:
    history.append(finished_trial(0))
    assert not history.record.trials
    history.close()
    again = History.open(path, in_process=True)
    assert canonical(again.record) == canonical(load_record(path))
    again.close()


def test_checkpointing_and_reading_at_the_same_time(path: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert reader.stdout is not None
    number = 0
    History.create(path, HEADER, in_process=True).close()
    print("go", file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "reading\n"
    for _ in range(5):
        with History.open(path, in_process=True) as history:
            for _ in range(3):
                history.append(finished_trial(number))
                number += 1
                history.checkpoint(wait=True)
    output, _ = reader.communicate("stop\n", timeout=60)
    n_readings, n_last, n_backward = map(int, output.split())
    assert n_readings > 1
    assert n_backward == 0
    assert n_last == 15


READER = """
import select, sys
from dhflow.history import load_record
path = sys.argv[1]
sys.stdin.readline()
load_record(path)
print("reading", flush=True)
seen, n_readings, n_backward = 0, 0, 0
while True:
    stop = bool(select.select([sys.stdin], [], [], 0)[0])
    n = len(load_record(path).trials)
    n_readings += 1
    n_backward += n < seen
    seen = n
    if stop:
        break
print(n_readings, seen, n_backward)
"""
