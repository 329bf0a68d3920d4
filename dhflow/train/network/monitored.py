"""The monitor's callback in a trial's training, where the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dhflow.train.network.data import TrainingData, plain
from dhflow.train.network.progress import Run

if TYPE_CHECKING:
    from dhflow.monitor import KerasMonitor

PROBE_BATCH = 256
"""Examples of a ``Dataset`` that are batched for the probe."""


def make_monitor(run: Run, data: TrainingData, trial: Any) -> KerasMonitor | None:
    """Return the callback that watches a trial's training; None where the settings do not ask for it.

    It reports no epochs and asks for no end: the training does both.
    """
    settings = run.settings
    if not settings.monitor:
        return None
    from dhflow.monitor import KerasMonitor

    # A probe would have to go through one of the replicas; they are watched by their weights and their curves.
    is_alone = settings.replicas == 1
    part = "train" if data.validation is None else "validation"
    return KerasMonitor(
        trial,
        probe=_samples(getattr(data, part)) if is_alone else None,
        data=_samples(data.train) if is_alone else None,
        report=False,
        save=run.save,
        batch_size=settings.batch_size,
        **(dict(settings.monitor) if not isinstance(settings.monitor, bool) else {}),
    )


def _samples(part: Any) -> Any:
    return part.batch(PROBE_BATCH) if hasattr(part, "cardinality") else plain(part)
