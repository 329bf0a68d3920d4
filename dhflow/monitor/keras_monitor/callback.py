"""The Keras callback that watches a training; importing this module loads Keras."""

from __future__ import annotations

import os
import queue
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dhflow.errors import MissingExtraError, SearchError
from dhflow.monitor.context import Context
from dhflow.monitor.control import Control
from dhflow.monitor.finding import Light
from dhflow.monitor.keras_monitor.cost import Cost
from dhflow.monitor.keras_monitor.facts import (
    class_numbers,
    data_facts,
    is_classification,
    learning_rate_of,
    network_facts,
)
from dhflow.monitor.keras_monitor.machine import EpochClock, MachineClock
from dhflow.monitor.keras_monitor.options import (
    check_counts,
    check_intervals,
    check_others,
    check_trial,
    checked_path,
)
from dhflow.monitor.keras_monitor.outlet import Outlet, write_line
from dhflow.monitor.keras_monitor.probe import Probe, Samples, Tested, build_from
from dhflow.monitor.keras_monitor.snapshot import Snapshots
from dhflow.monitor.keras_monitor.tensors import Histograms, Scale
from dhflow.monitor.keras_monitor.waiting import InputClock
from dhflow.monitor.record import ClassRecord, NetworkFacts, Reading, Record, Records, WorstSample
from dhflow.monitor.rules import Judgement
from dhflow.trial import TrialStatus

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is loaded: it is talkative
try:
    import keras
except ImportError as error:
    raise MissingExtraError("KerasMonitor watches trainings of Keras", "tensorflow") from error

MAX_CLASSES = 200
"""A confusion matrix of more is not recorded."""
CHECKPOINT = "monitored.keras"


