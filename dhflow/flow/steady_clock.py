"""A ``time.time`` that nobody sets, for the processes of Parsl between driver and workers.

They tell by it whether the others still live. A clock that is put forward, or a laptop that wakes up, would end
workers that are well, and one that is put back would keep the lost ones for as long.
"""

from __future__ import annotations

import time


def keep_time() -> None:
    """Let ``time.time`` of this process go on evenly from now on, whatever happens to the system's clock."""
    offset = time.time() - time.monotonic()
    time.time = lambda: offset + time.monotonic()
