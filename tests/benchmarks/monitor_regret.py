"""Stops in a search: the best value found within a budget, beside the median rule, ASHA and no stopping.

Random settings of a table are trained one after another; a rule looks every few steps and may stop the run. The budget
is the same for all: so many full trainings. A setting is not tried twice in a search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from monitor_runs import FloatArray, Run, lcbench_runs, taskset_runs

from dhflow.monitor import Context, Sibling, judge

TRAININGS = 20
N_SEEDS = 10
LOOK_EVERY = 4
ETA = 3
LEAST_SIBLINGS = 5
"""For the median rule too: Vizier's needs some finished trials."""


@dataclass
class Search:
    """What was trained so far: minimised curves, as far as they were trained."""

    full: int
    seen: list[Run] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def bests_at(self, k: int) -> FloatArray:
        """Return the lowest losses at reading `k` of the runs that came so far."""
        return np.array([run.best[k - 1] for run, n in zip(self.seen, self.lengths, strict=True) if n >= k])

    def siblings(self) -> tuple[Sibling, ...]:
        """Return the runs so far as the monitor gets them."""
        return tuple(
            Sibling(i, np.arange(1.0, n + 1), run.curves[run.metric][:n], is_finished=n == self.full)
            for i, (run, n) in enumerate(zip(self.seen, self.lengths, strict=True))
        )


Stopper = Callable[[Run, int, Search], bool]


def never(run: Run, k: int, search: Search) -> bool:
    """Train every run to its end, but for those that are not finite any more."""
    return False


def median_rule(run: Run, k: int, search: Search) -> bool:
    """Stop a run whose best is worse than the median of the others' at the same step (Golovin et al. 2017)."""
    there = search.bests_at(k)
    return len(there) >= LEAST_SIBLINGS and float(run.best[k - 1]) > float(np.median(there))


def asha(run: Run, k: int, search: Search) -> bool:
    """Stop at a rung unless the run is in the best third of those seen there (Li et al. 2020, stopping variant)."""
    rungs, rung = [], search.full
    while rung > 1:
        rung = -(-rung // ETA)
        rungs.append(rung)
    if k not in rungs:
        return False
    there = np.append(search.bests_at(k), run.best[k - 1])
    return int((there < run.best[k - 1]).sum()) >= max(len(there) // ETA, 1)


def monitor(run: Run, k: int, search: Search) -> bool:
    """Stop where dhflow's monitor advises it."""
    if k % LOOK_EVERY:
        return False
    context = Context(metric=run.metric, full_budget=float(search.full), siblings=search.siblings())
    return judge(run.records(k), context).advises_stop


STOPPERS: dict[str, Stopper] = {"no stopping": never, "median rule": median_rule, "ASHA": asha, "dhflow": monitor}


@dataclass(frozen=True)
class Outcome:
    """Of one search: the best loss, and of its stops the share, what they cost and what they saved."""

    best: float
    n_trials: int
    stopped: float
    lost: float
    saved: float


def searched(runs: list[Run], stopper: Stopper, seed: int, trainings: int) -> Outcome:
    """Run one search."""
    full = runs[0].n
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x5E])).permutation(len(runs))
    search, spent, best = Search(full), 0, np.inf
    n_stopped = n_lost = saved = 0
    for i in order:
        run = runs[i]
        length = _trained(run, stopper, search, min(full, trainings * full - spent))
        spent += length
        search.seen.append(run)
        search.lengths.append(length)
        # A search ends with its best so far; a stop counts as lost if the run would have become the new best by 2 %.
        if length < full and spent < trainings * full:
            n_stopped += 1
            saved += full - length
            n_lost += bool(_error(run)[-1] < 0.98 * min(best, float(_error(run)[length - 1])))
        best = min(best, float(_error(run)[length - 1]))
        if spent >= trainings * full:
            break
    n = len(search.seen)
    return Outcome(best, n, n_stopped / n, n_lost / max(n_stopped, 1), saved / (n * full))


def _trained(run: Run, stopper: Stopper, search: Search, most: int) -> int:
    for k in range(1, most):
        # Every rule stops a run that is not finite any more.
        if not np.isfinite(run.losses[k - 1]) or stopper(run, k, search):
            return k
    return most


def _error(run: Run) -> FloatArray:
    """Return the best so far as something positive: a loss, or the error beside an accuracy."""
    return run.best + (1.0 if run.maximised else 0.0)


def regret_table(*, quick: bool) -> None:
    """Print the best value found within the budget by each rule."""
    seeds, trainings = (2, 10) if quick else (N_SEEDS, TRAININGS)
    for name, tasks in (("TaskSet, validation loss", taskset_runs()), ("LCBench, validation error", lcbench_runs())):
        print(f"\nStops in a search: {name}, {len(tasks)} tasks, {seeds} seeds, budget of {trainings} full trainings")
        head = "best found, mean   ratio to no stopping   trials   stopped   new bests lost per stop   epochs saved"
        print("".ljust(16) + head)
        base: FloatArray | None = None
        for rule, stopper in STOPPERS.items():
            found = [searched(runs, stopper, seed, trainings) for runs in tasks.values() for seed in range(seeds)]
            best = np.array([each.best for each in found])
            base = best if base is None else base
            ratio = float(np.exp(np.mean(np.log(best / base))))
            n = np.mean([each.n_trials for each in found])
            shares = [float(np.mean([getattr(each, key) for each in found])) for key in ("stopped", "lost", "saved")]
            print(
                f"{rule:16}{best.mean():16.4f}{ratio:23.3f}{n:9.0f}{shares[0]:10.0%}{shares[1]:26.2%}{shares[2]:15.0%}"
            )
