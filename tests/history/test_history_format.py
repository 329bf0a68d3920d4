"""The written format: FORMAT.md states what the code does, and files of released versions still open."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import dhflow.history
from dhflow.history import History, load_record, read_measurements
from dhflow.history.event import AttemptEnded, AttemptSubmitted, fold
from dhflow.history.hdf5 import opened, read_tables
from dhflow.history.journal import encode_events
from dhflow.history.schema import TABLES
from dhflow.testing.history import canonical

ARCHIVES = Path(__file__).parents[1] / "archives"
FORMAT = Path(dhflow.history.__file__ or "").with_name("FORMAT.md").read_text(encoding="utf-8")


def maker(version: int) -> ModuleType:
    """Return the script that made an archive; it says what is in it."""
    spec = importlib.util.spec_from_file_location(f"make_v{version}", ARCHIVES / f"make_v{version}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", [1])
def test_an_archive_of_every_released_version_opens(version: int, tmp_path: Path) -> None:
    made = maker(version)
    archive = ARCHIVES / f"v{version}.h5"
    record = load_record(archive)
    assert canonical(record) == canonical(fold([made.HEADER, *made.events()]))
    curves = [
        (event.trial_id, event.attempt.number, *each)
        for event in made.events()
        if isinstance(event, AttemptEnded)
        for each in event.measurements
    ]
    assert [tuple(row) for row in read_measurements(archive).tolist()] == curves
    with opened(archive) as file:
        assert set(read_tables(file).tables) == set(TABLES)
    copy = tmp_path / "copy.h5"
    copy.write_bytes(archive.read_bytes())
    with History.open(copy, in_process=True) as history:
        history.append([_ended_last(made)])
    assert load_record(copy).n_outcomes == record.n_outcomes + 1


def _ended_last(made: ModuleType) -> AttemptEnded:
    ended = next(event for event in made.events() if isinstance(event, AttemptEnded))
    return AttemptEnded(4, ended.attempt, ended.trial_status, ended.values, ended.losses, outcome_number=4)


def test_the_documents_example_of_a_line_is_right() -> None:
    (line,) = re.findall(r'^[0-9a-f]{8} \{"e".*\}$', FORMAT, flags=re.MULTILINE)
    assert encode_events([AttemptSubmitted(0, 1, 1764000000.2, 1)]) == f"{line}\n".encode()


def test_a_journal_of_every_released_version_opens() -> None:
    made = maker(1)
    assert canonical(load_record(ARCHIVES / "v1_open.h5")) == canonical(fold([made.HEADER, *made.events()]))


@pytest.mark.parametrize("name", TABLES)
def test_the_document_states_every_column(name: str) -> None:
    section = FORMAT.split(f"\n#### {name}\n")[1].split("\n#")[0]
    stated = re.findall(r"^\| `(\w+)` \| ([\w-]+) \| (.+) \|$", section, flags=re.MULTILINE)
    assert stated == [(spec.name, spec.kind, spec.meaning) for spec in TABLES[name]]
