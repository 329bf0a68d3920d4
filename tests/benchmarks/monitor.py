"""The training monitor on recorded runs: its trend judgement, its false alarms, and what its stops cost and save.

    python tests/benchmarks/monitor.py [--quick] [--parts trend,alarms,stops,own,regret]

Only the part ``own`` trains networks; the other curves are in ``shared/data``. All tables use the thresholds that
dhflow ships. The trend's model is fitted anew for the first table, without the task and the settings that it is
measured on; the other tables use the shipped one, which has seen TaskSet, and none of the runs of AlgoPerf and LCBench.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from monitor_alarms import alarm_table
from monitor_regret import regret_table
from monitor_stops import own_table, stop_table
from train_trend import left_out
from trend_data import (
    FALLING_BACK,
    FLAT,
    IMPROVING,
    PREFIXES,
    Curves,
    FloatArray,
    IntArray,
    Prefixes,
    balanced_accuracy,
    load_curves,
    measuring_set,
    training_set,
)

from dhflow.monitor.trend.features import line

SLOPE_READINGS = 10
LAST = 5


def majority(curves: FloatArray) -> IntArray:
    """Call everything flat."""
    return np.full(len(curves), FLAT)


def slope_test(curves: FloatArray) -> IntArray:
    """Call a slope of the last ten readings that is twice its standard error."""
    slope, _, error = line(curves[:, -SLOPE_READINGS:])
    is_clear = np.abs(slope) > 2 * error
    return np.where(~is_clear, FLAT, np.where(slope < 0, IMPROVING, FALLING_BACK))


def last_five(curves: FloatArray) -> IntArray:
    """Call a run converged if its last five readings changed by less than a percent."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = curves[:, -1] / curves[:, -LAST] - 1
    return np.where(np.abs(moved) < 0.01, FLAT, np.where(moved < 0, IMPROVING, FALLING_BACK))


BASELINES: dict[str, Callable[[FloatArray], IntArray]] = {
    "majority": majority,
    "slope of the last ten, 2 standard errors": slope_test,
    "last five changed less than 1 %": last_five,
}


def said_by(rule: Callable[[FloatArray], IntArray], curves: Curves, rows: Prefixes) -> IntArray:
    """Return what a rule says about each row's prefix."""
    said = np.zeros(len(rows.label), dtype=np.int64)
    for k in PREFIXES:
        at = np.flatnonzero(rows.k == k)
        said[at] = rule(curves.valid[rows.task[at], rows.setting[at], :k])
    return said


def trend_table(*, quick: bool) -> None:
    """Print the balanced accuracy of trend judgements on TaskSet."""
    curves = load_curves()
    rows = measuring_set(curves)
    shares = ", ".join(f"{(rows.label == each).mean():.0%}" for each in (IMPROVING, FLAT, FALLING_BACK))
    print(f"\nTrend on TaskSet: {len(rows.label)} prefixes of 10, 20, 30 of 51 readings that are finite so far")
    print(f"(improving, flat, worse: {shares}); balanced accuracy, aim 0.93")
    print(
        "".ljust(46) + "all   " + "".join(f"k={k}".rjust(7) for k in PREFIXES) + "   recognised: improving, flat, worse"
    )
    for name, rule in BASELINES.items():
        _print_accuracy(name, rows, said_by(rule, curves, rows))
    p = left_out(rows, training_set(curves), **({"n_folds": 2, "n_members": 1} if quick else {}))
    _print_accuracy("dhflow, tasks and settings left out", rows, p.argmax(axis=1))
    _print_calibration(rows, p)


def _print_accuracy(name: str, rows: Prefixes, said: IntArray) -> None:
    of = [balanced_accuracy(rows.label[rows.k == k], said[rows.k == k]) for k in PREFIXES]
    classes = [float((said[rows.label == each] == each).mean()) for each in (IMPROVING, FLAT, FALLING_BACK)]
    cells = "".join(f"{each:7.3f}" for each in of)
    seen = ", ".join(f"{each:.3f}" for each in classes)
    print(f"{name:44} {balanced_accuracy(rows.label, said):.3f}   {cells}   {seen}")


def _print_calibration(rows: Prefixes, p: FloatArray) -> None:
    """Print how often runs improve of which the model says so with some probability, at equal class weights."""
    n = np.bincount(rows.label, minlength=3)
    weight = 1.0 / n[rows.label]
    cells = []
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        at = (p[:, IMPROVING] >= low) & (p[:, IMPROVING] < high)
        share = float(weight[at & (rows.label == IMPROVING)].sum() / weight[at].sum())
        cells.append(f"{low:g} to {min(high, 1.0):g}: {share:.2f}")
    print("  improves where P(improving) is " + ", ".join(cells) + " (classes weighted equally)")


TABLES: dict[str, Callable[..., None]] = {
    "trend": trend_table,
    "alarms": alarm_table,
    "stops": stop_table,
    "own": own_table,
    "regret": regret_table,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer folds, runs and seeds")
    parser.add_argument("--parts", default=",".join(TABLES), help=f"some of {', '.join(TABLES)}")
    chosen = parser.parse_args(arguments)
    parts: Iterable[str] = chosen.parts.split(",")
    for each in parts:
        if each not in TABLES:
            parser.error(f"there is no part {each!r}; there are: {', '.join(TABLES)}")
        TABLES[each](quick=chosen.quick)


if __name__ == "__main__":
    main()
