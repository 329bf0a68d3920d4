"""The driver's side of checkpoints: one helper process at a time, asked, watched and reaped without waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from dhflow.errors import DhflowError
from dhflow.history.checkpoint import CheckpointReport, CheckpointRequest, fold_journal
from dhflow.history.disk import remove_temporaries

# The helper sees the modules that the driver sees, however those were found. Nothing but the interpreter's own
# `sys` is imported before the path is set, and -c puts no folder of scripts in front of it.
_CODE = "import sys; sys.path[:] = {path!r}; from dhflow.history.checkpoint import main; sys.exit(main(sys.argv[1:]))"
# Its arithmetic is copying: a pool of threads would only take cores from the search.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Outcome = CheckpointReport | str
"""What a helper did, or why it failed."""


class CheckpointHelper:
    """Runs checkpoints, one at a time.

    Parameters
    ----------
    in_process : bool
        Fold in this process instead, while the caller waits.
    """

    def __init__(self, *, in_process: bool = False) -> None:
        self._in_process = in_process
        self._process: subprocess.Popen[bytes] | None = None
        self._request: CheckpointRequest | None = None
        self._outcome: Outcome | None = None

    @property
    def is_running(self) -> bool:
        """Whether a checkpoint was started whose outcome has not been asked for."""
        return self._request is not None

    def start(self, request: CheckpointRequest) -> None:
        """Begin a checkpoint; none may be running."""
        self._request = request
        if self._in_process:
            try:
                self._outcome = fold_journal(request)
            except (DhflowError, OSError) as error:
                self._outcome = str(error)
            return
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _CODE.format(path=sys.path),
                    json.dumps(asdict(replace(request, parent=os.getpid(), asked_at=time.monotonic()))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # a Ctrl-C is for the driver, which then has the last checkpoint made
            )
        except OSError as error:
            self._outcome = f"no helper process can be started: {error}"

    def poll(self, wait_s: float | None = 0.0) -> tuple[CheckpointRequest, Outcome] | None:
        """Return the running checkpoint and how it ended, or None if it has not.

        Parameters
        ----------
        wait_s : float, optional
            How long to wait for it, in seconds; None for as long as it takes.
        """
        if self._request is None:
            return None
        if self._process is not None:
            if wait_s == 0 and self._process.poll() is None:  # the usual case, and a cheap one
                return None
            try:
                output, complaints = self._process.communicate(timeout=wait_s or None)
            except subprocess.TimeoutExpired:
                return None
            self._outcome = _read_outcome(self._process.returncode, output, complaints)
            if isinstance(self._outcome, str):
                remove_temporaries(Path(self._request.path), self._process.pid)
        outcome, request = self._outcome, self._request
        self._process = self._request = self._outcome = None
        return None if outcome is None else (request, outcome)

    def kill(self) -> None:
        """End a running helper; the old file stays as it is."""
        if self._process is not None:
            self._process.kill()
            self.poll(wait_s=None)


def _read_outcome(status: int, output: bytes, complaints: bytes) -> Outcome:
    try:
        data = json.loads(output.splitlines()[-1])
        return str(data["error"]) if "error" in data else CheckpointReport(**data)
    except (ValueError, LookupError, TypeError):
        died = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = complaints.decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join([f"the helper process {died}", *last])
