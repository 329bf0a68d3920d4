"""Cooley (ALCF): retired, and Parsl has no provider for its scheduler any more; Polaris takes its place.

For:      nobody any more; see theta.py, whose fate it shares and whose ``pbs_equivalent`` serves it too.
Set:      nothing: ``make_config`` only says where to go.
Verified: the error.
Source:   parsl/configs/cooley.py of Parsl before it dropped CobaltProvider.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from parsl import Config

_theta = runpy.run_path(str(Path(__file__).with_name("theta.py")))

IDIOM = """
HighThroughputExecutor(
    label="cooley",
    cores_per_worker=1,
    provider=CobaltProvider(
        queue="debug",
        account=ACCOUNT,
        launcher=MpiRunLauncher(),
        walltime="00:10:00",
        nodes_per_block=4,
        init_blocks=1,
        min_blocks=1,
        max_blocks=1,
        cmd_timeout=60,
    ),
)
"""
"""How Cooley was configured; CobaltProvider is not in Parsl today."""

pbs_equivalent = _theta["pbs_equivalent"]


def make_config(
    *, account: str | None = None, queue: str | None = None, nodes: int = 4, walltime: str = "00:10:00"
) -> Config:
    """Say that Cooley is retired, and what takes its place.

    Parameters
    ----------
    account, queue : str, optional
    nodes : int
    walltime : str
        As Cooley's configuration had them.

    Raises
    ------
    RuntimeError
        Always.
    """
    del queue
    _theta["retired"]("Cooley", account=account, nodes=nodes, walltime=walltime)
    raise AssertionError("unreachable")


def fresh_config() -> Config:
    """Say that Cooley is retired, and what takes its place."""
    return make_config()
