"""How many processes are busy while Keras networks are searched: at most the workers and one more.

Runs a few trials of ``apps/digits`` and looks ten times a second at which threads of which processes
compute or wait for a core. Linux only.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from dhflow import search
from dhflow.train import load_file_module

DIGITS = Path(__file__).parents[2] / "apps" / "digits" / "problem.py"
LOOK_S = 0.1
CPU_LOOK_S = 1.0
"""CPU times are counted in hundredths of a second, so they need longer intervals."""


class Sampler:
    """Looks at this process, all that descend from it, and those with `mark` in their command line.

    A thread that is runnable (it computes, or would if a core were free) is demand for a core; their number does not
    depend on what else the machine does, as CPU times do.
    """

    def __init__(self, mark: str) -> None:
        self.runnable_threads: list[int] = []
        self.busy_processes: list[int] = []
        self.most_of_one: list[int] = []
        self.cores: list[float] = []
        self.n_threads_of_one = 0
        self._mark = mark
        self._family: list[int] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        used, looked_at = 0.0, 0.0
        while not self._end.wait(LOOK_S):
            self._count_runnable()
            elapsed = time.perf_counter() - looked_at
            if elapsed >= CPU_LOOK_S:
                self._family = self._find_family()
                now = sum(_cpu_s(pid) for pid in self._family)
                if looked_at:
                    self.cores.append(max(0.0, now - used) / elapsed)
                used, looked_at = now, looked_at + elapsed if looked_at else time.perf_counter()

    def _count_runnable(self) -> None:
        states = [_thread_states(pid, ignore=threading.get_native_id()) for pid in self._family]
        runnable = [each.count("R") for each in states]
        self.runnable_threads.append(sum(runnable))
        self.busy_processes.append(sum(each > 0 for each in runnable))
        self.most_of_one.append(max(runnable, default=0))
        self.n_threads_of_one = max([self.n_threads_of_one, *map(len, states)])

    def _find_family(self) -> list[int]:
        family = {os.getpid()}
        for root in psutil.process_iter():
            try:
                if root.pid == os.getpid() or self._mark in " ".join(root.cmdline()):
                    family |= {each.pid for each in [root, *root.children(recursive=True)]}
            except psutil.Error:
                continue
        return sorted(family)


def _thread_states(pid: int, *, ignore: int) -> list[str]:
    """Return the state letter of each thread of a process, as Linux gives it."""
    states = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        if int(task.name) == ignore:
            continue
        try:
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return states


def _cpu_s(pid: int) -> float:
    try:
        return sum(psutil.Process(pid).cpu_times()[:2])
    except psutil.Error:
        return 0.0


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
    return {
        "workers": workers,
        "trials": len(result),
        "looks": len(sampler.busy_processes),
        "busy_processes": _spread(sampler.busy_processes),
        "runnable_threads": _spread(sampler.runnable_threads),
        "runnable_threads_of_one_process": _spread(sampler.most_of_one),
        "cores_used": _spread(sampler.cores),
        "threads_of_one_process_max": sampler.n_threads_of_one,
    }


def _spread(values: Sequence[float]) -> list[float]:
    """Return the mean, the 95th percentile and the maximum."""
    ordered = sorted(values)
    return [round(each, 2) for each in (statistics.fmean(ordered), ordered[int(0.95 * len(ordered))], ordered[-1])]


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
