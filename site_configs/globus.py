"""Globus Compute: trials on one endpoint or several, without a login on their machines.

For:      endpoints of Globus Compute (``pip install "dhflow[globus]"``), personal ones and those of a facility.
Set:      ``endpoint``, its UUID, or several with commas between; what a facility's endpoint asks for: ``account``,
          ``queue``, …. A search also needs to be told how many trials run at a time: ``--workers N``.
Verified: in November 2026 by hand, with the real SDK and a real endpoint of two workers over a stand-in for the web
          service: 30 trials of 0.3 s in 17 s (a result takes half a second to come home). Not verified: the service
          itself, several endpoints at once, user endpoint configurations.
Source:   ALCF user guide, "Globus Compute" (keys of the user endpoint configuration); measured: the SDK delays single
          submissions after four in sixteen seconds unless its burst limits are set as here.

Plain Parsl: ``parsl.load(make_config(endpoint="…"))`` works in any script, with or without dhflow.
The endpoint's Python, parsl and dill must match those here.
"""

from __future__ import annotations

import functools
import logging
import runpy
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from parsl import Config
from parsl.executors import GlobusComputeExecutor
from parsl.logconfigs.file import FileLogging

_block = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("_block.py"))))

# The most that the SDK allows; its defaults make a search that refills one by one wait four seconds each time.
_BURST = {"api_burst_limit": 8, "api_burst_window_s": 1}


def make_config(
    *,
    endpoint: str,
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
    endpoint : str
        UUID of an endpoint, or several with commas between.
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
        from globus_compute_sdk import Executor
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
    return Config(
        executors=[
            GlobusComputeExecutor(
                executor=Executor(
                    endpoint_id=each, client=cast("Any", _LaterClient()), user_endpoint_config=settings, **_BURST
                ),
                label="globus" if len(identifiers) == 1 else f"globus-{str(each)[:8]}",
            )
            for each in identifiers
        ],
        strategy="none",
        retries=0,
        usage_tracking=0,
        run_dir=run_dir,
        initialize_logging=FileLogging(level=logging.INFO),
    )


def endpoint_ids(text: str) -> list[uuid.UUID]:
    """Return the UUIDs of endpoints that are written with commas between.

    Raises
    ------
    ValueError
        Naming the one that is no UUID, or that comes twice.
    """
    found: list[uuid.UUID] = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            identifier = uuid.UUID(each)
        except ValueError:
            raise ValueError(f"endpoint must be the UUID of an endpoint, not {each!r}") from None
        if identifier in found:
            raise ValueError(f"the endpoint {each} is given twice")
        found.append(identifier)
    if not found:
        raise ValueError("endpoint must be the UUID of an endpoint")
    return found


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
