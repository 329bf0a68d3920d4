"""Local machine: Parsl's HighThroughputExecutor on local processes, or threads.

For:      a laptop, a workstation, a single node.
Set:      nothing; ``workers`` is one per core unless said otherwise.
Verified: run for real on Linux with parsl 2026.10.

Plain Parsl: ``parsl.load(make_config())`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from parsl import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.logconfigs.file import FileLogging
from parsl.providers import LocalProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))


def make_config(
    *,
    workers: int | None = None,
    executor: Literal["processes", "threads"] = "processes",
    cores_per_worker: int | None = None,
    heartbeat_s: int = 2,
    worker_init: str = "",
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration for this machine.

    Parameters
    ----------
    workers : int, optional
        Trials at a time; one per core by default.
    executor : {"processes", "threads"}
        Threads start at once and suit objectives that wait or release the interpreter lock;
        nothing can end a thread that hangs.
    cores_per_worker : int, optional
        Threads that numerical libraries may use in one worker; the cores shared out by default.
    heartbeat_s : int
        A killed worker is noticed after at most this long.
    worker_init : str
        Shell lines that run before the workers start.
    run_dir : str
        Where Parsl keeps its logs.
    """
    cores = os.cpu_count() or 1
    n_workers = workers or cores
    if executor == "threads":
        pool: HighThroughputExecutor | ThreadPoolExecutor = ThreadPoolExecutor(label="laptop", max_threads=n_workers)
    else:
        pool = _processes(n_workers, cores_per_worker or max(1, cores // n_workers), heartbeat_s, worker_init)
    return Config(
        executors=[pool],
        strategy="simple",  # not "none": workers that are lost all at once are started again
        strategy_period=0.2,  # the first block is only looked at after this long
        retries=0,
        usage_tracking=0,
        run_dir=run_dir,
        initialize_logging=FileLogging(level=logging.WARNING),
    )


def fresh_config() -> Config:
    """Return a configuration with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give."""
    return _block.from_environment(make_config)


def _processes(n_workers: int, threads: int, heartbeat_s: int, worker_init: str) -> HighThroughputExecutor:
    return HighThroughputExecutor(
        label="laptop",
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_node=n_workers,
        prefetch_capacity=0,
        cores_per_worker=1e-6,  # max_workers_per_node alone decides, also beyond the number of cores
        heartbeat_period=heartbeat_s,
        heartbeat_threshold=max(8, 4 * heartbeat_s),
        interchange_launch_cmd=_block.interchange_command(),
        launch_cmd=_worker_command(),
        block_error_handler=_block.FailedBlocks(),
        provider=LocalProvider(
            init_blocks=1,
            min_blocks=1,
            max_blocks=1,
            worker_init="\n".join(filter(None, (_block.thread_limits(threads), worker_init))),
        ),
    )


def _worker_command() -> str:
    """Start workers by this interpreter: Parsl's script is not on PATH where the environment is not activated."""
    return DEFAULT_LAUNCH_CMD.replace(
        "process_worker_pool.py", f"{sys.executable} -m parsl.executors.high_throughput.process_worker_pool", 1
    )
