"""Checks of searchers' options."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dhflow.errors import SearchError


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a SearchError unless `value` is one of `choices`."""
    if value not in choices:
        raise SearchError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise a SearchError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SearchError(f"{name} is {value!r}: it must be a whole number of at least {least}")


def check_number(name: str, value: object, *, least: float = 0.0) -> None:
    """Raise a SearchError unless `value` is a finite number of at least `least`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < least:
        raise SearchError(f"{name} is {value!r}: it must be a number of at least {least:g}")
