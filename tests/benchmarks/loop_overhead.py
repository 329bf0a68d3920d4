"""What the completion loop costs: no-op trials through dhflow beside no-op tasks through bare Parsl.

Both run in turn, several times, on the same loaded kernel: the same Config, the same logging, the
same warm workers, the same number in flight, each completion submitting the next. dhflow keeps its
history, as it always does. A round's figures are taken between two completions, so starting and
closing are left out and printed apart.

    python tests/benchmarks/loop_overhead.py --executor processes --workers 2 --trials 1000 --rounds 5
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import json
import os
import pstats
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dhflow import Float, Integer, SearchSpace, load_site, search

SPACE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(1e-5, 1.0, log=True), "n": Integer(1, 100)})
WARM_SHARE = 0.1
"""Completions at the start of a round that are not counted."""


@dataclass
class Meter:
    """CPU and wall time between two of a round's completions."""

    n_trials: int
    others: list[psutil.Process]
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    n_done: int = 0

    @property
    def n_warm(self) -> int:
        return int(self.n_trials * WARM_SHARE)

    def count(self) -> None:
        self.n_done += 1
        if self.n_done == self.n_warm:
            self.began = self._clocks()
        elif self.n_done == self.n_trials:
            self.ended = self._clocks()

    def per_trial(self) -> dict[str, float]:
        """Return milliseconds per trial: wall, driver CPU, CPU of the workers' side, CPU of helper processes."""
        n = self.n_trials - self.n_warm
        return {name: 1e3 * (self.ended[name] - self.began[name]) / n for name in self.ended}

    def _clocks(self) -> dict[str, float]:
        return {
            "wall": time.perf_counter(),
            "driver": time.process_time(),
            "htex": sum(sum(each.cpu_times()[:2]) for each in self.others),
            "helpers": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
        }

    # The two methods of an observer of a running study.

    def trial_ended(self, trial: object) -> None:
        del trial
        self.count()

    def tick(self, driver: object) -> None:
        """Nothing to do."""


def noop(config: dict[str, Any]) -> float:
    return config["x"]


def raw_round(kernel: Any, meter: Meter, n_in_flight: int) -> None:
    """Keep `n_in_flight` bare Parsl tasks in flight; each completion's callback submits the next."""
    from parsl import python_app

    app = python_app(noop, data_flow_kernel=kernel)
    config = {"x": 0.5, "y": 0.01, "n": 7}
    numbers = itertools.count()
    finished = threading.Event()

    def submit() -> None:
        if next(numbers) < meter.n_trials:
            app(config).add_done_callback(done)

    def done(future: Any) -> None:
        future.result()
        meter.count()
        if meter.n_done == meter.n_trials:
            finished.set()
        submit()

    for _ in range(n_in_flight):
        submit()
    if not finished.wait(600):
        raise TimeoutError(f"{meter.n_done} of {meter.n_trials} tasks came home in 600 s")


def search_round(kernel: Any, meter: Meter, n_in_flight: int, folder: Path) -> None:
    """Run as many no-op trials through ``search``, with a history."""
    history = folder / f"{time.monotonic_ns()}.h5"
    search(
        noop,
        SPACE,
        site=kernel,
        workers=n_in_flight,
        searcher="random",
        seed=1,
        max_trials=meter.n_trials,
        history=history,
        observers=[meter],
    )


