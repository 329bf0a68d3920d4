"""Stoppers: rules that end a running trial, for every searcher.

A stopper is named in ``search(..., stoppers=["nan", "median"])`` or given as an object with other thresholds. It is
asked whenever a trial has reported, and what it returns is recorded as the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from dhflow.errors import SearchError
from dhflow.monitor import advice
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Severity
from dhflow.monitor.record import Records
from dhflow.monitor.rules.base import found, shown
from dhflow.monitor.rules.machine import TimeLimits, out_of_time
from dhflow.monitor.rules.siblings import chance_to_beat

STOPPER = "stopper:"
"""What the rules of stoppers' findings begin with."""


FULL_BUDGET, TIME_LIMIT = "full_budget", "time_limit"
_LACKING = {
    FULL_BUDGET: (
        'it acts only on trials that say how many steps a whole run has: declare it, budget=Budget("epochs", 1, 30), '
        "or watch the training with KerasMonitor(trial)"
    ),
    TIME_LIMIT: (
        "nothing limits a trial's time but the end of its batch job, if it has one: give timeout_s or wall_time_s"
    ),
}


@runtime_checkable
class Stopper(Protocol):
    """Decides that a trial is not worth its time any more.

    One that cannot act without the full budget or a time limit may say so in ``needs``, a tuple of
    ``"full_budget"`` and ``"time_limit"``: a search that declares neither warns when it starts.
    """

    @property
    def name(self) -> str:
        """What it is called in the history."""

    def check(self, records: Records, context: Context) -> Finding | None:
        """Return why the trial should stop, or None."""


@dataclass(frozen=True)
class NanStopper:
    """Stops a trial whose loss or objective is not finite.

    Parameters
    ----------
    n_readings : int
        So many in a row.
    """

    n_readings: int = 1
    name: ClassVar[str] = "nan"

    def check(self, records: Records, context: Context) -> Finding | None:
        """Return why the trial should stop, or None."""
        for metric in dict.fromkeys((context.metric, "loss", "val_loss")):
            last = records.series(metric).values[-self.n_readings :]
            if len(last) == self.n_readings and not np.isfinite(last).any():
                why = f"{metric} is not finite at step {records.last_step}"
                return _stop(self.name, why, {"metric": metric, "step": records.last_step}, records)
        return None


@dataclass(frozen=True)
class MedianStopper:
    """Stops a trial whose best value is behind the median of the others at its step.

    Parameters
    ----------
    n_startup : int
        Trials that have come as far, before any is judged.
    least_share : float
        Of the trial's budget that it gets in any case.

    Notes
    -----
    Golovin et al. (2017), *Google Vizier*, sec. 3.2.2, with the best value so far on both sides in place of running
    averages.
    """

    n_startup: int = 5
    least_share: float = 0.1
    name: ClassVar[str] = "median"

    def check(self, records: Records, context: Context) -> Finding | None:
        """Return why the trial should stop, or None."""
        step = records.last_step
        if step < max(1.0, self.least_share * (context.full_budget or 0.0)):
            return None
        there = context.sibling_losses(float(step))
        mine = context.curve(records).finite
        if len(there) < self.n_startup or not len(mine) or context.judged(records) != context.metric:
            return None
        best, median = float(mine.values.min()), float(np.median(there))
        if best <= median:
            return None
        back = context.objective().from_loss
        why = (
            f"{context.metric} {shown(back(best))} at step {step} is behind the median of {len(there)} trials, "
            f"{shown(back(median))}"
        )
        evidence = {"value": back(best), "median": back(median), "n_siblings": len(there)}
        return _stop(self.name, why, evidence, records)


