"""What is recorded of one training run: frozen values that a Keras callback and a line of JSON can both fill.

A record belongs to a step: units of budget finished when it was made, 1 after the first epoch, as in
``trial.report``. Readings within an epoch carry ``per="batch"`` and count batches. Times are UTC epoch seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Per = Literal["epoch", "batch"]
Kind = Literal["weight", "gradient", "update", "activation"]

KINDS: tuple[Kind, ...] = ("weight", "gradient", "update", "activation")


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers that were reported together: losses, metrics, the learning rate.

    Parameters
    ----------
    step : int
    values : mapping
        Name to number, NaN and infinities included; names as Keras writes them: ``loss``, ``val_loss``.
    time : float
    per : {"epoch", "batch"}
    """

    step: int
    values: Mapping[str, float]
    time: float = 0.0
    per: Per = "epoch"


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """Statistics of one tensor of one layer.

    Parameters
    ----------
    step : int
    layer : str
    kind : {"weight", "gradient", "update", "activation"}
        An update is what one step of the optimiser changed; activations are those on the probe batch.
    name : str
        Of the tensor within its layer: ``"kernel"``; "" for an activation.
    size : int
        Elements; of an activation, per sample.
    norm : float
        Euclidean, of the finite elements.
    mean, std, max_abs : float
        Of the finite elements; NaN where not recorded.
    zero_share : float
        Share of exact zeros.
    dead_share, saturated_share : float
        Of an activation: share of units that are zero, and that lie at an end of their range, on the whole probe
        batch; NaN where this means nothing.
    n_nonfinite : int
    edges, counts : tuple
        Histogram; empty where none was made.
    scale : {"linear", "log"}
        Of the histogram: values, or decimal logarithms of magnitudes.
    time : float
    """

    step: int
    layer: str
    kind: Kind
    name: str = ""
    size: int = 0
    norm: float = math.nan
    mean: float = math.nan
    std: float = math.nan
    max_abs: float = math.nan
    zero_share: float = math.nan
    dead_share: float = math.nan
    saturated_share: float = math.nan
    n_nonfinite: int = 0
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    scale: Literal["linear", "log"] = "linear"
    time: float = 0.0

    @property
    def tensor(self) -> tuple[str, str]:
        """Layer and name."""
        return self.layer, self.name

    @property
    def label(self) -> str:
        """The tensor as a text: ``dense_1/kernel``."""
        return f"{self.layer}/{self.name}" if self.name else self.layer

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return self.norm / math.sqrt(self.size) if self.size else math.nan


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """What the machine did since the record before; NaN is not measured.

    Parameters
    ----------
    step : int
    time : float
    step_time_s : float
        Seconds per batch, waiting for input included.
    input_wait_s : float
        Seconds per batch spent waiting for input.
    epoch_time_s : float
    cpu_share : float
        Of the cores that the run may use.
    memory_bytes, gpu_share, gpu_memory_bytes : float
    network_bytes : float
    collective_s : float
        Seconds per batch in collective operations.
    """

    step: int
    time: float = 0.0
    step_time_s: float = math.nan
    input_wait_s: float = math.nan
    epoch_time_s: float = math.nan
    cpu_share: float = math.nan
    memory_bytes: float = math.nan
    gpu_share: float = math.nan
    gpu_memory_bytes: float = math.nan
    network_bytes: float = math.nan
    collective_s: float = math.nan


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """How validation samples were classified: ``counts[true][predicted]``."""

    step: int
    counts: tuple[tuple[int, ...], ...]
    time: float = 0.0

    @property
    def matrix(self) -> FloatArray:
        """(classes, classes) the counts as an array."""
        return np.array(self.counts, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class WorstSample:
    """A sample with one of the greatest losses: its place in the probe or validation data."""

    step: int
    index: int
    loss: float
    time: float = 0.0


class Layer(NamedTuple):
    """One layer as it was built.

    Parameters
    ----------
    name : str
    kind : str
        Its class: ``"Dense"``.
    activation : str
        "" where it has none.
    units : int
        Or filters; 0 where it has none.
    n_weights : int
    is_trainable : bool
    initializer : str
    """

    name: str
    kind: str
    activation: str = ""
    units: int = 0
    n_weights: int = 0
    is_trainable: bool = True
    initializer: str = ""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What is known of the network before it trains; an empty text or NaN is unknown.

    Parameters
    ----------
    layers : tuple of Layer
    loss : str
        As Keras names it: ``"sparse_categorical_crossentropy"``.
    from_logits : bool
        The loss applies the softmax or sigmoid itself.
    last_activation : str
    last_units : int
    optimizer : str
    learning_rate, clip_norm : float
    batch_size : int
    n_steps_per_epoch : int
    n_epochs : int
        That the run is to have; 0 is unknown.
    """

    layers: tuple[Layer, ...] = ()
    loss: str = ""
    from_logits: bool = False
    last_activation: str = ""
    last_units: int = 0
    optimizer: str = ""
    learning_rate: float = math.nan
    clip_norm: float = math.nan
    batch_size: int = 0
    n_steps_per_epoch: int = 0
    n_epochs: int = 0


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the training data, from the probe batch or the whole.

    Parameters
    ----------
    n_samples : int
        In the training set; 0 is unknown.
    n_probed : int
        On how many samples the numbers below are based.
    input_mean, input_std : float
    input_max_abs : float
    feature_std_ratio : float
        Greatest over median standard deviation among the features that vary.
    n_nonfinite_inputs, n_nonfinite_targets : int
    class_counts : tuple of int
        Empty for regression.
    target_mean, target_std : float
        Of a regression's targets.
    """

    n_samples: int = 0
    n_probed: int = 0
    input_mean: float = math.nan
    input_std: float = math.nan
    input_max_abs: float = math.nan
    feature_std_ratio: float = math.nan
    n_nonfinite_inputs: int = 0
    class_counts: tuple[int, ...] = ()
    target_mean: float = math.nan
    target_std: float = math.nan
    n_nonfinite_targets: int = 0


@dataclass(frozen=True, slots=True)
class Listening:
    """The run has asked for controls, so that it will hear of another learning rate. It is no part of a history."""

    time: float = 0.0


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long the run may go on, as its worker knows it: `left_s` seconds at `time`. It is no part of a history."""

    time: float = 0.0
    left_s: float = math.inf


Record = (
    Reading
    | TensorRecord
    | MachineRecord
    | ClassRecord
    | WorstSample
    | NetworkFacts
    | DataFacts
    | Listening
    | TimeLimit
)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One number over the steps, in their order."""

    steps: FloatArray
    values: FloatArray
    times: FloatArray

    @property
    def finite(self) -> Series:
        """The readings whose value is finite."""
        keep = np.isfinite(self.values)
        return Series(self.steps[keep], self.values[keep], self.times[keep])

    def __len__(self) -> int:
        return int(self.values.size)


@dataclass(frozen=True)
class Records:
    """The whole of one run so far.

    Parameters
    ----------
    readings, tensors, machine, classes, worst : tuple
        In the order in which they were made.
    network : NetworkFacts
    data : DataFacts
    """

    readings: tuple[Reading, ...] = ()
    tensors: tuple[TensorRecord, ...] = ()
    machine: tuple[MachineRecord, ...] = ()
    classes: tuple[ClassRecord, ...] = ()
    worst: tuple[WorstSample, ...] = ()
    network: NetworkFacts = field(default_factory=NetworkFacts)
    data: DataFacts = field(default_factory=DataFacts)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Records:
        """Return the run that these records, of any kinds and in the order of their making, are."""
        return cls().extended(records)

    def extended(self, records: Iterable[Record]) -> Records:
        """Return this run with more records; later facts take the place of earlier ones."""
        new: dict[type, list[Any]] = {}
        for each in records:
            new.setdefault(type(each), []).append(each)
        return Records(
            (*self.readings, *new.get(Reading, ())),
            (*self.tensors, *new.get(TensorRecord, ())),
            (*self.machine, *new.get(MachineRecord, ())),
            (*self.classes, *new.get(ClassRecord, ())),
            (*self.worst, *new.get(WorstSample, ())),
            new.get(NetworkFacts, [self.network])[-1],
            new.get(DataFacts, [self.data])[-1],
        )

    # Numbers over time

    @cached_property
    def _series(self) -> dict[tuple[str, Per], Series]:
        """The last report of a step counts: a trial that goes on from a checkpoint repeats some."""
        found: dict[tuple[str, Per], dict[int, tuple[float, float]]] = {}
        for each in self.readings:
            for name, value in each.values.items():
                found.setdefault((name, each.per), {})[each.step] = (float(value), each.time)
        return {key: _series(rows) for key, rows in found.items()}

    def series(self, name: str, per: Per = "epoch") -> Series:
        """Return one number over the steps; empty if it was never reported."""
        return self._series.get((name, per), _EMPTY)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What was reported per epoch, in the order of its first appearance."""
        return tuple(name for name, per in self._series if per == "epoch")

    @property
    def last_step(self) -> int:
        """The last epoch that was reported; 0 before the first."""
        return max((each.step for each in self.readings if each.per == "epoch"), default=0)

    @property
    def last_time(self) -> float:
        """When the last record was made; 0.0 if no record has a time."""
        return max(self.times, default=0.0)

    @cached_property
    def times(self) -> frozenset[float]:
        """When records were made."""
        of_readings = {each.time for each in self.readings}
        of_tensors = {each.time for each in self.tensors}
        of_machine = {each.time for each in self.machine}
        return frozenset(of_readings | of_tensors | of_machine | {each.time for each in self.classes})

    # Tensors

    @cached_property
    def _tensors(self) -> dict[Kind, dict[tuple[str, str], tuple[TensorRecord, ...]]]:
        found: dict[Kind, dict[tuple[str, str], list[TensorRecord]]] = {kind: {} for kind in KINDS}
        for each in self.tensors:
            found[each.kind].setdefault(each.tensor, []).append(each)
        return {kind: {key: tuple(rows) for key, rows in by.items()} for kind, by in found.items()}

    def tensors_of(self, kind: Kind) -> Mapping[tuple[str, str], tuple[TensorRecord, ...]]:
        """Return the records of a kind by layer and name, the layers as in the network where it is known."""
        by = self._tensors[kind]
        order = {layer.name: i for i, layer in enumerate(self.network.layers)}
        return {key: by[key] for key in sorted(by, key=lambda key: order.get(key[0], len(order)))}

    def latest(self, kind: Kind) -> tuple[TensorRecord, ...]:
        """Return the last record of each tensor of a kind, the layers in their order."""
        return tuple(rows[-1] for rows in self.tensors_of(kind).values())

    def layer(self, name: str) -> Layer | None:
        """Return a layer's facts, or None if they are not known."""
        return next((each for each in self.network.layers if each.name == name), None)


_NONE = np.empty(0)
_EMPTY = Series(_NONE, _NONE, _NONE)


def _series(rows: Mapping[int, tuple[float, float]]) -> Series:
    steps = sorted(rows)
    return Series(
        np.array(steps, dtype=np.float64),
        np.array([rows[step][0] for step in steps], dtype=np.float64),
        np.array([rows[step][1] for step in steps], dtype=np.float64),
    )
