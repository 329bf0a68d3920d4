"""Running one trial's command: its own process group, its output kept in a capped log, its result read back."""

from __future__ import annotations

import contextlib
import errno
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

from dhflow.errors import TrialLostError
from dhflow.train.attempt_directory import CONFIG, CONTROLS, OUTPUT, RECORDS, RETURNED, STOP
from dhflow.train.capped_log import CappedLog
from dhflow.train.command import render
from dhflow.train.curve import time_limit_line
from dhflow.train.deadline import block_ends
from dhflow.train.failure import users_line_in_text
from dhflow.train.task import CommandSource, Task
from dhflow.train.worker_notes import host_name
from dhflow.trial import TrialFailure

_CHUNK_BYTES = 65_536
_TAIL_BYTES = 65_536
"""Kept of standard output, to find its last line, and of everything, for a failure's record."""

_POLL_S = 0.05
"""How often to look for the command's end where the system has no pidfd."""

_SHOWN_LINES = 40
_MAX_DRAINED_CHUNKS = 256


class CommandFailedError(Exception):
    """A command left no result.

    Parameters
    ----------
    message : str
    output : str
        Its last lines.
    kind : str
        As in :class:`~dhflow.trial.TrialFailure`.
    signal_name : str
        Of the signal that ended it, or "".
    """

    def __init__(self, message: str, output: str = "", kind: str = "CommandError", signal_name: str = "") -> None:
        super().__init__(message, output, kind, signal_name)
        self.message = message
        self.output = output
        self.kind = kind
        self.signal_name = signal_name

    def __str__(self) -> str:
        return self.message

    @property
    def is_disk_full(self) -> bool:
        """Whether its last words speak of a full disk or quota: the trial is not to blame."""
        return any(os.strerror(each) in self.output for each in (errno.ENOSPC, errno.EDQUOT))

    def to_failure(self, last_step: int | None) -> TrialFailure:
        """Return the failure's record; its traceback is the command's last output."""
        return TrialFailure(
            kind=self.kind,
            message=self.message,
            traceback=self.output,
            location=users_line_in_text(self.output),
            host=host_name(),
            signal=self.signal_name,
            last_step=last_step,
        )


def run_command(source: CommandSource, task: Task, directory: Path) -> object:
    """Run a trial's command to its end and return its result: a number or a mapping.

    Parameters
    ----------
    source : CommandSource
    task : Task
    directory : Path
        Where its config, its log, its records and its result are.

    Raises
    ------
    CommandFailedError
        If it cannot be started, ends with a non-zero exit code or by a signal, outlives its time limit
        (its whole process group is then ended) or leaves no result that can be read.
    ObjectiveError
        If its template uses a parameter that is inactive.
    TrialLostError
        If its files or its log cannot be written.
    """
    command = render(source.template, _values(task, directory))
    try:
        (directory / RETURNED).unlink(missing_ok=True)  # of an earlier run of this attempt
        (directory / CONFIG).write_text(json.dumps(dict(task.config)))
        _note_time_limit(task, directory)
        log = CappedLog(str(directory / OUTPUT), task.settings.output_limit_bytes)
        try:
            ended_in_time, code, run = _run(command, source.cwd, task, directory, log)
        finally:
            log.close()
    except OSError as error:
        raise TrialLostError(f"the attempt's directory cannot be written: {error}") from error
    if not ended_in_time:
        message = f"the command outlived its time limit of {task.settings.timeout_s:g} s"
        raise CommandFailedError(message, run.last_lines(), kind="TrialTimeoutError")
    if code != 0:
        raise _failed(code, run.last_lines())
    return _read_result(directory / RETURNED, run)


def _note_time_limit(task: Task, directory: Path) -> None:
    """Say how long the command may go on, where its own reports will be: for whoever watches it."""
    left_s = _time_left_s(task)
    if left_s is not None:
        with (directory / RECORDS).open("ab") as file:
            file.write(time_limit_line(time.time(), left_s))


