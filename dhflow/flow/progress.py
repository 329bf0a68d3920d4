"""What a running search shows of itself on standard error.

A display that lives on a terminal, plain lines in a pipe or a log, an output that renews itself in a
notebook. It costs the driver a counter per trial and one drawing per tick, and never fails the search.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dhflow.flow.outcome import count_losses
from dhflow.trial import Trial, TrialSource, TrialStatus

if TYPE_CHECKING:
    from dhflow.flow.driver import Driver
    from dhflow.flow.progress_view import View

_log = logging.getLogger(__name__)

MIN_INTERVAL_S = 0.25
"""The terminal is drawn at most four times a second."""

_WINDOW_S = 30.0
_N_SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is shown at one moment.

    Parameters
    ----------
    elapsed_s : float
    n_ended : int
        Trials of the whole study, loaded ones left out.
    max_trials : int, optional
    share : float, optional
        Of the limit that comes first, in [0, 1]; None without such a limit.
    left_s : float, optional
    best : float, optional
        In the user's sign.
    best_trial : int, optional
    name : str
        Of the objective.
    rate : float, optional
        Trials per second, lately.
    n_busy, n_workers : int
    n_failed, n_retries : int
    phase : str
        What is going on besides; "" when all runs as usual.
    is_paused : bool
        Whether `phase` wants the user to do something.
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
    phase: str
    is_paused: bool = False


class ProgressDisplay:
    """Shows the progress of a session; an observer of its driver.

    Parameters
    ----------
    stream : text stream, optional
        Where to show it; standard error by default.
    clock : callable
        Monotonic seconds.

    Notes
    -----
    An error in here ends the display, not the search.
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        # Taken now: while trials run in threads, sys.stderr is another stream.
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._view: View | None = None
        self._driver: Driver | None = None
        self._is_over = False
        self._drawn_at = float("-inf")
        self._started_at: float | None = None
        self._samples: deque[tuple[float, int, float]] = deque()
        self._n_added = self._n_ended = self._n_failed = self._n_losses = 0
        self._spent = 0.0
        self._full_budget = 1.0

    def trial_ended(self, trial: Trial) -> None:
        """Count a finished trial."""
        self._n_ended += 1
        self._spent += self._full_budget if trial.budget is None else trial.budget
        if trial.status in _FAILED:
            self._n_failed += 1
        if len(trial.attempts) > 1:
            self._n_losses += count_losses(trial.attempts[:-1])

    def tick(self, driver: Driver) -> None:
        """Draw, unless it was drawn just now."""
        now = self._clock()
        if self._is_over or now - self._drawn_at < MIN_INTERVAL_S:
            return
        self._drawn_at = now
        try:
            if self._driver is None:
                self._begin(driver)
            assert self._view is not None
            self._view.show(self._look(driver, now))
        except Exception as error:  # noqa: BLE001 - a display must not end a search
            self._give_up(error)

    def close(self) -> None:
        """Draw the last state and give the terminal back."""
        if self._is_over:
            return
        self._is_over = True
        if self._view is None or self._driver is None:
            return
        try:
            self._view.show(self._look(self._driver, self._clock()), is_last=True)
        except Exception as error:  # noqa: BLE001
            _log.debug("the last progress could not be shown: %r", error)
        finally:
            self._shut()

    def _begin(self, driver: Driver) -> None:
        from dhflow.flow.progress_view import make_view

        self._view = make_view(self._stream)
        self._driver = driver
        self._full_budget = driver.loop.settings.full_budget
        # What had ended before the first look; trials that ended since the start are in here too.
        ended = [each for each in driver.loop.record.trials.values() if each.is_finished]
        own = [each for each in ended if each.source is not TrialSource.ADDED]
        self._n_ended = len(own)
        self._n_failed = sum(each.status in _FAILED for each in own)
        self._n_losses = sum(count_losses(each.attempts[:-1]) for each in own)
        self._spent = sum(self._full_budget if each.budget is None else each.budget for each in own)

    def _look(self, driver: Driver, now: float) -> Snapshot:
        loop = driver.loop
        share, left_s = self._until_limit(driver, now)
        best = loop.standing.best
        phase = driver.message or self._phase(driver, now)
        return Snapshot(
            elapsed_s=now - driver.began,
            n_ended=self._n_ended,
            max_trials=loop.limits.max_trials,
            share=share,
            left_s=left_s,
            best=loop.standing.value,
            best_trial=None if best is None else best.trial_id,
            name=loop.objectives[0].name,
            rate=self._rates(now)[0],
            n_busy=len(loop.running),
            n_workers=loop.n_slots,
            n_failed=self._n_failed,
            n_retries=self._n_losses + sum(count_losses(each.attempts) for each in loop.open.values()),
            phase=phase,
            is_paused=bool(driver.message),
        )

    def _phase(self, driver: Driver, now: float) -> str:
        loop = driver.loop
        if loop.stop_reason is not None:
            running = f"; {len(loop.running)} still running" if loop.running else ""
            return f"ending: {loop.stop_reason}{running}"
        if self._started_at is not None:
            return ""
        if self._has_started(driver):
            self._started_at = now
            return ""
        return f"waiting for workers of {driver.pool.description}"

    def _has_started(self, driver: Driver) -> bool:
        """Tell whether a worker has begun, by an outcome or by the file that it leaves when it begins."""
        loop = driver.loop
        if any(each >= 0 for each in self._ended_since_start(driver)):
            return True
        return any(
            Path(driver.run_directory.attempt(trial_id, number)).is_dir() for trial_id, number in loop.running.items()
        )

    def _rates(self, now: float) -> tuple[float | None, float | None]:
        """Return trials and budget units per second over the last while, half of the time at most."""
        if self._started_at is None:
            return None, None
        if not self._samples or now - self._samples[-1][0] >= (now - self._started_at) / _N_SAMPLES:
            self._samples.append((now, self._n_ended, self._spent))
        window = max(_WINDOW_S, (now - self._started_at) / 2)
        while len(self._samples) > 2 and self._samples[1][0] <= now - window:
            self._samples.popleft()
        then, n_ended, spent = self._samples[0]
        if now <= then or self._n_ended == n_ended:
            return None, None
        return (self._n_ended - n_ended) / (now - then), (self._spent - spent) / (now - then)

    def _until_limit(self, driver: Driver, now: float) -> tuple[float | None, float | None]:
        """Return how far the limit that comes first is reached, and the seconds until then."""
        limits, deadline = driver.loop.limits, driver.loop.deadline
        rate, budget_rate = self._rates(now)
        shares: list[float] = []
        times: list[float] = []
        for limit, reached, speed in (
            (limits.max_trials, self._n_ended, rate),
            (limits.max_budget, self._spent, budget_rate),
        ):
            if limit:
                shares.append(reached / limit)
                if speed:
                    times.append((limit - reached) / speed)
        if deadline is not None:
            shares.append((now - driver.began) / max(deadline - driver.began, 1e-9))
            times.append(deadline - now)
        return (
            min(1.0, max(shares)) if shares else None,
            max(0.0, min(times)) if times else None,
        )

    def _give_up(self, error: Exception) -> None:
        self._is_over = True
        _log.debug("the progress is shown no longer: %r", error)
        self._shut()

    def _shut(self) -> None:
        try:
            if self._view is not None:
                self._view.close()
        except Exception as error:  # noqa: BLE001
            _log.debug("the progress display did not close: %r", error)


_FAILED = (TrialStatus.FAILED, TrialStatus.LOST)
