"""The file of a run without a search, written as the run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding
from dhflow.monitor.record import Records
from dhflow.trial import TrialFailure, TrialStatus


class RunFile:
    """A history with one trial.

    Parameters
    ----------
    path : path
        Replaced if it is there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._began = time.time()

    def write(
        self,
        records: Records,
        findings: Iterable[tuple[float, Finding]],
        context: Context,
        status: TrialStatus,
        failure: TrialFailure | None = None,
    ) -> None:
        """Write the run as it is now.

        Raises
        ------
        HistoryError
            If it cannot be written; ``errno`` says why.
        """
        # The one place where the monitor loads HDF5: on the machine of a training that no study drives.
        from dhflow.history.run_file import write_run

        metric = context.judged(records)
        write_run(
            self.path,
            records,
            findings,
            metric=metric,
            direction=context.direction(metric),
            config=context.config,
            budget=context.full_budget,
            status=status,
            failure=failure,
            started_at=self._began,
        )
