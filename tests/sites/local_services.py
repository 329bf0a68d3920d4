"""A private Slurm of several nodes on this machine, and Globus Compute without its service.

The fixtures of this folder run them for tests, ``tests/benchmarks/sites.py`` runs them to measure.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

COMPUTE_PORT = 5000
"""The one that the SDK knows for a service on this machine."""

WORKERS = {"max_workers_per_node": 2}
ROOT = Path(__file__).parents[2]


class MissingBedError(Exception):
    """Something that a test bed needs is not here; says what."""


def find_beds() -> Path:
    """Return the folder of the test beds: beside the checkout, as in ``../shared``, or where its work tree lies.

    Raises
    ------
    MissingBedError
        If there is none.
    """
    found = next((each / "shared/testbeds" for each in ROOT.parents if (each / "shared/testbeds").is_dir()), None)
    if found is None:
        raise MissingBedError("the test beds (../shared/testbeds) are not here")
    return found


def free_ports(first: int, step: int = 100) -> int:
    """Return the first of a few free ports, of those from `first` on in steps.

    Raises
    ------
    MissingBedError
        If there are none.
    """
    for base in range(first, first + 4000, step):
        if not any(_answers(base + i) for i in (0, 1, 11, 12)):
            return base
    raise MissingBedError("no free ports for a private Slurm")


@contextlib.contextmanager
def private_slurm(beds: Path, folder: Path, *, n_nodes: int, n_cpus: int, port: int) -> Iterator[None]:
    """Run Slurm; its commands find it through SLURM_CONF.

    Raises
    ------
    MissingBedError
        If it is not installed, or does not start.
    """
    missing = [each for each in ("slurmctld", "slurmd", "sbatch", "srun") if shutil.which(each) is None]
    if missing:
        raise MissingBedError(f"Slurm is not installed (apt-get install slurm-wlm): no {', '.join(missing)}")
    if os.geteuid() != 0:
        raise MissingBedError("the private Slurm runs as root only")
    command = ["bash", str(beds / "mini_slurm.sh")]
    started = subprocess.run(
        [*command, "start", str(folder), str(n_nodes), str(n_cpus)],
        env={**os.environ, "MINI_SLURM_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    pids = [int(each.read_text()) for each in (folder / "pid").glob("*.pid") if each.read_text().strip()]
    with (
        _stopped_at_the_end(pids, *command, "stop", str(folder)),
        mock.patch.dict(os.environ, SLURM_CONF=str(folder / "slurm.conf")),
    ):
        if started.stdout.count("idle") < n_nodes:
            raise MissingBedError(f"the private Slurm does not start: {started.stdout[-500:]}")
        try:
            yield
        finally:
            subprocess.run(["scancel", "--user=root"], check=False, timeout=30)


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
            raise MissingBedError(f"{what} does not start")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _speaks_amqp(port: int) -> bool:
    """Tell whether a message queue shakes hands: its port is open before it does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(1) == b"\x01"
    except OSError:
        return False


def _name_servers() -> set[int]:
    """Return the process ids of Erlang's name servers, which outlive what started them."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if each.read_text().strip() == "epmd":
                found.add(int(each.parent.name))
    return found


def check_compute_packages() -> None:
    """Check that what Globus Compute needs on both sides is installed.

    Raises
    ------
    MissingBedError
        If a package is missing.
    """
    for name in ("globus_compute_sdk", "globus_compute_endpoint"):
        if importlib.util.find_spec(name) is None:
            raise MissingBedError(f'{name} is not installed (pip install "dhflow[globus,endpoint]")')


@contextlib.contextmanager
def message_queue(beds: Path, folder: Path) -> Iterator[str]:
    """Run RabbitMQ; give its address.

    Raises
    ------
    MissingBedError
        If it is not installed, or does not start.
    """
    if not list(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")):
        raise MissingBedError("RabbitMQ is not installed (apt-get install rabbitmq-server)")
    port = next((each for each in range(25700, 25900) if not _answers(each) and not _answers(each + 20000)), None)
    before = _name_servers()
    script = ["bash", str(beds / "mini_rabbit.sh")]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 60}
    subprocess.run([*script, "start", str(folder), str(port)], check=False, **quiet)
    try:
        # On a busy machine the script gives up before the queue takes connections; the stand-in tries only once.
        _wait_for(lambda: (folder / "pid").is_file() and _speaks_amqp(port or 0), "RabbitMQ", 90)
        pid = int((folder / "pid").read_text())
        try:
            yield f"amqp://guest:guest@127.0.0.1:{port}/%2F"
        finally:
            subprocess.run([*script, "stop", str(folder)], check=False, **quiet)
            _wait_until_gone([pid])
    finally:
        for each in _name_servers() - before:
            os.kill(each, signal.SIGTERM)


@contextlib.contextmanager
def compute_service(beds: Path, queue: str, folder: Path) -> Iterator[None]:
    """Stand in for the web service of Globus Compute; the SDK finds it, and logs in to it, by its environment.

    Raises
    ------
    MissingBedError
        If its port is taken, or it does not start.
    """
    if _answers(COMPUTE_PORT):
        raise MissingBedError(f"port {COMPUTE_PORT}, where the SDK looks for a local service, is taken")
    url = f"http://localhost:{COMPUTE_PORT}"
    variables = {
        "GLOBUS_SDK_ENVIRONMENT": "local",
        "GLOBUS_SDK_SERVICE_URL_AUTH": f"{url}/",
        "GLOBUS_COMPUTE_CLIENT_ID": "00000000-0000-4000-8000-000000000001",
        "GLOBUS_COMPUTE_CLIENT_SECRET": "none",
        "GLOBUS_COMPUTE_USER_DIR": str(folder / "user"),
    }
    with (folder / "standin.log").open("w") as log, mock.patch.dict(os.environ, variables):
        command = [sys.executable, str(beds / "gc_standin.py"), str(COMPUTE_PORT), queue]
        standin = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(lambda: _answers(COMPUTE_PORT), "the stand-in for Globus Compute")
            yield
        finally:
            standin.kill()
            standin.wait()


def endpoint_yaml(options: dict[str, Any], provider: str = "LocalProvider") -> str:
    """Return the configuration that the shipped template makes of a user's options, as the endpoint itself does it."""
    from globus_compute_endpoint.endpoint.config import utils

    folder = ROOT / "site_configs" / "globus_endpoint"
    template = folder / "user_config_template.yaml.j2"
    text = template.read_text().replace('provider = "LocalProvider"', f'provider = "{provider}"')
    schema = utils.load_user_config_schema(folder / "user_config_schema.json")
    nobody: Any = None
    with mock.patch.object(utils, "_parse_mapped_identity", lambda identity: identity):
        return str(utils.render_config_user_template(nobody, text, template, nobody, schema, options))


@contextlib.contextmanager
def running_endpoint(
    folder: Path, beds: Path, number: int, options: dict[str, Any] | None = None, provider: str = "LocalProvider"
) -> Iterator[str]:
    """Run a real endpoint of two workers, or a node of them; give its UUID. It may end and come back."""
    identifier, home = f"00000000-0000-4000-9000-{number:012}", folder / f"home{number}"
    home.mkdir(exist_ok=True)
    config = folder / f"endpoint{number}.yaml"
    text = endpoint_yaml({**WORKERS, **(options or {})}, provider)
    config.write_text(text.replace("heartbeat_period: 5", "heartbeat_period: 2"))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
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
