"""How many workers one searcher keeps busy: the real loop and searcher against simulated workers on a virtual clock.

    python tests/benchmarks/scale.py [--searchers ambs,random] [--workers 256,512,1024] [--mean-s 600] [--spread 0.5]

What the completion loop, the encoding of the journal and the searcher cost in CPU is measured and charged to the
virtual clock, where a driver's thread and a searcher's thread work side by side as they do in a real session; each
submission and each completion is charged with what a Parsl task costs its driver. So a searcher that
is too slow leaves workers idle here as it would there. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dhflow.flow.asker import CHEAP_ASK_S
from dhflow.flow.limits import Limits
from dhflow.flow.loop import CompletionLoop
from dhflow.flow.loop_settings import LoopSettings
from dhflow.flow.message import Finished, Instructions, LoopEvent, Slots, Suggested
from dhflow.history.event import StudyRecord
from dhflow.history.journal import encode_events
from dhflow.objective import parse_direction
from dhflow.searcher import make_searcher
from dhflow.searcher.base import Searcher
from dhflow.trial import Trial, TrialResult, TrialStatus

TASK_S = 0.0003
"""What a bare Parsl task costs its driver, measured by loop_overhead.py; charged once per trial."""
LATENCY_S = 0.01
"""From a submission to the start on a worker."""
SMOOTHING = 0.3


@dataclass
class Outcome:
    """What one simulated session came to.

    Parameters
    ----------
    utilisation : float
        Busy worker time over workers times the time from the first start to the last submission.
    per_hour : float
        Evaluations that ended per hour of virtual time, over the same stretch.
    ends : list of (float, float)
        Virtual time and loss of each trial, in the order of the ends.
    ask_ms, n_asks, largest_ask
        CPU per suggested trial, how many asks there were, and the most trials of one.
    """

    utilisation: float
    per_hour: float
    ends: list[tuple[float, float]]
    ask_ms: float
    n_asks: int
    largest_ask: int


@dataclass
class Machine:
    """A virtual allocation and the two threads of the driver's process.

    Parameters
    ----------
    searcher : Searcher
    objective : callable
    durations : callable
        Draws how long a trial takes, in seconds.
    n_workers, n_trials : int
    is_charged : bool
        Whether asking, telling and bookkeeping take virtual time.
    """

    searcher: Searcher
    objective: Callable[[dict[str, Any]], float]
    durations: Callable[[], float]
    n_workers: int
    n_trials: int
    is_charged: bool = True
    busy_s: float = 0.0
    driver_free: float = 0.0
    searcher_free: float = 0.0
    mean_ask_s: float = 0.0
    ask_cpu_s: float = 0.0
    asked: list[int] = field(default_factory=list)
    untold: list[Trial] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)
    inbox: list[tuple[float, int, LoopEvent]] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = Limits(max_trials=self.n_trials)
        self.loop = CompletionLoop(StudyRecord(), parse_direction("minimize"), limits, LoopSettings(abort_after=None))
        self.numbers = itertools.count()
        self.n_told = 0

    def run(self) -> Outcome:
        """Run the session to its end."""
        self.post(0.0, Slots(self.n_workers))
        while self.inbox:
            now = max(self.driver_free, self.inbox[0][0])
            events = []
            while self.inbox and self.inbox[0][0] <= now:
                events.append(heapq.heappop(self.inbox)[2])
            todo, now = self.step(events, now)
            while todo.ask and self.mean_ask_s < CHEAP_ASK_S:
                answer, cost = self.ask(todo.ask)
                todo, now = self.step([answer], now + cost)
            if todo.ask:
                begins = max(self.searcher_free, now)
                answer, cost = self.ask(todo.ask)
                self.searcher_free = begins + cost
                self.post(self.searcher_free, answer)
            self.driver_free = now
        return self.outcome()

    def step(self, events: list[LoopEvent], now: float) -> tuple[Instructions, float]:
        """Let the loop handle events that are there at `now`; return what to ask, and when that was done."""
        began = time.process_time()
        todo = self.loop.handle(events, now=now, wall=now)
        encode_events(todo.records)
        cost = time.process_time() - began + TASK_S * len(todo.submit)
        self.untold += todo.tell
        now += cost if self.is_charged else 0.0
        for trial in todo.submit:
            self.start(trial, now + LATENCY_S)
        return todo, now

    def start(self, trial: Trial, at: float) -> None:
        """Put a trial on a worker."""
        ends = at + self.durations()
        loss = self.objective(dict(trial.config))
        self.spans.append((at, ends))
        self.ends.append((ends, loss))
        values = {"objective": loss}
        result = TrialResult(trial.trial_id, len(trial.attempts), TrialStatus.COMPLETED, at, ends, values=values)
        self.post(ends, Finished(result))

    def ask(self, n: int) -> tuple[Suggested, float]:
        """Tell what is untold and ask; return the answer and the virtual seconds that it took."""
        told, self.untold = self.untold, []
        pending = self.loop.pending
        began = time.process_time()
        self.searcher.tell(told)
        number = self.searcher.n_asks
        suggestions = self.searcher.ask(n, pending)
        took_s = time.process_time() - began
        self.n_told += len(told)
        self.ask_cpu_s += took_s
        self.asked.append(len(suggestions))
        charged = took_s if self.is_charged else 0.0
        self.mean_ask_s += SMOOTHING * (charged - self.mean_ask_s)
        return Suggested(suggestions, number, self.n_told, charged), charged

    def post(self, at: float, event: LoopEvent) -> None:
        """Put an event into the driver's inbox."""
        heapq.heappush(self.inbox, (at, next(self.numbers), event))

    def outcome(self) -> Outcome:
        """Return the session's figures, by the package's definition of utilisation."""
        first, last = self.spans[0][0], self.spans[-1][0]
        busy = sum(max(0.0, min(end, last) - start) for start, end in self.spans)
        n_ended = sum(end <= last for _, end in self.spans)
        return Outcome(
            utilisation=busy / (self.n_workers * (last - first)),
            per_hour=n_ended / (last - first) * 3600,
            ends=sorted(self.ends),
            ask_ms=1e3 * self.ask_cpu_s / max(1, sum(self.asked)),
            n_asks=len(self.asked),
            largest_ask=max(self.asked),
        )


