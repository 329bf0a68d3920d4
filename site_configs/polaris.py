"""Polaris (ALCF): PBS Pro, four A100 and 32 cores on a node, one trial per GPU.

For:      Polaris at the Argonne Leadership Computing Facility, run from a login node.
Set:      ``account``, your project. ``worker_init`` for an environment made from the conda module, for example
          ``"module use /soft/modulefiles; module load conda; conda activate /path/to/env"``; ``filesystems`` for data
          elsewhere than on home and Eagle.
Verified: in November 2026 over a shim (qsub, qstat, qdel and mpiexec in front of a real Slurm), two nodes with four
          accelerator slots each: the trials' CUDA_VISIBLE_DEVICES were spread evenly; two trials on one GPU with a
          stand-in for nvidia-smi; pinning with another list of cores than CORES. Not verified on Polaris itself.
Source:   ALCF user guide, "Parsl on Polaris" (interface, affinity, TMPDIR against long socket paths) and "Running jobs
          on Polaris" (queues); parsl/configs/polaris.py (launcher, select).

Plain Parsl: ``parsl.load(make_config(account="my_project"))`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

from parsl import Config
from parsl.launchers import MpiExecLauncher
from parsl.providers import PBSProProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))

# The cores of each GPU's NUMA node: GPU 0 hangs on the last one.
CORES = ("24-31,56-63", "16-23,48-55", "8-15,40-47", "0-7,32-39")

# Read on 2026-11-21 in the guide's text of 2026-08-19; prod routes a job by its size. The least walltime is 5 minutes.
QUEUES = {
    "debug": [_block.Limit(1, 2, "01:00:00")],
    "debug-scaling": [_block.Limit(1, 10, "01:00:00")],
    "prod": [_block.Limit(10, 24, "03:00:00"), _block.Limit(25, 99, "06:00:00"), _block.Limit(100, 496, "24:00:00")],
    "preemptable": [_block.Limit(1, 10, "72:00:00")],
    "demand": [_block.Limit(1, 56, "01:00:00")],
    "capacity": [_block.Limit(1, 4, "168:00:00")],
}
SOURCE = "ALCF user guide, Running jobs on Polaris, August 2026"


def make_config(
    *,
    account: str,
    queue: str = "debug",
    nodes: int = 1,
    walltime: str = "01:00:00",
    min_blocks: int = 0,
    max_blocks: int = 1,
    worker_init: str = "",
    filesystems: str = "home:eagle",
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    cpu_affinity: str | None = None,
    longest_trial_s: int | None = None,
    scheduler_options: str = "",
    check_limits: bool = True,
    address: str = "bond0",
    poll_s: int = 30,
    heartbeat_s: int = 15,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration for Polaris.

    Parameters
    ----------
    account : str
        The project that is charged.
    queue : str
        "debug" and "debug-scaling" for an hour, "preemptable" and "capacity" for days, "prod" from 10 nodes on.
    nodes : int
        Nodes of a block, which is one job.
    walltime : str
        Of a block, ``HH:MM:SS``.
    min_blocks, max_blocks : int
        Jobs that are held also when there is nothing to do, and at most.
    worker_init : str
        Shell lines that run on a node before its workers; by default the submitting environment is used.
    filesystems : str
        Those the job needs, with colons between.
    trials_per_accelerator, accelerators_per_trial : int
        Trials that share a GPU, or GPUs that one trial gets.
    cpu_affinity : str, optional
        Other than the cores nearest to each trial's GPU; "none" for no pinning.
    longest_trial_s : int, optional
        With it a block takes no trial that its walltime would cut off.
    scheduler_options : str
        More lines ``#PBS …``.
    check_limits : bool
        Whether nodes and walltime are compared with the documented limits of the queue.
    address : str
        Interface or IP address at which nodes reach the login node.
    poll_s : int
        How often PBS is asked for the state of the blocks.
    heartbeat_s : int
        A lost node is noticed after eight times this.
    run_dir : str
        Where Parsl keeps its logs and the batch scripts.
    """
    _block.walltime_seconds(walltime)
    limits = ""
    if check_limits:
        limits = _block.check_queue(queue, nodes, walltime, QUEUES, SOURCE, shortest="00:05:00")
    slots = _block.share_accelerators(
        CORES, trials_per_accelerator=trials_per_accelerator, accelerators_per_trial=accelerators_per_trial
    )
    provider = _block.asking_every(PBSProProvider, poll_s)(
        account=account,
        queue=queue,
        walltime=walltime,
        select_options="ngpus=4",
        scheduler_options="\n".join((f"#PBS -l filesystems={filesystems}", scheduler_options)),
        worker_init=_block.worker_environment(
            worker_init,
            _block.block_end(walltime),
            "export TMPDIR=/tmp",
            'cd "$PBS_O_WORKDIR"',
            _block.thread_limits(max(1, 64 // slots.count)),
        ),
        launcher=MpiExecLauncher(bind_cmd="--cpu-bind", overrides="--depth=64 --ppn 1"),
        cpus_per_node=64,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "polaris",
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
