"""PBS Pro cluster: blocks of whole nodes by qsub, one or several trials on each.

For:      any cluster with PBS Pro or OpenPBS and an ``mpiexec`` that takes ``--hostfile`` and ``--ppn`` (PALS, Hydra),
          run from a login node. For Polaris and Aurora there are files of their own.
Set:      mostly ``queue``, ``walltime`` and ``cpus_per_node``; ``account`` where it is asked for;
          ``gpus_per_node`` for one trial per GPU; ``worker_init`` where the environment that submits is not the one
          to run in.
Verified: in November 2026 over a shim: qsub, qstat, qdel and mpiexec in front of a real Slurm, two nodes with two
          accelerator slots each. Not verified on PBS itself, nor with GPUs.

Plain Parsl: ``parsl.load(make_config(queue="debug"))`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from parsl import Config
from parsl.launchers import MpiExecLauncher
from parsl.providers import PBSProProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))


def make_config(
    *,
    account: str | None = None,
    queue: str | None = None,
    nodes: int = 1,
    walltime: str = "01:00:00",
    min_blocks: int = 0,
    max_blocks: int = 1,
    cpus_per_node: int = 1,
    trials_per_node: int = 1,
    gpus_per_node: int = 0,
    gpu_vendor: Literal["nvidia", "amd", "intel"] = "nvidia",
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    cpu_affinity: str = "none",
    worker_init: str = "",
    select_options: str = "",
    scheduler_options: str = "",
    mpiexec_options: str = "--ppn 1",
    longest_trial_s: int | None = None,
    address: str = "",
    poll_s: int = 30,
    heartbeat_s: int = 15,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration for a cluster with PBS Pro.

    Parameters
    ----------
    account, queue : str, optional
        What qsub gets as ``-A`` and ``-q``.
    nodes : int
        Nodes of a block, which is one job.
    walltime : str
        Of a block, ``HH:MM:SS``.
    min_blocks, max_blocks : int
        Jobs that are held also when there is nothing to do, and at most.
    cpus_per_node : int
        ``ncpus`` of a chunk: a node's hardware threads. Numerical libraries are held to each trial's share.
    trials_per_node : int
        Trials at a time on a node without GPUs.
    gpus_per_node : int
        With GPUs (``ngpus`` of a chunk), their number decides how many trials run on a node.
    gpu_vendor : {"nvidia", "amd", "intel"}
    trials_per_accelerator, accelerators_per_trial : int
        Trials that share a GPU, or GPUs that one trial gets.
    cpu_affinity : str
        Parsl's: "none", "block", "alternating", or "list:" and each trial's cores.
    worker_init : str
        Shell lines that run on a node before its workers; by default the submitting environment is used.
    select_options : str
        More of the chunk, for example ``"system=one"``.
    scheduler_options : str
        More lines ``#PBS …``.
    mpiexec_options : str
        For the mpiexec that starts one manager on each node.
    longest_trial_s : int, optional
        With it a block takes no trial that its walltime would cut off.
    address : str
        Interface or IP address at which nodes reach this machine; all are offered by default.
    poll_s : int
        How often PBS is asked for the state of the blocks.
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
        _block.at_least_one(trials_per_node=trials_per_node, cpus_per_node=cpus_per_node)
        slots = _block.Slots([], "none", trials_per_node)
    select = ":".join(each for each in (f"ngpus={gpus_per_node}" if gpus_per_node else "", select_options) if each)
    provider = _block.asking_every(PBSProProvider, poll_s)(
        account=account,
        queue=queue,
        walltime=walltime,
        select_options=select,
        scheduler_options=scheduler_options,
        worker_init=_block.worker_environment(
            worker_init,
            _block.block_end(walltime),
            'cd "$PBS_O_WORKDIR"',
            _block.vendor_line(gpu_vendor),
            _block.thread_limits(max(1, cpus_per_node // slots.count)),
        ),
        launcher=MpiExecLauncher(bind_cmd="--cpu-bind", overrides=mpiexec_options),
        cpus_per_node=cpus_per_node,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "pbs",
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
