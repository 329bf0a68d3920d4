"""One thread for linear algebra: matrices of a few hundred rows are slower on several."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def single_threaded() -> Any:
    """Return a context in which BLAS uses one thread; looking for its libraries happens once."""
    import scipy.linalg  # noqa: F401 - its library must be loaded before it can be found

    return _controller().limit(limits=1, user_api="blas")
