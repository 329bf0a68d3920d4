"""A worker that floods its channel, beside others: what the loop notices of it.

    python tests/benchmarks/monitor_flood.py [--seconds 24] [--rate 10000] [--cases channel,socket,file,killed]

Two real workers on this machine. Trial 0 runs all the time and overflows halfway; all others return at once, one after
another on the second worker. In every other slice of two seconds trial 0 sends so many records a second, else it counts
without sending, so that each slice has one beside it in which the machine was as busy with other things. *channel* and
*socket*: through files and through ZeroMQ. *file*: it writes as many lines itself, as a program may that is not
dhflow's, so that nothing on the worker bounds them. *killed*: through files, and it is killed at its overflow.

The figures are the others' trials per second without the flood and the ratio with it (median of the pairs), the share
of a core that the driver computed, the size of the trial's file, and the time from the overflow to its finding.
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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dhflow import Float, SearchSpace, search
from dhflow.history import read_findings
from dhflow.trial import TrialStatus

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
CASES = ("channel", "socket", "file", "killed")
SLICE_S = 2.0
FIRST_S = 2.0
"""Left out: the first trials of a worker import what they need."""


def flood(config: dict[str, float], trial: Any, *, case: str, rate: float, seconds: float) -> float:
    """Return at once; as trial 0, flood in every other slice until the end."""
    if trial.trial_id or trial.attempt > 1:
        return config["x"]
    from dhflow.monitor.record import WorstSample

    began = time.monotonic()
    n_sent, epoch, counted = 0, 0, 0
    lines = (trial.dir / "records.jsonl").open("a") if case == "file" else None
    due = 0.0
    last = began
    while not trial.should_stop() and last - began < 2 * seconds:
        now = time.monotonic()
        if is_flooded(now - began):
            due += rate * (now - last)
        last = now
        while due >= 1:
            n = min(int(due), 1000)
            due -= n
            if lines is not None:
                lines.write("".join(f'{{"step": {n_sent}, "other": 0.5}}\n' for _ in range(n)))
                lines.flush()
            else:
                trial.channel.send([WorstSample(n_sent, 17, 0.5)] * n)
            n_sent += n
        counted += sum(range(1000)) > 0
        if now - began > epoch * 0.5:
            epoch += 1
            is_over = now - began > seconds / 2
            trial.report(epoch, loss=math.nan if is_over else 1.0 / epoch)
            if is_over and case == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
    return config["x"]


def is_flooded(passed_s: float) -> bool:
    """Tell whether a moment lies in a slice with a flood."""
    return int(passed_s / SLICE_S) % 2 == 1


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
            wall_time_s=seconds + 6,
            channel="zmq" if case == "socket" else "auto",
            arguments={"case": case, "rate": rate, "seconds": seconds},
        )
        cpu = time.process_time() - cpu
        first = result.trials[0].attempts[0]
        begin = first.started_at or first.submitted_at
        ends = [each.attempts[-1].received_at for each in result.trials[1:] if each.status is TrialStatus.COMPLETED]
        until = begin + (seconds / 2 if case == "killed" else seconds)
        per_slice = counts(each - begin for each in ends if each is not None and each < until)
        found = [each.at for each in read_findings(history, 0) if each.finding["rule"] == "overflow"]
        overflows = [each.time for each in result.measurements(0) if not math.isfinite(each.value)]
        files = history.with_name("h.h5.run").glob("trials/0/1/records.jsonl")
        return {
            "case": case,
            "per_s": statistics.median(each[0] for each in per_slice) / SLICE_S,
            "ratio": statistics.median(each[1] / each[0] for each in per_slice),
            "driver_cpu": cpu / (seconds + 6),
            "file_mb": sum(each.stat().st_size for each in files) / 1e6,
            "finding_s": min(found, default=math.nan) - min(overflows, default=begin + seconds / 2),
        }


def counts(passed: Iterable[float]) -> list[tuple[int, int]]:
    """Return for each pair of slices how many trials ended in the one without and in the one with the flood."""
    by: dict[int, int] = {}
    for each in passed:
        if each >= FIRST_S:
            by[int(each / SLICE_S)] = by.get(int(each / SLICE_S), 0) + 1
    whole = sorted(by)[:-1]  # the last slice is cut off
    return [(by[each], by[each + 1]) for each in whole if not is_flooded(each * SLICE_S) and each + 1 in whole]


def main() -> None:
    """Measure the cases in turn and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = [measured(case, chosen.rate, chosen.seconds) for case in chosen.cases.split(",")]
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{'flood':9} {'others':>9} {'with flood':>11} {'driver':>8} {'its file':>9} {'finding after':>14}")
    for each in found:
        others = f"{each['per_s']:5.0f} / s {each['ratio']:10.2f}×"
        rest = f"{100 * each['driver_cpu']:6.0f} % {each['file_mb']:6.1f} MB {each['finding_s']:12.1f} s"
        print(f"{each['case']:9} {others} {rest}")


if __name__ == "__main__":
    main()
