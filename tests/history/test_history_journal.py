"""The journal's lines: what is acknowledged is there, what was torn is not, what was damaged is told."""

from __future__ import annotations

import errno
import json
import resource
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryFormatError
from dhflow.history.event import AttemptSubmitted, TrialCreated
from dhflow.history.journal import (
    Journal,
    JournalHead,
    Place,
    encode_events,
    encode_head,
    encode_line,
    journal_path,
    read_head,
    scan,
)
from dhflow.testing.history import HEADER, finished_trial
from dhflow.trial import Trial


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "h.h5.journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal.create(path, JournalHead("a1", Place()), [HEADER])
    yield journal
    journal.close()


@contextmanager
def files_limited_to(n_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond `n_bytes`: a write across it is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_is_checksum_and_json() -> None:
    line = encode_events([AttemptSubmitted(3, 1, 2.5, 0)])
    text = b'{"e":"submit","id":3,"n":1,"t":2.5,"s":0}'
    assert line == f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def test_the_first_line_names_the_journal(path: Path, journal: Journal) -> None:
    first = path.read_bytes().splitlines()[0]
    head = {"format": "dhflow-journal", "version": 1, "journal": "a1", "follows": ["", 0]}
    assert json.loads(first[9:]) == head
    assert read_head(path) == journal.head


def test_scanning_gives_the_events_back_from_any_place(path: Path, journal: Journal) -> None:
    places = []
    for number in range(3):
        places.append(journal.end)
        journal.append(encode_events(finished_trial(number)))
    assert list(scan(path).events()) == [HEADER, *(event for n in range(3) for event in finished_trial(n))]
    assert list(scan(path, places[1]).events()) == [event for n in (1, 2) for event in finished_trial(n)]
    assert list(scan(path, places[1], places[2]).events()) == finished_trial(1)
    assert scan(path).end == journal.end == path.stat().st_size


def test_values_that_json_lacks_survive(path: Path, journal: Journal) -> None:
    config = {"nan": float("nan"), "inf": -float("inf"), "text": 'ä\0\ud800\n\r"'}
    journal.append(encode_events([TrialCreated(Trial(0, config))]))
    *_, event = scan(path).events()
    assert isinstance(event, TrialCreated)
    assert repr(event.trial.config) == repr(config)


def test_numpy_scalars_are_taken_and_objects_are_not() -> None:
    event = TrialCreated(Trial(0, {"i": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True)}))
    assert b'{"i":3,"f":0.5,"b":true}' in encode_events([event])
    with pytest.raises(HistoryError, match="cannot be recorded"):
        encode_events([TrialCreated(Trial(0, {"x": {1, 2}}))])


