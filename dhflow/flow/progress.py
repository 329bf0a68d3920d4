"""What a running search shows of itself on standard error.

A display that lives on a terminal, plain lines in a pipe or a log, an output that renews itself in a
notebook. It costs the driver a counter per trial and a drawing per tick, and never fails the search.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from dhflow.flow.snapshot import Tally
from dhflow.trial import Trial

if TYPE_CHECKING:
    from dhflow.flow.driver import Driver
    from dhflow.flow.progress_view import View

_log = logging.getLogger(__name__)

MIN_INTERVAL_S = 0.25
"""It is drawn at most four times a second."""


class ProgressDisplay:
    """Shows the progress of a session; an observer of its driver.

    Parameters
    ----------
    stream : text stream, optional
        Where to show it; standard error by default.
    clock : callable
        Monotonic seconds, the driver's.

    Notes
    -----
    An error in here ends the display, not the search.
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._view: View | None = None
        self._tally: Tally | None = None
        self._is_over = False
        self._drawn_at = float("-inf")

    def begin(self) -> None:
        """Take the terminal over, before a trial in a thread does so with its own output."""
        from dhflow.flow.progress_view import make_view

        try:
            self._view = make_view(self._stream)
            self._view.begin()
        except Exception as error:  # noqa: BLE001 - whatever breaks a display must not end a search
            self._give_up(error)

    def trial_ended(self, trial: Trial) -> None:
        """Count a finished trial."""
        if self._tally is not None:
            self._tally.add(trial)

    def tick(self, driver: Driver) -> None:
        """Draw, unless it was drawn just now."""
        now = self._clock()
        if self._is_over or now - self._drawn_at < MIN_INTERVAL_S:
            return
        self._drawn_at = now
        try:
            if self._view is None:
                self.begin()
            if self._tally is None:
                self._tally = Tally(driver)
            if self._view is not None:
                self._view.show(self._tally.look(now))
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(error)

    def close(self) -> None:
        """Draw the last state, and give the terminal back."""
        if self._is_over:
            return
        try:
            if self._tally is not None and self._view is not None:
                self._view.show(self._tally.look(self._clock()), is_last=True)
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("the last progress could not be shown: %r", error)
        finally:
            self._end()

    def _give_up(self, error: Exception) -> None:
        _log.debug("the progress is shown no longer: %r", error)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        try:
            if self._view is not None:
                self._view.close()
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("the progress display did not close: %r", error)
