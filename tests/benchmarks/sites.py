"""What a site costs: overhead beside raw Parsl, utilisation, and how long recovering and ending take.

    python tests/benchmarks/sites.py [--quick] [--backends threads,slurm] [--parts overhead,utilisation,faults]

Threads and the HighThroughputExecutor on this machine; and a private Slurm of two nodes on this machine, where
``slurmctld`` and the test beds (``../shared/testbeds``) are there. Its "nodes" share this machine's cores, so what is
read there is the overhead, not the speed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loop_overhead import Meter, noop, raw_round, search_round, wait_for_workers

from dhflow import Float, Integer, SearchSpace, load_site, search

SPACE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(1e-5, 1.0, log=True), "n": Integer(1, 100)})
BACKENDS = ("threads", "processes", "slurm")
PARTS = ("overhead", "utilisation", "faults")
N_NODES, PER_NODE = 2, 2


class Stopwatch:
    """An observer that takes the time of the first result."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first_s = 0.0

    def trial_ended(self, trial: object) -> None:
        del trial
        self.first_s = self.first_s or time.monotonic() - self.began

    def tick(self, driver: object) -> None:
        """Nothing to do."""


def main() -> None:
    """Measure what was chosen and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer trials and rounds")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--parts", default=",".join(PARTS))
    chosen = parser.parse_args()
    # Parsl starts its worker pool by name, also where this environment is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, sys.path)])
    parts: dict[str, Callable[[str, bool], None]] = {
        "overhead": print_overhead,
        "utilisation": print_utilisation,
        "faults": print_faults,
    }
    for backend in chosen.backends.split(","):
        with surroundings(backend) as missing:
            for name in chosen.parts.split(","):
                if missing:
                    print(f"{backend}: left out, {missing}", flush=True)
                    break
                parts[name](backend, chosen.quick)


def line(what: str, figure: str, aim: str = "") -> None:
    """Print a row."""
    print(f"{what:58} {figure:28} {aim}".rstrip(), flush=True)


def site_of(backend: str, workers: int, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return a site and its arguments, for so many workers."""
    if backend == "slurm":
        per_node = max(1, workers // N_NODES)
        asked = {"queue": "debug", "nodes": N_NODES, "trials_per_node": per_node, "walltime": "00:10:00"}
        return "slurm", {**asked, "poll_s": 2, "heartbeat_s": 2, "run_dir": str(folder / "parsl")}
    return "laptop", {"executor": backend, "workers": workers, "run_dir": str(folder / "parsl")}


# Overhead -----------------------------------------------------------------------------------------------


def print_overhead(backend: str, quick: bool) -> None:
    """Print trials per second beside raw Parsl tasks, in turn on one kernel."""
    import parsl

    workers, n_trials, n_rounds = 4, 300 if quick else 1_000, 2 if quick else 5
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        name, arguments = site_of(backend, workers, Path(folder))
        kernel = parsl.DataFlowKernel(load_site(name, **arguments))
        rates = []
        try:
            for _ in range(n_rounds + 1):  # the first one warms up
                raw, ours = Meter(n_trials, []), Meter(n_trials, [])
                raw_round(kernel, raw, workers)
                search_round(kernel, ours, workers, Path(folder))
                rates.append((1e3 / ours.per_trial()["wall"], 1e3 / raw.per_trial()["wall"]))
        finally:
            kernel.cleanup()
    line(f"{backend}: no-op trials per second, {workers} workers", spread([ours for ours, _ in rates[1:]], "{:.0f}"))
    line("  raw Parsl tasks per second", spread([raw for _, raw in rates[1:]], "{:.0f}"))
    line("  rate over raw Parsl's", spread([ours / raw for ours, raw in rates[1:]], "{:.2f}"))


# Utilisation --------------------------------------------------------------------------------------------


def print_utilisation(backend: str, quick: bool) -> None:
    """Print how busy a search by AMBS keeps workers that stand, and when the first result of a new search is there."""
    import parsl

    search(noop, SPACE, site="laptop", site_set={"executor": "threads"}, searcher="ambs", max_trials=40)  # loads scipy
    few, many = (N_NODES * PER_NODE, N_NODES * PER_NODE) if backend == "slurm" else (2, 16)
    for workers in sorted({few, many}):
        with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
            name, arguments = site_of(backend, workers, Path(folder))
            kernel = parsl.DataFlowKernel(load_site(name, **arguments))
            try:
                if backend != "threads":
                    wait_for_workers(kernel, folder, workers)
                for trial_s, aim in ((0.25, 0.93), (1.0, 0.97)):
                    share = busy(kernel, workers, trial_s, 6.0 if quick else 25.0, Path(folder))
                    wanted = f">= {aim}" if (backend, workers) == ("processes", 16) else ""
                    line(f"{backend}: {workers} workers, trials of {trial_s:g} s: utilisation", f"{share:.3f}", wanted)
            finally:
                kernel.cleanup()
    starts = [start_to_first(backend, few) for _ in range(1 if quick else 3)]
    raw = [raw_start_to_first(backend, few) for _ in starts]
    aim = "< 5 s" if backend == "processes" else ""
    line(f"{backend}: start of a search to its first result, {few} workers", spread(starts, "{:.1f} s"), aim)
    line("  of raw Parsl, with the same site", spread(raw, "{:.1f} s"))


def busy(kernel: Any, workers: int, trial_s: float, seconds: float, folder: Path) -> float:
    """Return how busy a search keeps the workers of a kernel."""

    def sleeps(config: dict[str, Any]) -> float:
        time.sleep(trial_s)
        return config["x"]

    result = search(
        sleeps,
        SPACE,
        site=kernel,
        workers=workers,
        searcher="ambs",
        seed=1,
        max_trials=int(workers * seconds / trial_s),
        history=folder / f"{trial_s}.h5",
    )
    assert result.utilisation is not None
    return result.utilisation.share


def start_to_first(backend: str, workers: int) -> float:
    """Return the seconds from the call of ``search`` to the first result."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        name, arguments = site_of(backend, workers, Path(folder))
        search(
            noop,
            SPACE,
            site=name,
            site_set=arguments,
            searcher="ambs",
            seed=1,
            max_trials=workers,
            history=Path(folder) / "h.h5",
            observers=[watch],
        )
    return watch.first_s


def raw_start_to_first(backend: str, workers: int) -> float:
    """Return the seconds from a bare kernel's start to the first result of as many tasks."""
    import parsl

    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        name, arguments = site_of(backend, workers, Path(folder))
        config = load_site(name, **arguments)
        began = time.monotonic()
        kernel = parsl.DataFlowKernel(config)
        try:
            app = parsl.python_app(noop, data_flow_kernel=kernel)
            futures = [app({"x": 0.5}) for _ in range(workers)]
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
            return time.monotonic() - began
        finally:
            kernel.cleanup()


# Faults -------------------------------------------------------------------------------------------------


def print_faults(backend: str, quick: bool) -> None:
    """Print how long a lost worker's trial waits for its rerun, and an interrupted search for its end."""
    n = 2 if quick else 5
    if backend != "threads":
        line(f"{backend}: loss of a worker to the rerun of its trial", spread(until_rerun(backend, n), "{:.1f} s"))
    ends = [until_exit(backend) for _ in range(2 if quick else 3)]
    line(f"{backend}: Ctrl-C to exit, with trials under way", spread(ends, "{:.1f} s"))


def until_rerun(backend: str, n: int) -> list[float]:
    """Return the seconds from a worker's death to the start of the trial's next attempt."""
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        deaths = Path(folder) / "deaths"
        deaths.mkdir()

        def dies(config: dict[str, Any], trial: Any) -> float:
            time.sleep(0.5)
            if trial.trial_id % 4 == 3 and trial.attempt == 1:
                (deaths / str(trial.trial_id)).write_text(str(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)
            return config["x"]

        name, arguments = site_of(backend, N_NODES * PER_NODE, Path(folder))
        result = search(
            dies,
            SPACE,
            site=name,
            site_set=arguments,
            searcher="random",
            max_trials=4 * n,
            history=Path(folder) / "h.h5",
            max_attempts=10,
        )
        waits = []
        for trial in result.trials:
            if (deaths / str(trial.trial_id)).exists() and len(trial.attempts) > 1:
                again = trial.attempts[1].started_at or 0.0
                waits.append(again - float((deaths / str(trial.trial_id)).read_text()))
    return waits


SEARCH = """
import time
from sites import SPACE, site_of
from dhflow import search
from pathlib import Path

def sleeps(config):
    time.sleep(2.0)
    return config["x"]

name, arguments = site_of({backend!r}, 4, Path({folder!r}))
class Ready:
    def trial_ended(self, trial): print("one", flush=True)
    def tick(self, driver): pass
search(sleeps, SPACE, site=name, site_set=arguments, searcher="random", max_trials=10**6, observers=[Ready()],
       history=Path({folder!r}) / "h.h5")
"""


def until_exit(backend: str) -> float:
    """Return the seconds from Ctrl-C to the end of a search's process."""
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        script = Path(folder) / "script.py"
        script.write_text(SEARCH.format(backend=backend, folder=folder))
        here = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": here},
            start_new_session=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
        return time.monotonic() - began


# Surroundings -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def surroundings(backend: str) -> Iterator[str]:
    """Start what a backend needs; give why it cannot be had, or ""."""
    if backend != "slurm":
        yield ""
        return
    roots = Path(__file__).resolve().parents
    script = next(
        (each / "shared/testbeds/mini_slurm.sh" for each in roots if (each / "shared/testbeds").is_dir()), None
    )
    if script is None or shutil.which("slurmctld") is None or os.geteuid() != 0:
        yield "the private Slurm needs root, the test beds and `apt-get install slurm-wlm`"
        return
    with tempfile.TemporaryDirectory(prefix="dhflow-slurm-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "MINI_SLURM_PORT": str(_free_ports())}
        command = ["bash", str(script)]
        run: dict[str, Any] = {"env": environment, "capture_output": True, "timeout": 60}
        subprocess.run([*command, "start", folder, str(N_NODES), "4"], check=False, **run)
        os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"
        try:
            yield ""
        finally:
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30, check=False)
            subprocess.run([*command, "stop", folder], check=False, **run)
            del os.environ["SLURM_CONF"]


def _free_ports() -> int:
    for base in range(32_000, 36_000, 100):
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", base + i)) for i in (0, 1, 11, 12)):
                return base
    raise RuntimeError("no free ports for a private Slurm")


def spread(values: list[float], form: str) -> str:
    """Return a median with its minimum and maximum."""
    if not values:
        return "-"
    median, low, high = (form.format(each) for each in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low.split()[0]} to {high.split()[0]})"


if __name__ == "__main__":
    main()
