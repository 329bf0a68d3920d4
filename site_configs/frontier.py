"""Frontier (OLCF): Slurm, eight GPUs (the halves of four MI250X) and 56 usable cores on a node, one trial per GPU.

For:      Frontier at the Oak Ridge Leadership Computing Facility, run from a login node.
Set:      ``account``, your project; ``worker_init`` where the environment that submits is not the one to run in, for
          example ``"module load cray-python rocm; source /path/to/venv/bin/activate"``.
Verified: not verified: only built, and its batch script printed, off the machine.
Source:   Frontier User Guide, "Frontier Compute Nodes" (which cores lie beside which GPU; the first core of each group
          of eight is reserved), its sbatch examples, and its queue policies.

Plain Parsl: ``parsl.load(make_config(account="my_project"))`` works in any script, with or without dhflow.
Parsl gives a worker the number of its GPU in ROCR_VISIBLE_DEVICES and in CUDA_VISIBLE_DEVICES alike. ROCm takes the
first, and HIP then looks for the second among what is left: with number 5 it finds no GPU (Parsl's issue 3858). A
search of dhflow puts that right in each worker; an app of your own begins with
``os.environ["CUDA_VISIBLE_DEVICES"] = "0"`` (``"0,1"`` for two GPUs), before PyTorch or TensorFlow look for devices.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

from parsl import Config
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))

# The cores beside each GPU, without the reserved first of each eight.
CORES = ("49-55", "57-63", "17-23", "25-31", "1-7", "9-15", "33-39", "41-47")

# Read on 2026-11-21 in the guide's text of 2026-07-22. The batch partition's walltime depends on the nodes.
QUEUES = {
    "batch": [
        _block.Limit(1, 91, "02:00:00"),
        _block.Limit(92, 183, "06:00:00"),
        _block.Limit(184, 9472, "12:00:00"),
    ],
    "extended": [_block.Limit(1, 64, "24:00:00")],
}
QOS = {"debug": [_block.Limit(1, 9472, "02:00:00")]}
SOURCE = "Frontier User Guide, Job priority by node count, July 2026"


def make_config(
    *,
    account: str,
    queue: str = "batch",
    qos: str | None = None,
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
    """Return a Parsl configuration for Frontier.

    Parameters
    ----------
    account : str
        The project that is charged.
    queue : str
        The partition: "batch" or "extended".
    qos : str, optional
        For example "debug", for two hours at most, and one job of a user at a time.
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
        Whether nodes and walltime are compared with the documented limits of the partition or the QOS.
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
    limits = ""
    if check_limits:
        has_qos = qos not in (None, "normal")
        limits = _block.check_queue(qos if has_qos else queue, nodes, walltime, QOS if has_qos else QUEUES, SOURCE)
    slots = _block.share_accelerators(
        CORES,
        trials_per_accelerator=trials_per_accelerator,
        accelerators_per_trial=accelerators_per_trial,
        vendor="amd",
    )
    provider = _block.asking_every(SlurmProvider, poll_s)(
        account=account,
        partition=queue,
        qos=qos,
        gpus_per_node=8,
        worker_init=_block.worker_environment(
            worker_init,
            _block.block_end(walltime),
            _block.vendor_line("amd"),
            _block.thread_limits(max(1, 56 // slots.count)),
        ),
        # One manager on each node, which sees all of it: Parsl itself shares cores and GPUs out.
        launcher=SrunLauncher(overrides="--cpus-per-task=56 --cpu-bind=none --gpu-bind=none"),
        walltime=walltime,
        scheduler_options=scheduler_options,
        exclusive=True,
        cmd_timeout=60,
        **_block.check_blocks(nodes, min_blocks, max_blocks),
    )
    return _block.make_config(
        "frontier",
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
