"""Tables of the quality suite: regret over random search's, ranks, who is last, a paired ratio, what an ask costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from problems import make_problem

from dhflow.comparison.statistics import Interval, bootstrap_log_ratio
from dhflow.surrogate.target import mean_ranks

BASE = "random"
Record = Mapping[str, Any]
Logs = dict[tuple[str, str], dict[int, float]]
"""For each searcher and problem the logarithm of the regret by seed."""


def regret_after(record: Record, n: int) -> float | None:
    """Return a run's regret after `n` finished trials, floored, or None if it did not come so far.

    A run that ended because its space was exhausted keeps its last regret.
    """
    problem = make_problem(record["problem"])
    is_exhausted = "error" not in record and record["n"] < record["trials"]
    if record["n"] < n and not is_exhausted:
        return None
    reached = [regret for number, regret in record["steps"] if number <= n]
    return max(reached[-1], problem.floor) if reached else None


def log_regrets(records: Iterable[Record], n: int) -> Logs:
    """Return the logarithms of the regrets after `n` trials."""
    found: Logs = defaultdict(dict)
    for each in records:
        regret = regret_after(each, n)
        if regret is not None:
            found[each["searcher"], each["problem"]][each["seed"]] = math.log(regret)
    return dict(found)


def ratio_to_random(logs: Logs, searcher: str, problem: str) -> tuple[float, float, int] | None:
    """Return regret over random search's: the logarithm of the ratio of geometric means, its error, and the seeds."""
    own, base = logs.get((searcher, problem)), logs.get((BASE, problem))
    if not own or not base:
        return None
    a, b = np.array([*own.values()]), np.array([*base.values()])
    spread = math.sqrt(sum(each.var(ddof=1) / each.size for each in (a, b) if each.size > 1))
    return float(a.mean() - b.mean()), spread, a.size


def complete(logs: Logs, searchers: Sequence[str], problems: Sequence[str]) -> list[str]:
    """Return the searchers that have a result on every problem: ranks and means of others would not compare."""
    return [each for each in searchers if all((each, problem) in logs for problem in problems)]


def ranks(logs: Logs, searchers: Sequence[str], problems: Sequence[str]) -> dict[str, list[float]]:
    """Return for each searcher its rank on each problem by mean log regret, 1 the best, ties shared."""
    table = np.array([[np.mean([*logs[each, problem].values()]) for each in searchers] for problem in problems])
    ranked = np.array([mean_ranks(np.round(row, 9)) for row in table]).reshape(table.shape)
    return {each: [float(r) for r in ranked[:, i]] for i, each in enumerate(searchers)}


def paired_ratio(logs: Logs, pair: tuple[str, str], problems: Sequence[str]) -> Interval | None:
    """Return the geometric mean of the first's regret over the second's by shared seeds, with a 95 % interval."""
    differences = []
    for problem in problems:
        a, b = (logs.get((each, problem), {}) for each in pair)
        shared = sorted(set(a) & set(b))
        if shared:
            differences.append(np.array([a[seed] - b[seed] for seed in shared]))
    return bootstrap_log_ratio(differences) if differences else None


def cpu_ms(records: Iterable[Record], searcher: str) -> float | None:
    """Return the CPU milliseconds of an ask and tell, the mean over all runs."""
    own = [each for each in records if each["searcher"] == searcher and each["n"] and "cpu_s" in each]
    trials = sum(each["n"] for each in own)
    return 1e3 * sum(each["cpu_s"] for each in own) / trials if trials else None


