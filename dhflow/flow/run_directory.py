"""The directory beside a history in which its trials work: ``H.h5.run/``.

::

    owner.json                     who runs the study now: host, process id, when it began
    stop                           left by somebody who wants a remote search to end (dhflow.remote)
    fetch/<name>                   a copy of the history while it is fetched from afar (dhflow.remote)
    commands/                      commands from other processes, and their replies (dhflow.flow.command_files)
    watch.json                     what the watcher shows of running trials (dhflow.flow.watcher)
    site_set.json                  arguments of the site that the history does not keep, for the owner's eyes alone
    channel_keys.json              keys of the running session's ZeroMQ channel, for the owner's eyes alone
    objective/<sha256>             the objective as workers load it; a folder that only its owner may open
    trials/<id>/<attempt>/         one attempt's files, written by its worker alone; made when there are any
    workers/<session>/             what the workers of the running session note (dhflow.train.worker_notes)
    parsl/                         Parsl's logs, batch scripts and keys; a folder that only its owner may open
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from dhflow.flow.confidential import make_private
from dhflow.history.owner import is_alive, read_owner, this_process
from dhflow.monitor.control import Control, control_to_line
from dhflow.train.attempt_directory import CONTROLS, STOP
from dhflow.train.worker_notes import NOTES
from dhflow.trial import Trial, TrialStatus

OWNER = "owner.json"
"""Says who runs the study."""

KEYS = "channel_keys.json"
"""Where the clients' keys of a ZeroMQ channel lie while a session runs."""

Keep = Literal["all", "failed", "none"]
KEEP = ("all", "failed", "none")


class RunDirectory:
    """Paths of a study's files outside its history.

    Parameters
    ----------
    history : Path, optional
        The history; without one, the directory is temporary and removed by :meth:`close`.
    keep : {"all", "failed", "none"}
        Whose attempt directories stay once their trial is in the history.
    session : int
        Number of the session that begins. What the workers of earlier ones noted is removed: it has been
        read, and a worker of theirs that still lives must find its folder gone.
    """

    def __init__(self, history: Path | None, *, keep: Keep = "all", session: int = 0) -> None:
        self.is_temporary = history is None
        self.keep = keep
        self.path = Path(tempfile.mkdtemp(prefix="dhflow-")) if history is None else run_path(history).absolute()
        self.objectives = self.path / "objective"
        self.parsl = self.path / "parsl"
        self.workers = workers_path(self.path) / str(session)
        shutil.rmtree(self.workers.parent, ignore_errors=True)
        self.workers.mkdir(parents=True, exist_ok=True)
        make_private(self.objectives)
        (self.path / OWNER).write_text(json.dumps(this_process()))
        self._trials = str(self.path / "trials")

    def attempt(self, trial_id: int, number: int) -> str:
        """Return the directory of one attempt; its worker makes it when something goes into it."""
        return f"{self._trials}/{trial_id}/{number}"

    def has_working_workers(self) -> bool:
        """Tell whether a worker of this session has begun a trial."""
        return any(self.workers.glob(f"*{NOTES}"))

    def last_attempt(self, trial: Trial) -> Path:
        """Return the directory of a trial's last attempt."""
        return Path(self.attempt(trial.trial_id, max(1, len(trial.attempts))))

    def request_stop(self, trial: Trial) -> None:
        """Leave the file that makes ``trial.should_stop()`` true."""
        directory = self.last_attempt(trial)
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / STOP).touch()

    def send_control(self, trial: Trial, control: Control) -> None:
        """Leave a control in the attempt's directory; a stop is the stop file, too."""
        directory = self.last_attempt(trial)
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / CONTROLS).open("ab") as file:
                file.write(control_to_line(control))
        if control.kind == "stop":
            self.request_stop(trial)

    def tidy(self, trial: Trial) -> None:
        """Remove the directories of a trial that is in the history, unless they are to be kept."""
        if self.keep == "all" or (self.keep == "failed" and trial.status is not TrialStatus.COMPLETED):
            return
        shutil.rmtree(f"{self._trials}/{trial.trial_id}", ignore_errors=True)

    def close(self) -> None:
        """Say that nobody owns the study any more; remove what only a running session needs."""
        for name in (OWNER, KEYS):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.workers.parent, ignore_errors=True)
        if self.is_temporary:
            shutil.rmtree(self.path, ignore_errors=True)


def owner_of(history: Path) -> dict[str, Any] | None:
    """Return who runs the study of a history now: host, process id, when it began; None if nobody does."""
    owner = read_owner(run_path(history) / OWNER)
    # One on another host cannot be asked.
    return owner if owner and is_alive(owner) is not False else None


def run_path(history: Path) -> Path:
    """Return the run directory that belongs to a history file."""
    return history.with_name(history.name + ".run")


def attempt_path(run_directory: Path, trial_id: int, number: int) -> Path:
    """Return the directory of one attempt in a run directory."""
    return run_directory / "trials" / str(trial_id) / str(number)


def workers_path(run_directory: Path) -> Path:
    """Return the folder in a run directory for what workers note, with a folder for each session."""
    return run_directory / "workers"


def clear_run_directory(history: Path) -> None:
    """Remove what a history of the same name has left behind: its results must not be taken for a new study's."""
    shutil.rmtree(run_path(history), ignore_errors=True)
