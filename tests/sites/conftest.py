"""A private Slurm of four nodes on this machine, and PBS commands in front of it; tests skip where they are missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

N_NODES, N_CPUS = 4, 4

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))  # for watched_search


def testbeds() -> Path | None:
    """Return the folder of the test beds: beside the checkout, as in ``../shared``, or where its work tree lies."""
    root = Path(__file__).parents[2]
    return next((each / "shared/testbeds" for each in root.parents if (each / "shared/testbeds").is_dir()), None)


def free_ports() -> int:
    """Return the first of a few free ports."""
    for base in range(28000, 32000, 100):
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", base + i)) for i in (0, 1, 11, 12)):
                return base
    pytest.skip("no free ports for a private Slurm")


@pytest.fixture(scope="session")
def beds() -> Path:
    found = testbeds()
    if found is None:
        pytest.skip("the test beds (../shared/testbeds) are not here")
    return found


@pytest.fixture(scope="session")
def slurm(beds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start Slurm; its commands find it through SLURM_CONF."""
    missing = [each for each in ("slurmctld", "slurmd", "sbatch", "srun") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"Slurm is not installed (apt-get install slurm-wlm): no {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("the private Slurm runs as root only")
    folder = tmp_path_factory.mktemp("slurm")
    command = ["bash", str(beds / "mini_slurm.sh")]
    environment = {**os.environ, "MINI_SLURM_PORT": str(free_ports())}
    started = subprocess.run(
        [*command, "start", str(folder), str(N_NODES), str(N_CPUS)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    pids = [int(each.read_text()) for each in (folder / "pid").glob("*.pid") if each.read_text().strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            if started.stdout.count("idle") < N_NODES:
                pytest.skip(f"the private Slurm does not start: {started.stdout[-500:]}")
            yield folder
        finally:
            subprocess.run(["scancel", "--user=root"], check=False, timeout=30)
            subprocess.run([*command, "stop", str(folder)], check=False, timeout=30, env=environment)
            _wait_until_gone(pids)


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


def _wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and any(Path(f"/proc/{each}").exists() for each in pids):
        time.sleep(0.1)
