"""The command line on a problem with constraints."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dhflow import load
from dhflow.cli import main

from .conftest import THREADS, write

PROBLEM = """
    from dhflow import Float, Integer, Problem, SearchSpace

    space = SearchSpace({"width": Float(0.0, 1.0), "depth": Integer(1, 8)})

    def objective(config):
        size = config["width"] * config["depth"]
        more = {f"m{i}": i for i in range(12)}
        return {"accuracy": size / (1.0 + size), **more, "memory_gb": 4.0 * size, "latency_ms": 1.0 + size}

    problem = Problem(space, objective, direction={"accuracy": "maximize"}, constraints=["memory_gb <= 8"],
                      defaults={"width": 0.9, "depth": 8})
"""
SEARCH = [*THREADS, "--searcher", "random", "--seed", "1", "--no-progress"]
TEXTS = "memory_gb <= 8; latency_ms < 2.5"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("constrained")
    problem, history = write(where / "nets.py", PROBLEM), where / "nets.h5"
    options = [*SEARCH, "--max-trials", "30", "--constraint", "latency_ms < 2.5"]
    assert main.run(["search", str(problem), "--history", str(history), *options]) == 0
    return history


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "nets.py", PROBLEM)


def test_a_search_says_its_constraints_and_marks_what_violates_them(nets: Path, dhflow: Any) -> None:
    ran = dhflow("search", nets, *SEARCH[:-1], "--max-trials", "20", "--constraint", "latency_ms < 2.5")
    assert ran.code == 0, ran.err
    result = load("nets.h5")
    assert [each.text for each in result.constraints] == TEXTS.split("; ")
    assert re.search(rf"^trials +20: 20 completed \({result.n_infeasible} infeasible\)$", ran.out, re.MULTILINE)
    assert f"constraints  {TEXTS}" in ran.out
    assert f"best: trial {result.best.trial_id}" in ran.out
    assert re.search(r"^ +best +default \(infeasible\)$", ran.out, re.MULTILINE)
    assert re.search(r"^  latency_ms +[\d.]+ +8\.2$", ran.out, re.MULTILINE), "behind ten other metrics otherwise"
    assert f"{result.n_infeasible} infeasible" in ran.err


def test_going_on_keeps_them(nets: Path, dhflow: Any) -> None:
    search = ["search", nets, *SEARCH]
    assert dhflow(*search, "--max-trials", "6", "--constraint", "latency_ms < 2.5").code == 0
    assert dhflow("enqueue", "nets.h5", "--like", "best", "depth=1").code == 0
    resumed = dhflow("resume", "nets.h5", "--max-trials", "10", "--no-progress")
    assert resumed.code == 0, resumed.err
    assert f"constraints  {TEXTS}" in resumed.out
    assert len(load("nets.h5")) == 10
    refused = dhflow(*search, "--max-trials", "20", "--resume", "--constraint", "latency_ms < 3")
    assert refused.code == 1
    assert "constraint 'latency_ms < 2.5' was removed; constraint 'latency_ms < 3' was added" in refused.err


def test_a_study_of_the_library_goes_on_too(nets: Path, dhflow: Any) -> None:
    from dhflow import Float, Integer, SearchSpace, search

    space = SearchSpace({"width": Float(0.0, 1.0), "depth": Integer(1, 8)})
    search(
        lambda config: {"accuracy": config["width"], "memory_gb": 1.0, "latency_ms": 1.0},
        space,
        direction={"accuracy": "maximize"},
        constraints=["latency_ms < 2.5", "memory_gb <= 8"],
        searcher="random",
        history="lib.h5",
        max_trials=3,
        site_set={"executor": "threads"},
    )
    ran = dhflow("resume", "lib.h5", "--problem", nets, "--max-trials", "5", *THREADS, "--no-progress")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [("memory_gb", "has no relation"), ("memory_gb > 9", "no value meets both"), ("size <= 2", "needs 'size'")],
)
def test_a_wrong_constraint_is_refused(nets: Path, dhflow: Any, text: str, says: str) -> None:
    ran = dhflow("search", nets, *SEARCH, "--max-trials", "4", "--constraint", text)
    assert ran.code == 1
    assert says in ran.err


def test_when_no_trial_meets_them_the_end_says_so(nets: Path, dhflow: Any) -> None:
    ran = dhflow("search", nets, *SEARCH, "--max-trials", "5", "--constraint", "latency_ms <= 1.0001")
    assert ran.code == 1
    assert re.search(
        r"none of 5 completed trials meets the constraints .* comes nearest, with .*latency_ms = 1", ran.err
    )
    shown = dhflow("show", "nets.h5")
    assert shown.code == 0
    assert re.search(r"^best +none yet$", shown.out, re.MULTILINE)
    assert dhflow("plot", "nets.h5").code == 0
    assert dhflow("plot", "nets.h5", "--kind", "parameters").code == 0
    assert "meets the constraints" in dhflow("plot", "nets.h5", "--kind", "parallel").err


def test_show_ranks_feasible_trials_first_and_marks_the_rest(finished: Path, dhflow: Any) -> None:
    result = load(finished)
    out = dhflow("show", finished, "--top", "30").out
    assert re.search(rf"^constraints +{re.escape(TEXTS)}$", out, re.MULTILINE)
    rows = re.findall(r"^  (\d+) +[\d.]+ .*depth=", out, re.MULTILINE)
    marked = re.findall(r"^  (\d+) .*infeasible", out, re.MULTILINE)
    assert len(rows) == 30
    assert int(rows[0]) == result.best.trial_id
    assert rows[-result.n_infeasible :] == marked
    one = dhflow("show", finished, "--trial", "0").out
    assert re.search(r"^constraint +latency_ms < 2\.5: violated by 5\.7$", one, re.MULTILINE)
    assert re.search(
        r"^constraint +memory_gb <= 8: met$", dhflow("show", finished, "--trial", rows[0]).out, re.MULTILINE
    )


def test_programs_see_it_too(finished: Path, dhflow: Any, tmp_path: Path) -> None:
    result = load(finished)
    found = json.loads(dhflow("show", finished, "--json", "--top", "30").out)
    assert found["constraints"] == TEXTS.split("; ")
    assert found["summary"]["infeasible"] == result.n_infeasible
    assert [each["feasible"] for each in found["top"]] == sorted(
        (each["feasible"] for each in found["top"]), reverse=True
    )
    assert json.loads(dhflow("show", finished, "--json", "--trial", "0").out)["feasible"] is False
    assert dhflow("export", finished, tmp_path / "nets.csv").code == 0
    rows = list(csv.DictReader((tmp_path / "nets.csv").read_text().splitlines()))
    assert sum(each["feasible"] == "False" for each in rows) == result.n_infeasible


def test_a_comparison_counts_infeasible_trials(nets: Path, dhflow: Any) -> None:
    ran = dhflow("compare", nets, "--searchers", "random,sobol", "--repeats", "1", "--trials", "6", *THREADS)
    assert ran.code == 0, ran.err
    assert re.search(r"busy +trials/h +trials +failed +infeasible$", ran.out, re.MULTILINE)
    assert "infeasible" in ran.err
