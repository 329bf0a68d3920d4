"""An executor whose calls end when, and as, a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeCall:
    """One submitted call that nobody has executed.

    Parameters
    ----------
    function : callable
    args : tuple
    kwargs : dict
    future : Future
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        """Execute it here and now."""
        try:
            value = self.function(*self.args, **self.kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the future's to raise
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    def lose(self, error: BaseException) -> None:
        """Fail as an executor does whose worker has gone."""
        self.future.set_exception(error)


class FakeExecutor(Executor):
    """Keeps submitted calls until a test runs or loses them; pass it as ``site=`` with ``workers=N``.

    Parameters
    ----------
    max_workers : int
        What it claims to have.
    """

    def __init__(self, max_workers: int = 1) -> None:
        self._max_workers = max_workers
        self._arrived = threading.Condition()
        self.calls: list[FakeCall] = []
        self.n_submitted = 0
        self.is_shut_down = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Keep a call."""
        if self.is_shut_down:
            raise RuntimeError("cannot submit after shutdown")
        call = FakeCall(function, args, kwargs)
        with self._arrived:
            self.calls.append(call)
            self.n_submitted += 1
            self._arrived.notify_all()
        return call.future

    def wait_for(self, n: int, timeout_s: float = 10.0) -> list[FakeCall]:
        """Return the waiting calls once there are `n` of them.

        Raises
        ------
        TimeoutError
            If they do not come.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.calls) >= n, timeout_s):
                raise TimeoutError(f"{len(self.calls)} calls came, not {n}")
            return list(self.calls)

    def take(self, timeout_s: float = 10.0) -> FakeCall:
        """Take the oldest waiting call out, to run or to lose."""
        self.wait_for(1, timeout_s)
        with self._arrived:
            return self.calls.pop(0)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls."""
        del wait
        self.is_shut_down = True
        if cancel_futures:
            for each in self.calls:
                each.future.cancel()
