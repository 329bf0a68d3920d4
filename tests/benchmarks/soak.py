"""Whether a long search costs more and more: memory of the driver per trial, and its CPU per trial, first and last.

    python tests/benchmarks/soak.py                                   both, some minutes
    python tests/benchmarks/soak.py --executor threads --trials 20000

No-op trials through ``search`` with random proposals and a history, in one process. Memory is what this process alone
holds (its unique set), from the end of the first thousand trials to the last; CPU is this process's, all threads.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dhflow import Categorical, Float, Integer, SearchSpace, search

SPACE = SearchSpace(
    {
        "x": Float(0.0, 1.0),
        "rate": Float(1e-5, 1.0, log=True),
        "n": Integer(1, 100),
        "kind": Categorical(["a", "b", "c"]),
    }
)
CASES = (("threads", 20_000, 8), ("processes", 5_000, 2))
STEP = 1_000


@dataclass
class Gauge:
    """Looks at this process after every thousand trials; an observer of the running study."""

    looks: list[dict[str, float]] = field(default_factory=list)
    n_done: int = 0

    def trial_ended(self, trial: object) -> None:
        del trial
        self.n_done += 1
        # The first hundred load what is loaded on first use.
        if self.n_done == STEP // 10 or self.n_done % STEP == 0:
            self.look()

    def tick(self, driver: object) -> None:
        """Nothing to do."""

    def look(self) -> None:
        cpu = time.process_time()
        gc.collect()
        uss = psutil.Process().memory_full_info().uss
        # What looking costs is not the search's.
        looking = time.process_time() - cpu
        spent = self.looks[-1]["looking_s"] if self.looks else 0.0
        look = {"n": self.n_done, "cpu_s": cpu - spent, "looking_s": spent + looking, "uss": uss}
        self.looks.append({**look, "wall_s": time.monotonic()})


def noop(config: dict[str, Any]) -> float:
    return config["x"]


def soak(executor: str, n_trials: int, workers: int) -> dict[str, Any]:
    """Run one search and return its figures."""
    gauge = Gauge()
    with tempfile.TemporaryDirectory(prefix="dhflow-soak-") as folder:
        search(
            noop,
            SPACE,
            searcher="random",
            seed=1,
            site="laptop",
            site_set={"executor": executor, "workers": workers},
            max_trials=n_trials,
            history=Path(folder) / "h.h5",
            observers=[gauge],
        )
    looks = gauge.looks
    costs_ms = [
        1e3 * (after["cpu_s"] - before["cpu_s"]) / (after["n"] - before["n"])
        for before, after in itertools.pairwise(looks)
    ]
    first, last = looks[1], looks[-1]
    return {
        "executor": executor,
        "trials": n_trials,
        "bytes_per_trial": (last["uss"] - first["uss"]) / (last["n"] - first["n"]),
        "first_ms": costs_ms[0],
        "last_ms": costs_ms[-1],
        "last_over_first": costs_ms[-1] / costs_ms[0],
        "costs_ms": [round(each, 3) for each in costs_ms],
        "memory_mb": [round(each["uss"] / 1e6, 1) for each in looks],
        "seconds": last["wall_s"] - looks[0]["wall_s"],
    }


def main() -> None:
    """Measure what was chosen, each case in a process of its own, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--executor", choices=[each[0] for each in CASES])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--json", action="store_true", help="print one JSON line for each case")
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials, and at least three thousand")
    chosen = parser.parse_args()
    if chosen.executor and chosen.trials:
        workers = next(each[2] for each in CASES if each[0] == chosen.executor)
        print_figures(soak(chosen.executor, chosen.trials, workers), as_json=chosen.json)
        return
    for executor, n_trials, _ in CASES:
        n_all = chosen.trials or (max(3 * STEP, n_trials // 10) if chosen.quick else n_trials)
        if chosen.executor in (None, executor):
            case = ["--executor", executor, "--trials", str(n_all), *(["--json"] if chosen.json else [])]
            subprocess.run([sys.executable, __file__, *case], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def print_figures(found: dict[str, Any], *, as_json: bool) -> None:
    """Print one case."""
    if as_json:
        print(json.dumps(found), flush=True)
        return
    print(f"{found['trials']} trials on {found['executor']}, {found['seconds']:.0f} s")
    print(f"  memory of the driver per trial            {found['bytes_per_trial']:.0f} bytes")
    print(f"  CPU per trial, last thousand over first   {found['last_over_first']:.2f}")
    print(f"    milliseconds, each thousand             {' '.join(f'{each:.2f}' for each in found['costs_ms'])}")
    print(f"    memory in MB                            {' '.join(f'{each:.0f}' for each in found['memory_mb'])}")


if __name__ == "__main__":
    main()
