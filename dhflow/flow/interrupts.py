"""Ctrl-C, SIGTERM and a closed terminal: in any verb, and while a session starts, runs and closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """What the signals that end things in order do, for as long as a session or a verb lasts.

    At first, as while a session starts, one raises ``KeyboardInterrupt``, so that what is open is closed. While trials
    run (:meth:`stop_with`) it asks for an orderly stop. While the session closes (:meth:`keep`) it is kept until that
    is done: an interrupted closing would leave workers behind. A second one always raises at once.

    Only in the main thread: no other may handle signals. SIGHUP is left alone where `nohup` keeps it away.

    Attributes
    ----------
    caught : list of int
        Signals that the session has not raised for.
    """

    def __init__(self) -> None:
        self.caught: list[int] = []
        self._answer: Callable[[str], object] = _raise
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._handle) for each in _ending_signals()}
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            # None is a handler that is not Python's and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def stop_with(self, stop: Callable[[str], object]) -> None:
        """Call this with the reason at the next signal."""
        self._answer = stop

    def keep(self) -> None:
        """Only note the next signal."""
        self._answer = _nothing

    @property
    def reason(self) -> str:
        """Which signal came first, in words."""
        return _text(self.caught[0])

    def _handle(self, number: int, frame: object) -> None:
        del frame
        self.caught.append(number)
        if len(self.caught) > 1:
            _raise(_text(number))
        self._answer(_text(number))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish what is inside; then raise ``KeyboardInterrupt`` if a signal came meanwhile."""
    with Interrupts() as interrupts:
        interrupts.keep()
        yield
    if interrupts.caught:
        raise KeyboardInterrupt(interrupts.reason)


def _ending_signals() -> list[signal.Signals]:
    found = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


def _text(number: int) -> str:
    return f"interrupted by {signal.Signals(number).name}"


def _raise(reason: str) -> None:
    raise KeyboardInterrupt(reason)


def _nothing(reason: str) -> None:
    del reason
