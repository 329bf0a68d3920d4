"""How many processes are busy while Keras networks are searched: at most the workers and one more.

Runs a few trials of ``apps/digits`` and looks several times a second at how much CPU each process
and each of its threads has used since the last look.

    python tests/benchmarks/busy.py --workers 2 --trials 6
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from dhflow import search
from dhflow.train import load_file_module

DIGITS = Path(__file__).parents[2] / "apps" / "digits" / "problem.py"
BUSY = 0.5
"""A process counts as busy while it uses more than this share of one core."""

INTERVAL_S = 0.5


class Sampler:
    """Looks at all processes that descend from this one or carry `mark` in their command line."""

    def __init__(self, mark: str) -> None:
        self.samples: list[dict[str, float]] = []
        self._mark = mark
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        before, at = self._cpu(), time.perf_counter()
        while not self._end.wait(INTERVAL_S):
            now, elapsed = self._cpu(), time.perf_counter() - at
            at += elapsed
            self.samples.append(_sample(before, now, elapsed))
            before = now

    def _cpu(self) -> dict[tuple[int, int], float]:
        """Return the CPU seconds of each (process, thread)."""
        used = {}
        for process in self._family():
            try:
                for thread in process.threads():
                    used[process.pid, thread.id] = thread.user_time + thread.system_time
            except psutil.Error:
                continue
        return used

    def _family(self) -> list[psutil.Process]:
        family = {os.getpid(): psutil.Process()}
        for root in psutil.process_iter():
            try:
                if root.pid == os.getpid() or self._mark in " ".join(root.cmdline()):
                    family |= {each.pid: each for each in [root, *root.children(recursive=True)]}
            except psutil.Error:
                continue
        return list(family.values())


def _sample(
    before: dict[tuple[int, int], float], now: dict[tuple[int, int], float], elapsed_s: float
) -> dict[str, float]:
    shares: dict[int, list[float]] = {}
    for key, used in now.items():
        shares.setdefault(key[0], []).append((used - before.get(key, 0.0)) / elapsed_s)
    totals = [sum(threads) for threads in shares.values()]
    return {
        "processes": len(shares),
        "busy": sum(total > BUSY for total in totals),
        "cores": sum(totals),
        "largest_process": max(totals, default=0.0),
        "busy_threads_of_one": max((sum(t > BUSY for t in threads) for threads in shares.values()), default=0),
        "threads_of_one": max((len(threads) for threads in shares.values()), default=0),
    }


def measure(workers: int, n_trials: int) -> dict[str, Any]:
    """Return what was seen during a short search."""
    problem = load_file_module(DIGITS).problem
    with tempfile.TemporaryDirectory(prefix="dhflow-busy-") as folder, Sampler(folder) as sampler:
        result = search(
            problem,
            site="laptop",
            site_set={"workers": workers, "cores_per_worker": 1},
            searcher="ambs",
            seed=1,
            max_trials=n_trials,
            history=Path(folder) / "busy.h5",
        )
    samples = sampler.samples
    return {
        "workers": workers,
        "trials": len(result),
        "samples": len(samples),
        "busy_processes_max": max(each["busy"] for each in samples),
        "busy_processes_median": statistics.median(each["busy"] for each in samples),
        "cores_used_max": round(max(each["cores"] for each in samples), 2),
        "cores_used_median": round(statistics.median(each["cores"] for each in samples), 2),
        "cores_of_one_process_max": round(max(each["largest_process"] for each in samples), 2),
        "busy_threads_of_one_process_max": max(each["busy_threads_of_one"] for each in samples),
        "threads_of_one_process_max": max(each["threads_of_one"] for each in samples),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    chosen = parser.parse_args()
    figures = measure(chosen.workers, chosen.trials)
    if chosen.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:34} {value}")


if __name__ == "__main__":
    main()
