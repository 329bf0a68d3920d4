"""Batch jobs of a session, written down so that a later one can cancel what a driver that died has left in the queue.

Parsl cancels its jobs when its kernel closes. A driver that was killed closes nothing: its jobs that wait in the
queue would start for nobody, and those that run hold their nodes until they miss the driver's heartbeats.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from dhflow.flow.text import count

_log = logging.getLogger(__name__)

SCHEDULER_COMMANDS = {"slurm": ("sbatch", "squeue", "scancel"), "pbspro": ("qsub", "qstat", "qdel")}
"""What Parsl's providers call, by their labels: to submit, to look and to cancel."""

_CANCEL_TIMEOUT_S = 60.0


class JobNotes:
    """The file that names a session's jobs, one JSON line each.

    Parameters
    ----------
    folder : Path
        In the run directory; made when a job is noted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "jobs.jsonl"

    def follow(self, executor: Any) -> None:
        """Note each job of a Parsl executor at the moment when its scheduler has taken it."""
        provider = getattr(executor, "provider", None)
        if provider is None or provider.label not in SCHEDULER_COMMANDS:
            return
        submit = provider.submit

        def noting(*args: Any, **kwargs: Any) -> object:
            job: object = submit(*args, **kwargs)
            self.note(provider.label, str(job))
            return job

        provider.submit = noting

    def note(self, scheduler: str, job: str) -> None:
        """Note one job; where that cannot be done, the job itself matters more."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({"scheduler": scheduler, "job": job}) + "\n")
        except OSError as error:
            _log.warning("job %s could not be noted, and is not cancelled if this process dies: %s", job, error)

    def forget(self) -> None:
        """Say that all noted jobs have ended."""
        self._path.unlink(missing_ok=True)

    def cancel_left(self) -> None:
        """Cancel what an earlier session has left; only for whoever holds the lock of the history.

        Where the scheduler does not answer, its jobs stay noted for the session after this one.
        """
        left = [
            (scheduler, job)
            for scheduler, jobs in self._read().items()
            if scheduler in SCHEDULER_COMMANDS and not self._cancel(scheduler, jobs)
            for job in jobs
        ]
        self.forget()
        for scheduler, job in left:
            self.note(scheduler, job)

    def _read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        try:
            lines = self._path.read_text().splitlines()
        except OSError:
            return found
        for each in lines:
            try:
                noted = json.loads(each)
                found[noted["scheduler"]].append(str(noted["job"]))
            except (ValueError, KeyError, TypeError):  # a line torn by the driver's death
                continue
        return found

    def _cancel(self, scheduler: str, jobs: list[str]) -> bool:
        """Cancel jobs; the result says whether the scheduler has answered."""
        command = [SCHEDULER_COMMANDS[scheduler][2], *jobs]
        _log.info("cancelling %s of a session that died: %s", count(len(jobs), "job"), " ".join(jobs))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_CANCEL_TIMEOUT_S, check=False)
            # Schedulers complain about jobs that have ended meanwhile, in words of their own.
            if done.returncode != 0:
                _log.info("%s: %s", command[0], done.stderr.strip())
        except (OSError, subprocess.TimeoutExpired) as error:
            _log.warning(
                "jobs of a session that died may still be in the queue and could not be cancelled (%s): run %s",
                error,
                " ".join(command),
            )
            return False
        return True
