"""Aurora (ALCF): PBS Pro, six GPUs of two tiles and 104 cores on a node, one trial per tile.

For:      Aurora at the Argonne Leadership Computing Facility, run from a login node.
Set:      ``account``, your project. ``worker_init`` for an environment made from a module, for example
          ``"module load frameworks; source /path/to/venv/bin/activate"``; ``filesystems`` for data elsewhere than on
          home and Flare.
Verified: in November 2026 over a shim (qsub, qstat, qdel and mpiexec in front of a real Slurm), two nodes with twelve
          slots each, and with four of three tiles, without pinning: the trials' ZE_AFFINITY_MASK were spread evenly
          over the four. Not verified on Aurora itself.
Source:   ALCF user guide, "Parsl on Aurora" (affinity, launcher, file systems, 208 hardware threads) and "Running jobs
          on Aurora" (queues). Departs from it in the names of the tiles: ``0`` to ``11`` with
          ``ZE_FLAT_DEVICE_HIERARCHY=FLAT``, which the frameworks module sets anyway, because names like ``0.1`` mean a
          tile only in the composite hierarchy.

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

# The cores of each tile; 0 and 52, the first of each socket, are left to the system.
CORES = (
    "1-8,105-112",
    "9-16,113-120",
    "17-24,121-128",
    "25-32,129-136",
    "33-40,137-144",
    "41-48,145-152",
    "53-60,157-164",
    "61-68,165-172",
    "69-76,173-180",
    "77-84,181-188",
    "85-92,189-196",
    "93-100,197-204",
)

# Read on 2026-11-21 in the guide's text of 2026-08-19; prod routes a job by its size. The least walltime is 5 minutes.
# The most nodes are those in theory: the machine may have fewer in service.
QUEUES = {
    "debug": [_block.Limit(1, 2, "01:00:00")],
    "debug-scaling": [_block.Limit(2, 256, "01:00:00")],
    "prod": [
        _block.Limit(256, 1024, "12:00:00"),
        _block.Limit(1025, 1999, "18:00:00"),
        _block.Limit(2000, 10624, "24:00:00"),
    ],
    "capacity": [_block.Limit(1, 16, "168:00:00")],
    "visualization": [_block.Limit(1, 32, "08:00:00")],
}
SOURCE = "ALCF user guide, Running jobs on Aurora, August 2026"


def make_config(
    *,
    account: str,
    queue: str = "debug",
    nodes: int = 1,
    walltime: str = "01:00:00",
    min_blocks: int = 0,
    max_blocks: int = 1,
    worker_init: str = "",
    filesystems: str = "home:flare",
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
    """Return a Parsl configuration for Aurora.

    Parameters
    ----------
    account : str
        The project that is charged.
    queue : str
        "debug" and "debug-scaling" for an hour, "capacity" for days, "prod" from 256 nodes on.
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
        Trials that share a tile, or tiles that one trial gets: 2 for a whole GPU.
    cpu_affinity : str, optional
        Other than the cores nearest to each trial's tile; "none" for no pinning.
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
        CORES,
        trials_per_accelerator=trials_per_accelerator,
        accelerators_per_trial=accelerators_per_trial,
        vendor="intel",
    )
    provider = _block.asking_every(PBSProProvider, poll_s)(
        account=account,
        queue=queue,
        walltime=walltime,
        scheduler_options="\n".join((f"#PBS -l filesystems={filesystems}", scheduler_options)),
        worker_init=_block.worker_environment(
            worker_init,
            _block.block_end(walltime),
            "export TMPDIR=/tmp",
            "export ZE_FLAT_DEVICE_HIERARCHY=FLAT",
            'cd "$PBS_O_WORKDIR"',
            _block.thread_limits(max(1, 208 // slots.count)),
        ),
        launcher=MpiExecLauncher(bind_cmd="--cpu-bind", overrides="--ppn 1"),
        cpus_per_node=208,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "aurora",
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
