"""One search across several executors: each trial goes where there is the most room below a stated cap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Route:
    """One executor of several.

    Parameters
    ----------
    executor : concurrent.futures.Executor
    cap : int
        Trials that it has at a time.
    n_in_flight : int
    """

    executor: Executor
    cap: int
    n_in_flight: int = 0


class RoutingExecutor(Executor):
    """Submits each call to one of several executors; Parsl itself would draw one at random.

    Parameters
    ----------
    routes : sequence of Route

    Notes
    -----
    Whoever submits keeps to the sum of the caps. A call beyond it (a result was lost on its way, and its
    future is never done) goes where the share in flight is the least.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = list(routes)
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call where there is the most room."""
        with self._lock:
            number, route = min(enumerate(self._routes), key=lambda each: _fullness(each[1]))
            route.n_in_flight += 1
        try:
            future = route.executor.submit(fn, *args, **kwargs)
        except BaseException:
            self._leave(route)
            raise
        future.add_done_callback(lambda _: self._leave(route))
        future.route = number  # type: ignore[attr-defined]  # the order of submission holds within one executor
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as in Executor
        """Shut all executors down."""
        for each in self._routes:
            each.executor.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _leave(self, route: Route) -> None:
        with self._lock:
            route.n_in_flight -= 1


def _fullness(route: Route) -> tuple[float, int]:
    # With one trial more; among equals the largest comes first.
    return (route.n_in_flight + 1) / route.cap, -route.cap
