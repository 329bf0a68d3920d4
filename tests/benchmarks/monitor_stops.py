"""What a run had when a stop was advised, beside what it had in the end: the slides' table, of others and our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monitor_runs import Run, algoperf_runs, lcbench_runs, taskset_runs

from dhflow.monitor import Context, judge
from dhflow.train import load_file_module

APP = Path(__file__).parents[2] / "apps" / "watch_and_tune" / "three_runs.py"
LONGER = 4
"""Times the app's epochs, to which our own runs go on."""

SLIDES = ((0.2211, 0.3409, 370), (0.3132, 0.4848, 350), (0.7841, 0.7847, 1510))
"""Metric at the advised stop, in the end, and the step of 2,000."""
N_LOOKS = 20
FINE = 0.02


def first_stop(run: Run, context: Context) -> tuple[int | None, str]:
    """Return after how many readings a stop is first advised, and by which rule."""
    for k in np.unique(np.linspace(4, run.n - 1, N_LOOKS).astype(int)):
        found = judge(run.records(int(k)), context)
        rule = next((each.rule for each in found.findings if each.advises_stop), None)
        if rule is not None:
            return int(k), rule
    return None, ""


def stop_table(*, quick: bool) -> None:
    """Print what stops cost when the monitor knows nothing but the run itself."""
    rng = np.random.default_rng(0)
    n = 60 if quick else 400
    sources = {
        "TaskSet, validation loss": [run for runs in taskset_runs().values() for run in runs],
        "LCBench, validation error": [run for runs in lcbench_runs().values() for run in runs],
        "AlgoPerf, validation loss": algoperf_runs(),
    }
    print("\nMetric at the first advised stop beside the run's best in the end (no siblings, no target)")
    print("".ljust(30) + "runs  stopped  median step  cost: median   mean  over 2 %  epochs saved   by")
    for now, end, step in SLIDES:
        cost = (end - now) / end
        print(f"{'the slides':30}{1:4}{'100 %':>9}{step / 2000:13.0%}{cost:14.1%}{'':18}{1 - step / 2000:13.0%}")
    for name, runs in sources.items():
        picked = [runs[i] for i in rng.choice(len(runs), n, replace=False)]
        _print_source(name, picked)


def _print_source(name: str, runs: list[Run]) -> None:
    steps, costs, saved, rules = [], [], 0, Counter[str]()
    for run in runs:
        at, rule = first_stop(run, Context(metric=run.metric, full_budget=float(run.n)))
        if at is None:
            continue
        rules[rule] += 1
        saved += run.n - at
        steps.append(at / run.n)
        costs.append(_cost(run, at))
    total = sum(run.n for run in runs)
    if not costs:
        print(f"{name:30}{len(runs):4}{'0 %':>9}")
        return
    c = np.array(costs)
    by = ", ".join(f"{rule} {n}" for rule, n in rules.most_common())
    stopped = f"{len(c) / len(runs):.0%}"
    print(
        f"{name:30}{len(runs):4}{stopped:>9}{np.median(steps):13.0%}{np.median(c):14.1%}{c.mean():7.1%}"
        f"{(c > FINE).mean():10.1%}{saved / total:13.0%}   {by}"
    )


def _cost(run: Run, at: int) -> float:
    """Return by how much the end is better than the stop, relative to the stop; of an accuracy, of its error."""
    best = run.best + (1.0 if run.maximised else 0.0)
    now, end = float(best[at - 1]), float(best[-1])
    return (now - end) / now if np.isfinite(now) and now > 0 else 0.0


# Our own runs -------------------------------------------------------------------------------------------


def own_table(*, quick: bool) -> None:
    """Train the runs of ``apps/watch_and_tune`` as they are stopped, and with nothing to stop them; print both."""
    app = load_file_module(APP)
    longer = app.EPOCHS * (1 if quick else LONGER)
    print(
        "\nOur own runs: accuracy at the advised stop, and of the same training gone on: at its full budget, at its end"
    )
    print(f"{'':14}stop at  budget, end   training: stop, budget, end    cost   validation: stop, budget, end    cost")
    for now, end, step in SLIDES:
        cost = _lost(now, end)
        print(f"{'the slides':14}{step:7}{2000:8}{'':7}{now:12.4f}, {'':8}{end:.4f}{cost:>16}")
    for number, run in enumerate(app.three_runs(), 1):
        _print_own(f"run {number}", run, gone_on(app, run.config, longer), app.EPOCHS)


def gone_on(app: Any, config: Mapping[str, Any], epochs: int) -> Mapping[str, list[float]]:
    """Return the curves of a run of the app that nothing watches or stops."""
    import keras

    curves: Mapping[str, list[float]] = app.train(config, keras.callbacks.Callback(), epochs=epochs)
    return curves


def _print_own(name: str, run: Any, whole: Mapping[str, list[float]], budget: int) -> None:
    at, end = len(run.curves["loss"]), len(whole["loss"])
    cells = ""
    for metric in ("accuracy", "val_accuracy"):
        values = run.curves[metric][-1], whole[metric][budget - 1], whole[metric][-1]
        cells += "".join(f"{each:10.4f}" for each in values) + f"{_lost(*values):>16}"
    why = ", ".join(each.rule for each in run.judgement.findings) or "nothing found"
    # The same numbers are drawn in the same order: a stopped run is the beginning of the other.
    same = np.allclose(run.curves["val_accuracy"], whole["val_accuracy"][:at], atol=0.01)
    stop = at if at < budget else "none"
    print(
        f"{name:14}{stop:>7}{budget:8}, {end:4}{cells}   {why}; {run.accepted or 'no advice'}"
        f"{'' if same else ' (its beginning differs)'}",
        flush=True,
    )


def _lost(now: float, *later: float) -> str:
    """Return by how much each of the later ones is better, relative to it, as the slides have it."""
    return ", ".join(f"{max(each - now, 0.0) / each:.1%}" if each > 0 else "-" for each in later)
