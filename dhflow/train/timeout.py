"""The time limit of a trial that runs in the main thread of a process.

First gently: SIGALRM raises :class:`~dhflow.errors.TrialTimeoutError` in the objective, which ends
sleeps and Python loops and lets it clean up. Then hard, a grace later: faulthandler's own thread,
which needs no interpreter lock, writes all tracebacks to a file and ends the process. The driver sees a
lost worker and finds the file. Only a worker process is ever killed: a trial that runs
in the main thread of the user's own program is asked gently and nothing more. Other threads cannot be
interrupted at all; there the driver gives the slot up.

An objective that uses SIGALRM or faulthandler's timer itself takes the one or the other away from
us; the caller therefore looks at the clock as well when the objective has returned.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from types import FrameType

from dhflow.errors import TrialTimeoutError

_LEAST_TIMER_S = 1e-6
"""A timer of the host's that fell due meanwhile is set to ring at once; zero would switch it off."""


class TimeLimit:
    """A limit around one call; use it in the main thread only.

    :meth:`start`, the call and :meth:`disarm` stand in one ``try``, so that the exception can only
    strike there, and :meth:`stop` comes after it.

    Parameters
    ----------
    limit_s : float
    grace_s : float
        After the limit, the time until the process is killed.
    kill_fd : int, optional
        Open file for the tracebacks of a process that is to be killed; without it, this one never is.
    """

    def __init__(self, limit_s: float, grace_s: float = 0.0, kill_fd: int | None = None) -> None:
        self.limit_s = limit_s
        self.fired = False
        self._grace_s = grace_s
        self._kill_fd = kill_fd
        self._is_armed = False
        self._is_started = False
        self._previous_handler: signal._HANDLER = signal.SIG_DFL
        self._previous_timer = (0.0, 0.0)
        self._started_at = 0.0

    def start(self) -> None:
        """Arm both alarms."""
        self._started_at = time.monotonic()
        self._previous_handler = signal.signal(signal.SIGALRM, self._on_alarm) or signal.SIG_DFL
        self._previous_timer = signal.getitimer(signal.ITIMER_REAL)
        self._is_started = True
        if self._kill_fd is not None:
            faulthandler.dump_traceback_later(self.limit_s + self._grace_s, exit=True, file=self._kill_fd)
        self._is_armed = True
        signal.setitimer(signal.ITIMER_REAL, self.limit_s)

    def disarm(self) -> None:
        """From here on the alarm no longer raises."""
        self._is_armed = False

    def stop(self) -> None:
        """Take both alarms down and put back what was there; does nothing twice."""
        if not self._is_started:
            return
        self._is_started = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if self._kill_fd is not None:
            faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, self._previous_handler)
        left, interval = self._previous_timer
        if left > 0:
            left = max(left - (time.monotonic() - self._started_at), _LEAST_TIMER_S)
            signal.setitimer(signal.ITIMER_REAL, left, interval)

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        # Raising disarms: the exception strikes once, and never in dhflow's own code after the call.
        if self._is_armed:
            self._is_armed = False
            self.fired = True
            raise TrialTimeoutError(f"outlived its time limit of {self.limit_s:g} s")


def is_worker_process() -> bool:
    """Tell whether this process exists to run tasks: a child of multiprocessing, as HTEX's workers and pools' are."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    has_parent = multiprocessing is not None and multiprocessing.parent_process() is not None
    return has_parent or "PARSL_WORKER_RANK" in os.environ
