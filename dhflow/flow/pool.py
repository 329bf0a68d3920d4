"""Where trials execute: one `concurrent.futures.Executor`, how many slots it has, and who closes it.

A site name or file, a ``parsl.Config``, a loaded ``DataFlowKernel`` or any ``Executor`` becomes a
:class:`Pool`. What dhflow opened it closes; what the user loaded it never touches.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.errors import ExecutionError, SiteError
from dhflow.flow.blocks import BlockWatch
from dhflow.flow.confidential import config_not_logged, make_private
from dhflow.flow.globus import is_globus
from dhflow.flow.job_notes import JobNotes
from dhflow.flow.routing import Route, RoutingExecutor
from dhflow.flow.site import load_site, site_arguments
from dhflow.flow.worker_pool import exit_signal

if TYPE_CHECKING:
    from parsl import Config, DataFlowKernel

_log = logging.getLogger(__name__)

CLEANUP_TIMEOUT_S = 10.0
"""A kernel that has not closed after this long (a hanging thread) is left to the end of the process."""

_POOL_COMMAND = re.compile(r"^(process_worker_pool\.py|\S+ -m parsl\.executors\.high_throughput\.process_worker_pool) ")
"""How a launch command begins that starts Parsl's own worker pool."""

_UNKNOWN_SLOTS = "says nothing about its number of workers: pass workers=N"


