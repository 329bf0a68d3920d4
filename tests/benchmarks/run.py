"""Run the benchmarks one after another and print one table: what was measured on the day, beside what is aimed at.

Nothing is asserted: a busy machine changes every figure but the ratios, and those too a little.

    python tests/benchmarks/run.py             everything, more than an hour on two cores
    python tests/benchmarks/run.py --quick     fewer rounds, to see that all of it works
    python tests/benchmarks/run.py loop import only these
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Row = tuple[str, str, str]
"""What was measured, the figure, and the aim."""


def main() -> None:
    """Run what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    chosen = parser.parse_args()
    for each in chosen.parts:
        if each not in PARTS:
            parser.error(f"there is no part {each!r}; there are: {', '.join(PARTS)}")
    print(machine(), flush=True)
    for name, part in PARTS.items():
        if name in (chosen.parts or PARTS):
            print_rows(name, part(chosen.quick))


def import_rows(quick: bool) -> Iterable[Row]:
    aims = {"import dhflow": "< 0.3 s", "dhflow --help": "< 0.5 s"}
    for each in measured("import_time.py", "--runs", "3" if quick else "15"):
        figure = f"{each['median_s']:.3f} s ({each['min_s']:.3f} to {each['max_s']:.3f})"
        yield each["command"], figure, aims.get(each["command"], "")
        if each["command"] in aims:
            yield "  heavy packages that it loads", ", ".join(each["heavy"]) or "none", "none"


def loop_rows(quick: bool) -> Iterable[Row]:
    size = ["--trials", "300", "--rounds", "2"] if quick else ["--trials", "1000", "--rounds", "7"]
    for executor, workers in (("processes", 2), ("processes", 16), ("threads", 2), ("threads", 16)):
        found = measured("loop_overhead.py", "--executor", executor, "--workers", str(workers), *size)
        yield from loop_case(found)


def loop_case(found: dict[str, Any]) -> Iterable[Row]:
    """Return the rows of one executor and number of workers."""
    is_htex = found["executor"] == "processes"
    kind = "HTEX" if is_htex else "threads"
    yield f"no-op trials, {kind}, {found['workers']} workers", "", ""
    yield "  trials per second", spread(found["rate_per_s"], "{:.0f}"), ""
    yield "  raw Parsl tasks per second", spread(found["raw_rate_per_s"], "{:.0f}"), ""
    yield "  rate over raw Parsl's", spread(found["rate_over_raw"]), ">= 0.8" if is_htex else ""
    yield "  driver's added CPU per trial", spread(found["added_driver_ms"], "{:.2f} ms"), ""
    total = "all raw processes' CPU per task" if is_htex else "raw CPU per task"
    yield f"    over {total}", spread(found["added_driver_over_raw_total"]), "<= 0.25" if is_htex else ""
    if is_htex:
        yield "    over the raw driver's CPU per task", spread(found["added_driver_over_raw_driver"]), ""
        yield "  workers' side, added CPU per trial", spread(found["added_worker_side_ms"], "{:.2f} ms"), ""
    yield "  start and close of a search", spread(found["start_and_close_s"], "{:.2f} s"), ""


def busy_rows(quick: bool) -> Iterable[Row]:
    found = measured("busy.py", "--workers", "2", "--trials", "3" if quick else "8")
    yield "Keras networks on 2 HTEX workers", "mean, 95 %, max", ""
    yield "  busy processes", three(found["busy_processes"]), "<= 3"
    yield "  threads that compute or wait for a core", three(found["runnable_threads"]), ""
    yield "    of one process", three(found["runnable_threads_of_one_process"]), "about 1"
    yield "  cores used", three(found["cores_used"]), ""
    yield "  threads of one process at most", f"{found['threads_of_one_process_max']}", ""


def speed_rows(quick: bool) -> Iterable[Row]:
    sizes = ["--sizes", "100,1000"] if quick else ["--sizes", "100,300,1000,5000,10000,50000"]
    return script_rows("speed: what an ask and tell costs", "ask_cost.py", *sizes)


