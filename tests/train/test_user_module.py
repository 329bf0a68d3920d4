from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import dhflow.trial
from dhflow.errors import ExecutionError
from dhflow.train import loading, pack_objective
from dhflow.train.ship import pack_per_worker
from dhflow.train.task import FunctionSource
from dhflow.train.user_module import enter_folders, load_file_module, modules_under, user_folder

PROBLEM = """
from dataclasses import dataclass
from pathlib import Path
import helpers_of_problem
from helpers_of_problem import doubled
import package_of_problem.part

SCALE = 3

@dataclass
class Setup:
    factor: int = SCALE

def objective(config):
    import lazy_of_problem
    return [
        doubled(config["x"]),
        helpers_of_problem.tripled(config["x"]),
        package_of_problem.part.squared(config["x"]),
        Setup().factor,
        lazy_of_problem.NAME,
        Path(__file__).name,
    ]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    by_value = cloudpickle.list_registry_pickle_by_value()
    folder = tmp_path / "project"
    (folder / "package_of_problem").mkdir(parents=True)
    (folder / "problem.py").write_text(PROBLEM)
    (folder / "helpers_of_problem.py").write_text(
        "OFFSET = 0\ndef doubled(x):\n    return 2 * x + OFFSET\ndef tripled(x):\n    return 3 * x + OFFSET\n"
    )
    (folder / "package_of_problem" / "__init__.py").write_text("")
    (folder / "package_of_problem" / "part.py").write_text("def squared(x):\n    return x * x\n")
    (folder / "lazy_of_problem.py").write_text("NAME = 'lazy'\n")
    yield folder
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    for name in cloudpickle.list_registry_pickle_by_value() - by_value:
        cloudpickle.cloudpickle._PICKLE_BY_VALUE_MODULES.discard(name)


def call_in_worker(source: FunctionSource, config: dict[str, Any]) -> Any:
    return loading.load(source)(config, None)


EXPECTED = [10, 15, 25, 3, "lazy", "problem.py"]


def test_a_problem_file_and_what_lies_beside_it_run_on_a_worker(folder: Path, worker: ProcessPoolExecutor) -> None:
    module = load_file_module(folder / "problem.py")
    source = pack_objective(module.objective)
    assert source.import_paths == (str(folder),)
    assert worker.submit(call_in_worker, source, {"x": 5}).result() == EXPECTED
    assert call_in_worker(source, {"x": 5}) == EXPECTED


def test_loaded_neighbours_travel_as_they_are(folder: Path, worker: ProcessPoolExecutor) -> None:
    module = load_file_module(folder / "problem.py")
    sys.modules["helpers_of_problem"].OFFSET = 100  # type: ignore[attr-defined]
    source = pack_objective(module.objective)
    (folder / "helpers_of_problem.py").write_text("this is being edited")
    assert worker.submit(call_in_worker, source, {"x": 5}).result()[:2] == [110, 115]


def test_a_neighbour_that_cannot_be_pickled_is_imported_by_the_worker(
    folder: Path, worker: ProcessPoolExecutor
) -> None:
    with (folder / "helpers_of_problem.py").open("a") as file:
        file.write("import threading\nLOCK = threading.Lock()\n")
    module = load_file_module(folder / "problem.py")
    source = pack_objective(module.objective)
    assert worker.submit(call_in_worker, source, {"x": 5}).result() == EXPECTED


def test_a_worker_sees_a_neighbour_that_was_edited_between_two_studies(
    folder: Path, worker: ProcessPoolExecutor
) -> None:
    for name in ("first", "second"):
        (folder / "lazy_of_problem.py").write_text(f"NAME = {name!r}\n")
        (folder / "problem.py").write_text(f"{PROBLEM}\nSTUDY = {name!r}\n".replace("SCALE = 3", f"SCALE = {name!r}"))
        source = pack_objective(load_file_module(folder / "problem.py").objective)
        assert worker.submit(call_in_worker, source, {"x": 5}).result()[3:5] == [name, name]


def test_folders_come_first_in_a_worker_and_last_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/something"])
    monkeypatch.setattr("dhflow.train.user_module._entered", set())
    first, second, gone = (tmp_path / name for name in ("first", "second", "gone"))
    first.mkdir()
    second.mkdir()
    enter_folders([str(first), str(gone)], is_worker=False)
    assert sys.path == ["/usr/lib/something", str(first)]
    enter_folders([str(second), str(gone)], is_worker=True)
    assert sys.path == [str(second), "/usr/lib/something", str(first)]
    enter_folders([str(first)], is_worker=True)
    assert sys.path == [str(first), str(second), "/usr/lib/something"]
    enter_folders([str(second)], is_worker=False)
    assert sys.path == [str(first), str(second), "/usr/lib/something"]


def prepared_in_worker(objective: FunctionSource, preparation: FunctionSource) -> Any:
    loaded = loading.load(objective)
    loading.prepare(preparation)
    return loaded({}, None)


def test_preparation_and_objective_share_their_modules(folder: Path, worker: ProcessPoolExecutor) -> None:
    (folder / "data_of_problem.py").write_text("import threading\nLOCK = threading.Lock()\nROWS = None\n")
    (folder / "problem.py").write_text(
        "import data_of_problem\ndef prepare():\n    data_of_problem.ROWS = 3\n"
        "def objective(config):\n    return data_of_problem.ROWS\n"
    )
    module = load_file_module(folder / "problem.py")
    sources = pack_objective(module.objective), pack_per_worker(module.prepare)
    assert worker.submit(prepared_in_worker, *sources).result() == 3


def test_the_registry_is_left_as_it_was(folder: Path) -> None:
    module = load_file_module(folder / "problem.py")
    before = cloudpickle.list_registry_pickle_by_value()
    pack_objective(module.objective)
    assert cloudpickle.list_registry_pickle_by_value() == before
    assert module.__name__ in before


def test_two_files_of_one_name_do_not_meet(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "problem.py").write_text("value = 2")
    (folder / "problem.py").write_text("value = 1")
    first, second = load_file_module(folder / "problem.py"), load_file_module(other / "problem.py")
    assert (first.value, second.value) == (1, 2)
    assert first.__name__ != second.__name__
    (folder / "problem.py").write_text("value = 10")
    again = load_file_module(str(folder / "problem.py"))
    assert (again.value, again.__name__) == (10, first.__name__)


def test_a_file_that_cannot_be_loaded_says_where(folder: Path) -> None:
    path = folder / "problem.py"
    path.write_text("import json\n\njson.loads('{')\n")
    before = dict(sys.modules), list(sys.path)
    with pytest.raises(ExecutionError, match=r"JSONDecodeError.*problem\.py:3"):
        load_file_module(path)
    assert (sys.modules, sys.path) == before
    path.write_text("def f(:\n")
    with pytest.raises(ExecutionError, match=r"SyntaxError.*problem\.py:1"):
        load_file_module(path)
    with pytest.raises(ExecutionError, match="no file"):
        load_file_module(folder / "gone.py")
    (folder / "notes.txt").write_text("")
    with pytest.raises(ExecutionError, match="no Python file"):
        load_file_module(folder / "notes.txt")


def test_the_folder_comes_last_on_the_path_once_loaded(folder: Path) -> None:
    load_file_module(folder / "problem.py")
    load_file_module(folder / "problem.py")
    assert sys.path[-1] == str(folder)
    assert sys.path.count(str(folder)) == 1


def test_whose_folder_it_is(folder: Path) -> None:
    module = load_file_module(folder / "problem.py")
    assert user_folder(module.objective) == folder
    part = sys.modules["package_of_problem.part"]
    assert user_folder(part.squared) == folder
    assert user_folder(cloudpickle.dumps) is None
    assert user_folder(dhflow.trial.trial_seed) is None
    assert user_folder(len) is None


def test_installed_modules_are_never_taken_along(folder: Path) -> None:
    load_file_module(folder / "problem.py")
    names = {each.__name__ for each in modules_under(Path("/"))}
    assert {"helpers_of_problem", "package_of_problem.part"} <= names
    assert not {"cloudpickle", "json", "dhflow.trial", "pytest"} & names


SCRIPT = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from dhflow.objective import Objective
from dhflow.train import EvaluationSettings, Task, evaluate, make_source
import neighbour_of_script

LIMIT = 3

class Point:
    def __init__(self, x):
        self.x = x

def helper(point):
    return neighbour_of_script.half(point.x) + LIMIT

def objective(config, trial):
    from lazy_of_script import ADDED
    trial.report(1, loss=0.5)
    return helper(Point(config["x"])) + ADDED

if __name__ == "__main__":
    settings = EvaluationSettings((Objective(),), make_source(objective, directory=sys.argv[1]))
    task = Task(0, 1, {"x": 4}, None, 1, None, None, None, settings)
    # a worker of its own: it does not import this script, as Parsl's do not
    import subprocess, pickle
    code = ("import pickle,sys; f,t=pickle.load(sys.stdin.buffer); r=f(t); "
            "sys.stdout.buffer.write(pickle.dumps(r))")
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps((evaluate, task)), capture_output=True,
                          cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    result = pickle.loads(done.stdout)
    assert result.failure is None, result.failure
    print(result.values["objective"])
"""


def test_a_script_of_its_own_runs_with_its_neighbours(run_script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_script.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "lazy_of_script.py").write_text("ADDED = 100\n")
    assert run_script(SCRIPT, str(tmp_path / "objective")).strip() == "105.0"


def test_an_edit_at_once_that_leaves_the_length_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "problem.py"
    file.write_text("n = 4\n")
    assert load_file_module(file).n == 4
    file.write_text("n = 5\n")
    assert load_file_module(file).n == 5


def test_modules_may_come_meanwhile() -> None:
    """What the garbage collector ends may import; so may another thread."""
    names = [f"late_module_{i}" for i in range(1000)]
    left = iter(names)

    class Late:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            name = next(left, None)
            if name is not None:
                sys.modules[name] = types.ModuleType(name)
                Late()

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        Late()
        found = modules_under(Path(__file__).parent)
    finally:
        gc.set_threshold(*thresholds)
        list(left)  # what is still to be collected brings no more
        late = [name for name in names if sys.modules.pop(name, None)]
    assert late, "nothing came meanwhile"
    assert __name__ in {each.__name__ for each in found}
