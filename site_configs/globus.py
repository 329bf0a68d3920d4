"""Globus Compute: trials on one endpoint or several, without a login on their machines.

For:      endpoints of Globus Compute (``pip install "dhflow[globus]"``), personal ones and those of a facility.
Set:      ``endpoint``, its UUID, or several with commas between; ``cap``, how many trials each has at a time (or the
          search's ``--workers N``); what a facility's endpoint asks for: ``account``, ``queue``, ….
Verified: in November 2026, over a stand-in for the web service, with the real SDK 4.19 and real endpoints of that
          version, on one machine and on two nodes of Slurm: sixty trials through exceptions, oversized results and
          killed workers, two endpoints with a cap each, an endpoint that stops and comes back, functions of scripts
          and notebooks, whole searches as remote functions (tests/sites/test_globus.py, test_function_kinds.py).
          On 2026-11-21 by hand: ``globus-compute-endpoint whoami``, ``configure`` with the template that ships,
          ``start`` and ``stop``, as a user without privileges, and a search of sixty trials with
          ``workers_per_node`` and ``worker_init`` as its user endpoint configuration.
          Not verified: the service itself, and a facility's endpoint.
Source:   ALCF user guide, "Globus Compute" (keys of the user endpoint configuration); Globus Compute, "Limits" (20
          submissions in 10 seconds, 10 MB each); measured: the SDK delays single submissions after four in sixteen
          seconds unless its burst limits are set as here.

Plain Parsl: ``parsl.load(make_config(endpoint="…"))`` works in any script, with or without dhflow.
The endpoint's Python, parsl and dill must match those here, and its workers need dhflow. They share no files with this
machine: a trial's directory is temporary, its output stays there, and only its result and its learning curve come home.
An endpoint that stops forgets the trials that run in it and says nothing; with ``timeout_s`` the search runs them
again once later trials come home, without it they stay open until the search is ended and resumed. Those that wait go
on when the endpoint is back.
A result takes half a second on its way; with short trials, a ``cap`` above the number of workers keeps them busy.
"""

from __future__ import annotations

import functools
import logging
import runpy
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parsl import Config
from parsl.executors import GlobusComputeExecutor
from parsl.logconfigs.file import FileLogging

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))

# The most that the SDK allows; its defaults make a search that refills one by one wait four seconds each time.
_BURST = {"api_burst_limit": 8, "api_burst_window_s": 1}


def make_config(
    *,
    endpoint: str | list | tuple,
    cap: int | str | list | tuple | None = None,
    account: str | None = None,
    queue: str | None = None,
    nodes: int | None = None,
    walltime: str | None = None,
    max_blocks: int | None = None,
    workers_per_node: int | None = None,
    worker_init: str | None = None,
    run_dir: str = "runinfo",
) -> Config:
    """Return a Parsl configuration with one executor for each endpoint.

    Parameters
    ----------
    endpoint : str or list of str
        UUID of an endpoint, or several: a list, or with commas between.
    cap : int or str or list of int, optional
        Trials that an endpoint has at a time: one number for all, or one for each, as a list or with commas
        between. Without it a search says ``workers=``, and all endpoints are filled alike.
    account, queue : str, optional
    nodes : int, optional
        Nodes of a block.
    walltime : str, optional
        Of a block, ``HH:MM:SS``.
    max_blocks, workers_per_node : int, optional
    worker_init : str, optional
        Shell lines that run on a node before its workers.
    run_dir : str
        Where Parsl keeps its logs.

    Notes
    -----
    The arguments that are given go to the endpoints as their user endpoint configuration; an endpoint
    without a template for them refuses them.
    """
    try:
        paced = runpy.run_path(str(Path(__file__).with_name("_paced.py")))
    except ImportError:
        raise ImportError('Globus Compute needs its SDK: pip install "dhflow[globus]"') from None
    if walltime is not None:
        _block.walltime_seconds(walltime)
    keys = {
        "account": account,
        "queue": queue,
        "nodes_per_block": nodes,
        "walltime": walltime,
        "max_blocks": max_blocks,
        "max_workers_per_node": workers_per_node,
        "worker_init": worker_init,
    }
    settings: dict[str, Any] = {name: value for name, value in keys.items() if value is not None}
    identifiers = endpoint_ids(endpoint)
    caps = caps_of(cap, len(identifiers))

    def sdk_executor(identifier: uuid.UUID) -> Any:
        made = paced["PacedExecutor"](
            endpoint_id=identifier, client=_LaterClient(), user_endpoint_config=settings, **_BURST
        )
        # Else all executors of a process share one task group, and the end of one may lose results of the others.
        made.task_group_id = None
        return made

    return Config(
        executors=[
            CappedExecutor(sdk_executor(each), label, cap=most)
            for each, label, most in zip(identifiers, labels_of(identifiers), caps, strict=True)
        ],
        strategy="none",
        retries=0,
        usage_tracking=0,
        run_dir=run_dir,
        initialize_logging=FileLogging(level=logging.INFO),
    )