def report(
    records: Sequence[Record], searchers: Sequence[str], *, at: Sequence[int], pair: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Print the tables; return their figures as JSON."""
    figures: dict[str, Any] = {"settings": {}}
    problems = list(dict.fromkeys(each["problem"] for each in records))
    for workers in sorted({each["workers"] for each in records}):
        own = [each for each in records if each["workers"] == workers]
        for n in at:
            logs = log_regrets(own, n)
            if logs:
                name = f"{n} trials, {'sequential' if workers == 1 else f'{workers} asynchronous workers'}"
                print(f"\n{name}: regret over random search's (standard error in per cent; seeds)\n")
                shown = [each for each in searchers if any(key[0] == each for key in logs)]
                figures["settings"][name] = _setting(logs, shown, problems, own)
                figures["settings"][name] |= _pairs(logs, pair, problems)
    failed = [each for each in records if "error" in each]
    if failed:
        print(f"\n{len(failed)} runs ended with an error, the first: {failed[0]['searcher']}: {failed[0]['error']}")
    return figures


def _setting(
    logs: Logs, searchers: Sequence[str], problems: Sequence[str], records: Sequence[Record]
) -> dict[str, Any]:
    full = complete(logs, searchers, problems)
    ranked = ranks(logs, full, problems) if full else {}
    rows = []
    for problem in problems:
        cells = [ratio_to_random(logs, each, problem) for each in searchers]
        rows.append([problem, *(_cell(each) for each in cells)])
    means = {each: _mean_ratio(logs, each, problems) for each in searchers}
    costs = {each: cpu_ms(records, each) for each in searchers}
    last = {each: _last_on(ranked, each, problems) for each in full}
    rows += [
        ["geometric mean", *("-" if means[each] is None else f"{means[each]:.3f}" for each in searchers)],
        ["mean rank", *(f"{np.mean(ranked[each]):.2f}" if each in ranked else "-" for each in searchers)],
        ["last on", *(f"{len(last[each])} of {len(problems)}" if each in last else "-" for each in searchers)],
        ["CPU ms/ask", *("-" if costs[each] is None else f"{costs[each]:.1f}" for each in searchers)],
    ]
    _print_table(["", *searchers], rows)
    never = [each for each in full if not last[each]]
    if len(full) > 1:
        print(f"never last: {', '.join(never) or 'nobody'}")
    missing = [each for each in searchers if each not in full]
    if missing:
        print(f"without a result on some problem, so neither ranked nor averaged over all: {', '.join(missing)}")
    return {
        "ratio": {
            each: {problem: _number(ratio_to_random(logs, each, problem)) for problem in problems} for each in searchers
        },
        "geometric_mean": means,
        "mean_rank": {each: float(np.mean(own)) for each, own in ranked.items()},
        "last_on": last,
        "cpu_ms": costs,
    }


def _pairs(logs: Logs, pair: tuple[str, str] | None, problems: Sequence[str]) -> dict[str, Any]:
    if pair is None:
        return {}
    first, second = pair
    found = paired_ratio(logs, pair, problems)
    if found is None:
        print(f"{first} / {second}: no shared runs")
        return {}
    print(f"{first} / {second}, paired by seeds: {found.value:.3f} (95 %: {found.low:.3f} to {found.high:.3f})")
    return {"pair": {"searchers": [first, second], **found._asdict()}}


def _mean_ratio(logs: Logs, searcher: str, problems: Sequence[str]) -> float | None:
    found = [ratio_to_random(logs, searcher, each) for each in problems]
    if any(each is None for each in found):
        return None
    return math.exp(float(np.mean([each[0] for each in found if each is not None])))


def _last_on(ranked: Mapping[str, Sequence[float]], searcher: str, problems: Sequence[str]) -> list[str]:
    """Return the problems on which nobody was worse and somebody was better."""
    found = []
    for i, problem in enumerate(problems):
        column = [each[i] for each in ranked.values()]
        if ranked[searcher][i] == max(column) > min(column):
            found.append(problem)
    return found


def _cell(found: tuple[float, float, int] | None) -> str:
    if found is None:
        return "-"
    log, spread, seeds = found
    return f"{math.exp(log):.3f} ±{100 * math.expm1(spread):.0f}% ({seeds})"


def _number(found: tuple[float, float, int] | None) -> dict[str, float] | None:
    return None if found is None else {"ratio": math.exp(found[0]), "log_error": found[1], "seeds": found[2]}


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())
