"""The HDF5 file: readable without dhflow as FORMAT.md says, and strict about what it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import HistoryCorruptError, HistoryFormatError
from dhflow.history import History, hdf5, load_header, load_record, read_measurements
from dhflow.history.event import AttemptEnded, Event, SessionEnded, SessionStarted, TrialCreated
from dhflow.history.schema import TABLES
from dhflow.testing.history import HEADER, finished_trial
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialStatus


def write(path: Path, *events: Event) -> Path:
    with History.create(path, HEADER, in_process=True) as history:
        history.append(events)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(
        tmp_path / "h.h5",
        SessionStarted(0, 1.0, {"site": "laptop"}),
        *finished_trial(0, 0.5, lr=0.01, opt="sgd", n=3, flag=True, mixed=1),
        *finished_trial(1, 0.75, lr=0.1, opt="adam", mixed="one"),
        SessionEnded(0, 2.0, {"reason": "max_trials"}),
    )


def test_plain_readers_find_columns(path: Path) -> None:
    with h5py.File(path) as file:
        assert file.attrs["format"] == "dhflow-history"
        assert file.attrs["format-version"] == 1
        assert file.attrs["study-id"] == HEADER.study_id
        assert json.loads(file["header"].asstr()[()])["space"] == HEADER.space
        assert file["trials/trial_id"][:].tolist() == [0, 1]
        status = file["trials/status/categories"].asstr()[:][file["trials/status/codes"][:]]
        assert status.tolist() == ["completed", "completed"]
        assert file["trials/config/lr/values"][:].tolist() == [0.01, 0.1]
        assert file["trials/config/n/mask"][:].tolist() == [False, True]
        assert file["trials/config/n/values"].dtype == "int64"
        assert file["trials/config/flag/values"].dtype == bool
        assert file["trials/config/mixed"].attrs["encoding-type"] == "json"
        assert file["measurements/value"][:].tolist() == [0.75, 0.5, 0.75, 0.5]
        roles = file["values/role/categories"].asstr()[:][file["values/role/codes"][:]]
        assert file["values/value"][:][roles == "loss"].tolist() == [-0.5, -0.75]


def test_every_table_is_there_with_every_column_typed(path: Path) -> None:
    with h5py.File(path) as file:
        for name, specs in TABLES.items():
            assert file[name].attrs["encoding-type"] == "table"
            assert set(file[name]) - {"config"} == {spec.name for spec in specs}
            for spec in specs:
                element = file[name][spec.name]
                kind = {"int64": "column", "float64": "column", "nullable-int64": "nullable"}.get(spec.kind, spec.kind)
                assert element.attrs["encoding-type"] == kind
                if kind == "column":
                    assert element.shape == (file[name].attrs["rows"],)
                    assert element.dtype == spec.kind
        assert [len(hdf5.read_table(file, name)["time"]) for name in ("arrays", "findings", "commands")] == [0, 0, 0]
        every: list[h5py.HLObject] = []
        file.visititems(lambda _, element: every.append(element))
        parts = {"values", "mask", "codes", "categories"}
        for element in every:
            inner = element.name.rsplit("/", 1)[1]
            if inner not in parts or isinstance(element, h5py.Group):
                assert element.attrs["encoding-version"] == "1"


def test_long_columns_are_chunked_and_compressed(tmp_path: Path) -> None:
    curve = tuple(Measurement(step, 100.0 + step, "loss", 0.5) for step in range(40_000))
    attempt = Attempt(1, TrialStatus.COMPLETED, 1.0)
    path = write(
        tmp_path / "h.h5",
        TrialCreated(Trial(0, {})),
        AttemptEnded(0, attempt, TrialStatus.COMPLETED, measurements=curve, outcome_number=0),
    )
    with h5py.File(path) as file:
        for name in ("step", "time", "value", "trial_id"):
            assert file["measurements"][name].compression == "gzip"
            assert file["measurements"][name].chunks is not None
        assert file["measurements/name/codes"].dtype == "int8"
        assert file["trials/trial_id"].chunks is None
    assert path.stat().st_size < 300_000
    assert [Measurement(*row) for row in read_measurements(path)[["step", "time", "name", "value"]].tolist()] == [
        *curve
    ]


def test_a_space_larger_than_an_attribute_can_be(tmp_path: Path) -> None:
    config = {f"a_rather_long_name_of_a_parameter_{number}": number for number in range(3_000)}
    path = write(tmp_path / "h.h5", TrialCreated(Trial(0, config)))
    assert load_record(path).trials[0].config == config


@given(st.text(st.characters()))
def test_link_names_stand_for_one_parameter_each(name: str) -> None:
    link = hdf5.link_name(name)
    assert "/" not in link
    assert "\0" not in link
    assert link.strip(".")
    link.encode()
    assert hdf5._parameter_name(link) == name


def test_ordinary_names_are_kept() -> None:
    for name in ("learning_rate", "Größe", "a.b", "x-1 (mm)"):
        assert hdf5.link_name(name) == name


def test_values_of_every_type_come_back(tmp_path: Path) -> None:
    metrics: dict[str, Any] = {
        "f": 0.1,
        "i": 3,
        "huge": 2**63 + 1,
        "vast": 10**400,
        "neg": -(2**53) - 1,
        "b": True,
        "s": "a\0b",
        "none": None,
        "nan": float("nan"),
        "list": [1, {"a": None}],
    }
    failure = TrialFailure("ValueError", "x\0\ud800", "trace\nback", "f.py:3", "nid1", "SIGKILL", 12)
    attempt = Attempt(1, TrialStatus.FAILED, 1.0, failure=failure)
    path = write(
        tmp_path / "h.h5",
        TrialCreated(Trial(0, {})),
        AttemptEnded(0, attempt, TrialStatus.FAILED, metrics=metrics, outcome_number=0),
    )
    trial = load_record(path).trials[0]
    assert repr(trial.metrics) == repr(metrics)
    assert trial.failure == failure


# -- what is refused


def test_another_file_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("objective,lr\n0.5,0.1\n")
    with pytest.raises(HistoryFormatError, match="not even an HDF5 file"):
        load_record(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(HistoryFormatError, match="something else"):
        load_record(tmp_path / "b.h5")


def test_a_newer_version_is_refused_for_reading_and_writing(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format-version"] = 2
        file.attrs["written-by"] = "dhflow 9.9"
    for read in (load_record, load_header, read_measurements, History.open):
        with pytest.raises(HistoryFormatError, match=r"version 2 .*dhflow 9\.9.*reads up to 1"):
            read(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_corrupt(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(HistoryCorruptError, match="backup"):
        load_record(path)


def test_a_damaged_middle_is_told_before_hdf5_sees_it(path: Path) -> None:
    data = path.read_bytes()
    for start in range(512, len(data) - 23, 512):
        damaged = data[:start] + bytes(64) + data[start + 64 :]
        if damaged != data:
            path.write_bytes(damaged)
            with pytest.raises(HistoryCorruptError, match="checksum"):
                load_record(path)


def test_a_file_that_another_program_added_to_is_read(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["comment"] = "the good one"
        file["notes"] = np.arange(1000)
    assert list(load_record(path).trials) == [0, 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file["trials"].__delitem__("seed"),
        lambda file: file["trials/status/codes"].__setitem__(0, 100),
        lambda file: file["trials/status"].attrs.__setitem__("encoding-type", "cipher"),
        lambda file: file["trials"].attrs.__setitem__("rows", 7),
        lambda file: file["trials/config/lr"].move("values", "numbers"),
        lambda file: file["trials/status/categories"].__setitem__(0, "asleep"),
        lambda file: file.__delitem__("header"),
        lambda file: file["header"].__setitem__((), '{"e":"session"}'),
        lambda file: file["header"].__setitem__((), '{"e":"session","s":0,"t":1.0,"info":{}}'),
        lambda file: file.attrs.__delitem__("journal-id"),
    ],
)
def test_a_file_with_missing_or_impossible_parts_is_corrupt(path: Path, damage: Any) -> None:
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(HistoryCorruptError, match=r"h\.h5 is damaged"):
        load_record(path)