def _run(command: str, cwd: str, task: Task, directory: Path, log: CappedLog) -> tuple[bool, int, _Running]:
    run = _Running(_start(command, cwd, _environment(task, directory)), log)
    try:
        ended_in_time = run.wait(task.settings.timeout_s, task.settings.timeout_grace_s)
    finally:
        code = run.close()
    return ended_in_time, code, run


def _values(task: Task, directory: Path) -> dict[str, Any]:
    special = {
        "trial_id": task.trial_id,
        "seed": task.seed,
        "dir": str(directory),
        "result": str(directory / RETURNED),
    }
    if task.full_or_own_budget is not None:
        special["budget"] = task.full_or_own_budget
    return {**special, **task.config}


def _environment(task: Task, directory: Path) -> dict[str, str]:
    budget = task.full_or_own_budget
    ours = {
        "DHFLOW_TRIAL_ID": str(task.trial_id),
        "DHFLOW_TRIAL_DIR": str(directory),
        "DHFLOW_SEED": str(task.seed),
        "DHFLOW_BUDGET": "" if budget is None else str(budget),
        "DHFLOW_CONTINUES": task.continues or "",
        "DHFLOW_TIME_LEFT_S": _time_left(task),
        "DHFLOW_CONFIG": str(directory / CONFIG),
        "DHFLOW_RESULT": str(directory / RETURNED),
        "DHFLOW_RECORDS": str(directory / RECORDS),
        "DHFLOW_STOP": str(directory / STOP),
        "DHFLOW_CONTROLS": str(directory / CONTROLS),
    }
    return {**os.environ, **ours}


def _time_left(task: Task) -> str:
    left_s = _time_left_s(task)
    return "" if left_s is None else str(int(left_s))


def _time_left_s(task: Task) -> float | None:
    """Return how long a command has from its start, or None where nothing limits it."""
    ends = [each - time.time() for each in (task.deadline, block_ends()) if each is not None]
    limits = ends if task.settings.timeout_s is None else [*ends, task.settings.timeout_s]
    return min(limits, default=None)


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

    def __init__(self, process: subprocess.Popen[bytes], log: CappedLog) -> None:
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

    def close(self) -> int:
        """End what is left of the group, read what it wrote, and return the exit code."""
        self._signal_group(signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._drain()
        code = self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._selector.close()
        return code

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
        # A process that left the group may go on writing for ever.
        for _ in range(_MAX_DRAINED_CHUNKS):
            if not self._read_ready(0):
                break

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
        self._log.write(data)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _failed(code: int, output: str) -> CommandFailedError:
    if code - 128 in {each.value for each in signal.Signals}:  # the shell's way to say that its command was killed
        code = 128 - code
    if code < 0:
        name = signal.Signals(-code).name
        return CommandFailedError(f"the command was killed by {name}", output, signal_name=name)
    hint = {126: " (not executable)", 127: " (command not found)"}.get(code, "")
    return CommandFailedError(f"the command ended with exit code {code}{hint}", output)


def _read_result(file: Path, run: _Running) -> object:
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return _parse_last_line(run)
    try:
        return json.loads(text)
    except ValueError:
        message = f"the command's result file is no JSON: {text[:80]!r}"
    raise CommandFailedError(message, run.last_lines(), kind="ObjectiveError")


def _parse_last_line(run: _Running) -> object:
    line = run.last_line()
    with contextlib.suppress(ValueError):
        return float(line)
    with contextlib.suppress(ValueError):
        data = json.loads(line)
        if isinstance(data, dict):
            return data
    what = f"its last line of output is {line[:80]!r}, neither a number nor a JSON object" if line else "no output"
    message = f"the command wrote no result to DHFLOW_RESULT, and {what}"
    raise CommandFailedError(message, run.last_lines(), kind="ObjectiveError")
