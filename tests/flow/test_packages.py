from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dhflow.flow.pool import Pool
from dhflow.flow.session import load_packages

MODULE = "loaded_while_workers_start"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / f"{MODULE}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield MODULE
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize(("owns", "is_in_process"), [(True, False), (True, True), (False, False)])
def test_packages_are_loaded_early_only_while_workers_of_ours_start(
    module: str, owns: bool, is_in_process: bool
) -> None:
    with ThreadPoolExecutor(1) as executor:
        load_packages(("not_installed_anywhere", module), Pool(executor, 1, "", owns=owns, is_in_process=is_in_process))
    assert (module in sys.modules) is (owns and not is_in_process)


@pytest.mark.parametrize("name", ["auto", "ambs", "tpe", "bohb"])
def test_after_the_packages_no_ask_loads_another(name: str) -> None:
    """In a process of its own, where nothing is loaded yet."""
    code = f"""
import importlib, sys
from dhflow import Float, SearchSpace, Study
from dhflow.searcher import make_searcher
space = SearchSpace({{"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}})
searcher = make_searcher({name!r}, space, seed=1, budget_range=(1, 27))
study = Study(space, searcher=searcher)
trial = study.ask()
study.tell(trial, 1.0)
for each in searcher.packages:
    importlib.import_module(each)
before = set(sys.modules)
for number in range(14):
    trial = study.ask()
    study.tell(trial, trial.config["x"])
print(*(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {each for each in done.stdout.split() if each.partition(".")[0] in {"scipy", "sklearn"}}
    assert not {each for each in loaded if each.count(".") == 1}, loaded
