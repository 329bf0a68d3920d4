from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peer_searcher
import pytest
import quality
import quality_report
import tables
from branches import draw_models
from problems import ANALYTIC, BenchmarkProblem, make_problem, problem_makers, why_missing

from dhflow.space import Categorical, Constant, Float, Integer, Ordinal, SearchSpace


def vector(*values: float) -> dict[str, Any]:
    return {f"x{i}": each for i, each in enumerate(values)}


BEST: dict[str, dict[str, Any]] = {
    "branin": {"x0": math.pi, "x1": 2.275},
    "hartmann6": vector(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
    "rosenbrock5": vector(*[1.0] * 5),
    "levy10": vector(*[1.0] * 10),
    "styblinski8": vector(*[-2.903534] * 8),
    "michalewicz5": vector(2.202906, 1.570796, 1.284992, 1.923058, 1.720470),
    "schwefel4_mixed": {"x0": 420.9687, "x1": 420.9687, "k": 421, "level": "r"},
    "hartmann3_noisy": vector(0.114614, 0.555649, 0.852547),
    "optimizers12": {
        "optimizer": "adam", "learning_rate": 1e-3, "one_minus_beta1": 0.1, "one_minus_beta2": 10**-2.5,
        "layers": 3, "units": 256, "regularizer": "dropout", "dropout": 0.3,
    },
    "classifiers9": {"model": "svm", "C": 10.0, "kernel": "rbf", "gamma": 1e-2, "scaling": "standard"},
}  # fmt: skip


# Problems ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(problem_makers()))
def test_no_config_is_better_than_the_optimum(name: str) -> None:
    if reason := why_missing(name):
        pytest.skip(reason)
    problem = make_problem(name)
    configs = problem.space.sample(200, np.random.default_rng(5))
    losses = [problem.loss(each) for each in configs]
    best = problem.optimum if problem.direction == "minimize" else -problem.optimum
    assert min(losses) >= best
    assert 0 < problem.floor < np.median([problem.regret(each) for each in losses])
    assert problem.fingerprint() == make_problem.__wrapped__(name).fingerprint()


@pytest.mark.parametrize("name", list(BEST))
def test_the_optimum_is_reached_where_the_literature_says(name: str) -> None:
    problem = make_problem(name)
    assert problem.regret(problem.loss(problem.space.validate(BEST[name]))) < min(1e-3, problem.floor)


@pytest.mark.parametrize("number", range(16))
def test_of_branches_the_best_model_is_the_hard_one(number: int) -> None:
    problem = make_problem(f"branches{number}")
    by_model: dict[str, list[float]] = {}
    for each in problem.space.sample(3_000, np.random.default_rng(5)):
        by_model.setdefault(each["model"], []).append(problem.loss(each))
    medians = {name: float(np.median(losses)) for name, losses in by_model.items()}
    assert len(medians) >= 3
    drawn = draw_models(np.random.default_rng(np.random.SeedSequence([number, 0xB2])))
    (best,) = (name for name, each in drawn.items() if each.loss == 0.0)
    assert medians[best] > min(medians.values())
    model = drawn[best]
    assert model.value(np.where(model.is_log, 10 ** (4 * (model.place - 1)), model.place)) == pytest.approx(0, abs=1e-9)


def test_there_are_enough_fresh_problems_and_each_kind_is_among_them() -> None:
    groups = [group for group, _ in problem_makers().values()]
    assert groups.count("chosen") == 18
    assert groups.count("fresh") >= 6
    fresh = [make() for make in ANALYTIC["fresh"]]
    assert any(each.noise for each in fresh)
    assert any(each.direction == "maximize" for each in fresh)
    assert any(p.when for each in fresh for p in each.space.parameters.values())


def test_a_table_answers_with_its_nearest_setting() -> None:
    space = SearchSpace({"x": Float(0.0, 1.0), "c": Categorical(["a", "b"])})
    rows: list[dict[str, Any]] = [
        {"x": 0.0, "c": "a"},
        {"x": 1.0, "c": "a"},
        {"x": 0.0, "c": "b"},
        {"x": 0.0, "c": "b"},
    ]
    table = tables.NearestTable(space, rows, np.array([1.0, 2.0, 3.0, 5.0]))
    assert table({"x": 0.4, "c": "a"}) == 1.0
    assert table({"x": 0.6, "c": "a"}) == 2.0
    several = tables.NearestTable(space, rows, np.array([1.0, 2.0, 3.0, 5.0]), k=2)
    assert several({"x": 0.0, "c": "a"}) == 1.0
    assert several({"x": 0.25, "c": "a"}) == pytest.approx((1 / 0.25**2 + 2 / 0.75**2) / (1 / 0.25**2 + 1 / 0.75**2))
    assert table({"x": 0.9, "c": "b"}) == 4.0  # equal settings count as one; another choice is as far as a whole axis


def test_without_data_tables_are_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DHFLOW_SHARED", str(tmp_path))
    assert "no folder shared/data" in why_missing("svc_digits")
    (tmp_path / "data").mkdir()
    assert "is not there" in why_missing("xgboost_a6a")
    assert not why_missing("branin")
    with pytest.raises(FileNotFoundError):
        make_problem.__wrapped__("xgboost_a6a")


# Runs --------------------------------------------------------------------------------------------


def test_regret_is_the_incumbents_true_one() -> None:
    space = SearchSpace({"x": Float(0.0, 1.0)})
    problem = BenchmarkProblem("p", space, lambda c: float(c["x"]), 0.0, 1e-3, noise=0.1)
    seen = [(0.5, 0.6), (0.55, 0.1), (0.2, 0.7), (0.1, 0.3)]
    assert quality.steps_of(problem, seen) == [(1, 0.6), (3, 0.7), (4, 0.3)]


def test_a_finished_run_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "q.jsonl"
    line = ["--problems", "branin", "--settings", "20x1,20x3", "--at", "20", "--seeds", "2", "--base-seeds", "3"]
    line += ["--cache", str(cache), "--code", "v1", "--json", str(tmp_path / "out.json")]
    quality.main([*line, "--searchers", "sobol", "--compare", "sobol,random"])
    said = capsys.readouterr()
    assert "10 runs, 0 of them" in said.err
    assert "sobol / random, paired by seeds" in said.out
    records = [json.loads(each) for each in cache.read_text().splitlines()]
    assert len(records) == 2 * (3 + 2)
    assert {each["n"] for each in records} == {20}
    with cache.open("a") as file:
        file.write('{"torn')
    quality.main([*line, "--searchers", "sobol,lhs"])
    assert "14 runs, 10 of them" in capsys.readouterr().err
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures["settings"]) == ["20 trials, sequential", "20 trials, 3 asynchronous workers"]
    quality.main([*line[:-4], "--code", "v2", "--searchers", "sobol", "--report"])
    assert "lhs" not in capsys.readouterr().out


