"""Searchers over budgets on recorded learning curves: the best loss seen within 10, 20 and 50 full trainings.

    python tests/benchmarks/bandits.py [--searchers random,hyperband,bohb] [--tasks taskset,lcbench] [--seeds 10]

Six tasks of TaskSet (recurrent networks, 1,000 settings of the optimiser, real runs) and ten of LCBench (500 networks,
predicted curves). Eight asynchronous workers of different speed are simulated; a promotion costs only what it adds. A
suggested config becomes the nearest setting of the table (in the encoded space) that has not been trained in
this run, and is told as that setting: so the table is a pool, the same for all, and no setting answers twice.
Beside them stand recorded figures of random search and of plain Hyperband, where the shared data holds them.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tables import shared_folder

from dhflow.searcher import Searcher, make_searcher, searcher_class
from dhflow.space import Float, Integer, SearchSpace
from dhflow.space.parameter import Parameter
from dhflow.trial import Suggestion, Trial, TrialStatus

FloatArray = npt.NDArray[np.float64]

TRAININGS = (10, 20, 50)
N_WORKERS = 8
SPEED_SPREAD = 0.3
"""Of the logarithm of a trial's speed."""


@dataclass(frozen=True)
class Task:
    """Learning curves of many settings.

    Parameters
    ----------
    name : str
    space : SearchSpace
    settings : (n, d)
        Encoded.
    curves : (n, steps)
        Best validation loss up to each step; infinite where a run has diverged.
    recorded : mapping
        Figures measured elsewhere, ``"rs_10"`` for random search and ``"hb_10"`` for Hyperband after ten trainings.
    """

    name: str
    space: SearchSpace
    settings: FloatArray
    curves: FloatArray
    recorded: dict[str, float]

    @property
    def full(self) -> int:
        """Steps of a full training."""
        return int(self.curves.shape[1])


def load_tasks(kind: str) -> list[Task]:
    """Return the tasks of ``"taskset"`` or ``"lcbench"``."""
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError("there is no folder shared/data above the checkout; DHFLOW_SHARED names another")
    recorded = json.loads((folder / "data/reference/numbers.json").read_text())["early_stopping"]
    name, values = {"taskset": ("taskset_rnn", "valid_loss"), "lcbench": ("lcbench_surrogate", "val_accuracy")}[kind]
    with np.load(folder / f"data/hpo_curves/{name}.npz", allow_pickle=False) as data:
        hp, names, curves = data["hp"], [str(each) for each in data["hp_names"]], data[values].astype(np.float64)
        tasks = [str(each) for each in data["tasks"]]
    if kind == "lcbench":
        curves = 100.0 - curves
    best = np.minimum.accumulate(np.where(np.isfinite(curves), curves, np.inf), axis=-1)
    space = _space(names, hp)
    kinds = [int if isinstance(space.parameters[each], Integer) else float for each in names]
    rows = [{key: cast(value) for key, cast, value in zip(names, kinds, row, strict=True)} for row in hp]
    settings = space.encode(rows)
    return [Task(task, space, settings, best[i], recorded.get(task, {})) for i, task in enumerate(tasks)]


def _space(names: Sequence[str], hp: FloatArray) -> SearchSpace:
    """Return the box around the settings; what spans two decades or more is on a logarithmic scale."""
    made: dict[str, Parameter] = {}
    for name, column in zip(names, hp.T, strict=True):
        low, high = float(column.min()), float(column.max())
        is_log = low > 0 and high / low >= 100
        if (column == column.round()).all() and high > 1:
            made[name] = Integer(int(low), int(high), log=is_log or high / max(low, 1) >= 16)
        else:
            made[name] = Float(low, high, log=is_log)
    return SearchSpace(made)


