"""What an ask and tell costs, in CPU milliseconds of the asking process, against the length of the history.

    python tests/benchmarks/ask_cost.py [--searchers ambs,random] [--sizes 100,1000,50000] [--options '{"n_trees": 50}']

A ten-dimensional mixed space, 64 trials pending, one tell per ask; one trial finishes, is told,
and one is asked for. Then 64 are asked for at once. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dhflow.searcher import make_searcher
from dhflow.searcher.ambs import Ambs
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy

N_PENDING = 64
N_ROUNDS = 100


def mixed_space() -> SearchSpace:
    """Return the space of the measurement: five floats, three integers, two categorical parameters."""
    return SearchSpace(
        {
            "lr": Float(1e-5, 1e-1, log=True),
            "wd": Float(1e-6, 1e-2, log=True),
            "dropout": Float(0.0, 0.8),
            "momentum": Float(0.5, 0.99),
            "clip": Float(1e-2, 1e2, log=True),
            "layers": Integer(1, 8),
            "units": Integer(16, 512),
            "batch": Integer(8, 256),
            "act": Categorical(["relu", "tanh", "elu", "gelu", "silu"]),
            "opt": Categorical(["sgd", "adam", "rmsprop", "adagrad", "lion"]),
        }
    )


def mixed_loss(c: dict[str, Any]) -> float:
    """Return a smooth loss with an interaction and a cost of either categorical parameter."""
    act = {"relu": 0.0, "tanh": 0.6, "elu": 0.2, "gelu": 0.1, "silu": 0.15}[c["act"]]
    opt = {"sgd": 0.4, "adam": 0.0, "rmsprop": 0.3, "adagrad": 0.8, "lion": 0.1}[c["opt"]]
    rate = math.log10(c["lr"]) + 3
    return float(
        rate**2
        + 0.3 * (math.log10(c["wd"]) + 4) ** 2
        + 2 * (c["dropout"] - 0.2) ** 2
        + (c["momentum"] - 0.9) ** 2
        + 0.1 * (c["layers"] - 4) ** 2
        + ((c["units"] - 200) / 200) ** 2
        + ((c["batch"] - 64) / 128) ** 2
        + act
        + opt
        + 0.3 * act * abs(rate)
    )


def timed_rounds(study: SimulatedStudy, rng: np.random.Generator) -> Iterator[float]:
    """Yield the CPU seconds of one tell and one ask, again and again."""
    while True:
        waiting = study.pending
        trial = waiting[int(rng.integers(len(waiting)))]
        finished = study.finish(trial, mixed_loss(dict(trial.config)))
        pending, searcher = study.pending, study.searcher
        began = time.process_time()
        searcher.tell([finished])
        suggestions = searcher.ask(1, pending)
        yield time.process_time() - began
        study.take(suggestions)


def measure(name: str, options: dict[str, Any], n: int, seed: int) -> dict[str, float]:
    """Return the figures for a history of `n` finished trials."""
    space = mixed_space()
    study = SimulatedStudy(make_searcher(name, space, seed=seed, **options))
    rng = np.random.default_rng(seed)
    for config in space.sample(n, rng):
        study.add(config, mixed_loss(config))
    began = time.process_time()
    study.ask(N_PENDING)
    first = time.process_time() - began
    rounds = timed_rounds(study, rng)
    for _ in range(10):
        next(rounds)
    searcher = study.searcher
    fitted = searcher.n_fitted if isinstance(searcher, Ambs) else 0
    seconds = np.array([next(rounds) for _ in range(N_ROUNDS)])
    refits = (searcher.n_fitted - fitted) / N_ROUNDS if isinstance(searcher, Ambs) else 0.0
    began = time.process_time()
    batch = searcher.ask(64, study.pending)
    at_once = time.process_time() - began
    assert len({json.dumps(dict(each.config), sort_keys=True) for each in batch}) == 64
    return {
        "mean_ms": 1e3 * seconds.mean(),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "refits": refits,
        "ask64_ms": 1e3 * at_once,
        "first_ms": 1e3 * first,
        "apart": apart(space, [dict(each.config) for each in batch]),
    }


def apart(space: SearchSpace, configs: list[dict[str, Any]]) -> float:
    """Return the mean distance of each config to the nearest other one, encoded, over that of a Sobol batch."""

    def nearest(X: np.ndarray) -> float:
        square = ((X[:, None, :] - X[None, :, :]) ** 2).sum(axis=-1)
        np.fill_diagonal(square, np.inf)
        return float(np.sqrt(square.min(axis=1)).mean())

    sobol = [dict(each.config) for each in make_searcher("sobol", space, seed=0).ask(len(configs))]
    return nearest(space.encode(configs)) / nearest(space.encode(sobol))


def small_spaces(name: str) -> None:
    """Print what ask(64) gives on spaces of 10 and of 64 configs."""
    for n in (10, 64):
        study = SimulatedStudy(make_searcher(name, SearchSpace({"n": Integer(1, n)}), seed=1))
        at_first = len(study.ask(64))
        for trial in study.pending:
            study.tell(trial, float(trial.config["n"]))
        print(f"{name}: of {n} configs, ask(64) gives {at_first}, and {len(study.ask(64))} when all are told")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searchers", default="ambs,auto,gp,tpe,random,sobol")
    parser.add_argument("--sizes", default="100,300,1000,10000", help="finished trials  [100,300,1000,10000]")
    parser.add_argument("--options", default="{}", type=json.loads, help="JSON, for every searcher named")
    parser.add_argument("--seed", default=1, type=int)
    args = parser.parse_args()
    print(f"CPU ms, {N_PENDING} pending, one tell per ask, {N_ROUNDS} rounds; ask(64) at once, at first")
    print(
        f"{'searcher':10} {'finished':>8} {'mean':>8} {'95 %':>8} {'fits/tell':>10} {'ask(64)':>9} {'first':>9} "
        f"{'apart/Sobol':>12}"
    )
    for name in args.searchers.split(","):
        for n in map(int, args.sizes.split(",")):
            row = measure(name, args.options, n, args.seed)
            print(
                f"{name:10} {n:8} {row['mean_ms']:8.2f} {row['p95_ms']:8.2f} {row['refits']:10.2f} "
                f"{row['ask64_ms']:9.1f} {row['first_ms']:9.1f} {row['apart']:12.2f}",
                flush=True,
            )
    for name in args.searchers.split(","):
        small_spaces(name)


if __name__ == "__main__":
    main()