def quality_rows(quick: bool) -> Iterable[Row]:
    size = ["--quick"] if quick else ["--group", "all", "--seeds", "5", "--jobs", "2"]
    title = "quality: regret of searches on problems whose best value is known"
    return script_rows(title, "quality.py", "--searchers", "random,auto,ambs,tpe", *size)


def scale_rows(quick: bool) -> Iterable[Row]:
    size = ["--workers", "256"] if quick else ["--workers", "40,160,256,512,640,1024,1920"]
    return script_rows("scale: how many workers one searcher keeps busy", "scale.py", *size)


def bandit_rows(quick: bool) -> Iterable[Row]:
    size = ["--seeds", "2", "--trainings", "10"] if quick else ["--seeds", "10", "--trainings", "10,20"]
    return script_rows("bandits: searchers over budgets on recorded learning curves", "bandits.py", *size)


def monitor_rows(quick: bool) -> Iterable[Row]:
    options = ["--quick"] if quick else []
    yield from script_rows("monitor: trend, false alarms and stops on recorded runs", "monitor.py", *options)
    yield from script_rows("monitor: faults put into trainings, and healthy ones", "monitor_faults.py", *options)
    yield from script_rows("monitor: what watching costs", "monitor_overhead.py", *options)
    title = "monitor: a worker that floods its channel with 10,000 records per second; aims: 1.00, a few seconds"
    yield from script_rows(title, "monitor_flood.py", *(["--seconds", "12"] if quick else []))


def throughput_rows(quick: bool) -> Iterable[Row]:
    size = ["--trials", "200", "--rounds", "1"] if quick else ["--trials", "1000", "--rounds", "3"]
    return script_rows("throughput: whole loops beside those of peers", "throughput.py", *size)


def site_rows(quick: bool) -> Iterable[Row]:
    title = "sites: overhead, utilisation and recovery on each backend"
    return script_rows(title, "sites.py", *(["--quick"] if quick else []))


def soak_rows(quick: bool) -> Iterable[Row]:
    title = "soak: memory and cost per trial of a long search; aims: < 2000 bytes, about 1"
    return script_rows(title, "soak.py", *(["--quick"] if quick else []))


def nas_rows(quick: bool) -> Iterable[Row]:
    return script_rows("nas: searchers of architectures on complete tables", "nas.py", *(["--quick"] if quick else []))


def script_rows(title: str, script: str, *arguments: str) -> Iterable[Row]:
    """Run a benchmark that prints a table of its own."""
    print(f"\n{title}\n", flush=True)
    subprocess.run([sys.executable, str(HERE / script), *arguments], check=False)
    return []


PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "import": import_rows,
    "loop": loop_rows,
    "busy": busy_rows,
    "speed": speed_rows,
    "quality": quality_rows,
    "scale": scale_rows,
    "bandits": bandit_rows,
    "throughput": throughput_rows,
    "sites": site_rows,
    "soak": soak_rows,
    "nas": nas_rows,
    "monitor": monitor_rows,
}


def measured(script: str, *arguments: str) -> Any:
    """Run a benchmark in a process of its own and return the figures that it prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float], form: str = "{:.2f}") -> str:
    """Return a median with its minimum and maximum."""
    median, low, high = (form.format(each) for each in values)
    return f"{median} ({low.split()[0]} to {high.split()[0]})"


def three(values: list[float]) -> str:
    """Return a mean, a 95th percentile and a maximum."""
    return ", ".join(f"{each:g}" for each in values)


def print_rows(name: str, rows: Iterable[Row]) -> None:
    """Print a part's rows as they come."""
    for number, (what, figure, aim) in enumerate(rows):
        if number == 0:
            print(f"\n{name:44} {'median (min to max)':28} aim")
        print(f"{what:44} {figure:28} {aim}".rstrip(), flush=True)


def machine() -> str:
    """Return what the figures depend on."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("dhflow", "parsl", "numpy"))
    return f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()
