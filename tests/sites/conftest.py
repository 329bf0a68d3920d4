"""A private Slurm of four nodes on this machine, PBS commands in front of it, and Globus Compute without its service.

Where what they need is missing, tests skip and say so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

N_NODES, N_CPUS = 4, 4
StartEndpoint = Callable[..., contextlib.AbstractContextManager[str]]
COMPUTE_PORT = 5000
"""The one that the SDK knows for a service on this machine."""

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))  # for watched_search


def testbeds() -> Path | None:
    """Return the folder of the test beds: beside the checkout, as in ``../shared``, or where its work tree lies."""
    root = Path(__file__).parents[2]
    return next((each / "shared/testbeds" for each in root.parents if (each / "shared/testbeds").is_dir()), None)


def free_ports() -> int:
    """Return the first of a few free ports, which no other process of this run looks at."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for base in range(28000 + 100 * number, 32000, 100 * count):
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
    with _stopped_at_the_end(pids, *command, "stop", str(folder)), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            if started.stdout.count("idle") < N_NODES:
                pytest.skip(f"the private Slurm does not start: {started.stdout[-500:]}")
            yield folder
        finally:
            subprocess.run(["scancel", "--user=root"], check=False, timeout=30)


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


@contextlib.contextmanager
def _stopped_at_the_end(pids: list[int], *command: str) -> Iterator[None]:
    """Stop processes by a command, also when this one is killed, as an interrupt does to those of pytest-xdist."""
    waiting = ["bash", "-c", 'read -r; exec "$@"', "at-the-end", *command]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.communicate(timeout=30)
            _wait_until_gone(pids)


def _wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and any(Path(f"/proc/{each}").exists() for each in pids):
        time.sleep(0.1)


def _wait_for(is_there: Callable[[], Any], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > until:
            pytest.skip(f"{what} does not start")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _name_servers() -> set[int]:
    """Return the process ids of Erlang's name servers, which outlive what started them."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if each.read_text().strip() == "epmd":
                found.add(int(each.parent.name))
    return found


@pytest.fixture(scope="session")
def compute_packages() -> None:
    for name in ("globus_compute_sdk", "globus_compute_endpoint"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f'{name} is not installed (pip install "dhflow[globus,endpoint]")')


@pytest.fixture(scope="session")
def rabbit(beds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start RabbitMQ; give its address."""
    if not list(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")):
        pytest.skip("RabbitMQ is not installed (apt-get install rabbitmq-server)")
    port = next((each for each in range(25700, 25900) if not _answers(each) and not _answers(each + 20000)), None)
    folder, before = tmp_path_factory.mktemp("rabbit"), _name_servers()
    script = ["bash", str(beds / "mini_rabbit.sh")]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 60}
    subprocess.run([*script, "start", str(folder), str(port)], check=False, **quiet)
    try:
        _wait_for((folder / "pid").is_file, "RabbitMQ")
        pid = int((folder / "pid").read_text())
        yield f"amqp://guest:guest@127.0.0.1:{port}/%2F"
        subprocess.run([*script, "stop", str(folder)], check=False, **quiet)
        _wait_until_gone([pid])
    finally:
        for each in _name_servers() - before:
            os.kill(each, signal.SIGTERM)


@pytest.fixture(scope="session")
def compute_service(
    compute_packages: None, beds: Path, rabbit: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Stand in for the web service of Globus Compute; the SDK finds it, and logs in to it, by its environment."""
    del compute_packages
    if _answers(COMPUTE_PORT):
        pytest.skip(f"port {COMPUTE_PORT}, where the SDK looks for a local service, is taken")
    folder = tmp_path_factory.mktemp("compute")
    url = f"http://localhost:{COMPUTE_PORT}"
    with (folder / "standin.log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        command = [sys.executable, str(beds / "gc_standin.py"), str(COMPUTE_PORT), rabbit]
        standin = subprocess.Popen(command, stdout=log, stderr=log)
        patch.setenv("GLOBUS_SDK_ENVIRONMENT", "local")
        patch.setenv("GLOBUS_SDK_SERVICE_URL_AUTH", f"{url}/")
        patch.setenv("GLOBUS_COMPUTE_CLIENT_ID", "00000000-0000-4000-8000-000000000001")
        patch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "none")
        patch.setenv("GLOBUS_COMPUTE_USER_DIR", str(folder / "user"))
        try:
            _wait_for(lambda: _answers(COMPUTE_PORT), "the stand-in for Globus Compute")
            yield folder
        finally:
            standin.kill()
            standin.wait()


def _endpoint_yaml(options: dict[str, Any], provider: str = "LocalProvider") -> str:
    """Return the configuration that the shipped template makes of a user's options, as the endpoint itself does it."""
    from globus_compute_endpoint.endpoint.config import utils

    folder = Path(__file__).parents[2] / "site_configs" / "globus_endpoint"
    template = folder / "user_config_template.yaml.j2"
    text = template.read_text().replace('provider = "LocalProvider"', f'provider = "{provider}"')
    schema = utils.load_user_config_schema(folder / "user_config_schema.json")
    nobody: Any = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_parse_mapped_identity", lambda identity: identity)
        return str(utils.render_config_user_template(nobody, text, template, nobody, schema, options))


@pytest.fixture
def endpoint_yaml() -> Callable[..., str]:
    """Give a function that renders the shipped template of an endpoint."""
    pytest.importorskip("globus_compute_endpoint", reason='not installed: pip install "dhflow[endpoint]"')
    return _endpoint_yaml


WORKERS = {"max_workers_per_node": 2}


@contextlib.contextmanager
def _endpoint(
    folder: Path, beds: Path, number: int, options: dict[str, Any] | None = None, provider: str = "LocalProvider"
) -> Iterator[str]:
    """Run a real endpoint of two workers, or a node of them; give its UUID. It may end and come back."""
    identifier, home = f"00000000-0000-4000-9000-{number:012}", folder / f"home{number}"
    home.mkdir(exist_ok=True)
    config = folder / f"endpoint{number}.yaml"
    text = _endpoint_yaml({**WORKERS, **(options or {})}, provider)
    config.write_text(text.replace("heartbeat_period: 5", "heartbeat_period: 2"))
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    with (folder / f"endpoint{number}.log").open("a") as log:
        command = [sys.executable, str(beds / "gc_start_uep.py"), identifier, str(config), str(home)]
        environment = {**os.environ, "PYTHONPATH": path, "ENDPOINT_NUMBER": str(number)}
        parent = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield identifier
    finally:
        parent.send_signal(signal.SIGINT)  # it ends the endpoint, which ends its workers
        with contextlib.suppress(subprocess.TimeoutExpired):
            parent.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


@pytest.fixture(scope="session")
def start_endpoint(compute_service: Path, beds: Path) -> StartEndpoint:
    """Give a function that runs an endpoint: of a number, with options of its template, and a provider."""
    return functools.partial(_endpoint, compute_service, beds)


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
        with urllib.request.urlopen(f"http://localhost:{COMPUTE_PORT}/v2/stats") as answer:
            return int(json.load(answer)["submits"])

    return count
