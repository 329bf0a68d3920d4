"""What a pool does against faults of what lies between it and its workers."""

from __future__ import annotations

import os
import runpy
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.jobs.states import JobState, JobStatus

from dhflow.errors import SearchError
from dhflow.flow.pool import Pool, use_own_parts
from dhflow.flow.resources import check_resources, resources_of

ROOT = Path(__file__).parents[2]


def pool(*executors: Any, **more: Any) -> Pool:
    return Pool(ThreadPoolExecutor(1), 1, "a pool", parsl_executors=executors, **more)


def process(code: int | None) -> Any:
    return SimpleNamespace(poll=lambda: code, returncode=code)


def test_an_executor_that_was_given_up_or_has_lost_its_interchange_is_a_failure() -> None:
    well = SimpleNamespace(label="a", bad_state_is_set=False, interchange_proc=process(None))
    dead = SimpleNamespace(label="b", bad_state_is_set=False, interchange_proc=process(-9))
    bad = SimpleNamespace(label="c", bad_state_is_set=True, executor_exception=ValueError("no account"))
    assert pool(well, SimpleNamespace(label="threads")).failure == ""
    assert pool(well, dead).failure == "executor 'b': its interchange has ended with exit code -9"
    assert pool(bad).failure == "executor 'c': no account"


def test_after_a_clock_was_put_back_blocks_are_looked_at_again() -> None:
    ahead = SimpleNamespace(_last_poll_time=time.time() + 1_000)
    usual = SimpleNamespace(_last_poll_time=5.0)
    pool(ahead, usual, SimpleNamespace()).mind_clock()
    assert (ahead._last_poll_time, usual._last_poll_time) == (0.0, 5.0)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["interchange.py"], [sys.executable, "-m", "dhflow.flow.interchange"]),
        (
            ["setsid", "python3", "-m", "parsl.executors.high_throughput.interchange"],
            ["setsid", sys.executable, "-m", "dhflow.flow.interchange"],
        ),
        (["my-interchange", "--fast"], ["my-interchange", "--fast"]),
    ],
)
def test_the_interchange_is_started_as_ours(command: list[str], expected: list[str]) -> None:
    executor = SimpleNamespace(launch_cmd=None, interchange_launch_cmd=command)
    use_own_parts(executor)
    assert executor.interchange_launch_cmd == expected


def test_a_steady_clock_does_not_follow_one_that_is_set(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(bytes(8))
    code = (
        "import struct, time\n"
        "from dhflow.flow.steady_clock import keep_time\n"
        "before, set_by_others = time.time(), time.time\n"
        "keep_time()\n"
        f"open({str(clock)!r}, 'r+b').write(struct.pack('d', -9_000.0))\n"
        "print(round(set_by_others() - before, -2), 0 <= time.time() - before < 60)\n"
    )
    paths = [str(ROOT / "tests" / "faults" / "jumping_clock"), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DHFLOW_TEST_CLOCK": str(clock)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["-9000.0", "True"], done.stderr
    assert struct.unpack("d", clock.read_bytes()) == (-9_000.0,)


class Blocks:
    """An executor as its handler of failed blocks sees it."""

    def __init__(self) -> None:
        self.handle = runpy.run_path(str(ROOT / "site_configs" / "_block.py"))["FailedBlocks"]()
        self.provider = SimpleNamespace(init_blocks=1)
        self._task_counter = 0
        self.status: dict[str, JobStatus] = {}
        self.given_up: list[Exception] = []

    def outstanding(self) -> int:
        return 0

    def set_bad_state_and_fail_all(self, error: Exception) -> None:
        self.given_up.append(error)

    def ends(self, state: JobState, *, after_tasks: int) -> bool:
        """Let the next block end; return whether the executor was given up."""
        self._task_counter += after_tasks
        self.status[str(len(self.status))] = JobStatus(state)
        self.handle(self, self.status)
        return bool(self.given_up)


def test_an_executor_is_given_up_when_its_first_block_fails_before_anything_came_back() -> None:
    assert Blocks().ends(JobState.FAILED, after_tasks=0)


def test_a_lost_block_is_replaced_but_three_in_a_row_are_enough() -> None:
    blocks = Blocks()
    assert not blocks.ends(JobState.FAILED, after_tasks=5)
    assert not blocks.ends(JobState.FAILED, after_tasks=0)
    assert blocks.ends(JobState.MISSING, after_tasks=0)


def test_blocks_that_fail_between_results_are_replaced_for_ever() -> None:
    blocks = Blocks()
    assert not any(blocks.ends(JobState.FAILED, after_tasks=1) for _ in range(20))


# -- how wide a trial is


CONFIG = {"nodes": 2, "x": 0.5}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (
            {"num_nodes": "nodes", "ranks_per_node": 4, "launcher_options": "-v"},
            {"num_nodes": 2, "ranks_per_node": 4, "launcher_options": "-v"},
        ),
        (lambda config: {"num_nodes": 2 * config["nodes"]}, {"num_nodes": 4}),
    ],
)
def test_resources_come_from_the_config(resources: Any, expected: Mapping[str, Any]) -> None:
    assert resources_of(resources, CONFIG) == expected


def test_a_parameter_that_is_not_active_is_no_width() -> None:
    with pytest.raises(SearchError, match="num_nodes is to be 'depth', which is not active"):
        resources_of({"num_nodes": "depth"}, CONFIG)


def test_an_executor_for_mpi_needs_to_know_the_width() -> None:
    kernel: Any = object()
    with pytest.raises(SearchError, match="how wide a trial is"):
        check_resources(None, ["nodes"], pool(needs_resources=True, kernel=kernel))
    with pytest.raises(SearchError, match="'node', which is no parameter"):
        check_resources({"num_nodes": "node"}, ["nodes"], pool(kernel=kernel))
    with pytest.raises(SearchError, match="knows no resources"):
        check_resources({"num_nodes": 1}, ["nodes"], pool())
    check_resources({"num_nodes": "nodes"}, ["nodes"], pool(kernel=kernel))
