"""Trials of different width on Parsl's MPIExecutor: real launches by MPICH of as many ranks as each config says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parsl import Config
from parsl.executors import MPIExecutor, ThreadPoolExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from dhflow import Categorical, Float, Integer, SearchSpace, Study, TrialStatus, search
from dhflow.errors import SearchError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SPACE = SearchSpace({"x": Float(0.0, 1.0), "nodes": Integer(1, 3), "ranks": Categorical([1, 2])})
NODES = ["n1", "n2", "n3", "n4"]
WIDTH = {"num_nodes": "nodes", "ranks_per_node": "ranks", "launcher_options": "-launcher fork"}
RANK = """
import os, sys, time
from pathlib import Path

folder = Path(os.environ["DHFLOW_TRIAL_DIR"])
(folder / ("rank" + os.environ["PMI_RANK"])).write_text(os.environ["PARSL_MPI_PREFIX"])
time.sleep(0.5)
if os.environ["PMI_RANK"] == "0":
    print(float(sys.argv[1]) + int(os.environ["PMI_SIZE"]))
"""


def has_mpich() -> bool:
    command = shutil.which("mpiexec")
    if command is None:
        return False
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    return "HYDRA" in said


@pytest.fixture
def nodes(tmp_path: Path) -> Config:
    """Four nodes of a batch job, which are all this machine."""
    nodefile = tmp_path / "nodes"
    nodefile.write_text("\n".join(NODES) + "\n")
    executor = MPIExecutor(
        label="mpi",
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_block=4,
        heartbeat_period=2,
        heartbeat_threshold=10,
        encrypted=True,
        provider=LocalProvider(
            launcher=SimpleLauncher(), worker_init=f"export PBS_NODEFILE={nodefile}", init_blocks=1, max_blocks=1
        ),
    )
    return Config(executors=[executor], strategy="none", strategy_period=0.2, run_dir=str(tmp_path / "parsl"))


@pytest.mark.skipif(not has_mpich(), reason="needs MPICH's mpiexec (apt-get install mpich)")
def test_each_trial_gets_the_nodes_and_ranks_of_its_config(nodes: Config, tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    # The last group: names that the program does not need, but a command has to mention.
    command = f"$PARSL_MPI_PREFIX {sys.executable} {tmp_path / 'rank.py'} {{x}} {{nodes}} {{ranks}}"
    result = search(
        command,
        SPACE,
        site=nodes,
        searcher="random",
        seed=3,
        max_trials=8,
        history=tmp_path / "h.h5",
        resources=WIDTH,
    )
    assert [each.status for each in result.trials] == [TrialStatus.COMPLETED] * 8, result.trials
    for trial in result.trials:
        n_ranks = trial.config["nodes"] * trial.config["ranks"]
        assert trial.objective == pytest.approx(trial.config["x"] + n_ranks)
        prefixes = [each.read_text() for each in (tmp_path / f"h.h5.run/trials/{trial.trial_id}/1").glob("rank*")]
        assert len(prefixes) == n_ranks
        hosts = prefixes[0].split("-hosts ")[1].split()[0].split(",")
        assert len(hosts) == trial.config["nodes"]
        assert set(hosts) <= set(NODES)
    assert len({each.config["nodes"] for each in result.trials}) > 1
    _check_no_node_is_shared(result.trials)


def _check_no_node_is_shared(trials: list) -> None:
    """At no trial's start do those that run have more nodes than there are."""
    for trial in trials:
        at = trial.attempts[-1].started_at
        together = [each for each in trials if each.attempts[-1].started_at <= at < each.attempts[-1].ended_at]
        assert sum(each.config["nodes"] for each in together) <= len(NODES)


def test_without_a_width_nothing_is_run(nodes: Config, tmp_path: Path) -> None:
    with Study(SPACE, searcher="random") as study, pytest.raises(SearchError, match="how wide a trial is"):
        study.run(lambda config: config["x"], site=nodes, max_trials=1)
    assert not study.trials


def test_a_width_that_is_no_parameter_or_has_no_executor_is_said(nodes: Config) -> None:
    with pytest.raises(SearchError, match="num_nodes is to be 'node', which is no parameter"):
        search(len, SPACE, site=nodes, searcher="random", max_trials=1, resources={"num_nodes": "node"})
    threads = Config(executors=[ThreadPoolExecutor(max_threads=1)], initialize_logging=False)
    with pytest.raises(SearchError, match="knows no resources"):
        search(len, SPACE, site=threads, searcher="random", max_trials=1, resources={"num_nodes": 1})
