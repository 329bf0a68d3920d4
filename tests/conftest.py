"""What holds for all tests: numerical libraries keep to one core, and no example has a deadline."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is loaded, and inherited by what the tests start: other processes need the cores too.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A background job is born deaf to Ctrl-C, and one under nohup to a closed terminal: what tests start would be too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# On a busy machine an example may take any time. In CI a failure must come again.
settings.register_profile("dhflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dhflow"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dhflow")


TOGETHER = {
    "tests/sites/test_slurm_faults.py": "slurm",
    "tests/sites/test_schedulers.py": "slurm",
    "tests/sites/test_globus.py": "globus",
    "tests/sites/test_function_kinds.py": "globus",
    "tests/faults/test_chaos.py": "faults",
    "tests/faults/test_interrupts.py": "faults",
    "tests/integration/": "processes",
    "tests/notebooks/": "notebooks",
    "tests/apps/": "apps",
    "tests/train/network/": "tensorflow",
    "tests/test_package.py": "wheel",
    "tests/test_remote.py": "remote",
}
"""Tests that need what a machine has once, keep all its cores busy, or share what takes seconds to make.

Where several processes run the tests (``-n 2``), one of them runs such a group, the others meanwhile what stands alone.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out groups first, the largest before all, then the other tests one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        # By path, for pytest-xdist 3.8 loses its own marks of groups under pytest 9.2 (its issue 1386).
        def _split_scope(self, nodeid: str) -> str:
            return next((name for path, name in TOGETHER.items() if nodeid.startswith(path)), nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for."""
    if os.environ.get("DHFLOW_TESTS") == "all":
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: set DHFLOW_TESTS=all"))