@dataclass(slots=True)
class Pool:
    """An executor with what the driver must know of it.

    Parameters
    ----------
    executor : concurrent.futures.Executor
    n_slots : int
        Trials that run at once.
    n_nodes : int
    description : str
        For the history and the progress display.
    can_kill : bool
        Whether closing ends trials that hang.
    log_directories : tuple of Path
        Where worker pools note how their workers died.
    kernel : DataFlowKernel, optional
        The Parsl kernel behind the executor.
    owns : bool
        Whether :meth:`close` closes it.
    is_in_process : bool
        Whether its workers are threads of this process.
    jobs : JobNotes, optional
        Names the batch jobs that this process has to cancel.
    blocks : BlockWatch, optional
        Knows what waits in the queue of a scheduler.
    parsl_executors : sequence
        The kernel's executors in use.
    ends_at : float, optional
        UTC epoch seconds when the job ends in which this process itself runs.
    shares_files : bool
        Whether its workers see the files of this machine; else all that they need and all that they
        leave travels with the trial.
    takes_priority : bool
        Whether the executor lets urgent tasks pass others that wait in it.
    needs_resources : bool
        Whether the executor takes no task without knowing how wide it is.
    """

    executor: Executor
    n_slots: int
    description: str
    n_nodes: int = 1
    can_kill: bool = False
    log_directories: tuple[Path, ...] = ()
    kernel: DataFlowKernel | None = None
    owns: bool = False
    is_in_process: bool = False
    jobs: JobNotes | None = None
    blocks: BlockWatch | None = None
    parsl_executors: Sequence[Any] = ()
    ends_at: float | None = None
    shares_files: bool = True
    takes_priority: bool = False
    needs_resources: bool = False

    def exit_signal(self, host: str, pid: int) -> str:
        """Return what ended a worker process ("SIGKILL", "exit 1"), or "" where nobody noted it."""
        noted = (exit_signal(each, host, pid) for each in self.log_directories)
        return next((each for each in noted if each), "")

    @property
    def failure(self) -> str:
        """Why no trial will ever run here again, or ""."""
        return next(filter(None, map(_failure_of, self.parsl_executors)), "")

    def mind_clock(self) -> None:
        """Let Parsl look at its blocks also after the clock was put back: it waits until the time of its last look."""
        for each in self.parsl_executors:
            if getattr(each, "_last_poll_time", 0.0) > time.time():
                each._last_poll_time = 0.0

    def close(self, *, abandoned: int = 0) -> None:
        """Close what dhflow opened; `abandoned` trials may still hang in it."""
        if not self.owns:
            return
        if self.kernel is None:
            self.executor.shutdown(wait=not abandoned, cancel_futures=True)
            return
        # The clean-up of a thread pool waits for its threads, and a trial given up may never end.
        closing = threading.Thread(target=self.kernel.cleanup, name="dhflow-close", daemon=True)
        closing.start()
        closing.join(1.0 if abandoned and not self.can_kill else CLEANUP_TIMEOUT_S)
        if closing.is_alive():
            _log.warning("%s has not closed: a trial still hangs in it", self.description)
        elif self.jobs is not None:
            self.jobs.forget()


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A site that has been checked and not been started.

    Parameters
    ----------
    is_in_process : bool
        Whether its workers are threads of this process, which share the objective with it.
    start : callable
        Makes the pool.
    shares_files : bool
        Whether its workers see the files of this machine.
    """

    is_in_process: bool
    start: Callable[[], Pool]
    shares_files: bool = True

    def open(self) -> Pool:
        """Start the workers.

        Raises
        ------
        ExecutionError
            If they do not start.
        SiteError
            If the executor does not say how many workers it has.
        """
        pool = self.start()
        pool.is_in_process, pool.shares_files = self.is_in_process, self.shares_files
        if pool.n_slots < 1:
            pool.close()
            raise SiteError(f"{pool.description} {_UNKNOWN_SLOTS}", "workers")
        return pool


def plan_pool(
    site: str | Path | Config | DataFlowKernel | Executor,
    *,
    site_set: Mapping[str, Any] | None = None,
    executors: Sequence[str] | None = None,
    workers: int | None = None,
    run_directory: Path,
) -> PoolPlan:
    """Check what the user calls a site; nothing is started.

    Parameters
    ----------
    site
        A site's name, a path to a site file, a ``parsl.Config``, a loaded ``DataFlowKernel``, or any
        ``concurrent.futures.Executor``.
    site_set : mapping, optional
        Arguments of a named site.
    executors : sequence of str, optional
        Labels of the Parsl executors to use; all by default.
    workers : int, optional
        Trials at a time, where the executor does not say, or other than it says.
    run_directory : Path
        Where a kernel that is opened here writes its logs.

    Raises
    ------
    SiteError
        If the site, one of its arguments or a label is wrong.
    """
    if workers is not None and workers < 1:
        raise SiteError(f"workers must be at least 1, it is {workers}", "workers")
    if isinstance(site, str | Path):
        config = _load_named(site, dict(site_set or {}), run_directory)
        return _plan_config(config, executors, workers, f"site {str(site)!r}", run_directory)
    if site_set:
        raise SiteError("site_set goes with a site's name or file, not with an object", next(iter(site_set)))
    if isinstance(site, Executor):
        start = functools.partial(_wrap_executor, site, workers)
        return PoolPlan(isinstance(site, ThreadPoolExecutor), start, not is_globus(site))
    return _plan_parsl_object(site, executors, workers, run_directory)


def _load_named(site: str | Path, arguments: dict[str, Any], run_directory: Path) -> Config:
    if "run_dir" not in arguments and any(each.name == "run_dir" for each in site_arguments(site)):
        arguments["run_dir"] = str(run_directory)
    return load_site(site, **arguments)


def _plan_parsl_object(
    site: object, executors: Sequence[str] | None, workers: int | None, run_directory: Path
) -> PoolPlan:
    from parsl import Config, DataFlowKernel

    if isinstance(site, Config):
        return _plan_config(site, executors, workers, "a parsl.Config", run_directory)
    if isinstance(site, DataFlowKernel):
        chosen = _chosen([each for each in site.executors.values() if each.label != "_parsl_internal"], executors)
        start = functools.partial(_wrap_kernel, site, chosen, workers, "the loaded Parsl kernel")
        return PoolPlan(_are_threads(chosen), start, _share_files(chosen))
    raise SiteError(
        "site must be a site's name, a path, a parsl.Config, a DataFlowKernel or a concurrent.futures.Executor, "
        f"not {type(site).__name__}"
    )


def _plan_config(
    config: Config, executors: Sequence[str] | None, workers: int | None, description: str, run_directory: Path
) -> PoolPlan:
    chosen = _chosen(config.executors, executors)
    for each in getattr(config, "notes", ()):  # what a site file has to say
        _log.warning("%s: %s", description, each)
    start = functools.partial(_open_config, config, chosen, workers, description, JobNotes(run_directory))
    return PoolPlan(_are_threads(chosen), start, _share_files(chosen))


def _chosen(all_executors: Sequence[Any], labels: Sequence[str] | None) -> list[Any]:
    by_label = {each.label: each for each in all_executors}
    for each in labels or ():
        if each not in by_label:
            raise SiteError(f"there is no executor {each!r}; there are: {', '.join(by_label)}", "executors")
    return [by_label[each] for each in (labels or by_label)]


def _are_threads(executors: Sequence[Any]) -> bool:
    return all(hasattr(each, "max_threads") for each in executors)


def _share_files(executors: Sequence[Any]) -> bool:
    # One search has one way of working: what runs on some workers must run on all.
    return not any(is_globus(each) for each in executors)


def _open_config(config: Config, chosen: Sequence[Any], workers: int | None, description: str, jobs: JobNotes) -> Pool:
    from parsl import DataFlowKernel

    for each in config.executors:
        # Parsl would stop half-way, its sockets open.
        if getattr(each, "interchange_proc", None) is not None:
            raise ExecutionError("this parsl.Config was used before; make a fresh one for each search")
    _find_parsl_scripts()
    make_private(jobs.folder)
    jobs.cancel_left()
    for each in config.executors:
        use_own_parts(each)
        keep_scripts_private(each)
        jobs.follow(each)
    try:
        # Not parsl.load: a kernel that the user's workflow has loaded stays the default one.
        with config_not_logged():
            kernel = DataFlowKernel(config)
    except Exception as error:
        raise ExecutionError(f"{description} does not start: {error}") from error
    pool = _wrap_kernel(kernel, chosen, workers, description)
    pool.owns = True
    pool.jobs = jobs
    return pool


def _wrap_kernel(kernel: DataFlowKernel, chosen: Sequence[Any], workers: int | None, description: str) -> Pool:
    if kernel.cleanup_called:
        raise SiteError("this Parsl kernel is closed already")
    sizes = [size_of(each) for each in chosen]
    n_slots = _slots_of(chosen, workers)
    return Pool(
        executor=_executor_over(kernel, {each.label: size_of(each)[0] or n_slots for each in chosen}),
        n_slots=n_slots,
        n_nodes=sum(nodes for _, nodes in sizes),
        description=description,
        can_kill=all(hasattr(each, "interchange_launch_cmd") for each in chosen),
        # Its subclass for MPI refuses priorities.
        takes_priority=all(type(each).__name__ == "HighThroughputExecutor" for each in chosen),
        needs_resources=any(getattr(each, "enable_mpi_mode", False) for each in chosen),
        log_directories=tuple(Path(each.worker_logdir) for each in chosen if hasattr(each, "worker_logdir")),
        kernel=kernel,
        parsl_executors=chosen,
        blocks=BlockWatch(chosen, [slots_per_block(each) for each in chosen]),
        ends_at=min((each for each in map(_end_of, chosen) if each is not None), default=None),
    )


def _executor_over(kernel: DataFlowKernel, caps: Mapping[str, int]) -> Executor:
    """Return what submits to a kernel's executors, given by label with how many trials each has at a time."""
    from parsl.concurrent import ParslPoolExecutor

    routes = [Route(ParslPoolExecutor(dfk=kernel, executors=[label]), cap) for label, cap in caps.items()]
    return routes[0].executor if len(routes) == 1 else RoutingExecutor(routes)


