"""What the site files share: how a block of nodes becomes a Parsl configuration.

Plain Parsl, as the site files are. They load this file from beside themselves, so whoever copies
one of them copies this one too.
"""

from __future__ import annotations

import difflib
import inspect
import ipaddress
import logging
import os
import re
import shutil
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from parsl import Config
from parsl.addresses import address_by_interface
from parsl.executors import HighThroughputExecutor
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.error_handlers import simple_error_handler, windowed_error_handler
from parsl.jobs.states import JobState, JobStatus
from parsl.logconfigs.file import FileLogging
from parsl.providers.base import ExecutionProvider

ENVIRONMENT = "DHFLOW_SITE_"
"""What the variables begin with from which ``fresh_config`` reads the arguments of ``make_config``."""

BLOCK_ENDS = "DHFLOW_BLOCK_ENDS"
"""Variable that tells a block's workers when its scheduler will end it, in UTC epoch seconds."""

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

_MAX_FAILED_BLOCKS = 3

_GRACE_S = 60
"""Left at a block's end for results to travel and workers to stop."""

# Variables that hold a numerical library to the cores its worker owns. OMP_NUM_THREADS does not hold TensorFlow.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class Slots(NamedTuple):
    """The places for trials on one node.

    Parameters
    ----------
    accelerators : list of str
        What each place sees of the node's accelerators; empty on nodes without.
    cpu_affinity : str
        Parsl's ``cpu_affinity``.
    count : int
    note : str
        What a user may not expect of them, or "".
    """

    accelerators: list[str]
    cpu_affinity: str
    count: int
    note: str = ""


class Limit(NamedTuple):
    """What a queue takes.

    Parameters
    ----------
    least_nodes : int
    most_nodes : int or None
        None where only the machine's size limits it.
    longest : str
        The most walltime for so many nodes.
    """

    least_nodes: int
    most_nodes: int | None
    longest: str


def from_environment(make_config: Callable[..., Config]) -> Config:
    """Call a site's ``make_config`` with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give.

    Raises
    ------
    ValueError
        Naming a variable that is missing, has no fitting value, or stands for no argument of this site.
    """
    hints = typing.get_type_hints(make_config)
    arguments: dict[str, Any] = {}
    parameters = inspect.signature(make_config).parameters
    known = [ENVIRONMENT + each.upper() for each in parameters]
    for variable in os.environ:
        if variable.startswith(ENVIRONMENT) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
            raise ValueError(f"{variable} stands for no argument of this site; {hint}")
    for name, parameter in parameters.items():
        variable = ENVIRONMENT + name.upper()
        if variable in os.environ:
            arguments[name] = _parse(variable, os.environ[variable], hints.get(name, str))
        elif parameter.default is parameter.empty:
            raise ValueError(f"set {variable} in the environment")
    return make_config(**arguments)


