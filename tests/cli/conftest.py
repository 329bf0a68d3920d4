"""Problem files, and the command line run for real: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dhflow.cli import main

THREADS = ["--site-set", "executor=threads", "--site-set", "workers=2"]

PROBLEM = """
    from dhflow import Categorical, Float, Integer, Problem, SearchSpace

    space = SearchSpace({
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "layers": Integer(1, 4),
        "optimizer": Categorical(["sgd", "adam"]),
        "momentum": Float(0.0, 0.9, when={"optimizer": "sgd"}),
    })

    def objective(config, trial):
        if config["optimizer"] == "adam" and config["layers"] == 4:
            raise ValueError("four layers are too many")
        print("training", trial.seed)
        trial.report(1, val_accuracy=0.25)
        trial.report(2, val_accuracy=0.5)
        return {"accuracy": 1.0 - 0.1 * abs(config["learning_rate"] - 0.01) - 0.01 * config["layers"], "n": 3}

    problem = Problem(space, objective, direction={"accuracy": "maximize"}, defaults=space.default_config())
"""


@dataclass(frozen=True)
class Ran:
    """What a command line said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def write(path: Path, text: str) -> Path:
    """Write a file of dedented text."""
    path.write_text(textwrap.dedent(text))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a problem file, to be in."""
    write(tmp_path / "digits.py", PROBLEM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dhflow(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a verb in this process."""

    def run(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        try:
            code = main.run([str(each) for each in arguments])
        finally:
            said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Return what starts a verb in a process of its own."""

    def popen(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dhflow", *map(str, arguments)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )

    return popen


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the history of a search with failures."""
    where = tmp_path_factory.mktemp("finished")
    problem = write(where / "digits.py", PROBLEM)
    history = where / "digits.h5"
    options = ["--searcher", "random", "--seed", "1", "--max-trials", "25", "--abort-after", "none", "--no-progress"]
    assert main.run(["search", str(problem), "--history", str(history), *THREADS, *options]) == 0
    return history