def simulate(
    name: str,
    problem: tuple[Any, Callable[[dict[str, Any]], float]],
    *,
    n_workers: int,
    n_trials: int,
    mean_s: float,
    spread: float,
    seed: int = 0,
    is_charged: bool = True,
    options: dict[str, Any] | None = None,
) -> Outcome:
    """Run one session; durations are lognormal with this mean and this spread of the logarithm."""
    space, objective = problem
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xD0]))
    centre = math.log(mean_s) - spread**2 / 2
    searcher = make_searcher(name, space, seed=seed, **(options or {}))
    machine = Machine(
        searcher,
        objective,
        lambda: float(rng.lognormal(centre, spread)),
        n_workers,
        n_trials,
        is_charged=is_charged,
    )
    return machine.run()


def best_at(outcome: Outcome, *, trials: int | None = None, seconds: float | None = None) -> float:
    """Return the best loss after so many trials, or so much virtual time."""
    ends = outcome.ends if seconds is None else [each for each in outcome.ends if each[0] <= seconds]
    return min((loss for _, loss in ends[:trials]), default=math.nan)


def main() -> None:
    """Measure and print one line per searcher and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searchers", default="ambs,random")
    parser.add_argument("--workers", default="256,512,1024")
    parser.add_argument("--trials-per-worker", type=int, default=4)
    parser.add_argument("--mean-s", type=float, default=600.0)
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--options", type=json.loads, default={}, help="of ambs")
    parser.add_argument("--free", action="store_true", help="also run with asks that cost nothing, and compare quality")
    chosen = parser.parse_args()
    print("searcher  workers  utilisation  evaluations/h  per worker/h  CPU ms/suggestion  asks  largest  best")
    for name in chosen.searchers.split(","):
        for n_workers in map(int, chosen.workers.split(",")):
            charged = _run_seeds(chosen, name, n_workers)
            _print_line(name, n_workers, charged)
            if chosen.free:
                free = _run_seeds(chosen, name, n_workers, is_charged=False)
                _print_line(f"{name} free", n_workers, free)
                _print_ratio(charged, free)


def _run_seeds(chosen: argparse.Namespace, name: str, n_workers: int, *, is_charged: bool = True) -> list[Outcome]:
    from ask_cost import mixed_loss, mixed_space

    return [
        simulate(
            name,
            (mixed_space(), mixed_loss),
            n_workers=n_workers,
            n_trials=n_workers * chosen.trials_per_worker,
            mean_s=chosen.mean_s,
            spread=chosen.spread,
            seed=seed,
            is_charged=is_charged,
            options=chosen.options if name == "ambs" else {},
        )
        for seed in range(chosen.seeds)
    ]


def _print_line(label: str, n_workers: int, found: list[Outcome]) -> None:
    per_hour = float(np.mean([each.per_hour for each in found]))
    print(
        f"{label:12s} {n_workers:6d} {np.mean([each.utilisation for each in found]):10.4f} "
        f"{per_hour:14.0f} {per_hour / n_workers:12.3f} {np.mean([each.ask_ms for each in found]):16.2f} "
        f"{np.mean([each.n_asks for each in found]):8.0f} {max(each.largest_ask for each in found):8d} "
        f"{np.mean([best_at(each) for each in found]):10.4f}",
        flush=True,
    )


def _print_ratio(charged: list[Outcome], free: list[Outcome]) -> None:
    """Print the quality at a quarter, a half and all of the evaluations over that of asks that cost nothing."""
    n_trials = len(charged[0].ends)
    for n in (n_trials // 4, n_trials // 2, n_trials):
        pairs = [(best_at(each, trials=n), best_at(other, trials=n)) for each, other in zip(charged, free, strict=True)]
        means = np.mean(pairs, axis=0)
        ratios = np.log(np.maximum(pairs, 1e-12)) @ (1.0, -1.0)
        error = ratios.std(ddof=1) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
        print(
            f"    best of {n}: {means[0]:.4f}, {means[1]:.4f} where asks cost nothing; ratio of the means "
            f"{means[0] / means[1]:.3f}, geometric mean of the ratios {math.exp(ratios.mean()):.3f} "
            f"(standard error {100 * error:.1f} %)",
            flush=True,
        )


if __name__ == "__main__":
    main()