def walltime_seconds(walltime: str) -> int:
    """Return the seconds of a walltime ``HH:MM:SS``.

    Raises
    ------
    ValueError
        If it is written otherwise, or shorter than a minute.
    """
    found = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", walltime)
    if not found:
        raise ValueError(f"walltime must be HH:MM:SS, for example 01:00:00, not {walltime!r}")
    hours, minutes, seconds = map(int, found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if total < 60:
        raise ValueError(f"walltime must be at least 00:01:00, not {walltime!r}")
    return total


def drain_period(walltime: str, longest_trial_s: int | None) -> int | None:
    """Return after how many seconds a block takes no more trials, so that none is cut off at the walltime.

    Raises
    ------
    ValueError
        If the longest trial does not fit into a block.
    """
    if longest_trial_s is None:
        return None
    period = walltime_seconds(walltime) - longest_trial_s - _GRACE_S
    if period <= 0:
        raise ValueError(
            f"a trial of {longest_trial_s} s and {_GRACE_S} s of grace do not fit into a walltime of {walltime}"
        )
    return period


def check_queue(
    queue: str,
    nodes: int,
    walltime: str,
    limits: Mapping[str, Sequence[Limit]],
    source: str,
    *,
    shortest: str = "00:01:00",
) -> str:
    """Compare a request with the documented limits of its queue.

    Parameters
    ----------
    queue : str
    nodes : int
    walltime : str
    limits : mapping
        By queue; one that routes jobs by their size has several.
    source : str
        Where they are documented, and when that was read.
    shortest : str
        The least walltime in all of them.

    Returns
    -------
    str
        What was compared with what, or "" where the limits of the queue are not known.

    Raises
    ------
    ValueError
        If the queue is known and does not take the request.
    """
    if queue not in limits:
        return ""
    lift = f"({source}; check_limits=false lifts this check)"
    least, most = limits[queue][0].least_nodes, limits[queue][-1].most_nodes
    fitting = [each for each in limits[queue] if each.least_nodes <= nodes <= (each.most_nodes or nodes)]
    if not fitting:
        raise ValueError(f"nodes must be {least} to {most} in the queue {queue!r}, not {nodes} {lift}")
    longest = fitting[0].longest
    if walltime_seconds(walltime) > walltime_seconds(longest):
        of_size = "" if len(limits[queue]) == 1 else f"for {fitting[0].least_nodes} to {fitting[0].most_nodes} nodes "
        raise ValueError(f"walltime must be at most {longest} {of_size}in the queue {queue!r}, not {walltime} {lift}")
    if walltime_seconds(walltime) < walltime_seconds(shortest):
        raise ValueError(f"walltime must be at least {shortest} in the queue {queue!r}, not {walltime} {lift}")
    size = "1 node" if nodes == 1 else f"{nodes} nodes"
    return f"{size} for {walltime} are within those of the queue {queue!r} ({source})"


def reachable_address(name: str) -> str | None:
    """Return the address at which workers reach this process.

    Parameters
    ----------
    name : str
        An interface of this machine (``"hsn0"``), an IP address, or "" to offer all and let workers try.
    """
    if not name:
        return None
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return str(address_by_interface(name))
    except OSError:  # not this machine's: a dry run elsewhere; Parsl offers all addresses then
        return None


def interchange_command() -> list[str]:
    """Start the interchange so that it dies with this process, and not of the terminal's Ctrl-C."""
    interchange = [sys.executable, "-m", "parsl.executors.high_throughput.interchange"]
    if shutil.which("setpriv") and shutil.which("setsid"):
        return ["setpriv", "--pdeathsig", "TERM", "setsid", *interchange]
    return ["setsid", *interchange] if shutil.which("setsid") else interchange


def thread_limits(threads: int) -> str:
    """Return shell lines that hold numerical libraries to so many threads, unless the user has set them."""
    return "\n".join(f"export {name}=${{{name}:-{threads}}}" for name in _THREAD_VARIABLES)


def block_end(walltime: str) -> str:
    """Return the shell line that notes, when a block starts, when its walltime will be over."""
    seconds = walltime_seconds(walltime)
    return f"export {BLOCK_ENDS}=$(($(date +%s) + {seconds - seconds % 60}))"


def worker_environment(worker_init: str, *lines: str) -> str:
    """Return the shell lines that run on a node before its workers.

    Parameters
    ----------
    worker_init : str
        The user's lines, which activate the workers' environment. If "", the environment of this very
        interpreter is used: it must lie on a file system that the nodes see.
    *lines : str
        The site's own; empty ones are left out.
    """
    own = worker_init or f'export PATH="{Path(sys.executable).parent}:$PATH"'
    return "\n".join(each for each in (*lines, own) if each)


def share_accelerators(
    cores: Sequence[str],
    *,
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    vendor: Literal["nvidia", "amd", "intel"] = "nvidia",
) -> Slots:
    """Share a node's accelerators, and the cores beside them, out to trials.

    Parameters
    ----------
    cores : sequence of str
        For each accelerator the cores nearest to it, for example ``"0-7,32-39"``; "" for no pinning.
    trials_per_accelerator, accelerators_per_trial : int
        At most one of them above 1.
    vendor : {"nvidia", "amd", "intel"}
        Parsl itself divides the numbers of shared accelerators where it finds ``nvidia-smi``.

    Raises
    ------
    ValueError
        If the accelerators cannot be shared out so.
    """
    n = len(cores)
    at_least_one(trials_per_accelerator=trials_per_accelerator, accelerators_per_trial=accelerators_per_trial)
    if trials_per_accelerator > 1 and accelerators_per_trial > 1:
        raise ValueError("trials_per_accelerator and accelerators_per_trial cannot both be above 1")
    if accelerators_per_trial > n:
        raise ValueError(f"accelerators_per_trial is {accelerators_per_trial}, a node has {n}")
    note = ""
    if accelerators_per_trial > 1:
        idle = n % accelerators_per_trial
        if idle:
            note = f"{idle} of the {n} accelerators of a node {'is' if idle == 1 else 'are'} left idle"
            note += f": accelerators_per_trial={accelerators_per_trial} does not divide them"
        groups = [range(i, i + accelerators_per_trial) for i in range(0, n - idle, accelerators_per_trial)]
        names = [",".join(map(str, group)) for group in groups]
        shares = [",".join(cores[i] for i in group) for group in groups]
    else:
        slots = range(n * trials_per_accelerator)
        names = [str(i if vendor == "nvidia" else i // trials_per_accelerator) for i in slots]
        shares = [share for each in cores for share in split_cores(each, trials_per_accelerator)]
    return Slots(names, "none" if "" in cores else "list:" + ":".join(shares), len(names), note)


def vendor_line(vendor: str) -> str:
    """Return the shell line by which dhflow's workers know that each must count its accelerators anew, or "".

    Parsl sets ``ROCR_VISIBLE_DEVICES`` and ``CUDA_VISIBLE_DEVICES`` alike; of AMD's devices the second counts among
    those that the first leaves.
    """
    return "export DHFLOW_GPU_VENDOR=amd" if vendor == "amd" else ""


def split_cores(cores: str, parts: int) -> list[str]:
    """Split a list of core ranges, each range into equal parts: hardware threads of one core stay together."""
    if not cores:
        return [""] * parts
    ranges = [(int(each.partition("-")[0]), int(each.rpartition("-")[2])) for each in cores.split(",")]
    if any((high - low + 1) < parts for low, high in ranges):
        raise ValueError(f"the cores {cores} cannot be shared out to {parts} trials")
    shares = []
    for part in range(parts):
        pieces = []
        for low, high in ranges:
            width = (high - low + 1) // parts
            pieces.append(f"{low + part * width}-{low + (part + 1) * width - 1}")
        shares.append(",".join(pieces))
    return shares


def asking_every(provider: type[ExecutionProvider], seconds: int) -> type[ExecutionProvider]:
    """Return a provider that asks the scheduler for its blocks' states this often; Parsl's do once a minute."""
    at_least_one(poll_s=seconds)
    return type(provider.__name__, (provider,), {"status_polling_interval": seconds})


def at_least_one(**counts: int) -> None:
    """Raise ValueError for the first argument below 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


class FailedBlocks:
    """Decides, as Parsl's ``block_error_handler``, when an executor is given up because of blocks that fail.

    Parsl's own gives an executor up for good as soon as every block that it ever had has failed: after one killed
    manager or one lost node, where there is one block at a time. Here the first blocks must all fail before
    anything came back from them, or three blocks in a row.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._n_in_a_row = 0
        self._n_ended = 0

    def __call__(self, executor: BlockProviderExecutor, status: dict[str, JobStatus]) -> None:
        """Look at the blocks; called after each poll of their scheduler."""
        n_ended = executor._task_counter - executor.outstanding()  # type: ignore[attr-defined]
        if n_ended == 0:
            simple_error_handler(executor, status)
            return
        failed = {block for block, each in status.items() if each.state in (JobState.FAILED, JobState.MISSING)}
        for _ in failed - self._known:
            self._n_in_a_row = 1 if n_ended > self._n_ended else self._n_in_a_row + 1
            self._n_ended = n_ended
        self._known |= failed
        if self._n_in_a_row >= _MAX_FAILED_BLOCKS:
            windowed_error_handler(executor, {each: status[each] for each in failed}, _MAX_FAILED_BLOCKS)


def check_blocks(nodes: int, min_blocks: int, max_blocks: int) -> dict[str, int]:
    """Return the provider's arguments for so many blocks of so many nodes.

    Raises
    ------
    ValueError
        If a number is impossible.
    """
    at_least_one(nodes=nodes, max_blocks=max_blocks)
    if not 0 <= min_blocks <= max_blocks:
        raise ValueError(f"min_blocks must be 0 to max_blocks ({max_blocks}), not {min_blocks}")
    return {
        "nodes_per_block": nodes,
        "init_blocks": max(1, min_blocks),
        "min_blocks": min_blocks,
        "max_blocks": max_blocks,
    }


def make_config(
    label: str,
    provider: ExecutionProvider,
    slots: Slots,
    *,
    address: str,
    drain_s: int | None,
    heartbeat_s: int,
    cpu_affinity: str | None,
    run_dir: str,
    limits: str = "",
) -> Config:
    """Return the configuration of one executor over blocks of nodes, as all sites with nodes have it.

    ``limits`` is what :func:`check_queue` says; ``dhflow sites check`` shows it.
    """
    at_least_one(heartbeat_s=heartbeat_s)
    executor = HighThroughputExecutor(
        label=label,
        address=reachable_address(address),
        max_workers_per_node=slots.count,
        cores_per_worker=1e-6,  # max_workers_per_node alone decides
        available_accelerators=slots.accelerators,
        cpu_affinity=slots.cpu_affinity if cpu_affinity is None else cpu_affinity,
        prefetch_capacity=0,  # a trial that waits behind another on one worker could run elsewhere
        heartbeat_period=heartbeat_s,
        heartbeat_threshold=max(8, 8 * heartbeat_s),
        drain_period=drain_s,
        block_error_handler=FailedBlocks(),
        interchange_launch_cmd=interchange_command(),
        provider=provider,
    )
    config = Config(
        executors=[executor],
        strategy="simple",
        strategy_period=1,  # the first block is only asked for after this long
        retries=0,  # whoever submits decides about lost trials
        usage_tracking=0,
        run_dir=run_dir,
        initialize_logging=FileLogging(level=logging.INFO),
    )
    # Not Parsl's: dhflow says them before anything is submitted.
    config.queue_limits = limits
    config.notes = [slots.note] if slots.note else []
    return config


def _parse(variable: str, text: str, wanted: Any) -> Any:
    kinds = typing.get_args(wanted) or (wanted,)
    if typing.get_origin(wanted) is Literal and text not in kinds:
        raise ValueError(f"{variable} must be one of {', '.join(kinds)}, not {text!r}")
    if bool in kinds:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(f"{variable} must be one of {', '.join(_TRUE + _FALSE)}, not {text!r}")
        return text.lower() in _TRUE
    if int in kinds:
        try:
            return int(text)
        except ValueError:
            if str not in kinds:
                raise ValueError(f"{variable} must be a whole number, not {text!r}") from None
    return text
