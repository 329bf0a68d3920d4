"""The time limit of a trial that runs in the main thread of a process.

First gently: SIGALRM raises :class:`~dhflow.errors.TrialTimeoutError` in the objective, which ends
sleeps and Python loops and lets it clean up. Then hard, a grace later: faulthandler's own thread,
which needs no interpreter lock, writes all tracebacks to ``timeout.txt`` and ends the process. The
driver sees a lost worker and finds the file. Only a worker process is ever killed: a trial that runs
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

from dhflow.errors import TrialLostError, TrialTimeoutError
from dhflow.train.spare_file import spare_file

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
    path : str, optional
        Where the tracebacks go; standard error without it.
    """

    def __init__(self, limit_s: float, grace_s: float, path: str | None) -> None:
        self.limit_s = limit_s
        self.fired = False
        self._grace_s = grace_s
        self._is_hard = is_worker_process()
        self._path = path
        self._fd: int | None = None
        self._is_armed = False
        self._is_started = False
        self._previous_handler: signal._HANDLER = signal.SIG_DFL
        self._previous_timer = (0.0, 0.0)
        self._started_at = 0.0

    def start(self) -> None:
        """Arm both alarms.

        Raises
        ------
        TrialLostError
            If the file for the tracebacks cannot be opened.
        """
        if self._path is not None and self._is_hard:
            try:
                self._fd = spare_file("timeout").move_to(self._path)
            except OSError as error:
                raise TrialLostError(f"the attempt's directory cannot be written: {error}") from error
        self._started_at = time.monotonic()
        self._previous_handler = signal.signal(signal.SIGALRM, self._on_alarm) or signal.SIG_DFL
        self._previous_timer = signal.getitimer(signal.ITIMER_REAL)
        self._is_started = True
        if self._is_hard:
            file = 2 if self._fd is None else self._fd
            faulthandler.dump_traceback_later(self.limit_s + self._grace_s, exit=True, file=file)
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
        if self._is_hard:
            faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, self._previous_handler)
        left, interval = self._previous_timer
        if left > 0:
            left = max(left - (time.monotonic() - self._started_at), _LEAST_TIMER_S)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
        if self._fd is not None and self._path is not None:
            spare_file("timeout").keep(self._path, self._fd)

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