class KerasMonitor(keras.callbacks.Callback):  # type: ignore[misc]
    """Watches a training: records, judgement, advice; and does what is asked of the run meanwhile.

    Parameters
    ----------
    trial : TrialContext, optional
        Records go to its ``channel`` and are judged by its driver. Without one they are judged here.
    probe : array, tuple or Dataset, optional
        Fixed samples, best of the validation data: ``(x, y)``, ``(x, y, weights)``, batches, or `x` alone. Up to 256
        are looked at for activations and gradients, up to 2,048 for confused classes and worst samples, evenly
        chosen; what needs targets is not recorded without them.
    data : array, tuple or Dataset, optional
        The training data, or part of it: what their inputs and classes are like. Else the probe tells.
    path : path, optional
        Without a trial: an HDF5 file for the run, which ``dhflow monitor`` and ``dhflow advise`` read. After an
        exception in ``fit`` it is closed when the monitor goes, or the process; at once in a ``with monitor:`` block.
    context : Context, optional
        What the rules are to know: metric, target, config, space. The budget is the number of epochs.
    adapt : {"suggest", "stop"}
        Without a trial: also end the run once it is red.
    report : bool, optional
        Whether epochs' numbers are reported to the trial, and its ``should_stop()`` is asked; by default with a
        trial. Say False where the objective does both.
    interval, test_interval : int
        Epochs between two looks at the tensors, and between two tests on the probe. Both are widened
        so that watching costs no more than `max_cost`.
    display_interval : int, optional
        Batches between two readings of the loss within an epoch; None: none.
    snapshot_interval : int, optional
        Epochs between two saved models; None: only when asked for.
    save : callable, optional
        Keeps the weights now; by default the model is saved as ``monitored.keras`` in the trial's directory, or
        beside `path`.
    bins : int
        Of each histogram; 0 makes none.
    scales : mapping, optional
        From a tensor's kind (``"weight"``, ``"gradient"``, ``"update"``, ``"activation"``) to ``"linear"`` or
        ``"log"``.
    n_worst : int
        Samples with the greatest losses that are noted at each test.
    batch_size : int
        For the records; Keras does not tell a callback.
    max_cost : float
        Share of the training time; ``math.inf`` sets no limit. Runs of some seconds cost up to half a second.
    show : callable, optional
        Takes lines for people: changes of the light, and the advice at the end. By default they are printed if there
        is a `path`.

    Attributes
    ----------
    records : Records
    cost : Cost

    Raises
    ------
    SearchError
        If an option makes no sense, or two do not go together.
    MissingExtraError
        Without Keras, when this class is asked for.

    Examples
    --------
    >>> from dhflow.monitor import KerasMonitor  # doctest: +SKIP
    >>> monitor = KerasMonitor(path="run.h5", probe=(x_val, y_val))  # doctest: +SKIP
    >>> model.fit(x, y, validation_data=(x_val, y_val), callbacks=[monitor])  # doctest: +SKIP
    >>> monitor.judgement().light  # doctest: +SKIP
    """

    def __init__(
        self,
        trial: Any = None,
        *,
        probe: Any = None,
        data: Any = None,
        path: str | Path | None = None,
        context: Context | None = None,
        adapt: str = "suggest",
        report: bool | None = None,
        interval: int = 1,
        test_interval: int = 1,
        display_interval: int | None = None,
        snapshot_interval: int | None = None,
        save: Callable[[], None] | None = None,
        bins: int = 30,
        scales: Mapping[str, Scale] | None = None,
        n_worst: int = 8,
        batch_size: int = 0,
        max_cost: float = 0.03,
        show: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        check_trial(trial, path)
        check_intervals(interval, test_interval, display_interval, snapshot_interval)
        check_counts(n_worst=n_worst, batch_size=batch_size)
        check_others(max_cost, context, show=show, save=save)
        if adapt not in ("suggest", "stop") or (adapt == "stop" and trial is not None):
            raise SearchError(
                f'KerasMonitor: adapt is "suggest" or, without a trial, "stop", not {adapt!r}; a trial\'s study says it'
            )
        self._trial = trial
        self._path = checked_path(path)
        self._context = context or Context()
        self._stops = adapt == "stop"
        self._reports = trial is not None if report is None else report
        self._probe_samples = None if probe is None else Samples.of(probe)
        self._data = None if data is None else Samples.of(data)
        self._intervals = {"tensors": interval, "tests": test_interval}
        self._display_interval = display_interval
        self._snapshot_interval = snapshot_interval
        self._save_by = save
        self._histograms = Histograms(bins, dict(scales or {}))
        self._n_worst = n_worst
        self._batch_size = batch_size
        self._max_cost = max_cost
        self._show = show if show is not None or path is None else write_line
        self._asked: queue.SimpleQueue[Control] = queue.SimpleQueue()
        self._input_clock = InputClock()
        self._unclosed: weakref.finalize[..., KerasMonitor] | None = None
        if display_interval is not None:
            # A method that is there makes Keras wait for each batch's numbers.
            self.on_train_batch_end = self._end_batch
        self._begin()

    def _begin(self) -> None:
        self.cost = Cost(self._max_cost)
        self._outlet = Outlet(self._trial, self._path, self._context, reports=self._reports, show=self._show)
        self._epoch_clock = EpochClock()
        self._machine = MachineClock()
        self._snapshots: Snapshots | None = None
        self._probe: Probe | None = None
        self._last = {"tensors": 0, "tests": 0}
        self._broken: set[str] = set()
        self._facts = NetworkFacts()
        self._running_sum = 0.0
        self._n_batches = 0
        self._is_stopped = False
        self._is_due = False
        self._has_started = False

    # For users

    @property
    def records(self) -> Records:
        """What the last ``fit`` recorded, thinned evenly where it is long."""
        return self._outlet.records

    @property
    def light(self) -> Light:
        """The traffic light as last judged here."""
        return self._outlet.light

    def judgement(self) -> Judgement:
        """Return what the rules say about the run so far."""
        return self._outlet.judgement()

    def ask(self, control: Control) -> None:
        """Ask the run to do something at the end of its epoch; may be called from another thread."""
        self._asked.put(control)

    def timed(self, dataset: Any) -> Any:
        """Return a ``tf.data.Dataset`` of which this monitor tells how long steps wait for it; give it to ``fit``."""
        return self._input_clock.timed(dataset)

    def __enter__(self) -> KerasMonitor:
        """Return this monitor; at the end of the block a training that has failed in it is closed as interrupted."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Close what an exception has left open: its file says so, and its advice is given."""
        if error is not None and self._unclosed is not None and self._unclosed.detach():
            self._outlet.interrupt(os.getpid(), f"{type(error).__name__}: {error}".rstrip(": "))

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        """Take the network's and the data's facts, and look at the weights before the first step."""
        self._begin()
        self._close_at_the_latest()
        self._outlet.with_budget(self.params.get("epochs"))
        if self._probe_samples is not None:
            build_from(self.model, self._probe_samples)
        if self.model.built:
            self._start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Decide whether this epoch's tensors are looked at."""
        self._epoch_clock.begin_epoch()
        self._running_sum, self._n_batches = 0.0, 0
        self._is_due = self._due("tensors", epoch + 1)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Note the time; keep the weights before a step whose update is recorded."""
        self.cost.leave_out(self._epoch_clock.begin_step())
        self._input_clock.begin_step()
        if not self._has_started and self.model.built:
            self._start()
        snapshots = self._snapshots
        if snapshots is None or "tensors" in self._broken:
            return
        if snapshots.has_before:
            self._timed(snapshots.keep_update)
        elif self._is_due and self._is_last_step(self._epoch_clock.n_steps) and not snapshots.has_update:
            self._timed(snapshots.keep_before)

    def on_test_begin(self, logs: Any = None) -> None:
        """Note that the epoch's steps are over."""
        self._end_steps()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the epoch, judge, and do what is asked."""
        self._end_steps()
        step = epoch + 1
        epoch_s = self._epoch_clock.epoch_time_s
        with self.cost.of("epoch"):
            self._record_epoch(step, dict(logs or {}), epoch_s)
        if self._is_due:
            self._last["tensors"] = step
            with self.cost.of("tensors"):
                self._safely("tensors", lambda: self._record_tensors(step))
        if self._due("tests", step):
            self._last["tests"] = step
            with self.cost.of("tests"):
                self._safely("tests", lambda: self._record_test(step))
        self._judge(step)
        with self.cost.of("controls"):
            self._obey(step)

    def on_train_end(self, logs: Any = None) -> None:
        """Judge for the last time, write the file, and give the advice."""
        if self._unclosed is not None:
            self._unclosed.detach()
        with self.cost.of("end"):
            self._outlet.end(TrialStatus.STOPPED if self._is_stopped else TrialStatus.COMPLETED)

    def _close_at_the_latest(self) -> None:
        """Have the file closed when the callback or the process goes: Keras does not say that a training has failed."""
        if self._unclosed is not None:
            self._unclosed.detach()
        if self._path is not None:
            self._unclosed = weakref.finalize(self, self._outlet.interrupt, os.getpid())

    def _end_batch(self, batch: int, logs: Any = None) -> None:
        """Send a reading of the loss within the epoch; Keras reports the mean of the epoch so far."""
        mean = float((logs or {}).get("loss", np.nan))
        self._n_batches += 1
        total = mean * self._n_batches
        loss, self._running_sum = total - self._running_sum, total
        is_lost = not np.isfinite(loss)
        if self._n_batches % (self._display_interval or 1) == 0 or is_lost:
            with self.cost.of("batch"):
                number = int(self.model.optimizer.iterations)
                self._outlet.send([Reading(number, {"loss": loss}, time.time(), "batch")])

    # Recording

    def _start(self) -> None:
        """Look at the network as it is: before its first step, or after that where only the step has built it."""
        self._has_started = True
        with self.cost.of_first("tensors"):
            self._safely("facts", self._send_facts)
            self._safely("tensors", lambda: self._record_tensors(0))
            self._safely("tests", self._test_at_start)

    def _send_facts(self) -> None:
        samples, source = self._probe_samples, self._data or self._probe_samples
        steps, epochs = (int(self.params.get(name) or 0) for name in ("steps", "epochs"))
        self._facts = network_facts(self.model, n_steps=steps, batch_size=self._batch_size, n_epochs=epochs)
        found: list[Record] = [self._facts]
        if source is not None:
            n = len(self._data) if self._data is not None else 0
            some = source if source is self._data and _is_small(source) else source.some(2_048)
            found.append(data_facts(some.x, some.y, n_samples=n, classes=is_classification(self.model)))
        self._outlet.send(found)
        probe = None if samples is None else Probe(self.model, samples)
        self._probe = probe if probe is not None and probe.is_usable else None
        self._snapshots = Snapshots(self.model, self._probe, self._histograms)

    def _test_at_start(self) -> None:
        tested = None if self._probe is None else self._probe.test()
        if tested is not None and tested.losses is not None and len(tested.losses):
            # Of the untrained network, as of a first batch.
            self._outlet.send([Reading(0, {"loss": float(np.mean(tested.losses))}, time.time(), "batch")])

    def _record_epoch(self, step: int, logs: dict[str, Any], epoch_s: float) -> None:
        now = time.time()
        values = {name: float(value) for name, value in logs.items()}
        machine = self._machine.record(
            step,
            now,
            step_time_s=self._epoch_clock.step_time_s,
            input_wait_s=self._input_clock.end_epoch(),
            epoch_time_s=epoch_s,
        )
        self._outlet.send([Reading(step, values, now), machine])

    def _record_tensors(self, step: int) -> None:
        if self._snapshots is not None:
            self._outlet.send(self._snapshots.records(step, time.time()))

    def _record_test(self, step: int) -> None:
        tested = None if self._probe is None else self._probe.test()
        if tested is None or self._probe is None:
            return
        now = time.time()
        found: list[Record] = []
        targets = class_numbers(self._probe.samples.y) if is_classification(self.model) else None
        counts = None if targets is None else confusion(targets, tested, from_logits=self._facts.from_logits)
        if counts is not None:
            found.append(ClassRecord(step, counts, now))
        if tested.losses is not None:
            worst = np.argsort(np.nan_to_num(tested.losses, nan=np.inf))[::-1][: self._n_worst]
            found += [WorstSample(step, int(i), float(tested.losses[i]), now) for i in worst]
        self._outlet.send(found)

    # Cost

    def _due(self, task: str, step: int) -> bool:
        is_time = step - self._last[task] >= self._intervals[task]
        return is_time and task not in self._broken and self._snapshots is not None and self.cost.allows(task)

    def _timed(self, action: Callable[[], None]) -> None:
        before = self.cost.own_s
        with self.cost.of("update"):
            self._safely("tensors", action)
        self._epoch_clock.leave_out(self.cost.own_s - before)

    def _end_steps(self) -> None:
        self.cost.leave_out(self._epoch_clock.end_steps())
        if not self._has_started:
            self._start()
        if self._snapshots is not None and self._snapshots.has_before:
            self._timed(self._snapshots.keep_update)

    def _is_last_step(self, n: int) -> bool:
        """Tell whether a step, from 1, is the epoch's last, or its first where nobody knows how many there are."""
        steps = self.params.get("steps")
        return n == (int(steps) if steps else 1)

    def _safely(self, what: str, action: Callable[[], None]) -> None:
        """Do it; a monitor that cannot look must not end a training."""
        if what in self._broken:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - models and losses are the user's own code
            self._broken |= {what, "tensors" if what == "facts" else what}
            warnings.warn(f"KerasMonitor: {what} are not recorded: {type(error).__name__}: {error}", stacklevel=2)

    # Acting

    def _judge(self, step: int) -> None:
        if not self._outlet.judges or (self._path is None and self._show is None and not self._stops):
            return
        if self.cost.allows("judge"):
            with self.cost.of("judge"):
                judged = self._outlet.look(step)
            if self._stops and judged.light is Light.RED:
                self._stop()
        if self.cost.allows("write"):
            with self.cost.of("write"):
                self._outlet.write()

    def _obey(self, step: int) -> None:
        asked: list[Control] = list(self._outlet.controls())
        while not self._asked.empty():
            asked.append(self._asked.get())
        for each in asked:
            self._do(each)
        if self._snapshot_interval is not None and step % self._snapshot_interval == 0:
            self._save()

    def _do(self, control: Control) -> None:
        if control.kind == "stop":
            self._stop()
        elif control.kind == "checkpoint":
            self._save()
        elif control.value is not None:
            from dhflow.monitor.keras_monitor.learning_rate import set_learning_rate

            set_learning_rate(self.model, control.value)
            self._facts = replace(self._facts, learning_rate=learning_rate_of(self.model))
            self._outlet.send([self._facts])

    def _stop(self) -> None:
        self._is_stopped = True
        self.model.stop_training = True

    def _save(self) -> None:
        if self._save_by is not None:
            self._save_by()
            return
        folder = getattr(self._trial, "dir", None) or (self._path.parent if self._path is not None else None)
        if folder is None:
            warnings.warn("KerasMonitor: there is no place for a checkpoint: give a path or save=", stacklevel=2)
            return
        try:
            self.model.save(Path(folder) / CHECKPOINT)
        except OSError as error:
            warnings.warn(f"KerasMonitor: no checkpoint could be written: {error}", stacklevel=2)


def confusion(targets: Any, tested: Tested, *, from_logits: bool = False) -> tuple[tuple[int, ...], ...] | None:
    """Return how often each class was taken for each; None where outputs are no classes, or too many.

    One output tells two classes apart: at a half, or at zero where it is a logit.
    """
    outputs = tested.outputs.reshape(-1, 1) if tested.outputs.ndim == 1 else tested.outputs
    if outputs.ndim != 2 or len(outputs) != len(targets):
        return None
    n = max(outputs.shape[1], 2)
    if n > MAX_CLASSES or targets.max() >= n:
        return None
    border = 0.0 if from_logits else 0.5
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > border).astype(int)
    counts = np.zeros((n, n), dtype=int)
    np.add.at(counts, (targets, predicted), 1)
    return tuple(tuple(row) for row in counts.tolist())


def _is_small(samples: Samples) -> bool:
    leaf = samples.x
    return hasattr(leaf, "size") and leaf.size <= 2_000_000