def compare(
    executor: str, workers: int, n_trials: int, n_rounds: int, profiler: cProfile.Profile | None = None
) -> dict[str, Any]:
    """Return the figures of one executor and number of workers."""
    import parsl

    # Parsl starts its worker pool by name, also where this environment is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        arguments: dict[str, Any] = {"executor": executor, "workers": workers, "run_dir": f"{folder}/parsl"}
        kernel = parsl.DataFlowKernel(load_site("laptop", **arguments))
        try:
            others = wait_for_workers(kernel, folder, workers) if executor == "processes" else []
            rounds: list[dict[str, dict[str, float]]] = []
            for _ in range(n_rounds + 1):  # the first one warms up
                raw, ours = Meter(n_trials, others), Meter(n_trials, others)
                raw_round(kernel, raw, workers)
                whole = time.perf_counter()
                timed(profiler, lambda ours=ours: search_round(kernel, ours, workers, Path(folder)))
                whole = time.perf_counter() - whole - (ours.ended["wall"] - ours.began["wall"])
                rounds.append({"raw": raw.per_trial(), "ours": {**ours.per_trial(), "around_s": whole}})
            return summary(executor, workers, n_trials, rounds[1:])
        finally:
            kernel.cleanup()


def timed(profiler: cProfile.Profile | None, call: Callable[[], None]) -> None:
    """Run a call, under the profiler if there is one."""
    if profiler is None:
        call()
    else:
        profiler.runcall(call)


def wait_for_workers(kernel: Any, folder: str, workers: int) -> list[psutil.Process]:
    """Wait until all workers stand, and return every process of the executor."""
    from parsl import python_app

    app = python_app(os.getpid, data_flow_kernel=kernel)
    seen: set[int] = set()
    nap = python_app(_pid_after_a_nap, data_flow_kernel=kernel)
    app().result()
    deadline = time.monotonic() + 120
    while len(seen) < workers and time.monotonic() < deadline:
        seen |= {future.result() for future in [nap() for _ in range(workers)]}
    named = [each for each in psutil.process_iter() if folder in " ".join(_cmdline(each))]
    family = {each.pid: each for root in named for each in [root, *root.children(recursive=True)]}
    family |= {each.pid: each for each in psutil.Process().children(recursive=True)}
    return list(family.values())


def _pid_after_a_nap() -> int:
    import os
    import time

    time.sleep(0.05)
    return os.getpid()


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def summary(executor: str, workers: int, n_trials: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians with minimum and maximum over the rounds."""

    def spread(figure: Callable[[dict[str, float], dict[str, float]], float]) -> list[float]:
        values = sorted(figure(each["raw"], each["ours"]) for each in rounds)
        return [round(each, 3) for each in (statistics.median(values), values[0], values[-1])]

    return {
        "executor": executor,
        "workers": workers,
        "trials": n_trials,
        "rounds": len(rounds),
        "raw_rate_per_s": spread(lambda raw, ours: 1e3 / raw["wall"]),
        "rate_per_s": spread(lambda raw, ours: 1e3 / ours["wall"]),
        "rate_over_raw": spread(lambda raw, ours: raw["wall"] / ours["wall"]),
        "raw_driver_ms": spread(lambda raw, ours: raw["driver"]),
        "raw_total_ms": spread(lambda raw, ours: raw["driver"] + raw["htex"]),
        "added_driver_ms": spread(lambda raw, ours: ours["driver"] - raw["driver"]),
        "added_worker_side_ms": spread(lambda raw, ours: ours["htex"] - raw["htex"]),
        "helper_ms": spread(lambda raw, ours: ours["helpers"] - raw["helpers"]),
        "added_driver_over_raw_total": spread(
            lambda raw, ours: (ours["driver"] - raw["driver"]) / (raw["driver"] + raw["htex"])
        ),
        "added_driver_over_raw_driver": spread(lambda raw, ours: (ours["driver"] - raw["driver"]) / raw["driver"]),
        "start_and_close_s": spread(lambda raw, ours: ours["around_s"]),
    }


def main() -> None:
    """Measure one case and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--executor", choices=["processes", "threads"], default="processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--profile", action="store_true", help="print where the driver's own thread spends its time")
    chosen = parser.parse_args()
    profiler = cProfile.Profile() if chosen.profile else None
    figures = compare(chosen.executor, chosen.workers, chosen.trials, chosen.rounds, profiler)
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:30} {value}")
    if profiler is not None:
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
