"""Synthetic runs for the monitor's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding
from dhflow.monitor.record import Reading, Record, Records
from dhflow.monitor.rules import RULES, judge, with_thresholds


def _run(loss: Sequence[float], val_loss: Sequence[float] | None = None, more: Iterable[Record] = ()) -> Records:
    readings = []
    for i, value in enumerate(loss):
        values = {"loss": float(value)}
        if val_loss is not None:
            values["val_loss"] = float(val_loss[i])
        readings.append(Reading(i + 1, values, time=100.0 + 10.0 * i))
    return Records.of([*readings, *more])


def _healthy(n: int = 30, *, floor: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a training and a validation loss that fall as power laws with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, n + 1)
    fall = floor + 1.5 * t**-0.5
    return fall * np.exp(rng.normal(0, 0.01, n)), (fall + 0.05) * np.exp(rng.normal(0, 0.01, n))


def _finding(name: str, records: Records, context: Context | None = None, **limits: float) -> Finding | None:
    """Return what one rule finds, with other thresholds if any are given."""
    rules = [each for each in with_thresholds({name: limits}) if each.name == name]
    found = judge(records, context, rules).findings
    return found[0] if found else None


@pytest.fixture
def run_of() -> Callable[..., Records]:
    return _run


@pytest.fixture
def healthy() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return _healthy


@pytest.fixture
def finding() -> Callable[..., Finding | None]:
    return _finding


@pytest.fixture
def rule_names() -> list[str]:
    return [each.name for each in RULES]
