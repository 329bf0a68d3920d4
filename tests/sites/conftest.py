"""A private Slurm of four nodes on this machine, PBS commands in front of it, and Globus Compute without its service.

Where what they need is missing, tests skip and say so.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
for _folder in ("faults", "sites"):  # for watched_search and local_services
    sys.path.insert(0, str(TESTS / _folder))

import local_services as local  # noqa: E402 - found by the path above

N_NODES, N_CPUS = 4, 4
StartEndpoint = Callable[..., contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def _skipping() -> Iterator[None]:
    """Skip where a bed cannot be had."""
    try:
        yield
    except local.MissingBedError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def beds() -> Path:
    with _skipping():
        return local.find_beds()


@pytest.fixture(scope="session")
def slurm(beds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start Slurm; its commands find it through SLURM_CONF."""
    folder = tmp_path_factory.mktemp("slurm")
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with _skipping():
        # Ports at which no other process of this run looks.
        port = local.free_ports(28000 + 100 * number, 100 * count)
        with local.private_slurm(beds, folder, n_nodes=N_NODES, n_cpus=N_CPUS, port=port):
            yield folder


@pytest.fixture
def pbs(slurm: Path, beds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the PBS commands, and the MPI launcher that goes with them, on PATH."""
    del slurm
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("qsub", "qstat", "qdel", "mpiexec"):
        (shims / name).symlink_to(beds / "pbs_on_slurm.py")
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def queue_left(slurm: Path) -> Iterator[None]:
    """Check that a test leaves no job behind."""
    del slurm
    yield
    until = time.monotonic() + 15
    while time.monotonic() < until:
        left = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True, timeout=30).stdout
        if not left.strip():
            return
        time.sleep(0.2)
    pytest.fail(f"jobs are left in the queue: {left}")


@pytest.fixture(scope="session")
def compute_packages() -> None:
    with _skipping():
        local.check_compute_packages()


@pytest.fixture(scope="session")
def rabbit(beds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start RabbitMQ; give its address."""
    with _skipping(), local.message_queue(beds, tmp_path_factory.mktemp("rabbit")) as address:
        yield address


@pytest.fixture(scope="session")
def compute_service(
    compute_packages: None, beds: Path, rabbit: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Stand in for the web service of Globus Compute; the SDK finds it, and logs in to it, by its environment."""
    del compute_packages
    folder = tmp_path_factory.mktemp("compute")
    with _skipping(), local.compute_service(beds, rabbit, folder):
        yield folder


@pytest.fixture
def endpoint_yaml() -> Callable[..., str]:
    """Give a function that renders the shipped template of an endpoint."""
    pytest.importorskip("globus_compute_endpoint", reason='not installed: pip install "dhflow[endpoint]"')
    return local.endpoint_yaml


@pytest.fixture(scope="session")
def start_endpoint(compute_service: Path, beds: Path) -> StartEndpoint:
    """Give a function that runs an endpoint: of a number, with options of its template, and a provider."""
    return functools.partial(local.running_endpoint, compute_service, beds)


@pytest.fixture(scope="session")
def endpoint(start_endpoint: StartEndpoint) -> Iterator[str]:
    with start_endpoint(1) as identifier:
        yield identifier


@pytest.fixture(scope="session")
def second_endpoint(start_endpoint: StartEndpoint) -> Iterator[str]:
    with start_endpoint(2) as identifier:
        yield identifier


@pytest.fixture
def submissions(compute_service: Path) -> Callable[[], int]:
    """Give a function that says how many submissions the service has had."""
    del compute_service

    def count() -> int:
        with urllib.request.urlopen(f"http://localhost:{local.COMPUTE_PORT}/v2/stats") as answer:
            return int(json.load(answer)["submits"])

    return count
