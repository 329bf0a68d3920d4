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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for."""
    if os.environ.get("DHFLOW_TESTS") == "all":
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: set DHFLOW_TESTS=all"))
