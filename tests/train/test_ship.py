from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dhflow.errors import ExecutionError, TrialLostError
from dhflow.train import CommandSource, FunctionSource, loading, make_source, pack_objective
from dhflow.train.ship import pack_per_worker


def call_in_worker(source: FunctionSource, config: dict[str, Any]) -> Any:
    return loading.load(source)(config, "the trial")


@pytest.fixture
def ship(worker: ProcessPoolExecutor, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that packs an objective and calls it in another process."""

    def call(function: Callable[..., Any], **arguments: Any) -> Any:
        source = pack_objective(function, arguments, tmp_path / "objective")
        return worker.submit(call_in_worker, source, {"x": 2}).result()

    return call


def module_level(config: dict[str, Any]) -> int:
    return helper(config["x"])


def helper(x: int) -> int:
    return x + OFFSET


OFFSET = 40


class Objective:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, config: dict[str, Any]) -> int:
        return int(config["x"]) * self.factor

    def method(self, config: dict[str, Any], trial: Any) -> tuple[int, Any]:
        return config["x"] * self.factor, trial


def scaled(config: dict[str, Any], trial: Any, factor: int = 1) -> tuple[int, Any]:
    return config["x"] * factor, trial


def test_every_kind_of_function_runs_elsewhere(ship: Callable[..., Any]) -> None:
    offset = 10
    assert ship(module_level) == 42
    assert ship(lambda config: config["x"] + offset) == 12
    assert ship(functools.partial(scaled, factor=5)) == (10, "the trial")
    assert ship(scaled, factor=7) == (14, "the trial")
    assert ship(Objective(3)) == 6
    assert ship(Objective(3).method) == (6, "the trial")


def test_the_blob_is_written_once_under_its_hash(tmp_path: Path) -> None:
    source = pack_objective(module_level, {}, tmp_path)
    file = tmp_path / source.sha256
    assert source.path == str(file)
    assert source.blob is None
    assert hashlib.sha256(file.read_bytes()).hexdigest() == source.sha256
    number = file.stat().st_ino
    assert pack_objective(module_level, {}, tmp_path).sha256 == source.sha256
    assert file.stat().st_ino == number
    assert [each.name for each in tmp_path.iterdir()] == [source.sha256]


def test_without_a_directory_the_blob_travels_along() -> None:
    source = pack_objective(Objective(2))
    assert source.path is None
    assert source.blob is not None
    assert source.name == "Objective"
    assert call_in_worker(source, {"x": 4}) == 8
    assert "blob" not in repr(source)


def test_a_worker_remembers_a_function(tmp_path: Path) -> None:
    source = pack_objective(Objective(2), {}, tmp_path)
    first = loading.load(source)
    (tmp_path / source.sha256).unlink()
    assert loading.load(source) is first
    assert loading.location_of(source).startswith(__file__)


def test_a_blob_that_cannot_be_read_is_the_workers_trouble(tmp_path: Path) -> None:
    source = pack_objective(Objective(9), {}, tmp_path)
    file = tmp_path / source.sha256
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(TrialLostError, match="damaged"):
        loading.load(source)
    file.unlink()
    with pytest.raises(TrialLostError, match="cannot read"):
        loading.load(source)
    assert loading.location_of(source) == ""


def generate() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (threading.Lock, "_thread.lock"),
        (generate, "generator"),
        (functools.partial(Path("/dev/null").open, "w"), "_io.TextIOWrapper"),
    ],
)
def test_an_objective_that_cannot_travel_is_refused_and_named(make: Callable[[], Any], what: str) -> None:
    resource = make()

    def objective(config: Any) -> Any:
        return config, resource

    with pytest.raises(ExecutionError, match=f"captures 'resource' \\({what}\\).*create it inside the function"):
        pack_objective(objective)
    with pytest.raises(ExecutionError, match=r"the argument \['data'\]"):
        pack_objective(lambda config, data: 1.0, {"data": [resource]})
    if hasattr(resource, "close"):
        resource.close()


class OneWay:
    """Pickles, and cannot be unpickled: as an exception whose constructor has required keywords."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_what_pickles_but_does_not_unpickle_is_refused_too() -> None:
    wrong = OneWay()
    with pytest.raises(ExecutionError, match="cannot be sent to a worker"):
        pack_objective(lambda config: wrong)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ExecutionError, match="must be a function, not int"):
        pack_objective(3)  # type: ignore[arg-type]
    with pytest.raises(ExecutionError, match="per_worker must be a function"):
        pack_per_worker("load()")  # type: ignore[arg-type]
    with pytest.raises(ExecutionError, match="no parameter 'data'"):
        pack_objective(module_level, {"data": 1})


def test_a_large_capture_is_warned_about_by_name() -> None:
    table = bytes(11_000_000)
    small = bytes(1_000)

    def objective(config: Any) -> Any:
        return config, small, table

    with pytest.warns(UserWarning, match=r"captures 11 MB, most of it 'table' \(11 MB\)"):
        pack_objective(objective)
    with pytest.warns(UserWarning, match=r"most of it 'data'"):
        pack_objective(lambda config, data: 1.0, {"data": table})


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutionError, match="cannot be written"):
        pack_objective(module_level, {}, tmp_path / "file")


def test_a_worker_is_prepared_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def prepare() -> dict[str, int]:
        with notes.open("a") as file:
            file.write("prepared\n")
        return {"rows": 3}

    source = pack_per_worker(prepare, tmp_path)
    together = threading.Barrier(4)
    found = []

    def trial() -> None:
        together.wait(5)
        found.append(loading.prepare(source))

    threads = [threading.Thread(target=trial) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [{"rows": 3}] * 4
    assert all(each is found[0] for each in found)
    assert notes.read_text() == "prepared\n"
    assert loading.prepare(None) is None


def test_a_preparation_that_fails_is_tried_again(tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def prepare() -> str:
        if not notes.exists():
            notes.write_text("")
            raise ConnectionError("no data server")
        return "ready"

    source = pack_per_worker(prepare)
    with pytest.raises(ConnectionError):
        loading.prepare(source)
    assert loading.prepare(source) == "ready"


def test_only_a_few_functions_are_remembered() -> None:
    sources = [pack_objective(Objective(100 + number)) for number in range(10)]
    for each in sources:
        loading.load(each)
    assert loading.location_of(sources[0]) == ""
    assert loading.location_of(sources[-1]) != ""


def test_a_source_is_made_of_functions_and_commands(tmp_path: Path) -> None:
    command = make_source("train --x {x}", names=["x"])
    assert command == CommandSource("train --x {x}", str(Path.cwd()))
    source = make_source(module_level, names=["x"], per_worker=generate, directory=tmp_path)
    assert isinstance(source, FunctionSource)
    assert source.per_worker is not None
    assert source.per_worker.name == "generate"
    assert dataclasses.replace(source, per_worker=None) == pack_objective(module_level, {}, tmp_path)
    for given in ({"arguments": {"data": 1}}, {"per_worker": generate}):
        with pytest.raises(ExecutionError, match="goes with a function"):
            make_source("train --x {x}", names=["x"], **given)
