"""When trials ran, noted by the objective itself, so that every runner is measured by the same clock.

Needs the standard library alone: it also runs in the peers' environments.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Span = tuple[float, float]
Value = Callable[[Mapping[str, Any]], float]


def noting(value: Value, spans: list[Span], nap_s: float) -> Value:
    """Return an objective that sleeps, computes `value`, and appends to `spans` when it began and ended."""

    def objective(config: Mapping[str, Any]) -> float:
        began = time.perf_counter()
        if nap_s:
            time.sleep(nap_s)
        found = value(config)
        spans.append((began, time.perf_counter()))
        return found

    return objective


def figures(spans: list[Span], workers: int) -> dict[str, float]:
    """Return trials per second between the first start and the last, and the share of that time that workers ran.

    Trials count from the first start to the last start, which on threads is the moment of the last submission; what
    runs after it runs because nothing more was to be submitted.
    """
    first, last = min(began for began, _ in spans), max(began for began, _ in spans)
    if last <= first:
        return {}
    busy = sum(min(ended, last) - began for began, ended in spans)
    return {
        "steady_per_s": (len(spans) - 1) / (last - first),
        "utilisation": busy / (workers * (last - first)),
    }