def test_a_run_follows_from_its_seed() -> None:
    run = quality.Run("hartmann3_noisy", "ambs:n_initial=5", 12, 4, 3)
    timed = {"cpu_s", "wall_s"}
    first, second = ({k: v for k, v in quality.do_run(run).items() if k not in timed} for _ in range(2))
    assert first == second


def record(
    searcher: str, seed: int, steps: list[tuple[int, float]], n: int = 100, problem: str = "branin"
) -> dict[str, Any]:
    run = {"problem": problem, "searcher": searcher, "trials": n, "workers": 1, "seed": seed}
    return {**run, "fingerprint": "", "code": "", "steps": steps, "n": n, "cpu_s": 0.1 * n}


def test_the_report_is_of_regrets_with_a_floor(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        *(record("random", seed, [(1, 10.0), (50, 1.0)]) for seed in range(3)),
        *(record("ambs", seed, [(1, 10.0), (20, 0.1), (90, 1e-9)]) for seed in range(2)),
        *(record("random", seed, [(1, 8.0)], problem="levy10") for seed in range(3)),
        *(record("ambs", seed, [(1, 16.0)], problem="levy10") for seed in range(2)),
        record("recorded:x", 0, [(1, 1.0)], n=50),
    ]
    assert quality_report.regret_after(records[3], 60) == 0.1
    assert quality_report.regret_after(records[3], 100) == make_problem("branin").floor
    assert quality_report.regret_after(records[3], 101) is None
    assert quality_report.regret_after({**records[3], "trials": 200}, 150) == make_problem("branin").floor  # exhausted
    figures = quality_report.report(records, ["random", "ambs", "recorded:x"], at=[60], pair=("ambs", "random"))
    (setting,) = figures["settings"].values()
    assert setting["ratio"]["ambs"]["branin"]["ratio"] == pytest.approx(0.1)
    assert setting["geometric_mean"]["ambs"] == pytest.approx(math.sqrt(0.1 * 2))
    assert setting["mean_rank"] == {"random": 1.5, "ambs": 1.5}
    assert setting["last_on"] == {"random": ["branin"], "ambs": ["levy10"]}
    assert setting["cpu_ms"]["ambs"] == pytest.approx(100.0)
    assert setting["pair"]["value"] == pytest.approx(math.sqrt(0.2))
    out = capsys.readouterr().out
    assert "never last: nobody" in out
    assert "geometric mean" in out


