"""Inside a batch job: workers on the nodes that the job already has, none submitted.

For:      a search that is itself started by a batch script of PBS or Slurm, or in an interactive job.
Set:      ``gpus_per_node`` for one trial per GPU, else ``trials_per_node``. The nodes are those of ``PBS_NODEFILE`` or
          ``SLURM_JOB_NUM_NODES``, or this machine alone outside a job.
Verified: run for real in November 2026: a search inside a job of two nodes over Slurm 22.05, and on one machine
          without a scheduler; over a shim of PBS (whose qstat was given the attributes of PBS Pro), that the job's end
          is known. Inside a job of PBS itself and with GPUs: not verified.
Source:   ALCF user guide, "Parsl on Aurora", section on running within a single PBS job.

A search longer than one job: chain.sh beside this file submits a job script several times, one after the other.
Plain Parsl: ``parsl.load(make_config())`` works in any script, with or without dhflow.
"""

from __future__ import annotations

import json
import logging
import os
import re
import runpy
import subprocess
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from parsl import Config
from parsl.launchers import MpiExecLauncher, SingleNodeLauncher, SrunLauncher
from parsl.launchers.base import Launcher
from parsl.providers import LocalProvider

_log = logging.getLogger(__name__)
_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))


def make_config(
    *,
    nodes: int | None = None,
    trials_per_node: int = 1,
    gpus_per_node: int = 0,
    gpu_vendor: Literal["nvidia", "amd", "intel"] = "nvidia",
    trials_per_accelerator: int = 1,
    accelerators_per_trial: int = 1,
    cpu_affinity: str = "none",
    worker_init: str = "",
    launcher: Literal["auto", "mpiexec", "srun", "none"] = "auto",
    launcher_options: str | None = None,
    time_left_s: int | None = None,
    longest_trial_s: int | None = None,
    address: str = "",
    heartbeat_s: int = 5,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration over the nodes of the job that this process runs in.

    Parameters
    ----------
    nodes : int, optional
        Fewer than the job has.
    trials_per_node : int
        Trials at a time on a node without GPUs.
    gpus_per_node : int
        With GPUs, their number decides how many trials run on a node.
    gpu_vendor : {"nvidia", "amd", "intel"}
    trials_per_accelerator, accelerators_per_trial : int
        Trials that share a GPU, or GPUs that one trial gets.
    cpu_affinity : str
        Parsl's: "none", "block", "alternating", or "list:" and each trial's cores.
    worker_init : str
        Shell lines that run before the workers; by default this very environment is used.
    launcher : {"auto", "mpiexec", "srun", "none"}
        What starts a manager on each node; by default srun in a job of Slurm and mpiexec in one of PBS.
    launcher_options : str, optional
        For that command; by default ``--ppn 1`` for mpiexec and ``--cpu-bind=none --overlap`` for srun.
    time_left_s : int, optional
        Until the job ends; a search ends before it, so that it can be taken up again. By default Slurm or PBS is
        asked; where neither answers, the end is not known.
    longest_trial_s : int, optional
        With it no trial is started that the job's end would cut off.
    address : str
        Interface or IP address at which the nodes reach this one; all are offered by default.
    heartbeat_s : int
        A lost node is noticed after eight times this.
    run_dir : str
        Where Parsl keeps its logs.
    """
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
    ends_at = _ends_at(time_left_s)
    provider = LocalProvider(
        worker_init=_block.worker_environment(
            worker_init,
            "" if ends_at is None else f"export {_block.BLOCK_ENDS}={ends_at}",
            _block.vendor_line(gpu_vendor),
        ),
        launcher=_launcher(_scheduler() if launcher == "auto" else launcher, launcher_options),
        **_block.check_blocks(nodes or nodes_of_job(), 1, 1),
    )
    # Not Parsl's: dhflow reads it, and ends a search before its own job is ended.
    provider.ends_at = ends_at
    config = _block.make_config(
        "inside_job",
        provider,
        slots,
        address=address,
        drain_s=_drain_s(ends_at, longest_trial_s),
        heartbeat_s=heartbeat_s,
        cpu_affinity=cpu_affinity,
        run_dir=run_dir,
    )
    if longest_trial_s is not None:
        config.strategy = "none"  # workers that have stopped before the job's end are not started again
    return config


def nodes_of_job() -> int:
    """Return how many nodes the surrounding job has; 1 outside one."""
    if "PBS_NODEFILE" in os.environ:
        return max(1, len(set(Path(os.environ["PBS_NODEFILE"]).read_text().split())))
    return int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))


def fresh_config() -> Config:
    """Return a configuration with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give."""
    return _block.from_environment(make_config)


def _scheduler() -> str:
    if "PBS_NODEFILE" in os.environ:  # first: a shim of PBS may run on another scheduler
        return "mpiexec"
    return "srun" if "SLURM_JOB_ID" in os.environ else "none"


def _launcher(command: str, options: str | None) -> Launcher:
    if command == "mpiexec":
        return MpiExecLauncher(bind_cmd="--cpu-bind", overrides="--ppn 1" if options is None else options)
    if command == "srun":
        return SrunLauncher(overrides="--cpu-bind=none --overlap" if options is None else options)
    return SingleNodeLauncher()


def _ends_at(time_left_s: int | None) -> int | None:
    """Return when the surrounding job will end, in UTC epoch seconds, as far as that can be known."""
    if time_left_s is not None:
        return int(time.time()) + time_left_s
    if "PBS_JOBID" in os.environ:  # first: a shim of PBS may run on another scheduler
        return _end_by_pbs(os.environ["PBS_JOBID"])
    if "SLURM_JOB_ID" in os.environ:
        return _end_by_slurm(os.environ["SLURM_JOB_ID"])
    return None


def _end_by_slurm(job: str) -> int | None:
    if "SLURM_JOB_END_TIME" in os.environ:
        return int(os.environ["SLURM_JOB_END_TIME"])
    # Slurm before 23.02 does not say it to its jobs, but to whoever asks.
    try:
        return int(datetime.fromisoformat(_ask("squeue", "--noheader", f"--jobs={job}", "--format=%e")).timestamp())
    except ValueError:
        return None


def _end_by_pbs(job: str) -> int | None:
    """Return when a job of PBS will end: when it began, or what it has used, and its walltime."""
    said = _pbs_attributes(_ask("qstat", "-f", "-F", "json", job)) or _pbs_attributes(_ask("qstat", "-f", job))
    try:
        walltime_s = _seconds(said["Resource_List.walltime"])
        if "stime" in said:
            began = datetime.strptime(said["stime"], "%a %b %d %H:%M:%S %Y").timestamp()
        else:
            began = time.time() - _seconds(said["resources_used.walltime"])
    except (KeyError, ValueError):
        return None
    return int(began) + walltime_s


def _pbs_attributes(said: str) -> dict[str, str]:
    """Return what qstat says of one job, as JSON or as text, by the names that the text has."""
    try:
        (job,) = json.loads(said)["Jobs"].values()
        lists = {name: each for name, each in job.items() if isinstance(each, dict)}
        parts = {f"{name}.{part}": str(value) for name, each in lists.items() for part, value in each.items()}
        return {**{name: str(each) for name, each in job.items()}, **parts}
    except (ValueError, KeyError, TypeError, AttributeError):  # JSON of PBS is broken by some jobs' variables
        return dict(re.findall(r"^\s+([\w.]+) = (.+)$", said, re.MULTILINE))


def _seconds(walltime: str) -> int:
    seconds = 0
    for each in walltime.split(":"):
        seconds = 60 * seconds + int(each)
    return seconds


def _ask(*command: str) -> str:
    """Return what a command says, or "" where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _drain_s(ends_at: int | None, longest_trial_s: int | None) -> int | None:
    if longest_trial_s is None:
        return None
    if ends_at is None:
        _log.warning("the end of this job is not known, so that longest_trial_s cannot hold: give time_left_s, too")
        return None
    hours, rest = divmod(ends_at - int(time.time()), 3600)
    return int(_block.drain_period(f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}", longest_trial_s))
