"""Numbers as people read them: values, durations, rates, counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RATES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "day"))


def format_value(value: object) -> str:
    """Return a config's or an objective's value: floats with six significant digits, all else as it is."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def format_config(config: Mapping[str, Any]) -> str:
    """Return a config in one line, ``name=value name=value``."""
    return " ".join(f"{name}={format_value(value)}" for name, value in config.items())


def format_duration(seconds: float, *, whole: bool = False) -> str:
    """Return a duration as ``0.4 s`` (``0 s`` if `whole`), ``12 s``, ``3:07 min``, ``2:03:07 h`` or ``1 d 02:03 h``."""
    if seconds < 9.95 and not whole:
        return f"{max(0.0, seconds):.1f} s"
    rounded = max(0, round(seconds))
    if rounded < 60:
        return f"{rounded} s"
    minutes, second = divmod(rounded, 60)
    hours, minute = divmod(minutes, 60)
    if hours == 0:
        return f"{minute}:{second:02d} min"
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02d}:{minute:02d} h" if days else f"{hour}:{minute:02d}:{second:02d} h"


def format_rate(per_second: float) -> str:
    """Return a rate per second, minute, hour or day, whichever first makes it one or more: ``3.4/min``."""
    seconds, unit = next((each for each in _RATES if per_second * each[0] >= 1), _RATES[-1])
    rate = per_second * seconds
    return f"{rate:.3g}/{unit}" if rate < 100 else f"{rate:.0f}/{unit}"


def count(number: int, noun: str) -> str:
    """Return ``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
