"""The machine: a training that waits for its data, that stands still, or that will not be done in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import FloatArray, Records
from dhflow.monitor.rules.base import Rule, found, share, shown


@dataclass(frozen=True)
class LoadingLimits:
    """Thresholds of :func:`loading_bound`."""

    wait_share: float = 0.3
    """Of a step's time. The TensorFlow profiler calls an input pipeline "moderately input-bound" from 5 % and
    "highly" from 20 %; above 30 % a third of the budget is spent on waiting."""
    n_records: int = 3
    """At least; the median of the last five counts."""


@dataclass(frozen=True)
class StallLimits:
    """Thresholds of :func:`stalled`."""

    factor: float = 5.0
    """Times the usual time between two records."""
    red_factor: float = 20.0
    """The same, for critical."""
    least_s: float = 60.0
    """Never sooner: file systems of clusters stand still for so long."""


@dataclass(frozen=True)
class TimeLimits:
    """Thresholds of :func:`out_of_time`."""

    margin: float = 1.1
    """Times the time left: epochs vary by some percent."""
    n_epochs: int = 2
    """Before, the first epoch's tracing counts too much."""


def loading_bound(records: Records, context: Context, limits: LoadingLimits) -> Finding | None:
    """Find steps that mostly wait for their input."""
    del context
    shares = [
        each.input_wait_s / each.step_time_s
        for each in records.machine
        if math.isfinite(each.input_wait_s) and each.step_time_s > 0
    ]
    if len(shares) < limits.n_records:
        return None
    usual = float(np.median(shares[-5:]))
    if usual < limits.wait_share:
        return None
    why = f"{share(usual)} of a step is spent waiting for its input"
    what = "load in parallel and ahead (tf.data: map(num_parallel_calls=AUTOTUNE), prefetch, cache)"
    advised = advice.words("prefetch", what, why, f"up to {1 / max(1 - usual, 0.01):.1f} times the speed")
    return found(Severity.WARNING, f"bound by data loading: {why}", {"wait_share": usual}, [advised])


def stalled(records: Records, context: Context, limits: StallLimits) -> Finding | None:
    """Find a run of which nothing was heard for much longer than usual."""
    if context.now is None or records.last_time <= 0:
        return None
    gaps = _gaps(records)
    if not len(gaps):
        return None
    usual, silent = float(np.median(gaps)), context.now - records.last_time
    if silent < max(limits.least_s, limits.factor * usual):
        return None
    is_red = silent > max(limits.least_s, limits.red_factor * usual)
    why = f"no record for {silent:.0f} s, where {shown(usual)} s are usual"
    look = advice.words("look", "look at the worker's output and at its node", why, "a run that goes on")
    suggestions = [look, advice.stop("the run stands still")] if is_red else [look]
    severity = Severity.CRITICAL if is_red else Severity.WARNING
    return found(severity, f"stalled: {why}", {"silent_s": silent, "usual_s": usual}, suggestions)


def out_of_time(records: Records, context: Context, limits: TimeLimits) -> Finding | None:
    """Find a run that will not reach its full budget in the wall time that is left."""
    if context.time_left_s is None or context.full_budget is None:
        return None
    epoch_s = _epoch_s(records, limits)
    if epoch_s is None:
        return None
    left = max(context.full_budget - records.last_step, 0.0)
    if left * epoch_s <= limits.margin * max(context.time_left_s, 0.0):
        return None
    reach = records.last_step + int(max(context.time_left_s, 0.0) / epoch_s)
    why = f"{left:g} epochs of {shown(epoch_s)} s are left, and {context.time_left_s:.0f} s"
    evidence = {"epoch_s": epoch_s, "time_left_s": context.time_left_s, "reaches": reach}
    advised = advice.words(
        "checkpoint", f"keep a checkpoint: about epoch {reach} will be reached", why, "nothing is lost"
    )
    stop = advice.stop("out of time", "a worker for a trial that can be finished")
    return found(Severity.WARNING, f"out of time: {why}", evidence, [advised, stop])


def _epoch_s(records: Records, limits: TimeLimits) -> float | None:
    """Return the usual seconds per epoch, as measured or else from the times of the readings."""
    measured = [each.epoch_time_s for each in records.machine if math.isfinite(each.epoch_time_s)]
    if len(measured) >= limits.n_epochs:
        return float(np.median(measured[-5:]))
    rows = sorted((each.step, each.time) for each in records.readings if each.per == "epoch" and each.time > 0)
    if len(rows) <= limits.n_epochs or rows[-1][0] == rows[0][0]:
        return None
    return (rows[-1][1] - rows[0][1]) / (rows[-1][0] - rows[0][0])


def _gaps(records: Records) -> FloatArray:
    gaps = np.diff(np.array(sorted(each for each in records.times if each > 0), dtype=np.float64))
    return gaps[gaps > 0]


RULES = (
    Rule("loading_bound", "machine", loading_bound, LoadingLimits(), "TensorFlow profiler, input-pipeline analyzer"),
    Rule("stalled", "machine", stalled, StallLimits(), "time between records"),
    Rule("out_of_time", "machine", out_of_time, TimeLimits(), "epoch time against the wall time left"),
)