class Run:
    """One searcher on one task.

    Parameters
    ----------
    task : Task
    searcher : Searcher
    seed : int
    """

    def __init__(self, task: Task, searcher: Searcher, seed: int) -> None:
        self.task = task
        self.searcher = searcher
        self.rng = np.random.default_rng(np.random.SeedSequence([seed, 0xBA]))
        self.trials: dict[int, Trial] = {}
        self.pending: dict[int, Trial] = {}
        self.rows: dict[int, int] = {}
        self.free = np.ones(len(task.settings), dtype=np.bool_)
        self.spent = 0
        self.best = math.inf
        self.ask_s = 0.0

    def best_after(self, trainings: Sequence[int]) -> list[float]:
        """Return the best loss seen within each number of full trainings."""
        limits = [each * self.task.full for each in trainings]
        found: list[float] = []
        clock, numbers = 0.0, itertools.count()
        busy: list[tuple[float, int, Trial]] = []
        while len(found) < len(limits):
            while len(busy) < N_WORKERS and len(found) < len(limits) and self.free.any():
                suggestion = self.ask()
                if suggestion is None:
                    break
                trial, first, last = self.start(suggestion)
                found += self.see(trial, first, last, limits[len(found) :])
                speed = self.rng.lognormal(0.0, SPEED_SPREAD)
                heapq.heappush(busy, (clock + (last - first) / speed, next(numbers), trial))
            if not busy:
                raise RuntimeError(f"{self.searcher.name} had nothing to suggest while nothing was running")
            clock, _, trial = heapq.heappop(busy)
            self.tell(trial)
        return found

    def ask(self) -> Suggestion | None:
        """Return the next suggestion."""
        began = time.process_time()
        found = self.searcher.ask(1, list(self.pending.values()))
        self.ask_s += time.process_time() - began
        return found[0] if found else None

    def start(self, suggestion: Suggestion) -> tuple[Trial, int, int]:
        """Create the trial; return it, the steps that its parent had and those that it will have."""
        trial = Trial(
            trial_id=len(self.trials),
            config=suggestion.config,
            budget=suggestion.budget,
            parent_id=suggestion.parent_id,
            meta=suggestion.meta,
        )
        if trial.parent_id is None:
            row = self.nearest(trial)
            first = 0
            trial = replace(trial, config=self.task.space.decode(self.task.settings[row][None])[0])
        else:
            row = self.rows[trial.parent_id]
            first = self.steps(self.trials[trial.parent_id])
        self.rows[trial.trial_id] = row
        self.trials[trial.trial_id] = self.pending[trial.trial_id] = trial
        return trial, first, self.steps(trial)

    def steps(self, trial: Trial) -> int:
        """Return how many steps a trial is trained for."""
        return self.task.full if trial.budget is None else max(1, round(trial.budget))

    def nearest(self, trial: Trial) -> int:
        """Return the nearest setting that has not been trained, and take it."""
        x = self.task.space.encode([trial.config])[0]
        apart = np.where(self.free, ((self.task.settings - x) ** 2).sum(axis=1), np.inf)
        row = int(apart.argmin())
        self.free[row] = False
        return row

    def see(self, trial: Trial, first: int, last: int, limits: Sequence[int]) -> list[float]:
        """Spend a trial's steps; return the best losses at the limits that were reached within them."""
        curve = self.task.curves[self.rows[trial.trial_id]]
        found = []
        for limit in limits:
            if self.spent + last - first < limit:
                break
            within = first + limit - self.spent
            found.append(min(self.best, float(curve[within - 1]) if within else math.inf))
        self.spent += last - first
        self.best = min(self.best, float(curve[last - 1]))
        return found

    def tell(self, trial: Trial) -> None:
        """Tell the searcher how the trial ended."""
        del self.pending[trial.trial_id]
        loss = float(self.task.curves[self.rows[trial.trial_id], self.steps(trial) - 1])
        is_known = math.isfinite(loss)
        status = TrialStatus.COMPLETED if is_known else TrialStatus.FAILED
        ended = replace(trial, status=status, losses=(loss,) if is_known else ())
        self.trials[trial.trial_id] = ended
        began = time.process_time()
        self.searcher.tell([ended])
        self.ask_s += time.process_time() - began


def measure(task: Task, name: str, options: dict[str, Any], seeds: int, trainings: Sequence[int]) -> dict[str, Any]:
    """Return the mean of the best losses, their standard errors, and the CPU per trial."""
    found, cpu_ms = [], []
    for seed in range(seeds):
        budgets = {"budget_range": (1.0, float(task.full))} if searcher_class(name).needs_budget else {}
        run = Run(task, make_searcher(name, task.space, seed=seed, **options, **budgets), seed)  # type: ignore[arg-type]
        found.append(run.best_after(trainings))
        cpu_ms.append(1e3 * run.ask_s / len(run.trials))
    values = np.array(found)
    return {
        "task": task.name,
        "mean": values.mean(axis=0).tolist(),
        "error": (values.std(axis=0, ddof=1) / math.sqrt(seeds)).tolist(),
        "values": values.tolist(),
        "cpu_ms": float(np.mean(cpu_ms)),
    }


def report(
    kind: str, names: Sequence[str], results: dict[tuple[str, str], Any], tasks: list[Task], at: Sequence[int]
) -> None:
    """Print one table per number of trainings, and on how many tasks each searcher beats Hyperband."""
    for i, n in enumerate(at):
        print(f"\n{kind}, best loss within {n} full trainings (mean, standard error)")
        print("task".ljust(38) + "".join(each.rjust(20) for each in names) + "   recorded rs, hb")
        for task in tasks:
            cells = [results[task.name, each] for each in names]
            known = [f"{task.recorded[f'{key}_{n}']:.4f}" for key in ("rs", "hb") if f"{key}_{n}" in task.recorded]
            row = "".join(f"{c['mean'][i]:12.4f} ±{c['error'][i]:6.4f}" for c in cells)
            print(task.name.ljust(38) + row + "   " + ", ".join(known))
        if "hyperband" in names:
            base = [results[task.name, "hyperband"]["mean"][i] for task in tasks]
            for each in names:
                wins = sum(results[t.name, each]["mean"][i] < b for t, b in zip(tasks, base, strict=True))
                print(f"  {each}: below hyperband's mean on {wins} of {len(tasks)} tasks")
    for each in names:
        print(f"{each}: {np.mean([results[t.name, each]['cpu_ms'] for t in tasks]):.2f} ms of CPU per trial")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searchers", default="random,hyperband,asha,async_hyperband,bohb")
    parser.add_argument("--tasks", default="taskset,lcbench")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trainings", default=",".join(map(str, TRAININGS)))
    parser.add_argument("--options", type=json.loads, default={}, help='by searcher: {"bohb": {"eta": 4}}')
    parser.add_argument("--json", help="write everything there")
    chosen = parser.parse_args()
    trainings = [int(each) for each in chosen.trainings.split(",")]
    names = chosen.searchers.split(",")
    everything = {}
    for kind in chosen.tasks.split(","):
        tasks = load_tasks(kind)
        results = {}
        for task, name in itertools.product(tasks, names):
            results[task.name, name] = measure(task, name, chosen.options.get(name, {}), chosen.seeds, trainings)
            print(".", end="", file=sys.stderr, flush=True)
        report(kind, names, results, tasks, trainings)
        everything[kind] = {f"{task} {name}": each for (task, name), each in results.items()}
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(everything))


if __name__ == "__main__":
    main()
