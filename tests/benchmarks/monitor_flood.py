"""A worker that floods its channel, beside others: what the loop notices of it.

    python tests/benchmarks/monitor_flood.py [--seconds 20] [--rate 10000] [--json]

Two real workers on this machine. Trial 0 runs all the time and overflows halfway; all others return at once, one after
another on the second worker. *Quiet*: trial 0 spends its time in a loop that sends nothing. *Channel* and *socket*: it
sends so many records a second, through files or ZeroMQ. *File*: it writes as many lines itself, as a program may that
is not dhflow's, so that nothing on the worker bounds them. *Killed*: it floods, and is killed halfway.

The figures are trials per second of the others, the share of a core that the driver computed, bytes in the trial's
file, and the seconds from the overflow to the finding in the journal.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from dhflow import Float, SearchSpace, search
from dhflow.history import read_findings
from dhflow.trial import TrialStatus

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
CASES = ("quiet", "channel", "socket", "file", "killed")


def flood(config: dict[str, float], trial: Any, *, case: str, rate: float, seconds: float) -> float:
    """Return at once; as trial 0, flood until the end."""
    if trial.trial_id or trial.attempt > 1:
        return config["x"]
    from dhflow.monitor.record import WorstSample

    began = time.monotonic()
    epoch = n_sent = 0
    lines = (trial.dir / "records.jsonl").open("a") if case == "file" else None
    while not trial.should_stop() and time.monotonic() - began < 3 * seconds:
        passed = time.monotonic() - began
        while n_sent < rate * passed:
            n = min(int(rate * passed) - n_sent, 1000) + 1
            if lines is not None:
                lines.write("".join(f'{{"step": {n_sent}, "other": 0.5}}\n' for _ in range(n)))
            elif case in ("channel", "socket", "killed"):
                trial.channel.send([WorstSample(n_sent, 17, 0.5)] * n)
            n_sent += n
        if passed > epoch * 0.5:
            epoch += 1
            is_over = passed > seconds / 2
            trial.report(n_sent, loss=math.nan if is_over else 1.0 / epoch)
            if is_over and case == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
    return config["x"]


def measured(case: str, rate: float, seconds: float) -> dict[str, Any]:
    """Return the figures of a case."""
    with tempfile.TemporaryDirectory(prefix="dhflow-flood-") as folder:
        history = Path(folder) / "h.h5"
        cpu = time.process_time()
        result = search(
            flood,
            SPACE,
            searcher="random",
            seed=1,
            site="laptop",
            site_set={"workers": 2},
            history=history,
            wall_time_s=seconds + 8,
            channel="zmq" if case == "socket" else "auto",
            arguments={"case": case, "rate": rate, "seconds": seconds},
        )
        cpu = time.process_time() - cpu
        first = result.trials[0].attempts[0]
        ends = [each.attempts[-1].received_at for each in result.trials[1:] if each.status is TrialStatus.COMPLETED]
        begin = (first.started_at or first.submitted_at) + 1.0
        inside = [each for each in ends if each and begin <= each <= begin + seconds - 2]
        found = [each for each in read_findings(history, 0) if each.finding["rule"] == "overflow"]
        overflow_at = next((each.time for each in result.measurements(0) if not math.isfinite(each.value)), math.nan)
        sizes = [each.stat().st_size for each in history.with_name("h.h5.run").glob("trials/0/1/records.jsonl")]
        return {
            "case": case,
            "per_s": len(inside) / (seconds - 2),
            "driver_cpu": cpu / (seconds + 8),
            "file_mb": sum(sizes) / 1e6,
            "finding_s": min((each.at for each in found), default=math.nan) - overflow_at,
        }


def main() -> None:
    """Measure the cases in turn and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = [
        measured(case, chosen.rate, chosen.seconds) for _ in range(chosen.rounds) for case in chosen.cases.split(",")
    ]
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{'trial 0':10} {'others':>12} {'of quiet':>9} {'driver':>8} {'its file':>9} {'finding after':>14}")
    quiet = statistics.median([each["per_s"] for each in found if each["case"] == "quiet"] or [math.nan])
    for each in found:
        others = f"{each['per_s']:8.0f} / s {each['per_s'] / quiet:9.2f}"
        rest = f"{100 * each['driver_cpu']:6.0f} % {each['file_mb']:6.1f} MB {each['finding_s']:12.1f} s"
        print(f"{each['case']:10} {others} {rest}")


if __name__ == "__main__":
    main()
