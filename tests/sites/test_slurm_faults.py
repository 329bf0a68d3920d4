"""Searches on a real Slurm of four nodes, disturbed in the middle: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from watched_search import PROBLEM, WatchedSearch, wait_until

from dhflow.trial import Trial, TrialStatus

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.usefixtures("queue_left", "_all_nodes"),
]

N_TRIALS = 100
N_BEFORE = 25
"""So many trials have ended when something happens."""

PATIENCE_S = 120.0
"""On a busy machine each new block takes ten seconds to start its interpreters."""

ARGUMENTS = ("queue=debug", "nodes=2", "max_blocks=2", "poll_s=2", "heartbeat_s=1", "walltime=00:05:00")


def site(*more: str) -> list[str]:
    """Return the site for the command line: two blocks of two nodes, noticed soon when they are lost."""
    return ["--site", "slurm", *(word for each in (*ARGUMENTS, *more) for word in ("--site-set", each))]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedSearch]:
    with WatchedSearch(tmp_path).cleaned_up() as search:
        yield search


@pytest.fixture
def _all_nodes(slurm: Path) -> Iterator[None]:
    """Give nodes that a test has set down back to the next one."""
    del slurm
    yield
    for node in said("sinfo", "--noheader", "--Node", "--states=down,drain", "--format=%n").split():
        said("scontrol", "update", f"nodename={node}", "state=resume")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def running_blocks() -> list[str]:
    return said("squeue", "--noheader", "--states=running", "--format=%i").split()


def in_the_middle(watched: WatchedSearch) -> subprocess.Popen[bytes]:
    """Start a search and wait until both its blocks are at work."""
    process = watched.search("--max-trials", N_TRIALS, *site())
    watched.wait_for_ended(N_BEFORE)
    wait_until(lambda: len(running_blocks()) == 2, 30.0, lambda: said("squeue"))
    return process


def is_complete(watched: WatchedSearch, process: subprocess.Popen[bytes], n_trials: int = N_TRIALS) -> list[Trial]:
    """Wait for the end and check that all trials completed and nothing is left."""
    assert watched.wait_for_exit(process, PATIENCE_S) == 0, watched.said
    watched.wait_for_no_process()
    trials = watched.check(n_trials)
    assert {each.status for each in trials} == {TrialStatus.COMPLETED}
    return trials


def n_lost(trials: list[Trial]) -> int:
    return sum(len(each.attempts) - 1 for each in trials)


def test_a_block_that_is_cancelled_is_replaced(watched: WatchedSearch) -> None:
    process = in_the_middle(watched)
    said("scancel", running_blocks()[0])
    assert n_lost(is_complete(watched, process)) <= 2


def test_a_node_that_goes_down_costs_what_ran_on_its_block(watched: WatchedSearch) -> None:
    process = in_the_middle(watched)
    said("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    assert n_lost(is_complete(watched, process)) <= 2


def test_a_controller_that_restarts_costs_nothing(watched: WatchedSearch, slurm: Path) -> None:
    process = in_the_middle(watched)
    pid = int((slurm / "pid" / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 20.0, lambda: "the controller does not end")
    time.sleep(3.0)  # long enough for Parsl to ask a controller that is not there
    said("slurmctld")
    assert n_lost(is_complete(watched, process)) == 0


def test_a_killed_driver_is_resumed_and_its_jobs_are_gone(watched: WatchedSearch) -> None:
    process = watched.search("--max-trials", N_TRIALS, *site("max_blocks=3", "trials_per_node=2"))
    watched.wait_for_ended(N_BEFORE)
    wait_until(lambda: len(said("squeue", "--noheader").splitlines()) == 3, 30.0, lambda: said("squeue"))
    before = set(said("squeue", "--noheader", "--format=%i").split())
    process.kill()
    process.wait(timeout=10)
    again = watched.resume(*site())
    wait_until(
        lambda: not before & set(said("squeue", "--noheader", "--format=%i").split()),
        60.0,  # on a busy machine an interpreter alone takes its time to load everything
        lambda: f"jobs of the killed driver are in the queue: {said('squeue')}",
    )
    is_complete(watched, again)


def test_the_processes_of_a_killed_driver_end_by_themselves(watched: WatchedSearch) -> None:
    process = in_the_middle(watched)
    process.kill()
    process.wait(timeout=10)
    watched.wait_for_no_process()
    is_complete(watched, watched.resume())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_gives_the_nodes_back_and_says_how_to_go_on(
    watched: WatchedSearch, number: signal.Signals, code: int
) -> None:
    process = in_the_middle(watched)
    process.send_signal(number)
    began = time.monotonic()
    assert watched.wait_for_exit(process, 15.0) == code
    print(f"{number.name} to exit: {time.monotonic() - began:.1f} s")
    assert f"go on with: dhflow resume {watched.history}" in watched.said
    watched.wait_for_no_process()
    assert not running_blocks()
    is_complete(watched, watched.resume())


def test_blocks_drain_and_the_search_goes_on_in_new_ones(watched: WatchedSearch) -> None:
    """What ``longest_trial_s`` does, in blocks shorter than any walltime."""
    slurm = Path(__file__).parents[2] / "site_configs" / "slurm.py"
    (watched.folder / "short.py").write_text(
        textwrap.dedent(
            f"""
            import runpy

            SLURM = runpy.run_path({str(slurm)!r})["make_config"]

            def make_config():
                config = SLURM(queue="debug", nodes=2, trials_per_node=2, poll_s=1, heartbeat_s=1)
                config.executors[0].drain_period = 9
                return config
            """
        )
    )
    process = watched.search("--max-trials", 140, "--site", "short.py")
    trials = is_complete(watched, process, 140)
    assert n_lost(trials) == 0
    assert len({each.pid for each in watched.notes}) > 4, "one block was enough"


def test_blocks_that_slurm_ends_at_their_walltime_cost_what_ran_on_them(tmp_path: Path) -> None:
    """Without ``longest_trial_s`` nothing drains: Slurm's own SIGTERM and SIGKILL meet running trials."""
    hurry = tmp_path / "hurry"
    problem = PROBLEM.replace("{trial_s!r}", f"0.1 if os.path.exists({str(hurry)!r}) else {{trial_s!r}}")
    with WatchedSearch(tmp_path, trial_s=2.0, problem=problem).cleaned_up() as watched:
        process = watched.search("--max-trials", 200, *site("walltime=00:01:00"))
        watched.wait_for_ended(4)
        wait_until(lambda: len(running_blocks()) == 2, 30.0, lambda: said("squeue"))
        first = running_blocks()
        # Slurm looks for jobs that are over their time twice a minute.
        wait_until(lambda: not {*first} & {*running_blocks()}, 100.0, lambda: said("squeue"))
        hurry.touch()  # what is left of the trials proves no more
        trials = is_complete(watched, process, 200)
        assert all("JobState=TIMEOUT" in said("scontrol", "show", "job", each) for each in first)
    lost = [each for trial in trials for each in trial.attempts[:-1]]
    assert 1 <= len(lost) <= 4 * 2
    assert {each.failure.kind for each in lost if each.failure} == {"TrialLostError"}
    assert len({each.pid for each in watched.notes}) >= 8, "no block took the place of those that were ended"
    left = [each.time_left_s for each in watched.notes if each.time_left_s is not None]
    assert len(left) == len(watched.notes)
    assert max(left) < 60.0
    assert min(left) < 10.0


