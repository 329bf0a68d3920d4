"""What architecture spaces cost: sampling, freezing, hashing, and looking at a whole space.

    python tests/benchmarks/nas_cost.py [--n 10000] [--rounds 5] [--json]

CPU time of this process, the median over the rounds, with least and greatest. Networks are frozen and hashed one by
one, as a search asks for them. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dhflow.nas import ArchitectureSpace, cnn_chain, dense_with_skips, nasbench201, stacked_lstm

SPACES: dict[str, Callable[[], ArchitectureSpace]] = {
    "dense with skips": lambda: dense_with_skips((54,), (7,)),
    "stacked LSTM": lambda: stacked_lstm((8, 5), (8, 5)),
    "CNN chains": lambda: cnn_chain((28, 28, 1), (10,)),
    "NAS-Bench-201, 15 cells": nasbench201,
}
N_NETWORKS = 300
"""Frozen and hashed in each round."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10_000, help="configs to sample")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="for programs")
    chosen = parser.parse_args()
    found = [measured(name, make, chosen.n, chosen.rounds) for name, make in SPACES.items()]
    if chosen.json:
        print(json.dumps(found))
        return
    for each in found:
        print(f"{each['space']}: {each['n_choices']} choices, {each['n_nodes']:.0f} nodes in a network")
        print(f"  {chosen.n:,} configs sampled   {spread(each['sample_s'], 's')}")
        print(f"  the space looked at      {spread(each['check_ms'], 'ms')}")
        print(f"  a config frozen          {spread(each['freeze_ms'], 'ms')}")
        print(f"  a network hashed         {spread(each['hash_ms'], 'ms')}")


def measured(name: str, make: Callable[[], ArchitectureSpace], n: int, n_rounds: int) -> dict[str, Any]:
    """Return the seconds and milliseconds of each round."""
    times: dict[str, list[float]] = {"sample_s": [], "check_ms": [], "freeze_ms": [], "hash_ms": []}
    n_nodes: list[int] = []
    for seed in range(n_rounds):
        space, rng = make(), np.random.default_rng(seed)
        start = time.process_time()
        space.check()
        times["check_ms"].append(1e3 * (time.process_time() - start))
        start = time.process_time()
        configs = space.sample(n, rng)
        times["sample_s"].append(time.process_time() - start)
        start = time.process_time()
        networks = [space.freeze(config) for config in configs[:N_NETWORKS]]
        times["freeze_ms"].append(1e3 * (time.process_time() - start) / len(networks))
        start = time.process_time()
        hashes = {each.hash for each in networks}
        times["hash_ms"].append(1e3 * (time.process_time() - start) / len(networks))
        n_nodes += [len(each) for each in networks]
        assert hashes
    return {"space": name, "n_choices": len(make().choices), "n_nodes": statistics.mean(n_nodes), **times}


def spread(values: list[float], unit: str) -> str:
    """Return the median with the least and the greatest."""
    return f"{statistics.median(values):8.3f} {unit} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
