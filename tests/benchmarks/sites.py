"""What a site costs: overhead beside raw Parsl, utilisation, and how long recovering and ending take.

    python tests/benchmarks/sites.py [--quick] [--backends threads,slurm] [--parts overhead,utilisation,faults]

Threads and the HighThroughputExecutor on this machine; and a private Slurm of two nodes on this machine, where
``slurmctld`` and the test beds (``../shared/testbeds``) are there. Its "nodes" share this machine's cores, so what is
read there is the overhead, not the speed. And Globus Compute: the real SDK and a real endpoint of two workers, over a
stand-in for the web service, in the environment that ``make globus`` builds; what the way through the Internet adds is
not in it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import importlib.util
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from loop_overhead import Meter, noop, raw_round, search_round, wait_for_workers

from dhflow import Float, Integer, SearchSpace, load_site, search

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "sites"))

import local_services as local  # noqa: E402 - found by the path above

SPACE = SearchSpace({"x": Float(0.0, 1.0), "y": Float(1e-5, 1.0, log=True), "n": Integer(1, 100)})
BACKENDS = ("threads", "processes", "slurm", "globus")
PARTS = ("overhead", "utilisation", "faults")
N_NODES, PER_NODE = 2, 2
ENDPOINT_VENV = ROOT / ".venv-endpoint"
ENDPOINT = "DHFLOW_BENCH_ENDPOINT"
"""Variable that names the endpoint which runs, also to the scripts that are started here."""

N_AT_ENDPOINT = local.WORKERS["max_workers_per_node"]


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
    outer = dict(os.environ)
    # Parsl starts its worker pool by name, also where this environment is not activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, sys.path)])
    parts: dict[str, Callable[[str, bool], None]] = {
        "overhead": print_overhead,
        "utilisation": print_utilisation,
        "faults": print_faults,
    }
    for backend in chosen.backends.split(","):
        if backend == "globus" and importlib.util.find_spec("globus_compute_endpoint") is None:
            run_where_endpoints_are(chosen.parts, chosen.quick, outer)
            continue
        with surroundings(backend) as missing:
            for name in chosen.parts.split(","):
                if missing:
                    print(f"{backend}: left out, {missing}", flush=True)
                    break
                parts[name](backend, chosen.quick)


def run_where_endpoints_are(parts: str, quick: bool, environment: dict[str, str]) -> None:
    """Measure Globus Compute with the Python that has an endpoint's packages, which hold back others of ours."""
    python = ENDPOINT_VENV / "bin" / "python"
    if not python.exists() or Path(sys.prefix) == ENDPOINT_VENV:
        print(f"globus: left out, there is no endpoint in {ENDPOINT_VENV.name} (make globus builds it)", flush=True)
        return
    options = ["--backends", "globus", "--parts", parts, *(["--quick"] if quick else [])]
    subprocess.run([str(python), __file__, *options], env=environment, check=False)


def line(what: str, figure: str, aim: str = "") -> None:
    """Print a row."""
    print(f"{what:58} {figure:28} {aim}".rstrip(), flush=True)


