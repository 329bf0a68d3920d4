"""Checks of searchers' options."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dhflow.errors import SearchError


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a SearchError unless `value` is one of `choices`."""
    if value not in choices:
        raise SearchError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")


def check_flag(name: str, value: object) -> None:
    """Raise a SearchError unless `value` is True or False; a text such as "no" would be taken for True."""
    if not isinstance(value, bool):
        raise SearchError(f"{name} is {value!r}: it must be true or false")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise a SearchError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SearchError(f"{name} is {value!r}: it must be a whole number of at least {least}")


def check_number(
    name: str, value: object, *, least: float = 0.0, above: float | None = None, below: float | None = None
) -> None:
    """Raise a SearchError unless `value` is a finite number, at least `least`, above `above` and below `below`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        is_low = value < least or (above is not None and value <= above)
        if not is_low and (below is None or value < below):
            return
    limits = [f"of at least {least:g}" if above is None else f"above {above:g}"]
    if below is not None:
        limits.append(f"below {below:g}")
    raise SearchError(f"{name} is {value!r}: it must be a number {' and '.join(limits)}")


def check_share(name: str, value: object) -> None:
    """Raise a SearchError unless `value` is a number from 0 to 1."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0.0 <= value <= 1.0:  # type: ignore[operator]
        raise SearchError(f"{name} is {value!r}: it must be a number from 0 to 1")
