"""Running one trial's command: its own process group, its output kept in a capped log, its result read back."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from dhflow.errors import ObjectiveError, TrialTimeoutError
from dhflow.train.attempt_directory import CONFIG, RECORDS, RETURNED
from dhflow.train.capped_log import CappedLog
from dhflow.train.command import render
from dhflow.train.task import CommandSource, Task

_CHUNK_BYTES = 65_536
_TAIL_BYTES = 65_536
"""Kept of standard output, to find its last line, and of everything, for a failure's record."""

_POLL_S = 0.05
"""How often to look for the command's end where the system has no pidfd."""

_SHOWN_LINES = 40


class CommandFailedError(Exception):
    """A command ended with an error.

    Parameters
    ----------
    message : str
    output : str
        Its last lines.
    signal_name : str
        Of the signal that ended it, or "".
    """

    def __init__(self, message: str, output: str = "", signal_name: str = "") -> None:
        super().__init__(message, output, signal_name)
        self.message = message
        self.output = output
        self.signal_name = signal_name

    def __str__(self) -> str:
        return self.message


def run_command(source: CommandSource, task: Task, directory: Path, log: CappedLog | None) -> object:
    """Run a trial's command to its end and return its result: a number or a mapping.

    Parameters
    ----------
    source : CommandSource
    task : Task
    directory : Path
        Where its config, its result and its records are.
    log : CappedLog, optional
        Gets standard output and standard error.

    Raises
    ------
    CommandFailedError
        If it cannot be started, ends with a non-zero exit code or by a signal.
    TrialTimeoutError
        If it outlives the time limit; its whole process group is then ended.
    ObjectiveError
        If it left no result that can be read.
    OSError
        If its files or its log cannot be written.
    """
    result = directory / RETURNED
    result.unlink(missing_ok=True)
    (directory / CONFIG).write_text(json.dumps(dict(task.config)))
    command = render(source.template, _values(task, directory))
    process = _start(command, source.cwd, _environment(task, directory))
    run = _Running(process, log)
    try:
        ended_in_time = run.wait(task.settings.timeout_s, task.settings.timeout_grace_s)
    finally:
        run.close()
    if not ended_in_time:
        error = TrialTimeoutError(f"the command outlived its time limit of {task.settings.timeout_s:g} s")
        raise error from CommandFailedError("its last output:", run.last_lines())
    if process.returncode != 0:
        raise _failed(process.returncode, run.last_lines())
    return _read_result(result, run.last_line())


def _values(task: Task, directory: Path) -> dict[str, Any]:
    special = {
        "trial_id": task.trial_id,
        "seed": task.seed,
        "dir": str(directory),
        "result": str(directory / RETURNED),
    }
    if task.budget is not None:
        special["budget"] = _plain(task.budget)
    return {**special, **task.config}


def _environment(task: Task, directory: Path) -> dict[str, str]:
    ours = {
        "DHFLOW_TRIAL_ID": str(task.trial_id),
        "DHFLOW_TRIAL_DIR": str(directory),
        "DHFLOW_SEED": str(task.seed),
        "DHFLOW_BUDGET": "" if task.budget is None else str(_plain(task.budget)),
        "DHFLOW_CONTINUES": task.continues or "",
        "DHFLOW_CONFIG": str(directory / CONFIG),
        "DHFLOW_RESULT": str(directory / RETURNED),
        "DHFLOW_RECORDS": str(directory / RECORDS),
    }
    return {**os.environ, **ours}


def _plain(budget: float) -> float | int:
    # Scripts parse a number of epochs with int().
    return int(budget) if float(budget).is_integer() else budget


def _start(command: str, cwd: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*_dies_with_parent(), "/bin/sh", "-c", command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailedError(f"the command cannot be started: {error}") from error


@functools.lru_cache(maxsize=1)
def _dies_with_parent() -> tuple[str, ...]:
    # A worker that is killed takes its command along, where util-linux is new enough to say so.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "TERM")
    works = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else ()


class _Running:
    """A started command: its pipes are emptied until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], log: CappedLog | None) -> None:
        self._process = process
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._stdout_tail = b""
        self._tail = b""
        self._pidfd: int | None = None
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ)
        with contextlib.suppress(OSError, AttributeError):  # Linux before 5.3, macOS
            self._pidfd = os.pidfd_open(process.pid)
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    def wait(self, limit_s: float | None, grace_s: float) -> bool:
        """Wait for the command's end; after the limit end its group, first by SIGTERM. Tell whether it was in time."""
        if self._wait(limit_s):
            return True
        self._signal_group(signal.SIGTERM)
        if not self._wait(grace_s):
            self._signal_group(signal.SIGKILL)
            self._wait(None)
        return False

    def close(self) -> None:
        """End what is left of the group, read what it wrote, and collect the exit code."""
        self._signal_group(signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._drain()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._selector.close()

    def last_line(self) -> str:
        """Return the last line of standard output that is not empty."""
        lines = self._stdout_tail.decode(errors="replace").split("\n")
        return next((each.strip() for each in reversed(lines) if each.strip()), "")

    def last_lines(self) -> str:
        """Return the last lines of all output."""
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-_SHOWN_LINES:])

    def _wait(self, limit_s: float | None) -> bool:
        ends_at = None if limit_s is None else time.monotonic() + limit_s
        while not self._has_ended():
            left = None if ends_at is None else ends_at - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._pidfd is None:
                left = _POLL_S if left is None else min(left, _POLL_S)
            self._read_ready(left)
        return True

    def _has_ended(self) -> bool:
        # The exit code is left for later: until it is collected, nobody else can get the group's number.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _drain(self) -> None:
        while self._read_ready(0):
            pass

    def _read_ready(self, limit_s: float | None) -> bool:
        has_read = False
        for key, _ in self._selector.select(limit_s):
            if key.fileobj == self._pidfd:
                continue
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
            with contextlib.suppress(BlockingIOError):
                data = os.read(pipe.fileno(), _CHUNK_BYTES)
                if data:
                    has_read = True
                    self._keep(data, is_stdout=pipe is self._process.stdout)
                else:
                    self._selector.unregister(pipe)
        return has_read

    def _keep(self, data: bytes, *, is_stdout: bool) -> None:
        if is_stdout:
            self._stdout_tail = (self._stdout_tail + data)[-_TAIL_BYTES:]
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        if self._log is not None:
            self._log.write(data)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _failed(code: int, output: str) -> CommandFailedError:
    if code > 128 and code - 128 in iter(signal.Signals):  # the shell's way to say that its command was killed
        code = 128 - code
    if code < 0:
        name = signal.Signals(-code).name
        return CommandFailedError(f"the command was killed by {name}", output, name)
    hint = {126: " (not executable)", 127: " (command not found)"}.get(code, "")
    return CommandFailedError(f"the command ended with exit code {code}{hint}", output)


def _read_result(file: Path, last_line: str) -> object:
    try:
        text = file.read_text()
    except FileNotFoundError:
        return _parse_last_line(last_line)
    except ValueError as error:
        raise ObjectiveError(f"the command's result file is no text: {error}") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise ObjectiveError(f"the command's result file is no JSON: {text[:80]!r}") from error


def _parse_last_line(line: str) -> object:
    try:
        return float(line)
    except ValueError:
        pass
    try:
        data = json.loads(line)
    except ValueError:
        data = None
    if isinstance(data, dict):
        return data
    what = f"its last line of output is {line[:80]!r}, neither a number nor a JSON object" if line else "no output"
    raise ObjectiveError(f"the command wrote no result to DHFLOW_RESULT, and {what}")