@given(st.integers(1, 200))
def test_a_torn_last_line_is_skipped_and_cut_off_by_the_next_writer(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "h.h5.journal"
    journal = Journal.create(path, JournalHead.new(), [HEADER])
    journal.append(encode_events(finished_trial(0)[:1]))
    whole = journal.end
    journal.append(encode_events(finished_trial(0)[1:2]))
    journal.close()
    with path.open("r+b") as file:
        file.truncate(max(whole, path.stat().st_size - cut))
    found = scan(path)
    assert found.end == whole
    assert list(found.events()) == [HEADER, *finished_trial(0)[:1]]
    second = Journal(path, found.head, found.end)
    second.append(encode_events(finished_trial(0)[1:]))
    second.close()
    assert list(scan(path).events()) == [HEADER, *finished_trial(0)]


def test_zeros_at_the_end_are_a_torn_line(path: Path, journal: Journal) -> None:
    end = journal.end
    with path.open("ab") as file:
        file.write(b"9a3" + bytes(5000))
    assert scan(path).end == end


@pytest.mark.parametrize("byte", [b"\0", b"x", b"\r", b"\xff"])
@given(place=st.floats(0, 1, exclude_max=True))
def test_damage_before_the_end_is_told_with_the_way_out(
    tmp_path_factory: pytest.TempPathFactory, byte: bytes, place: float
) -> None:
    path = tmp_path_factory.mktemp("journal") / "h.h5.journal"
    journal = Journal.create(path, JournalHead.new(), [HEADER])
    first = journal.end
    journal.append(encode_events(finished_trial(0)))
    journal.close()
    data = bytearray(path.read_bytes())
    where = first + int(place * (len(data) - first - 1))
    if data[where : where + 1] == byte:
        return
    data[where : where + 1] = byte
    path.write_bytes(data)
    with pytest.raises(HistoryCorruptError, match=r"recover\(") as caught:
        list(scan(path).events())
    assert "h.h5" in str(caught.value)
    kept = list(scan(path, prefix=True).events())
    assert kept == [HEADER, *finished_trial(0)][: len(kept)]
    assert len(kept) < 4


def test_a_damaged_head_is_corrupt(path: Path, journal: Journal) -> None:
    data = path.read_bytes()
    path.write_bytes(b"0" + data[1:] if data[:1] != b"0" else b"1" + data[1:])
    with pytest.raises(HistoryCorruptError, match="recover"):
        scan(path)


def test_a_newer_journal_is_refused(path: Path) -> None:
    newer = {"format": "dhflow-journal", "version": 2, "journal": "a1", "follows": ["", 0]}
    path.write_bytes(encode_line(newer))
    with pytest.raises(HistoryFormatError, match="version 2"):
        scan(path)


def test_a_write_cut_short_leaves_nothing_and_can_be_repeated(path: Path, journal: Journal) -> None:
    journal.append(encode_events(finished_trial(0)))
    before = path.read_bytes()
    more = encode_events(finished_trial(1))
    for room in (0, 1, len(more) // 2, len(more) - 1):
        with files_limited_to(len(before) + room), pytest.raises(HistoryError) as caught:
            journal.append(more)
        assert caught.value.errno == errno.EFBIG
        assert path.read_bytes() == before
    journal.append(more)
    assert list(scan(path).events()) == [HEADER, *finished_trial(0), *finished_trial(1)]


def test_what_an_interrupted_append_left_is_cut_off_by_the_next(path: Path, journal: Journal) -> None:
    class Interrupted(Exception):
        """Stands for a KeyboardInterrupt between the write and the note of it."""

    class Interrupting(bytes):
        """Raises when its length is asked for behind the write."""

        asked = 0

        def __len__(self) -> int:
            raise Interrupted

    with pytest.raises(Interrupted):
        journal.append(Interrupting(encode_events(finished_trial(0)[:1])))
    assert path.stat().st_size > journal.end
    journal.append(encode_events(finished_trial(0)))
    assert list(scan(path).events()) == [HEADER, *finished_trial(0)]


def test_a_journal_that_cannot_be_begun_leaves_nothing(path: Path) -> None:
    with files_limited_to(50), pytest.raises(HistoryError) as caught:
        Journal.create(path, JournalHead.new(), [HEADER])
    assert caught.value.errno == errno.EFBIG
    assert not list(path.parent.iterdir())


def test_syncing_reports_no_problem_and_only_when_due(journal: Journal) -> None:
    journal.sync_if_due()
    assert journal._syncing is None
    journal.append(encode_events(finished_trial(0)))
    assert journal._syncing is None
    journal._synced_at -= 60.0
    journal.sync_if_due()
    journal.sync(wait=True)
    assert journal.problem is None
    journal._syncing = None
    journal._synced_at -= 60.0
    journal.sync_if_due()
    assert journal._syncing is None  # nothing was written since


def test_where_a_tail_begins() -> None:
    history = Path("h.h5")
    first = JournalHead("a", Place())
    later = JournalHead("b", Place("a", 100))
    assert first.tail_start(None, history) == 0
    assert first.tail_start(Place("a", 70), history) == 70
    assert later.tail_start(Place("a", 100), history) == 0
    assert later.tail_start(Place("b", 30), history) == 30
    with pytest.raises(HistoryCorruptError, match="gone"):
        later.tail_start(None, history)
    for other in (Place("a", 70), Place("c", 100)):
        with pytest.raises(HistoryCorruptError, match="do not belong together"):
            later.tail_start(other, history)


def test_the_journal_lies_beside_the_history() -> None:
    assert journal_path(Path("/scratch/run.1.h5")) == Path("/scratch/run.1.h5.journal")
    assert encode_head(JournalHead("a1", Place("z", 9))).endswith(b'"journal":"a1","follows":["z",9]}\n')
