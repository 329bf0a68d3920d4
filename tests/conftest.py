"""What holds for all tests: numerical libraries keep to one core, and no example has a deadline."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is loaded, and inherited by what the tests start: other processes need the cores too.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# On a busy machine an example may take any time. In CI a failure must come again.
settings.register_profile("dhflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dhflow"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dhflow")


# What a machine has room for once (ports, cores), or what takes seconds to make.
MADE_ONCE = ("rabbit", "slurm", "keras", "wheel", "elsewhere")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of such a fixture in one process; leave out what takes minutes, unless it is asked for."""
    for item in items:
        for name in MADE_ONCE:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))
                break
    if os.environ.get("DHFLOW_TESTS") == "all":
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: set DHFLOW_TESTS=all"))
