"""Theta (ALCF): retired, and Parsl has no provider for its scheduler any more; Polaris takes its place.

For:      nobody any more. Whoever comes with a configuration for Theta (or for Cooley, which went the same way) finds
          here how it was written, ``IDIOM``, and ``pbs_equivalent``, the same request to Polaris.
Set:      nothing: ``make_config`` only says where to go.
Verified: the error; ``pbs_equivalent`` as far as polaris.py.
Source:   parsl/configs/theta.py and cooley.py of Parsl before it dropped CobaltProvider (pull requests 3101 and 3667).
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, NoReturn

from parsl import Config

IDIOM = """
HighThroughputExecutor(
    label="theta",
    address=address_by_interface("vlan2360"),
    max_workers=4,
    cpu_affinity="block",
    provider=CobaltProvider(
        queue="debug-cache-quad",
        account=ACCOUNT,
        launcher=AprunLauncher(overrides="-d 64 --cc depth"),
        walltime="00:30:00",
        nodes_per_block=2,
        init_blocks=1,
        min_blocks=1,
        max_blocks=1,
        scheduler_options="#COBALT --attrs enable_ssh=1",
        worker_init="module load miniconda-3; source activate ENV",
        cmd_timeout=120,
    ),
)
"""
"""How Theta was configured; neither CobaltProvider nor ``max_workers`` is in Parsl today."""


def make_config(
    *, account: str | None = None, queue: str | None = None, nodes: int = 2, walltime: str = "00:30:00"
) -> Config:
    """Say that Theta is retired, and what takes its place.

    Parameters
    ----------
    account, queue : str, optional
    nodes : int
    walltime : str
        As Theta's configuration had them.

    Raises
    ------
    RuntimeError
        Always.
    """
    del queue
    retired("Theta", account=account, nodes=nodes, walltime=walltime)


def retired(machine: str, *, account: str | None, nodes: int, walltime: str) -> NoReturn:
    """Raise RuntimeError with the request to Polaris that takes a retired machine's place."""
    settings = f"--site-set account={account or 'PROJECT'} --site-set nodes={nodes} --site-set walltime={walltime}"
    raise RuntimeError(
        f"{machine} is retired, and Parsl dropped Cobalt, its scheduler. Use Polaris: --site polaris {settings} "
        f"(in Python: pbs_equivalent of this file)"
    )


def pbs_equivalent(*, account: str, nodes: int = 2, walltime: str = "00:30:00", **arguments: Any) -> Config:
    """Return the configuration that asks Polaris, over PBS, for what was asked of Theta.

    Parameters
    ----------
    account : str
        The project that is charged.
    nodes : int
    walltime : str
    **arguments
        More for ``make_config`` of polaris.py; one node of Polaris has 4 places, as one of Theta had.
    """
    polaris = runpy.run_path(str(Path(__file__).with_name("polaris.py")))
    config: Config = polaris["make_config"](account=account, nodes=nodes, walltime=walltime, **arguments)
    return config


def fresh_config() -> Config:
    """Say that Theta is retired, and what takes its place."""
    return make_config()