@dataclass(frozen=True)
class ExtrapolationStopper:
    """Stops a trial that will hardly beat the best one at its full budget.

    Parameters
    ----------
    probability : float
        Of beating it, below which a trial stops.
    n_siblings : int
        Trials with a curve, before any is judged.
    least_share : float
        Of the trial's budget that it gets in any case.

    Notes
    -----
    Domhan et al. (2015), *Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation
    of learning curves*; the extrapolation is that of :mod:`dhflow.monitor.trend.extrapolation`.
    """

    probability: float = 0.05
    n_siblings: int = 1
    least_share: float = 0.1
    name: ClassVar[str] = "extrapolation"
    needs: ClassVar[tuple[str, ...]] = (FULL_BUDGET,)

    def check(self, records: Records, context: Context) -> Finding | None:
        """Return why the trial should stop, or None."""
        full = context.full_budget
        if full is None or context.judged(records) != context.metric or records.last_step < self.least_share * full:
            return None
        reached = [each for each in context.siblings if each.is_finished]
        ends = context.sibling_losses(math.inf)
        goal = float(np.min(ends, initial=math.inf))
        curve = context.curve(records).finite
        if len(reached) < self.n_siblings or not math.isfinite(goal) or not len(curve):
            return None
        if float(curve.values.min()) < goal:
            return None
        p = chance_to_beat(curve.steps, curve.values, full, goal)
        if p is None or p >= self.probability:
            return None
        best = context.objective().from_loss(goal)
        why = f"{context.metric} will beat the best trial's {shown(best)} with probability {shown(p)}"
        return _stop(self.name, why, {"p_beats_best": p, "best": best}, records, probability=1.0 - p)


@dataclass(frozen=True)
class TimeStopper:
    """Stops a trial that cannot reach its budget in the time that is left.

    Parameters
    ----------
    margin : float
        Times the time left that the rest may seem to need.
    """

    margin: float = 1.1
    name: ClassVar[str] = "time"
    needs: ClassVar[tuple[str, ...]] = (TIME_LIMIT, FULL_BUDGET)

    def check(self, records: Records, context: Context) -> Finding | None:
        """Return why the trial should stop, or None."""
        late = out_of_time(records, context, TimeLimits(margin=self.margin))
        return None if late is None else _stop(self.name, late.text, late.evidence, records)


STOPPERS: dict[str, Callable[[], Stopper]] = {
    each.name: each for each in (NanStopper, MedianStopper, ExtrapolationStopper, TimeStopper)
}
"""By the names that options take."""


def make_stoppers(wanted: Sequence[str | Stopper]) -> tuple[Stopper, ...]:
    """Return the stoppers that names and objects stand for.

    Raises
    ------
    SearchError
        If a name is unknown, or an object is no stopper.
    """
    if isinstance(wanted, str):
        raise SearchError(f"stoppers is a list: stoppers=[{wanted!r}]")
    made: list[Stopper] = []
    for each in wanted:
        if isinstance(each, str):
            if each not in STOPPERS:
                raise SearchError(f"there is no stopper {each!r}; there are: {', '.join(STOPPERS)}")
            made.append(STOPPERS[each]())
        elif isinstance(each, Stopper):
            made.append(each)
        else:
            raise SearchError(f"a stopper has a name and check(records, context); {each!r} has not")
    return tuple(made)


def lacking(stoppers: Sequence[Stopper], known: Collection[str]) -> list[str]:
    """Return what is to be said of stoppers that need what a study does not tell."""
    needs = [(each, need) for each in stoppers for need in getattr(each, "needs", ()) if need not in known]
    return [f"stopper {each.name!r}: {_LACKING[need]}" for each, need in needs if need in _LACKING]


def first_stop(stoppers: Sequence[Stopper], records: Records, context: Context) -> Finding | None:
    """Return the finding of the first stopper that would end the run, or None."""
    return next((each for stopper in stoppers if (each := stopper.check(records, context)) is not None), None)


def _stop(name: str, why: str, evidence: object, records: Records, *, probability: float = 1.0) -> Finding:
    made = found(Severity.CRITICAL, why, evidence, [advice.stop(why)], probability=probability)  # type: ignore[arg-type]
    return replace(made, rule=f"{STOPPER}{name}", family="stopper", source="stoppers", step=records.last_step)
