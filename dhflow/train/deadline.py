"""When the batch job of a worker will be ended, as its site has noted it."""

from __future__ import annotations

import contextlib
import os

BLOCK_ENDS = "DHFLOW_BLOCK_ENDS"
"""Set by the batch scripts of the site files, in UTC epoch seconds."""


def block_ends() -> float | None:
    """Return when this worker's batch job will be ended, in UTC epoch seconds; None where nobody has said it."""
    with contextlib.suppress(ValueError):
        return float(os.environ.get(BLOCK_ENDS, ""))
    return None
