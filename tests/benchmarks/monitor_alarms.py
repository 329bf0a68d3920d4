"""False alarms: what the monitor and common rules say about training runs that professionals tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from monitor_runs import FloatArray, Run, algoperf_runs

from dhflow.monitor import Context, Light, judge

BETTER = 0.98
"""A later loss below this share of the lowest so far is an improvement that a stop would have cost."""
N_LOOKS = 20
"""Times at which the light of each run is looked at."""
LEAST = 4


def patience(valid: FloatArray) -> bool:
    """Stop after five readings without a new lowest one."""
    return any(i - int(valid[: i + 1].argmin()) >= 5 for i in range(len(valid)))


def last_five(valid: FloatArray) -> bool:
    """Stop when five readings changed by less than a percent."""
    moved = np.abs(valid[4:] / valid[:-4] - 1)
    return bool((moved < 0.01).any())


def rising(valid: FloatArray) -> bool:
    """Stop when the validation loss rose three times running."""
    up = np.diff(valid) > 0
    return bool((up[2:] & up[1:-1] & up[:-2]).any()) if len(up) > 2 else False


COMMON: dict[str, Callable[[FloatArray], bool]] = {
    "patience of five readings": patience,
    "last five changed less than 1 %": last_five,
    "validation loss rose three times running": rising,
}


def alarm_table(*, quick: bool) -> None:
    """Print the share of healthy runs on which an alarm is raised."""
    runs = algoperf_runs()
    if quick:
        runs = runs[::10]
    later = np.array([_improves_later(each) for each in runs])
    print(f"\nFalse alarms on {len(runs)} tuned runs of AlgoPerf; {later.mean():.0%} improve by 2 % after half time")
    print("".ljust(46) + "ever fires   by half time   and the run improves later by 2 %")
    for name, rule in COMMON.items():
        fired = np.array([rule(each.curves["val_loss"][: each.n // 2]) for each in runs])
        ever = np.mean([rule(each.curves["val_loss"]) for each in runs])
        print(f"{name:46}{ever:10.1%}{fired.mean():15.1%}   {(fired & later).mean():.1%}")
    stops, rules = _stops_at_half(runs)
    said = f"{(stops & later).mean():.1%} (aim: at most 5 %)  {_shown(rules)}"
    print(f"{'dhflow advises to stop at half time':46}{'':10}{stops.mean():15.1%}   {said}")
    red, warned, fired_rules = _lights(runs)
    print(f"{'dhflow red at any of 20 looks':46}{red:18.1%}   (aim: at most 1 %)")
    print(f"{'dhflow amber at any of 20 looks':46}{warned:18.1%}   {_shown(fired_rules)}")


def _improves_later(run: Run) -> bool:
    half = run.n // 2
    return bool(run.losses[half:].min() < BETTER * run.losses[:half].min())


def _stops_at_half(runs: list[Run]) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Counter[str]]:
    rules: Counter[str] = Counter()
    stops = np.zeros(len(runs), dtype=np.bool_)
    for i, run in enumerate(runs):
        found = judge(run.records(run.n // 2), Context(full_budget=float(run.n)))
        stops[i] = found.advises_stop
        rules.update({each.rule for each in found.findings if each.advises_stop})
    return stops, rules


def _lights(runs: list[Run]) -> tuple[float, float, Counter[str]]:
    """Return the shares of runs that are ever red and ever amber or red, and which rules said so in how many."""
    red = amber = 0
    rules: Counter[str] = Counter()
    for run in runs:
        lights, names = set(), set()
        for k in np.unique(np.linspace(LEAST, run.n, N_LOOKS).astype(int)):
            found = judge(run.records(int(k)), Context(full_budget=float(run.n)))
            lights.add(found.light)
            names |= {each.rule for each in found.findings if each.severity.value != "note"}
        red += Light.RED in lights
        amber += lights != {Light.GREEN}
        rules.update(names)
    return red / len(runs), amber / len(runs), rules


def _shown(rules: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in rules.most_common()) or "no rule"
