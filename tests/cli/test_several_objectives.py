"""The command line on a problem of two objectives."""

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
        if config["depth"] == 8:
            raise ValueError("eight layers are too many")
        size = config["width"] * config["depth"]
        return {"accuracy": size / (1.0 + size), "latency_ms": 1.0 + size + config["width"], "size": size}

    problem = Problem(space, objective, direction={"accuracy": "maximize", "latency_ms": "minimize"},
                      defaults=space.default_config())
"""
SEARCH = ["--searcher", "nsga2", "--searcher-set", "n_initial=5", "--seed", "1", "--abort-after", "none"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("several")
    problem, history = write(where / "nets.py", PROBLEM), where / "nets.h5"
    options = [*THREADS, *SEARCH, "--max-trials", "40", "--no-progress"]
    assert main.run(["search", str(problem), "--history", str(history), *options]) == 0
    return history


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "nets.py", PROBLEM)


def test_a_search_ends_with_its_pareto_set_and_goes_on(nets: Path, dhflow: Any) -> None:
    ran = dhflow("search", nets, *THREADS, *SEARCH, "--max-trials", "9", "--plot", "nets.png")
    assert ran.code == 0, ran.err
    assert re.search(r"Pareto set of \d+ trials? \(newest: trial \d+\)", ran.err)
    result = load("nets.h5")
    title, head, *rows = ran.out.split("\n\n")[0].strip().splitlines()
    assert title == f"Pareto set: {len(result.pareto)} of 9 trials"
    assert head.split() == ["trial", "accuracy", "latency_ms", "config"]
    ids = [row.split()[0] for row in rows]
    members = [str(each.trial_id) for each in result.pareto]
    assert ids == members + (["0"] if "0" not in members else [])
    assert "0 (default)" in ran.out
    assert Path("nets.png").read_bytes().startswith(b"\x89PNG")
    again = dhflow("resume", "nets.h5", "--max-trials", "20", "--no-progress")
    assert again.code == 0, again.err
    assert f"Pareto set: {len(load('nets.h5').pareto)} of 20 trials" in again.out
    assert load("nets.h5").record.sessions[-1][0].info["searcher"]["options"]["n_initial"] == 5


def test_show_has_the_set_and_the_best_of_each(finished: Path, dhflow: Any) -> None:
    result = load(finished)
    shown = dhflow("show", finished).out
    assert "objectives  accuracy, to maximize; latency_ms, to minimize" in shown
    assert f"accuracy {result.pareto[0].values['accuracy']:.6g} (trial {result.pareto[0].trial_id})" in shown
    assert f"latency_ms {result.pareto[-1].values['latency_ms']:.6g} (trial {result.pareto[-1].trial_id})" in shown
    assert re.search(r"^  trial +accuracy +latency_ms +time", shown, re.MULTILINE)
    few = dhflow("show", finished, "--top", "3").out
    assert f"Pareto set: {len(result.pareto)} of 40 trials; the 3 that lie furthest apart" in few
    rows = few.partition("config\n")[2].splitlines()[:3]
    assert rows[0].split()[0] == str(result.pareto[0].trial_id)
    assert rows[-1].split()[0] == str(result.pareto[-1].trial_id)


def test_show_trial_and_json_have_all_objectives(finished: Path, dhflow: Any) -> None:
    best = load(finished).pareto[0]
    shown = dhflow("show", finished, "--trial", best.trial_id).out
    for name, value in best.values.items():
        assert re.search(rf"^{name} +{re.escape(f'{value:.6g}')}$", shown, re.MULTILINE)
    data = json.loads(dhflow("show", finished, "--json", "--top", "100").out)
    assert [each["name"] for each in data["objectives"]] == ["accuracy", "latency_ms"]
    assert [each["trial_id"] for each in data["top"]] == data["summary"]["pareto"]
    assert data["top"][0]["values"] == dict(best.values)


def test_export_and_plot(finished: Path, dhflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dhflow("export", finished, "nets.csv").code == 0
    rows = list(csv.DictReader(Path("nets.csv").read_text().splitlines()))
    assert {"value.accuracy", "value.latency_ms", "metric.size"} <= set(rows[0])
    done = [each for each in rows if each["status"] == "completed"]
    assert all(each["value.accuracy"] and each["value.latency_ms"] for each in done)
    assert dhflow("plot", finished).out == "nets-pareto.png\n"
    for kind in ("objective", "parameters", "parallel", "timeline"):
        assert dhflow("plot", finished, "--kind", kind).code == 0
    refused = dhflow("plot", finished, "--kind", "surrogate")
    assert refused.code == 1
    assert "ambs" in refused.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["search", "nets.py", "--searcher", "tpe", "--max-trials", "3"],
            "takes 1 objective, not 2; any number",
        ),
        (["search", "nets.py", "--searcher", "random", "--target", "0.5"], "target is a value of one objective"),
        (["compare", "nets.py", "--searchers", "random,nsga2"], "by one objective, and this problem has 2: accuracy,"),
    ],
)
def test_what_needs_one_objective_is_refused(nets: Path, dhflow: Any, arguments: list[str], complaint: str) -> None:
    ran = dhflow(*arguments)
    assert ran.code == 1
    assert complaint in ran.err
    assert not Path("nets.h5").exists()
    assert not Path("nets-compare").exists()


def test_a_config_like_the_best_needs_a_number(finished: Path, dhflow: Any) -> None:
    ran = dhflow("enqueue", finished, "--like", "best", "depth=2")
    assert ran.code == 2
    assert "no trial is the best" in ran.err


def test_without_a_completed_trial_the_end_says_why(nets: Path, dhflow: Any) -> None:
    nets.write_text(nets.read_text().replace("== 8", "> 0"))
    ran = dhflow("search", nets, *THREADS, *SEARCH, "--max-trials", "3", "--no-progress")
    assert ran.code == 1
    assert "none of 3 trials has completed; the first failure: ValueError: eight layers are too many" in ran.err
    assert re.search(r"^best +none yet$", dhflow("show", "nets.h5").out, re.MULTILINE)
