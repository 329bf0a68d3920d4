"""What is kept of a run of any length, in bounded memory: thinned evenly, the first and the last always there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dhflow.monitor.record import (
    ClassRecord,
    DataFacts,
    MachineRecord,
    NetworkFacts,
    Reading,
    Record,
    Records,
    TensorRecord,
    WorstSample,
)

T = TypeVar("T")

MOST_TENSORS = 400
"""Records of tensors that a history keeps of one attempt; with histograms, some 200 kB of a journal."""


@dataclass(frozen=True)
class KeeperLimits:
    """How many records of each kind are kept."""

    n_readings: int = 2_000
    """Of epochs; a figure shows no more."""
    n_batch_readings: int = 500
    n_per_tensor: int = 24
    """Of each tensor and kind."""
    n_tensors: int = 400
    """Tensors and kinds; of more layers than that, the first ones."""
    n_machine: int = 200
    n_classes: int = 12
    n_worst: int = 64


class Thinned(Generic[T]):
    """Items thinned evenly: when there are too many, every second goes, and of new ones as many stay.

    Parameters
    ----------
    limit : int
        At most one more is kept: the last.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 2)
        self._kept: list[T] = []
        self._last: T | None = None
        self._n = 0
        self._stride = 1

    def add(self, item: T) -> None:
        """Take one more in."""
        self._last = None
        if self._n % self._stride == 0:
            self._kept.append(item)
            if len(self._kept) > self._limit:
                self._kept = self._kept[::2]
                self._stride *= 2
        if not self._kept or self._kept[-1] is not item:
            self._last = item
        self._n += 1

    def items(self) -> list[T]:
        """Return what is kept, in the order in which it came."""
        return [*self._kept, self._last] if self._last is not None else list(self._kept)


class Keeper:
    """The records of one run, whatever their number.

    Parameters
    ----------
    limits : KeeperLimits, optional

    Notes
    -----
    The first reading that is not finite is never thinned out, as it is what a rule looks for.
    """

    def __init__(self, limits: KeeperLimits | None = None) -> None:
        self._limits = limits or KeeperLimits()
        self._readings: Thinned[Reading] = Thinned(self._limits.n_readings)
        self._batches: Thinned[Reading] = Thinned(self._limits.n_batch_readings)
        self._tensors: dict[tuple[str, str, str], Thinned[TensorRecord]] = {}
        self._machine: Thinned[MachineRecord] = Thinned(self._limits.n_machine)
        self._classes: Thinned[ClassRecord] = Thinned(self._limits.n_classes)
        self._worst: list[WorstSample] = []
        self._network, self._data = NetworkFacts(), DataFacts()
        self._overflowed: Reading | None = None
        self._whole: Records | None = Records()

    def add(self, records: Iterable[Record]) -> None:
        """Take records in, in the order of their making."""
        for record in records:
            self._whole = None
            self._add(record)

    def _add(self, record: Record) -> None:
        match record:
            case Reading():
                (self._readings if record.per == "epoch" else self._batches).add(record)
                if self._overflowed is None and not all(map(math.isfinite, record.values.values())):
                    self._overflowed = record
            case TensorRecord():
                self._add_tensor(record)
            case MachineRecord():
                self._machine.add(record)
            case ClassRecord():
                self._classes.add(record)
            case WorstSample():
                self._worst = [*self._worst[1 - self._limits.n_worst :], record]
            case NetworkFacts():
                self._network = record
            case DataFacts():
                self._data = record

    def _add_tensor(self, record: TensorRecord) -> None:
        key = (record.kind, record.layer, record.name)
        if key not in self._tensors:
            if len(self._tensors) >= self._limits.n_tensors:
                return
            self._tensors[key] = Thinned(self._limits.n_per_tensor)
        self._tensors[key].add(record)

    @property
    def records(self) -> Records:
        """The run so far."""
        if self._whole is None:
            readings = [*self._readings.items(), *self._batches.items()]
            if self._overflowed is not None and not any(each is self._overflowed for each in readings):
                readings.append(self._overflowed)
                # By step, as the last reading is taken for the newest.
                readings.sort(key=lambda each: (each.per != "epoch", each.step))
            tensors = [each for rows in self._tensors.values() for each in rows.items()]
            self._whole = Records(
                tuple(readings),
                tuple(sorted(tensors, key=lambda each: each.step)),
                tuple(self._machine.items()),
                tuple(self._classes.items()),
                tuple(self._worst),
                self._network,
                self._data,
            )
        return self._whole

    @property
    def detail(self) -> Sequence[Record]:
        """All but the readings of epochs, which are the learning curve."""
        whole = self.records
        batches = [each for each in whole.readings if each.per == "batch"]
        facts = [each for each in (whole.network, whole.data) if each != type(each)()]
        return [*facts, *batches, *whole.tensors, *whole.machine, *whole.classes, *whole.worst]

    def brief(self, most_tensors: int = MOST_TENSORS) -> Sequence[Record]:
        """Return the detail with fewer steps of tensors: for a history, which keeps that of every trial."""
        steps = sorted({each.step for each in self.records.tensors})
        n_steps = max(2, most_tensors * len(steps) // max(1, len(self.records.tensors)))
        if len(steps) <= n_steps:
            return self.detail
        chosen = {steps[round(i * (len(steps) - 1) / (n_steps - 1))] for i in range(n_steps)}
        return [each for each in self.detail if not isinstance(each, TensorRecord) or each.step in chosen]
