"""Perlmutter (NERSC): Slurm, four A100 and 64 cores on a GPU node, one trial per GPU.

For:      the GPU nodes of Perlmutter at NERSC, run from a login node.
Set:      ``account``, your project (GPU time may be booked on ``<project>_g``); ``queue`` (the QOS) beyond half an
          hour; ``worker_init`` where the environment that submits is not the one to run in, for example
          ``"module load python; conda activate /path/to/env"``.
Verified: not verified: only built, and its batch script printed, off the machine.
Source:   parsl.readthedocs.io and Globus Compute's examples for Perlmutter (SlurmProvider, SrunLauncher,
          ``--constraint gpu``); NUMA domains of the GPUs as ``nvidia-smi topo -m`` prints them there. The interface
          ``hsn0`` was not found documented for login nodes: set ``address=""`` to offer all.

Plain Parsl: ``parsl.load(make_config(account="my_project"))`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

from parsl import Config
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))

# The cores of each GPU's NUMA domain: GPU 0 hangs on the last one.
CORES = ("48-63,112-127", "32-47,96-111", "16-31,80-95", "0-15,64-79")

# NERSC's table as others quoted it in July 2026; it was not read itself. Nodes without a number: only the machine's
# size limits them. Not in here are "shared", which gives parts of nodes, and "interactive", which takes no batch jobs.
QUEUES = {
    "debug": [_block.Limit(1, 8, "00:30:00")],
    "regular": [_block.Limit(1, None, "48:00:00")],
    "premium": [_block.Limit(1, None, "48:00:00")],
    "preempt": [_block.Limit(1, 128, "48:00:00")],
    "overrun": [_block.Limit(1, None, "48:00:00")],
}
SOURCE = "NERSC, Queues and charges, as of July 2026"


def make_config(
    *,
    account: str,
    queue: str = "debug",
    constraint: str = "gpu",
    nodes: int = 1,
    walltime: str = "00:30:00",
    min_blocks: int = 0,
    max_blocks: int = 1,
    worker_init: str = "",
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    cpu_affinity: str | None = None,
    longest_trial_s: int | None = None,
    scheduler_options: str = "",
    check_limits: bool = True,
    address: str = "hsn0",
    poll_s: int = 30,
    heartbeat_s: int = 15,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration for Perlmutter's GPU nodes.

    Parameters
    ----------
    account : str
        The project that is charged.
    queue : str
        The QOS: "debug" for half an hour, "regular", "premium", "preempt", "overrun" for two days.
    constraint : str
        "gpu", or "gpu&hbm80g" for the GPUs with more memory.
    nodes : int
        Nodes of a block, which is one job.
    walltime : str
        Of a block, ``HH:MM:SS``; seconds are dropped.
    min_blocks, max_blocks : int
        Jobs that are held also when there is nothing to do, and at most.
    worker_init : str
        Shell lines that run on a node before its workers; by default the submitting environment is used.
    trials_per_accelerator, accelerators_per_trial : int
        Trials that share a GPU, or GPUs that one trial gets.
    cpu_affinity : str, optional
        Other than the cores nearest to each trial's GPU; "none" for no pinning.
    longest_trial_s : int, optional
        With it a block takes no trial that its walltime would cut off.
    scheduler_options : str
        More lines ``#SBATCH …``.
    check_limits : bool
        Whether nodes and walltime are compared with the documented limits of the queue.
    address : str
        Interface or IP address at which nodes reach the login node.
    poll_s : int
        How often Slurm is asked for the state of the blocks; less than its MinJobAge, or ends of blocks are missed.
    heartbeat_s : int
        A lost node is noticed after eight times this.
    run_dir : str
        Where Parsl keeps its logs and the batch scripts.
    """
    _block.walltime_seconds(walltime)
    limits = _block.check_queue(queue, nodes, walltime, QUEUES, SOURCE) if check_limits else ""
    slots = _block.share_accelerators(
        CORES,
        trials_per_accelerator=trials_per_accelerator,
        accelerators_per_trial=accelerators_per_trial,
    )
    provider = _block.asking_every(SlurmProvider, poll_s)(
        account=account,
        qos=queue,
        constraint=constraint,
        gpus_per_node=4,
        worker_init=_block.worker_environment(
            worker_init, _block.block_end(walltime), _block.thread_limits(max(1, 128 // slots.count))
        ),
        # One manager on each node, which sees all of it: Parsl itself shares cores and GPUs out.
        launcher=SrunLauncher(overrides="--cpus-per-task=128 --cpu-bind=none --gpu-bind=none"),
        walltime=walltime,
        scheduler_options=scheduler_options,
        exclusive=True,
        cmd_timeout=60,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "perlmutter",
        provider,
        slots,
        address=address,
        drain_s=_block.drain_period(walltime, longest_trial_s),
        heartbeat_s=heartbeat_s,
        cpu_affinity=cpu_affinity,
        run_dir=run_dir,
        limits=limits,
    )


def fresh_config() -> Config:
    """Return a configuration with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give."""
    return _block.from_environment(make_config)
