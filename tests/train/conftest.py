"""Tasks for the tests of the worker's side, and real worker processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import dhflow
from dhflow.objective import Objective
from dhflow.train import EvaluationSettings, Task, make_source

sys.path.insert(0, str(Path(__file__).parent))  # for evaluated

TaskMaker = Callable[..., Task]


@pytest.fixture
def make_task(tmp_path: Path) -> TaskMaker:
    """Return a function that packs an objective and makes a task of it."""
    numbers = iter(range(1_000))

    def make(
        objective: Any,
        *,
        config: dict[str, Any] | None = None,
        budget: float | None = None,
        has_directory: bool = True,
        objectives: tuple[Objective, ...] = (Objective(),),
        names: tuple[str, ...] | None = None,
        arguments: dict[str, Any] | None = None,
        per_worker: Callable[[], Any] | None = None,
        workers: Path | None = None,
        continues: str | None = None,
        deadline: float | None = None,
        **settings: Any,
    ) -> Task:
        config = {"x": 1.5} if config is None else config
        number = next(numbers)
        if workers is None:
            workers = tmp_path / "workers" / "0"
            workers.mkdir(parents=True, exist_ok=True)
        source = make_source(
            objective,
            names=tuple(config) if names is None else names,
            arguments=arguments,
            per_worker=per_worker,
            directory=tmp_path / "objective",
        )
        return Task(
            trial_id=number,
            attempt=1,
            config=config,
            budget=budget,
            seed=7,
            directory=str(tmp_path / "trials" / str(number) / "1") if has_directory else None,
            continues=continues,
            deadline=deadline,
            settings=EvaluationSettings(
                objectives, source, workers=str(workers) if has_directory else None, **settings
            ),
        )

    return make


@pytest.fixture(scope="session")
def worker() -> Iterator[ProcessPoolExecutor]:
    """One spawned worker process, shared by the tests that do not harm it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs Python text as a script of its own and returns what it printed."""

    def run(text: str, *arguments: str, folder: Path | None = None, timeout_s: float = 60) -> str:
        folder = folder or tmp_path
        script = folder / "script.py"
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(dhflow.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
