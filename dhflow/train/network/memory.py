"""What a training needs of memory at least, and what there is: known before the first weight is drawn."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from dhflow.errors import BuildError
from dhflow.nas import Architecture

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")

WEIGHT_COPIES = 3
"""The weights themselves, their gradients, and one moment at least of most optimizers."""


def least_bytes(architecture: Architecture, batch_size: int, *, bytes_per_number: int = 4) -> int:
    """Return what training takes at least: weights, gradients and one moment; every node's tensor for a batch.

    Parameters
    ----------
    architecture : Architecture
    batch_size : int
        Of one replica.
    bytes_per_number : int
    """
    # An axis of unknown length counts as 1: this is a lower bound, and it must stay one.
    numbers = sum(math.prod(size or 1 for size in each.output_shape) for each in architecture.nodes)
    return bytes_per_number * (WEIGHT_COPIES * architecture.parameter_count + batch_size * numbers)


def available_bytes() -> int | None:
    """Return how much memory this process may still take, as far as Linux says; None where it does not."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next(each for each in _MEMINFO.read_text().splitlines() if each.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())
        found.append(limit - int((_CGROUP / "memory.current").read_text()) + _reclaimable_bytes())
    return max(0, min(found)) if found else None


def _reclaimable_bytes() -> int:
    """Return what a control group's files in memory take: counted as used, and given up as soon as it is needed."""
    lines = (each.split() for each in (_CGROUP / "memory.stat").read_text().splitlines())
    return sum(int(number) for name, number in lines if name in ("active_file", "inactive_file"))


def check_memory(architecture: Architecture, batch_size: int, limit_bytes: int | None = None) -> None:
    """Refuse a network that cannot fit: an allocation that fails late may take the whole worker along.

    Parameters
    ----------
    architecture : Architecture
    batch_size : int
    limit_bytes : int, optional
        None: what is available to this process.

    Raises
    ------
    BuildError
    """
    there = available_bytes() if limit_bytes is None else limit_bytes
    needed = least_bytes(architecture, batch_size)
    if there is not None and needed > there:
        raise BuildError(
            f"the network does not fit in memory: training its {architecture.parameter_count:,} weights with batches "
            f"of {batch_size} takes {needed / 1e9:.3g} GB at least, and there are {there / 1e9:.3g} GB"
        )
