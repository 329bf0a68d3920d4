"""Which code is the user's own: not dhflow's, not the standard library's, not an installed package's."""

from __future__ import annotations

import functools
import os

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep  # noqa: PTH100, PTH120
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@functools.lru_cache(maxsize=4096)
def is_user_file(filename: str) -> bool:
    """Tell whether a code object's file name belongs to the user (a notebook cell's made-up name does)."""
    if filename.startswith(("<frozen", _PACKAGE, _STDLIB)):
        return False
    return not any(each in filename for each in _INSTALLED)


def is_worker_file(filename: str) -> bool:
    """Tell whether a code object's file name belongs to what dhflow runs around an objective."""
    return filename.startswith((f"{_PACKAGE}train{os.sep}", f"{_PACKAGE}objective.py"))
