"""A study that runs in a thread of its own, and what comes out of it."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from dhflow.trial import Trial

if TYPE_CHECKING:
    from dhflow.flow.driver import Driver
    from dhflow.flow.settings import RunOptions
    from dhflow.result import Result
    from dhflow.study import Study


class BackgroundRun:
    """Runs a study beside the caller.

    The thread lives as long as the search: the worker pool is started from it, and on Linux dies with it.

    Parameters
    ----------
    study : Study
    objective : callable, str or Parsl app, optional
    options : RunOptions
    """

    def __init__(self, study: Study, objective: Any, options: RunOptions) -> None:
        self.trials: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
        self.future: Future[Result] = Future()
        # Not to be cancelled: whoever waits may leave, and the run still ends in order.
        self.future.set_running_or_notify_cancel()
        self._study = study
        watched: RunOptions = {**options, "observers": [*options.get("observers", ()), self]}
        self._session = study.open_session(objective, watched)
        self._thread = threading.Thread(target=self._run, name="dhflow-run", daemon=True)
        self._thread.start()

    def trial_ended(self, trial: Trial) -> None:
        """Pass a finished trial on."""
        self.trials.put(trial)

    def tick(self, driver: Driver) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Ask the session to end."""
        self._session.stop("its reader left")

    def finish(self) -> None:
        """Stop if it still runs, wait, and raise what the run raised."""
        if not self.future.done():
            self.stop()
        self._thread.join()
        self.future.result()

    def _run(self) -> None:
        try:
            self.future.set_result(self._study.run_session(self._session))
        except BaseException as error:  # noqa: BLE001 - it is the future's to raise
            self.future.set_exception(error)
        finally:
            self.trials.put(None)
