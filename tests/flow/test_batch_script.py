from __future__ import annotations

from pathlib import Path

import pytest
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import SlurmProvider

from dhflow import load_site
from dhflow.errors import SiteError
from dhflow.flow.batch_script import plan_blocks


def test_the_script_is_what_parsl_would_submit_and_nothing_is(tmp_path: Path) -> None:
    config = load_site("polaris", account="physics", nodes=2, walltime="00:30:00", run_dir=str(tmp_path / "logs"))
    (planned,) = plan_blocks(config)
    assert (planned.label, planned.needs) == ("polaris", ("qsub", "qstat", "qdel"))
    assert planned.summary == "0 to 1 block of 2 nodes, 4 trials at a time on each"
    assert planned.command.split()[:5] == ["qsub", "-q", "debug", "-A", "physics"]
    for line in ("#PBS -l walltime=00:30:00", "#PBS -l select=2:ncpus=64:ngpus=4", "#PBS -l filesystems=home:eagle"):
        assert line in planned.script.splitlines()
    assert "mpiexec --cpu-bind none --depth=64 --ppn 1" in planned.script
    assert "python -m dhflow.flow.worker_pool  --max_workers_per_node=4" in planned.script
    assert "--available-accelerators 0 1 2 3" in planned.script
    assert f"#PBS -e {tmp_path}/logs/000/submit_scripts/parsl.polaris.block-0" in planned.script
    assert not list(tmp_path.iterdir())


def test_slurm_scripts_have_what_was_asked_for(tmp_path: Path) -> None:
    arguments = {"queue": "batch", "account": "physics", "nodes": 3, "gpus_per_node": 2, "min_blocks": 1}
    (planned,) = plan_blocks(load_site("slurm", **arguments, run_dir=str(tmp_path)))
    wanted = ("--nodes=3", "--time=60", "--partition=batch", "--account=physics", "--gpus-per-node=2", "--exclusive")
    for each in wanted:
        assert f"#SBATCH {each}" in planned.script.splitlines()
    assert planned.command.startswith(f"sbatch {tmp_path}/000/submit_scripts/")
    assert "srun --ntasks 3 -l --cpu-bind=none bash" in planned.script


def test_sites_without_a_scheduler_submit_nothing(tmp_path: Path) -> None:
    (planned,) = plan_blocks(load_site("laptop", workers=3, run_dir=str(tmp_path)))
    assert (planned.command, planned.needs) == ("", ())
    assert "--max_workers_per_node=3" in planned.script
    (threads,) = plan_blocks(load_site("laptop", executor="threads", workers=2))
    assert (threads.summary, threads.script) == ("2 threads of this process", "")
    assert not list(tmp_path.iterdir())


def test_a_provider_that_refuses_is_named() -> None:
    provider = SlurmProvider(partition="debug", walltime="an hour")
    config = Config(executors=[HighThroughputExecutor(label="gpu", provider=provider)])
    with pytest.raises(SiteError, match="executor 'gpu': its batch script cannot be written"):
        plan_blocks(config)
