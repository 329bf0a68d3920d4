"""Who talks to the searcher: in the driver's own thread while asks are cheap, else in one thread beside it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from dhflow.flow.message import Suggested
from dhflow.searcher.base import Searcher
from dhflow.trial import Trial

CHEAP_ASK_S = 0.002
"""An ask that takes less is answered in the driver's thread: handing it over would cost as much."""

_SMOOTHING = 0.3
_CLOSE_TIMEOUT_S = 1.0


class Asker:
    """Asks a searcher and tells it outcomes, never in two threads at once.

    Parameters
    ----------
    searcher : Searcher
    n_told : int
        Outcomes that the searcher has been told before.
    answer : callable
        Takes the :class:`Suggested` (or the exception) of an ask made in the other thread.
    """

    def __init__(self, searcher: Searcher, n_told: int, answer: Callable[[Suggested | Exception], None]) -> None:
        self.searcher = searcher
        self.n_told = n_told
        self._untold: list[Trial] = []
        self._answer = answer
        self._mean_s = 0.0
        self._requests: queue.SimpleQueue[tuple[int, Sequence[Trial], list[Trial]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_cheap(self) -> bool:
        """Whether the last asks were answered so quickly that the driver may wait for them."""
        return self._mean_s < CHEAP_ASK_S

    def tell(self, trials: Sequence[Trial]) -> None:
        """Keep outcomes for the next ask, in the order in which they are recorded."""
        self._untold.extend(trials)

    def ask(self, n: int, pending: Sequence[Trial]) -> Suggested:
        """Ask here and now."""
        told, self._untold = self._untold, []
        return self._ask(n, pending, told)

    def ask_aside(self, n: int, pending: Sequence[Trial]) -> None:
        """Ask in the other thread; the answer goes to ``answer``."""
        if self._thread is None:
            # A daemon: a searcher that hangs must not keep the process alive after Ctrl-C.
            self._thread = threading.Thread(target=self._serve, name="dhflow-searcher", daemon=True)
            self._thread.start()
        told, self._untold = self._untold, []
        self._requests.put((n, pending, told))

    def close(self) -> None:
        """End the other thread after the ask that it is at, and tell what is still untold."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread.join(_CLOSE_TIMEOUT_S)
        if self._thread is None or not self._thread.is_alive():
            told, self._untold = self._untold, []
            self.searcher.tell(told)
            self.n_told += len(told)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._answer(self._ask(*request))
            except Exception as error:  # noqa: BLE001 - any fault of a searcher ends the study in order, in the driver
                self._answer(error)

    def _ask(self, n: int, pending: Sequence[Trial], told: list[Trial]) -> Suggested:
        began = time.perf_counter()
        self.searcher.tell(told)
        self.n_told += len(told)
        number = self.searcher.n_asks
        suggestions = self.searcher.ask(n, pending)
        took_s = time.perf_counter() - began
        self._mean_s += _SMOOTHING * (took_s - self._mean_s)
        return Suggested(suggestions, number, self.n_told, took_s)
