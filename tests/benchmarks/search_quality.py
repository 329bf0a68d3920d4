"""How good searches are: regret beside random search's on a set of problems, with simulated asynchronous workers.

    python tests/benchmarks/search_quality.py [--searchers ambs,sobol] [--trials 100] [--workers 8] [--seeds 10]
        [--problems fresh] [--options '{"surrogate": "extra_trees"}']

Printed are ratios of geometric means over seeds, each regret counting as no less than a floor
below which nobody would care. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fresh_problems import FRESH

from dhflow.searcher import make_searcher
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import run_simulated


@dataclass(frozen=True)
class Benchmark:
    """A function to minimise, its lowest value, and the regret below which nobody would care."""

    space: SearchSpace
    loss: Callable[[dict[str, Any]], float]
    optimum: float
    floor: float


def branin() -> Benchmark:
    """Return Branin's function: two parameters, three minima."""

    def loss(c: dict[str, Any]) -> float:
        x, y = c["x"], c["y"]
        bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)

    return Benchmark(SearchSpace({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}), loss, 0.397887, 1e-3)


def hartmann6() -> Benchmark:
    """Return Hartmann's function of six parameters (Dixon and Szego 1978)."""
    widths = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    heights = np.array([1.0, 1.2, 3.0, 3.2])

    def loss(c: dict[str, Any]) -> float:
        x = np.array([c[f"x{i}"] for i in range(6)])
        return -float(heights @ np.exp(-(widths * (x - centres) ** 2).sum(axis=1)))

    return Benchmark(SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(6)}), loss, -3.32237, 1e-2)


def ackley_mixed() -> Benchmark:
    """Return a shifted Ackley function of five floats, three integers and two unordered choices."""
    rng = np.random.default_rng(7)
    shift = np.concatenate([rng.uniform(-12, 12, 5), rng.integers(-12, 13, 3)])
    levels = [dict(zip("abcde", rng.permutation([0.0, 3.0, 6.0, 9.0, 12.0]), strict=True)) for _ in range(2)]
    space = SearchSpace(
        {
            **{f"x{i}": Float(-20.0, 20.0) for i in range(5)},
            **{f"k{i}": Integer(-20, 20) for i in range(3)},
            **{f"c{i}": Categorical(list("abcde")) for i in range(2)},
        }
    )

    def loss(c: dict[str, Any]) -> float:
        numbers = np.array([*(c[f"x{i}"] for i in range(5)), *(c[f"k{i}"] for i in range(3))]) - shift
        z = np.append(numbers, [levels[i][c[f"c{i}"]] for i in range(2)])
        far = -20 * math.exp(-0.2 * math.sqrt((z**2).mean()))
        return float(far - math.exp(np.cos(2 * math.pi * z).mean()) + 20 + math.e)

    return Benchmark(space, loss, 0.0, 0.1)


PROBLEMS = {"Branin": branin, "Hartmann-6": hartmann6, "Ackley-10 mixed": ackley_mixed}


def log_regrets(problem: Benchmark, name: str, options: dict[str, Any], args: argparse.Namespace) -> list[float]:
    """Return the logarithm of the regret for each seed."""
    found = []
    for seed in range(args.seeds):
        searcher = make_searcher(name, problem.space, seed=seed, **options)
        study = run_simulated(searcher, problem.loss, n_trials=args.trials, n_workers=args.workers, seed=seed)
        found.append(math.log(max(min(study.losses()) - problem.optimum, problem.floor)))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searchers", default="sobol,ambs")
    parser.add_argument("--trials", default=100, type=int)
    parser.add_argument("--workers", default=8, type=int)
    parser.add_argument("--seeds", default=10, type=int)
    parser.add_argument("--problems", default="known", choices=["known", "fresh"])
    parser.add_argument("--options", default="{}", type=json.loads, help="JSON, for every searcher named")
    args = parser.parse_args()
    print(f"regret / random search's after {args.trials} trials, {args.workers} workers, {args.seeds} seeds")
    known = {label: make() for label, make in PROBLEMS.items()}
    problems = known if args.problems == "known" else {label: Benchmark(*make()) for label, make in FRESH.items()}
    blind = {label: log_regrets(each, "random", {}, args) for label, each in problems.items()}
    print(f"{'searcher':10} {'mean':>7} " + " ".join(f"{label:>26}" for label in problems) + "   CPU ms/trial")
    for name in args.searchers.split(","):
        began = time.process_time()
        ratios, cells = [], []
        for label, problem in problems.items():
            logs = log_regrets(problem, name, args.options, args)
            ratio = float(np.mean(logs) - np.mean(blind[label]))
            spread = math.sqrt((np.var(logs, ddof=1) + np.var(blind[label], ddof=1)) / args.seeds)
            ratios.append(ratio)
            cells.append(f"{math.exp(ratio):.3f} ({math.exp(ratio - spread):.3f}-{math.exp(ratio + spread):.3f})")
        spent = 1e3 * (time.process_time() - began) / (len(problems) * args.seeds * args.trials)
        print(
            f"{name:10} {math.exp(np.mean(ratios)):7.3f} "
            + " ".join(f"{each:>26}" for each in cells)
            + f"{spent:15.1f}"
        )


if __name__ == "__main__":
    main()