class CappedExecutor(GlobusComputeExecutor):
    """Parsl's executor for an endpoint, which says how many trials the endpoint is to have at a time.

    Parameters
    ----------
    executor : globus_compute_sdk.Executor
    label : str
    cap : int, optional
    """

    def __init__(self, executor: Any, label: str, *, cap: int | None = None) -> None:
        super().__init__(executor, label)
        self.cap = cap

    def shutdown(self) -> None:
        """Shut down; without a task sent, Parsl's own way would start what waits for results, and log in."""
        if self.executor.task_group_id is None:
            self.executor.shutdown(wait=False, cancel_futures=True)
        else:
            super().shutdown()


def endpoint_ids(endpoint: str | list | tuple) -> list[uuid.UUID]:
    """Return the UUIDs of endpoints, given as a list or with commas between.

    Raises
    ------
    ValueError
        Naming the one that is no UUID, or that comes twice.
    """
    found: list[uuid.UUID] = []
    for each in _parts(endpoint):
        try:
            identifier = uuid.UUID(each)
        except ValueError:
            raise ValueError(f"endpoint must be the UUID of an endpoint, not {each!r}") from None
        if identifier in found:
            raise ValueError(f"endpoint {each} is given twice")
        found.append(identifier)
    if not found:
        raise ValueError("endpoint must be the UUID of an endpoint")
    return found


def labels_of(identifiers: list[uuid.UUID]) -> list[str]:
    """Return the executors' labels: as short as they can be told apart by."""
    if len(identifiers) == 1:
        return ["globus"]
    short = [f"globus-{str(each)[:8]}" for each in identifiers]
    return short if len(set(short)) == len(short) else [f"globus-{each}" for each in identifiers]


def caps_of(cap: int | str | list | tuple | None, n_endpoints: int) -> list[int | None]:
    """Return the cap of each endpoint.

    Raises
    ------
    ValueError
        If a cap is no whole number of at least 1, or there are not as many as endpoints.
    """
    if cap is None:
        return [None] * n_endpoints
    parts = _parts(cap)
    if len(parts) not in (1, n_endpoints):
        raise ValueError(f"cap must be one number, or one for each of the {n_endpoints} endpoints, not {cap!r}")
    if not all(each.isdecimal() and int(each) >= 1 for each in parts):
        raise ValueError(f"cap must be a whole number of at least 1, or several with commas between, not {cap!r}")
    return [int(each) for each in (parts if len(parts) == n_endpoints else parts * n_endpoints)]


def _parts(value: int | str | list | tuple) -> list[str]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return [text for text in (str(each).strip() for each in parts) if text]


def fresh_config() -> Config:
    """Return a configuration with the arguments that ``DHFLOW_SITE_<ARGUMENT>`` give."""
    return _block.from_environment(make_config)


class _LaterClient:
    """The SDK's client from its first use on: making one asks for a login, and a check must not."""

    @functools.cached_property
    def _client(self) -> Any:
        from globus_compute_sdk import Client

        return Client()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