def site_of(backend: str, workers: int, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return a site and its arguments, for so many workers; an endpoint has its own, and gets so many trials."""
    if backend == "slurm":
        per_node = max(1, workers // N_NODES)
        asked = {"queue": "debug", "nodes": N_NODES, "trials_per_node": per_node, "walltime": "00:10:00"}
        return "slurm", {**asked, "poll_s": 2, "heartbeat_s": 2, "run_dir": str(folder / "parsl")}
    if backend == "globus":
        return "globus", {"endpoint": os.environ[ENDPOINT], "cap": workers, "run_dir": str(folder / "parsl")}
    return "laptop", {"executor": backend, "workers": workers, "run_dir": str(folder / "parsl")}


# Overhead -----------------------------------------------------------------------------------------------


def print_overhead(backend: str, quick: bool) -> None:
    """Print trials per second beside raw Parsl tasks, in turn on one kernel."""
    import parsl

    workers, n_trials, n_rounds = 4, 300 if quick else 1_000, 2 if quick else 5
    given = f"{workers} workers"
    if backend == "globus":  # where a result alone takes half a second
        given, n_trials, n_rounds = f"{workers} at once", n_trials // 5, 2 if quick else 3
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
    line(f"{backend}: no-op trials per second, {given}", spread([ours for ours, _ in rates[1:]], "{:.0f}"))
    line("  raw Parsl tasks per second", spread([raw for _, raw in rates[1:]], "{:.0f}"))
    line("  rate over raw Parsl's", spread([ours / raw for ours, raw in rates[1:]], "{:.2f}"))


# Utilisation --------------------------------------------------------------------------------------------


def print_utilisation(backend: str, quick: bool) -> None:
    """Print how busy a search by AMBS keeps workers that stand, and when the first result of a new search is there."""
    import parsl

    search(noop, SPACE, site="laptop", site_set={"executor": "threads"}, searcher="ambs", max_trials=40)  # loads scipy
    cases = cases_of(backend)
    for workers, n_at_once in cases:
        with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
            name, arguments = site_of(backend, n_at_once, Path(folder))
            kernel = parsl.DataFlowKernel(load_site(name, **arguments))
            try:
                if backend != "threads":
                    wait_for_workers(kernel, folder, workers)
                print_busy(backend, kernel, workers, n_at_once, 6.0 if quick else 25.0, Path(folder))
            finally:
                kernel.cleanup()
    few = cases[0][0]
    starts = [start_to_first(backend, few) for _ in range(1 if quick else 3)]
    raw = [raw_start_to_first(backend, few) for _ in starts]
    aim = "< 5 s" if backend == "processes" else ""
    line(f"{backend}: start of a search to its first result, {few} workers", spread(starts, "{:.1f} s"), aim)
    line("  of raw Parsl, with the same site", spread(raw, "{:.1f} s"))


def cases_of(backend: str) -> list[tuple[int, int]]:
    """Return with how many workers a backend is measured, and how many trials they get at once."""
    if backend == "slurm":
        return [(N_NODES * PER_NODE, N_NODES * PER_NODE)]
    if backend == "globus":  # while a result is on its way home its worker is idle, unless another trial waits there
        return [(N_AT_ENDPOINT, n * N_AT_ENDPOINT) for n in (1, 2, 4)]
    return [(2, 2), (16, 16)]


def print_busy(backend: str, kernel: Any, workers: int, n_at_once: int, seconds: float, folder: Path) -> None:
    """Print how busy searches of short trials keep the workers of a kernel."""
    for trial_s, aim in ((0.25, 0.93), (1.0, 0.97)):
        n_trials = int(workers * seconds / trial_s)
        share = busy(kernel, n_at_once, trial_s, n_trials, folder) * n_at_once / workers
        wanted = f">= {aim}" if (backend, workers) == ("processes", 16) else ""
        given = f", {n_at_once} trials at once" if n_at_once != workers else ""
        line(f"{backend}: {workers} workers{given}, trials of {trial_s:g} s: utilisation", f"{share:.3f}", wanted)


def busy(kernel: Any, n_at_once: int, trial_s: float, n_trials: int, folder: Path) -> float:
    """Return how busy a search keeps as many workers as it has trials at once."""

    def sleeps(config: dict[str, Any]) -> float:
        time.sleep(trial_s)
        return config["x"]

    result = search(
        sleeps,
        SPACE,
        site=kernel,
        workers=n_at_once,
        searcher="ambs",
        seed=1,
        max_trials=n_trials,
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
    start = {"slurm": slurm, "globus": endpoint}.get(backend, contextlib.nullcontext)
    missing = ""
    with contextlib.ExitStack() as running:
        try:
            running.enter_context(start())
        except local.MissingBedError as error:
            missing = str(error)
        yield missing


@contextlib.contextmanager
def slurm() -> Iterator[None]:
    """Run a private Slurm."""
    with tempfile.TemporaryDirectory(prefix="dhflow-slurm-", ignore_cleanup_errors=True) as folder:
        port = local.free_ports(32_000)
        with local.private_slurm(local.find_beds(), Path(folder), n_nodes=N_NODES, n_cpus=4, port=port):
            yield


@contextlib.contextmanager
def endpoint() -> Iterator[None]:
    """Run an endpoint of Globus Compute, and all that lies between it and the SDK."""
    local.check_compute_packages()
    beds = local.find_beds()
    with tempfile.TemporaryDirectory(prefix="dhflow-globus-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with (
            local.message_queue(beds, folder / "rabbit") as queue,
            local.compute_service(beds, queue, folder),
            local.running_endpoint(folder, beds, 1) as identifier,
            mock.patch.dict(os.environ, {ENDPOINT: identifier}),
        ):
            yield


def spread(values: list[float], form: str) -> str:
    """Return a median with its minimum and maximum."""
    if not values:
        return "-"
    median, low, high = (form.format(each) for each in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low.split()[0]} to {high.split()[0]})"


if __name__ == "__main__":
    main()
