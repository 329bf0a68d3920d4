"""Slurm cluster: blocks of whole nodes by sbatch, one or several trials on each.

For:      any cluster with Slurm 20 or newer, run from a login node.
Set:      mostly ``queue`` (the partition) and ``walltime``; ``account``, ``qos`` and ``constraint`` where the
          cluster asks for them; ``gpus_per_node`` for one trial per GPU; ``worker_init`` where the environment
          that submits is not the one to run in; ``address`` where nodes do not reach the login node by any of its
          addresses.
Verified: run for real in November 2026 over Slurm 22.05 (a private one of several nodes on one host, without GPUs or
          accounting): a search on two nodes, one through three blocks with ``longest_trial_s`` in which no trial was
          cut off, and ``dhflow sites check slurm --run`` with blocks that start and that fail. GPUs: not verified.

Plain Parsl: ``parsl.load(make_config(queue="debug"))`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from parsl import Config
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))


def make_config(
    *,
    account: str | None = None,
    queue: str | None = None,
    nodes: int = 1,
    walltime: str = "01:00:00",
    min_blocks: int = 0,
    max_blocks: int = 1,
    qos: str | None = None,
    constraint: str | None = None,
    trials_per_node: int = 1,
    cores_per_node: int | None = None,
    gpus_per_node: int = 0,
    gpu_vendor: Literal["nvidia", "amd", "intel"] = "nvidia",
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    cpu_affinity: str = "none",
    worker_init: str = "",
    scheduler_options: str = "",
    srun_options: str = "--cpu-bind=none",
    longest_trial_s: int | None = None,
    address: str = "",
    poll_s: int = 30,
    heartbeat_s: int = 15,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration for a Slurm cluster.

    Parameters
    ----------
    account, queue, qos, constraint : str, optional
        What sbatch gets as ``--account``, ``--partition``, ``--qos`` and ``--constraint``.
    nodes : int
        Nodes of a block, which is one job.
    walltime : str
        Of a block, ``HH:MM:SS``; seconds are dropped.
    min_blocks, max_blocks : int
        Jobs that are held also when there is nothing to do, and at most.
    trials_per_node : int
        Trials at a time on a node without GPUs.
    cores_per_node : int, optional
        Hardware threads of a node; numerical libraries are then held to each trial's share.
    gpus_per_node : int
        With GPUs, their number decides how many trials run on a node.
    gpu_vendor : {"nvidia", "amd", "intel"}
    trials_per_accelerator, accelerators_per_trial : int
        Trials that share a GPU, or GPUs that one trial gets.
    cpu_affinity : str
        Parsl's: "none", "block", "alternating", or "list:" and each trial's cores.
    worker_init : str
        Shell lines that run on a node before its workers; by default the submitting environment is used.
    scheduler_options : str
        More lines ``#SBATCH …``.
    srun_options : str
        For the srun that starts one manager on each node; it must see all cores and GPUs.
    longest_trial_s : int, optional
        With it a block takes no trial that its walltime would cut off.
    address : str
        Interface or IP address at which nodes reach this machine; all are offered by default.
    poll_s : int
        How often Slurm is asked for the state of the blocks; less than its MinJobAge, or ends of blocks are missed.
    heartbeat_s : int
        A lost node is noticed after eight times this.
    run_dir : str
        Where Parsl keeps its logs and the batch scripts.
    """
    _block.walltime_seconds(walltime)
    if gpus_per_node:
        slots = _block.share_accelerators(
            [""] * gpus_per_node,
            trials_per_accelerator=trials_per_accelerator,
            accelerators_per_trial=accelerators_per_trial,
            vendor=gpu_vendor,
        )
    else:
        _block.at_least_one(trials_per_node=trials_per_node)
        slots = _block.Slots([], "none", trials_per_node)
    limits = _block.thread_limits(max(1, cores_per_node // slots.count)) if cores_per_node else ""
    provider = _block.asking_every(SlurmProvider, poll_s)(
        account=account,
        partition=queue,
        qos=qos,
        constraint=constraint,
        gpus_per_node=gpus_per_node or None,
        walltime=walltime,
        scheduler_options=scheduler_options,
        worker_init=_block.worker_environment(
            worker_init, _block.block_end(walltime), _block.vendor_line(gpu_vendor), limits
        ),
        launcher=SrunLauncher(overrides=srun_options),
        exclusive=True,
        cmd_timeout=60,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "slurm",
        provider,
        slots,
        address=address,
        drain_s=_block.drain_period(walltime, longest_trial_s),
        heartbeat_s=heartbeat_s,
        cpu_affinity=cpu_affinity,
        run_dir=run_dir,
    )


def fresh_config() -> Config:
    """Return a configuration with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give."""
    return _block.from_environment(make_config)
