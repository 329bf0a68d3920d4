"""Holding the thread pools of numerical libraries to the cores that a worker owns.

Each library makes a pool as large as the machine unless its own variable says otherwise before it is
imported; with a worker per core that is the number of cores squared.
"""

from __future__ import annotations

import os

CORES_VARIABLE = "DHFLOW_CORES_PER_WORKER"
"""Set by a site: the cores that each worker owns. Workers read it before their first trial."""

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
"""OpenMP's does not hold TensorFlow, which has its own."""


def thread_environment(n_threads: int) -> dict[str, str]:
    """Return the environment variables that hold every known library to `n_threads` threads per pool.

    Raises
    ------
    ValueError
        If `n_threads` is not positive.
    """
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, not {n_threads}")
    return dict.fromkeys(VARIABLES, str(n_threads))


def limit_threads(n_threads: int) -> None:
    """Hold this process's thread pools to `n_threads`, except where the user has set a variable already.

    Has an effect on libraries that are imported afterwards, and on child processes.
    """
    for name, value in thread_environment(n_threads).items():
        os.environ.setdefault(name, value)


def limit_threads_of_worker() -> None:
    """Do the same with the number of cores that the site has set, if it has."""
    cores = os.environ.get(CORES_VARIABLE, "")
    if cores.isdigit() and int(cores) > 0:
        limit_threads(int(cores))
