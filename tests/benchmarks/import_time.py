"""How long ``import dhflow`` and ``dhflow --help`` take in a fresh process, and what they load.

python tests/benchmarks/import_time.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

HEAVY = ("parsl", "tensorflow", "keras", "matplotlib", "h5py", "sklearn", "scipy", "pandas", "numpy", "rich")

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import dhflow": ["-c", "import dhflow"],
    "from dhflow import search, SearchSpace": ["-c", "from dhflow import search, SearchSpace"],
    "dhflow --help": ["-m", "dhflow", "--help"],
    "dhflow search --help": ["-m", "dhflow", "search", "--help"],
}


def wall_times(arguments: list[str], n_runs: int) -> list[float]:
    """Return the seconds of each run, after one that is not counted."""
    times = []
    for _ in range(n_runs + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return times[1:]


def heavy_modules(arguments: list[str]) -> list[str]:
    """Return the heavy packages that a command loads."""
    run = subprocess.run([sys.executable, "-X", "importtime", *arguments], check=True, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    return [each for each in HEAVY if each in loaded]


def measure(n_runs: int) -> list[dict[str, Any]]:
    """Return a row for each command."""
    rows = []
    for name, arguments in COMMANDS.items():
        times = wall_times(arguments, n_runs)
        rows.append(
            {
                "command": name,
                "median_s": round(statistics.median(times), 3),
                "min_s": round(min(times), 3),
                "max_s": round(max(times), 3),
                "heavy": heavy_modules(arguments),
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    chosen = parser.parse_args()
    rows = measure(chosen.runs)
    if chosen.json:
        print(json.dumps(rows))
        return
    for row in rows:
        loads = ", ".join(row["heavy"]) or "nothing heavy"
        print(f"{row['command']:40} {row['median_s']:.3f} s ({row['min_s']:.3f} to {row['max_s']:.3f}), loads {loads}")


if __name__ == "__main__":
    main()
