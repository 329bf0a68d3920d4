"""Parsl's process worker pool, which also writes down how its workers die.

Parsl says that a worker was lost, not why. Run in place of ``process_worker_pool.py`` (as
``python -m dhflow.flow.worker_pool`` with the same arguments), this module notes the exit code of
each dead worker in ``LOGDIR/exits/HOST-PID`` before Parsl reports the loss, so that the driver can
tell a kernel's out-of-memory kill from a crash. And no process that the pool has started outlives it: the
server of its multiprocessing manager would, for ever, when the pool is killed. A worker that is killed while it waits
for a task leaves the others able to take one. Its own clock goes on evenly.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import runpy
import shutil
import signal
import sys
from multiprocessing import util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dhflow.flow.queue_lock import outlive_killed_workers
from dhflow.flow.steady_clock import keep_time

EXITS = "exits"
_POOL = "parsl.executors.high_throughput.process_worker_pool"


def exit_signal(logdir: Path, host: str, pid: int) -> str:
    """Return the name of the signal that ended a worker, "exit N" for an exit code, or "" when not known."""
    try:
        code = int((logdir / EXITS / f"{host}-{pid}").read_text())
    except (OSError, ValueError):
        return ""
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _note_exits(logdir: Path) -> None:
    """Make every finding that a worker process is dead leave its exit code in a file first."""
    is_alive = BaseProcess.is_alive

    def noting(self: BaseProcess) -> bool:
        alive = is_alive(self)
        if not alive and self.exitcode is not None and self.pid is not None:
            with contextlib.suppress(OSError):  # a full disk must not end the pool
                (logdir / EXITS).mkdir(parents=True, exist_ok=True)
                (logdir / EXITS / f"{platform.node()}-{self.pid}").write_text(str(self.exitcode))
        return alive

    BaseProcess.is_alive = noting  # type: ignore[method-assign]


def _bind_children() -> None:
    """Let the kernel end what this process spawns as soon as it is gone itself, however it goes."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:  # not Linux, or an old one: they end when they notice
        return
    spawn = util.spawnv_passfds

    def bound(path: Any, arguments: Any, passed: Any) -> int:
        if any("resource_tracker" in str(each) for each in arguments):
            return spawn(path, arguments, passed)  # it cleans up after the others, and then ends
        return spawn(os.fsencode(setpriv), ["setpriv", "--pdeathsig", "KILL", path, *arguments[1:]], passed)

    util.spawnv_passfds = bound  # type: ignore[assignment]


def _try_waiting_tasks_once() -> None:
    """Let Parsl's pool for MPI go through its waiting tasks once when nodes are free again.

    Parsl 2026.10 takes a task that still does not fit from its queue and puts it back until Python's stack is
    full; the thread that sends results dies of it, and whatever runs there is never heard of again.
    """
    from parsl.executors.high_throughput.mpi_resource_management import MPITaskScheduler

    def try_waiting(self: Any) -> None:
        waiting = []
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._backlog_queue.get(block=False))
        for each in waiting:
            self.put_task(each.task)

    MPITaskScheduler._schedule_backlog_tasks = try_waiting


def _logdir(arguments: list[str]) -> Path:
    for index, each in enumerate(arguments):
        if each.startswith("--logdir="):
            return Path(each.partition("=")[2])
        if each in ("--logdir", "-l") and index + 1 < len(arguments):
            return Path(arguments[index + 1])
    return Path("process_worker_pool_logs")


if __name__ == "__main__":
    _note_exits(_logdir(sys.argv))
    _bind_children()
    if "--enable_mpi_mode" in sys.argv:
        _try_waiting_tasks_once()
    outlive_killed_workers()
    keep_time()
    runpy.run_module(_POOL, run_name="__main__", alter_sys=True)