def test_a_search_inside_a_job_ends_before_it_and_is_resumed(watched: WatchedSearch) -> None:
    """A job of one minute, in which the search has the three quarters that it leaves itself."""
    searching = f"search problem.py --searcher random --max-trials 10000 --history {watched.history}"
    within = "--site inside_job --site-set trials_per_node=2 --site-set heartbeat_s=1"
    script = watched.folder / "job.sh"
    script.write_text(
        f"#!/bin/bash\n#SBATCH --nodes=2 --ntasks-per-node=1 --exclusive --time=1 --output={watched.output}\n"
        f"export DHFLOW_TEST_MARK={watched.mark} PYTHONPATH={os.pathsep.join(filter(None, sys.path))}\n"
        f"cd {watched.folder} && exec {sys.executable} -m dhflow {searching} {within}\n"
    )
    said("sbatch", str(script))
    wait_until(lambda: not said("squeue", "--noheader"), 58.0, lambda: watched.said)
    assert "ended    the wall-time limit was reached" in watched.said
    left = [each.time_left_s for each in watched.notes if each.time_left_s is not None]
    assert len(left) == len(watched.notes)
    assert max(left) < 60.0
    n_so_far = max(each.trial_id for each in watched.notes) + 1
    again = watched.resume("--max-trials", n_so_far + 4, *site())
    assert watched.wait_for_exit(again) == 0, watched.said
    watched.check(n_so_far + 4)
