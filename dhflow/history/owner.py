"""Which process owns something, as a file beside it says: its host and process id, and since when."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Return what a file says of this process as an owner: ``host``, ``pid`` and ``since``, in UTC epoch seconds."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}


def read_owner(path: Path) -> dict[str, Any]:
    """Return the owner that a file names; empty where there is no file, or only a part of one."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def is_this_process(owner: Mapping[str, Any]) -> bool:
    """Tell whether an owner is the process that asks."""
    return owner.get("host") == socket.gethostname() and owner.get("pid") == os.getpid()


def is_alive(owner: Mapping[str, Any]) -> bool | None:
    """Tell whether an owner's process lives; None where nobody can say: it is on another host, or not named."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or owner.get("host") != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