def test_recorded_runs_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "peers" / "recorded"
    folder.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DHFLOW_SHARED", str(tmp_path))
    line = {"name": "tpe", "problem": "branin", "mode": "async8", "seed": 0, "budget": 10, "cpu_s": 1.0}
    runs = [{**line, "traj": [5.0, 2.0, 1.0]}, {**line, "name": "other", "traj": []}, {**line, "error": "no"}]
    (folder / "quality.jsonl").write_text("\n".join(map(json.dumps, runs)))
    (found,) = quality.recorded_runs(["recorded:tpe"], ["branin"], 3)
    assert found["steps"] == [(1, 5.0), (6, 2.0), (10, 1.0)]
    assert (found["workers"], found["n"], found["searcher"]) == (8, 10, "recorded:tpe")


# Peers -------------------------------------------------------------------------------------------

SPACE = SearchSpace(
    {
        "x": Float(1e-3, 1.0, log=True),
        "n": Integer(1, 5),
        "size": Ordinal([8, 16, 32]),
        "kind": Categorical(["a", "b", "c"]),
        "depth": Integer(2, 4, when={"kind": ["a", "b"]}),
        "fixed": Constant(7),
    }
)

ADAPTERS = """
import random
class Blind:
    def __init__(self, space, seed, budget, n_workers):
        print("this goes nowhere")
        self.space, self.random, self.told = space, random.Random(seed), []
    def ask(self):
        if len(self.told) == 15:
            raise RuntimeError("no more")
        one = lambda p: self.random.choice(p.choices) if p.kind == "cat" else (
            self.random.randint(int(p.low), int(p.high)) if p.kind == "int" else self.random.uniform(p.low, p.high))
        return {p.name: one(p) for p in self.space}
    def tell(self, config, value):
        assert set(config) == {p.name for p in self.space}
        self.told.append(value)
    def close(self):
        pass
REGISTRY = {"hyperopt_tpe": ("x", Blind)}
"""
COMMON = '''
from dataclasses import dataclass
@dataclass
class P:
    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple = ()
'''  # fmt: skip


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Install a peer that draws blindly."""
    monkeypatch.setenv("DHFLOW_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("PEERS_ENV", str(tmp_path / "peers-env"))
    for each in ("data", "peers"):
        (tmp_path / "shared" / each).mkdir(parents=True)
    (tmp_path / "shared" / "peers" / "adapters.py").write_text(ADAPTERS)
    (tmp_path / "shared" / "peers" / "common.py").write_text(COMMON)
    where = tmp_path / "peers-env" / "venv_hyperopt" / "bin"
    where.mkdir(parents=True)
    (where / "python").symlink_to(sys.executable)
    peer_searcher.version.cache_clear()


def test_our_space_becomes_the_peers() -> None:
    flat = {each["name"]: each for each in peer_searcher.flat_space(SPACE)}
    assert flat["x"] == {"name": "x", "kind": "float", "low": 1e-3, "high": 1.0, "log": True}
    assert flat["size"] == {"name": "size", "kind": "int", "low": 0, "high": 2}
    assert flat["kind"]["choices"] == ["v0", "v1", "v2"]
    assert "fixed" not in flat
    config = peer_searcher.our_config(SPACE, {"x": 2.0, "n": 3, "size": 2, "kind": "v2", "depth": 4})
    assert config == {"x": 1.0, "n": 3, "size": 32, "kind": "c", "fixed": 7}
    config = peer_searcher.our_config(SPACE, {"x": 0.5, "n": 3, "size": 0, "kind": "v1", "depth": 4})
    assert config == {"x": 0.5, "n": 3, "size": 8, "kind": "b", "depth": 4, "fixed": 7}


@pytest.mark.usefixtures("installed")
def test_a_peer_runs_like_a_searcher_and_its_error_ends_its_run_alone() -> None:
    assert peer_searcher.why_not("hyperopt_tpe") == ""
    assert "not installed" in peer_searcher.why_not("optuna_tpe")
    assert "there is no peer" in peer_searcher.why_not("nobody")
    peer_searcher.close_all()
    try:
        done = quality.do_run(quality.Run("optimizers12", "peer:hyperopt_tpe", 12, 4, 1))
        assert done["n"] == 12
        assert "error" not in done
        assert done["cpu_s"] >= 0
        failed = quality.do_run(quality.Run("optimizers12", "peer:hyperopt_tpe", 20, 1, 1))
        assert failed["error"] == "RuntimeError: no more"
        assert failed["n"] == 15
        assert quality.do_run(quality.Run("branin", "peer:hyperopt_tpe", 12, 1, 1))["n"] == 12
    finally:
        peer_searcher.close_all()


def test_peers_that_are_not_there_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PEERS_ENV", str(tmp_path))
    assert quality.chosen_searchers("peers,ambs:kappa=1") == ["random", "ambs:kappa=1"]
    assert "skipped peer:optuna_tpe: " in capsys.readouterr().err
