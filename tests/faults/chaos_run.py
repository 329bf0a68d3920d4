"""A driver whose search is disturbed by :mod:`chaos`, and its trials, of which some misbehave.

``python chaos_run.py PLAN.json`` starts the search, or goes on with it. What its observers hear of, and what its trials
do, is written down apart from dhflow's files. Times are those of a clock that no disturbance sets.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TypedDict

from dhflow import Float, SearchSpace, search

FAILURES = {
    "raises": "RuntimeError",
    "garbage": "ObjectiveError",
    "exits": "SystemExit",
    "hangs": "TrialTimeoutError",
    "leaks": "MemoryError",
}
"""What becomes of a trial that does so; all others complete."""

_LEAK_BYTES = 50_000_000
_OFTEN = ("well",) * 12 + ("raises", "garbage", "exits", "floods")
_ONLY_IN_PROCESSES = ("leaks", "dies")
GARBAGE: tuple[Any, ...] = (
    float("nan"),
    float("-inf"),
    "0.5",
    None,
    b"\x00" * 100_000,
    object(),
    lambda: 1,
    {"another": 1.0},
    [[]] * 1_000,
)


class Plan(TypedDict):
    """What the driver is told.

    Parameters
    ----------
    seed : int
    executor : {"processes", "threads"}
    history, notes, acknowledged, stacks : str
        Where to write.
    n_trials, n_workers : int
    trial_s, timeout_s : float
    """

    seed: int
    executor: str
    history: str
    notes: str
    acknowledged: str
    stacks: str
    n_trials: int
    n_workers: int
    trial_s: float
    timeout_s: float


def manners(seed: int, trial_id: int, *, in_processes: bool) -> str:
    """Return how a trial behaves."""
    chance = random.Random(f"{seed}-{trial_id}")
    if trial_id == seed % 7 + 1:  # one, for it takes its whole time limit
        return "hangs"
    return chance.choice(_OFTEN + _ONLY_IN_PROCESSES * in_processes)


def note(path: str, *words: object) -> None:
    """Append a line at once: it must be there when the process is killed."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(json.dumps(words).encode() + b"\n")


def objective(config: dict[str, Any], trial: Any, plan: Plan) -> Any:
    """Behave well or badly."""
    note(plan["notes"], trial.trial_id, trial.attempt, "begin", time.monotonic(), os.getpid())
    time.sleep(plan["trial_s"])
    in_processes = plan["executor"] == "processes"
    returned = behave(manners(plan["seed"], trial.trial_id, in_processes=in_processes), config, trial)
    note(plan["notes"], trial.trial_id, trial.attempt, "end", time.monotonic(), os.getpid())
    return returned


def behave(how: str, config: dict[str, Any], trial: Any) -> Any:
    """Return the objective, or do what a trial should not."""
    match how:
        case "raises":
            raise RuntimeError("on purpose")
        case "garbage":
            return GARBAGE[trial.trial_id % len(GARBAGE)]
        case "exits":
            sys.exit(3)
        case "hangs":
            while True:
                time.sleep(0.02)
        case "floods":
            for _ in range(3_000):
                print("x" * 999)
        case "leaks":
            leak()
        case "dies" if trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return config["x"]


def leak() -> None:
    """Take memory until there is none."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _LEAK_BYTES, before[1]))
    hoard = []
    try:
        while True:
            hoard.append(bytearray(10_000_000))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


class Acknowledged:
    """Writes down which trials the search has announced.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def trial_ended(self, trial: Any) -> None:
        """Note a trial: it is in the history by now."""
        note(self._path, trial.trial_id, trial.status.value, trial.objective, time.monotonic())

    def tick(self, driver: Any) -> None:
        """Nothing to do."""


def main(path: str) -> None:
    """Run the search that a plan describes, as far as it has come."""
    plan: Plan = json.loads(Path(path).read_text())
    logging.basicConfig()
    with Path(plan["stacks"]).open("a") as stacks:
        faulthandler.enable(file=stacks)  # a crash of the driver says where
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
        result = search(
            objective,
            SearchSpace({"x": Float(0.0, 1.0)}),
            searcher="random",
            seed=plan["seed"],
            history=plan["history"],
            resume=True,
            site="laptop",
            site_set={"workers": plan["n_workers"], "executor": plan["executor"], "heartbeat_s": 1},
            max_trials=plan["n_trials"],
            timeout_s=plan["timeout_s"],
            abort_after=None,
            max_attempts=10,
            arguments={"plan": plan},
            observers=[Acknowledged(plan["acknowledged"])],
        )
        print(f"{len(result)} trials: {result.reason}", flush=True)


if __name__ == "__main__":
    code = 0
    try:
        main(sys.argv[1])
    except BaseException:
        traceback.print_exc()
        code = 1
    # As the command line leaves: a thread that hangs in a trial would keep this process for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
