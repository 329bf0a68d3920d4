"""A running session at one moment: what its progress display shows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dhflow.flow.blocks import Blocks
from dhflow.flow.outcome import count_losses
from dhflow.flow.standing import Standing
from dhflow.flow.text import count, format_duration
from dhflow.trial import Trial, TrialSource, TrialStatus

if TYPE_CHECKING:
    from dhflow.flow.driver import Driver

_WINDOW_S = 30.0
_N_SAMPLES = 200
_MAX_FIRST_TRIALS = 16
"""The first trial of each worker, of so many at most, says nothing of the speed: it imports the framework."""
_FAILED = frozenset({TrialStatus.FAILED, TrialStatus.LOST})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is shown.

    Parameters
    ----------
    elapsed_s : float
        Of this session.
    n_ended : int
        Trials of the whole study, loaded ones left out.
    max_trials : int, optional
    share : float, optional
        In [0, 1]: how far the limit is reached that is nearest; None without such a limit.
    left_s : float, optional
        Seconds until the first limit, as far as it can be foreseen.
    best : float, optional
        In the user's sign; None with several objectives.
    best_trial : int, optional
        With several objectives the last one that joined the Pareto set.
    name : str
        Of the (first) objective.
    rate : float, optional
        Trials per second, lately.
    n_busy, n_workers : int
    n_failed, n_retries : int
        Of the whole study.
    phase : str
        What is to be said besides, or "".
    is_paused : bool
        Whether `phase` wants something of the user.
    n_pareto : int, optional
        With several objectives the size of the Pareto set.
    n_infeasible : int
        Completed trials that violate a constraint.
    queue : str
        What waits in the queue of a scheduler and since when, or "".
    """

    elapsed_s: float
    n_ended: int
    max_trials: int | None
    share: float | None
    left_s: float | None
    best: float | None
    best_trial: int | None
    name: str
    rate: float | None
    n_busy: int
    n_workers: int
    n_failed: int
    n_retries: int
    phase: str = ""
    is_paused: bool = False
    n_pareto: int | None = None
    n_infeasible: int = 0
    queue: str = ""


def _queue_text(blocks: Blocks | None) -> str:
    if blocks is None or not blocks.n_waiting:
        return ""
    since = format_duration(blocks.longest_wait_s, whole=True)
    return f"{count(blocks.n_waiting, 'block')} in the queue for {since}, {blocks.n_running} running"


class Speed:
    """Trials and budget units per second, over the last half of the time but at least half a minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, float]] = deque()
        self._began = 0.0

    def add(self, now: float, n_trials: int, units: float) -> None:
        """Note what has been done by `now`; samples lie far enough apart to stay few in a long session."""
        if not self._samples:
            self._began = now
        elif now - self._samples[-1][0] < (now - self._began) / _N_SAMPLES:
            return
        self._samples.append((now, n_trials, units))
        since = now - max(_WINDOW_S, (now - self._began) / 2)
        while len(self._samples) > 2 and self._samples[1][0] <= since:
            self._samples.popleft()

    def rates(self, now: float, n_trials: int, units: float) -> tuple[float | None, float | None]:
        """Return both rates, or None while nothing is known."""
        if not self._samples:
            return None, None
        then, n_then, units_then = self._samples[0]
        if now <= then or n_trials == n_then:
            return None, None
        return (n_trials - n_then) / (now - then), (units - units_then) / (now - then)


class Tally:
    """Counts as trials end, so that a look at a long study costs no walk through it.

    Parameters
    ----------
    driver : Driver
        Whose record's trials are counted once, here.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._full_budget = driver.loop.settings.full_budget
        self._n_ended = self._n_failed = self._n_losses = 0
        self._units = 0.0
        for trial in driver.loop.record.trials.values():
            if trial.is_finished and trial.source is not TrialSource.ADDED:
                self.add(trial)
        self._n_before = self._n_ended
        self._has_begun = False
        self._speed = Speed()

    def add(self, trial: Trial) -> None:
        """Count a finished trial."""
        self._n_ended += 1
        self._units += self._full_budget if trial.budget is None else trial.budget
        if trial.status in _FAILED:
            self._n_failed += 1
        if len(trial.attempts) > 1:
            self._n_losses += count_losses(trial.attempts[:-1])

    def look(self, now: float) -> Snapshot:
        """Return the session at `now`, seconds of the driver's monotonic clock."""
        driver, loop = self._driver, self._driver.loop
        if not self._has_begun:
            self._has_begun = self._n_ended > self._n_before or driver.run_directory.has_working_workers()
        if self._n_ended - self._n_before >= min(loop.n_slots, _MAX_FIRST_TRIALS):
            self._speed.add(now, self._n_ended, self._units)
        rates = self._speed.rates(now, self._n_ended, self._units)
        share, left_s = self._until_limit(now, *rates)
        standing = loop.standing
        best = standing.best if isinstance(standing, Standing) else standing.newest
        blocks = driver.pool.blocks.look() if driver.pool.blocks is not None else None
        n_there = loop.n_slots if blocks is None else blocks.n_slots
        return Snapshot(
            elapsed_s=now - driver.began,
            n_ended=self._n_ended,
            max_trials=loop.limits.max_trials,
            share=share,
            left_s=left_s,
            best=standing.value if isinstance(standing, Standing) else None,
            best_trial=None if best is None else best.trial_id,
            name=loop.objectives[0].name,
            rate=rates[0],
            n_busy=min(len(loop.running), n_there) if self._has_begun else 0,
            n_workers=loop.n_slots,
            n_failed=self._n_failed,
            n_retries=self._n_losses + sum(count_losses(each.attempts) for each in loop.open.values()),
            phase=driver.message or self._phase(),
            is_paused=bool(driver.message),
            n_pareto=None if isinstance(standing, Standing) else len(standing),
            n_infeasible=standing.n_infeasible,
            queue=_queue_text(blocks),
        )

    def _phase(self) -> str:
        loop = self._driver.loop
        if loop.stop_reason is not None:
            return f"ending: {loop.stop_reason}" if loop.running else loop.stop_reason
        return "" if self._has_begun else f"waiting for the workers of {self._driver.pool.description}"

    def _until_limit(
        self, now: float, trial_rate: float | None, unit_rate: float | None
    ) -> tuple[float | None, float | None]:
        limits, deadline = self._driver.loop.limits, self._driver.loop.deadline
        shares: list[float] = []
        times: list[float] = []
        for limit, done, rate in (
            (limits.max_trials, self._n_ended, trial_rate),
            (limits.max_budget, self._units, unit_rate),
        ):
            if limit:
                shares.append(done / limit)
                if rate:
                    times.append((limit - done) / rate)
        if deadline is not None:
            began = self._driver.began
            shares.append((now - began) / max(deadline - began, 1e-9))
            times.append(deadline - now)
        share = min(1.0, max(shares)) if shares else None
        return share, max(0.0, min(times)) if times else None