def _slots_of(executors: Sequence[Any], workers: int | None) -> int:
    """Return how many trials run at once: as the user says, within the caps that are stated, else all slots."""
    slots = [size_of(each)[0] for each in executors]
    if workers is None:
        return sum(slots) if all(slots) else 0
    are_capped = all(getattr(each, "cap", None) for each in executors)
    return min(workers, sum(slots)) if are_capped else workers


def size_of(executor: Any) -> tuple[int, int]:
    """Return how many trials a Parsl executor runs at once, and on how many nodes."""
    if hasattr(executor, "max_threads"):
        return executor.max_threads, 1
    if is_globus(executor):
        return getattr(executor, "cap", None) or 0, 1
    provider = getattr(executor, "provider", None)
    if provider is None or not hasattr(executor, "max_workers_per_node"):
        return 0, 1
    if getattr(executor, "enable_mpi_mode", False):  # its workers all stand on a block's first node
        return executor.max_workers_per_block * provider.max_blocks, provider.nodes_per_block * provider.max_blocks
    nodes = provider.nodes_per_block * provider.max_blocks
    per_node = executor.max_workers_per_node
    if per_node == float("inf"):
        per_node = int((os.cpu_count() or 1) / executor.cores_per_worker)
    accelerators = len(getattr(executor, "available_accelerators", ()))
    return int(min(per_node, accelerators) if accelerators else per_node) * nodes, nodes


def _failure_of(executor: Any) -> str:
    if getattr(executor, "bad_state_is_set", False):
        return f"executor {executor.label!r}: {executor.executor_exception}"
    interchange = getattr(executor, "interchange_proc", None)
    # Parsl itself does not look: its tasks would be waited for without end.
    if interchange is not None and interchange.poll() is not None:
        return f"executor {executor.label!r}: its interchange has ended with exit code {interchange.returncode}"
    return ""


def slots_per_block(executor: Any) -> int:
    """Return how many trials one block of a Parsl executor runs at once; 0 for one without blocks."""
    provider = getattr(executor, "provider", None)
    return 0 if provider is None else size_of(executor)[0] // max(1, provider.max_blocks)


def _end_of(executor: Any) -> float | None:
    # What the site inside_job leaves there: its block is the job of this process.
    ends_at: float | None = getattr(getattr(executor, "provider", None), "ends_at", None)
    return ends_at


def _wrap_executor(executor: Executor, workers: int | None) -> Pool:
    # A private attribute of both standard pools; without it the user says how many.
    known = workers or getattr(executor, "_max_workers", 0) or 0
    return Pool(
        executor=executor,
        n_slots=int(known),
        description=type(executor).__name__,
        can_kill=not isinstance(executor, ThreadPoolExecutor),
    )


def _find_parsl_scripts() -> None:
    """Put this interpreter's scripts on PATH: Parsl starts its parts by name, also from a venv not activated."""
    scripts = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if scripts not in path.split(os.pathsep):
        os.environ["PATH"] = scripts + os.pathsep + path


def use_own_parts(executor: Any) -> None:
    """Start a HighThroughputExecutor's parts as dhflow's modules, which are Parsl's and more; leave others alone.

    The pool of workers notes how they die, and leaves no process behind; neither it nor the interchange loses track
    of the others when a clock is set.
    """
    command = getattr(executor, "launch_cmd", None)
    if command:
        executor.launch_cmd = _POOL_COMMAND.sub(
            lambda _: f"{_worker_python(executor)} -m dhflow.flow.worker_pool ", command, count=1
        )
    interchange = getattr(executor, "interchange_launch_cmd", None)
    if interchange:
        executor.interchange_launch_cmd = _steady_interchange(list(interchange))


def keep_scripts_private(executor: Any) -> None:
    """Let only the user read an executor's batch scripts: the lines before its workers may hold secrets."""
    provider = getattr(executor, "provider", None)
    write = getattr(provider, "_write_submit_script", None)
    if provider is None or write is None:
        return

    def privately(text: str, path: str, *more: Any) -> object:
        with contextlib.suppress(OSError):  # Parsl then says itself what is wrong
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))  # Parsl leaves the mode of a file as it is
        return write(text, path, *more)

    provider._write_submit_script = privately


def _steady_interchange(command: list[str]) -> list[str]:
    ours = [sys.executable, "-m", "dhflow.flow.interchange"]
    if command[-1] == "interchange.py":
        return [*command[:-1], *ours]
    if command[-2:] == ["-m", "parsl.executors.high_throughput.interchange"]:
        return [*command[:-3], *ours]
    return command


def _worker_python(executor: Any) -> str:
    """Return the interpreter for workers: this very one on this machine, the environment's on a cluster."""
    from parsl.providers import LocalProvider

    is_here = isinstance(getattr(executor, "provider", None), LocalProvider)
    return sys.executable if is_here else "python"
