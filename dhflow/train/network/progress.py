"""A training while it runs: what it goes on from, what it does after each epoch, and when it ends."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dhflow.errors import ObjectiveError
from dhflow.train.network.checkpoint import (
    Arrays,
    Checkpoint,
    Progress,
    array_of,
    read_checkpoint,
    set_variables,
    variables_of,
    write_checkpoint,
)
from dhflow.train.network.framework import load_keras
from dhflow.train.network.settings import TrainingSettings


class Handle(Protocol):
    """What a training needs of a trial; :class:`~dhflow.train.TrialContext` has it."""

    @property
    def attempt(self) -> int:
        """Which try of the trial this is, from 1."""

    @property
    def budget(self) -> float | None:
        """Epochs to train; None: as the settings say."""

    @property
    def seed(self) -> int:
        """Of all that is drawn."""

    @property
    def dir(self) -> Path:
        """Where files go."""

    @property
    def continues(self) -> Path | None:
        """Directory of the trial that this one goes on from."""

    def report(self, step: int, **metrics: float) -> None:
        """Take an epoch's numbers."""

    def should_stop(self, *, needs_s: float = 0.0) -> bool:
        """Tell whether to end now."""


class Run:
    """A model's training, from where an earlier one has ended.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    settings : TrainingSettings
    trial : Handle
    epochs : int
        Up to which it is trained.
    network : str
        Tells networks apart, see :class:`~dhflow.train.network.checkpoint.Progress`.
    clock : callable, optional
        A clock that never jumps.
    """

    def __init__(
        self,
        model: Any,
        settings: TrainingSettings,
        trial: Handle,
        epochs: int,
        network: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.settings = settings
        self.epochs = epochs
        self._trial = trial
        self._clock = clock
        self._began = self._saved = self._epoch_began = clock()
        self._first_step_s = 0.0
        self.progress = Progress(network=network, optimizer=type(model.optimizer).__name__)
        self.best: Arrays = {}
        self.n_inherited = 0
        """Variables that came from a parent of another architecture."""
        self._begin()

    # Where it begins

    def _begin(self) -> None:
        for directory in (self._earlier_attempt(), self._trial.continues):
            found = read_checkpoint(directory)
            if found is not None and self._goes_on_from(found.progress):
                return self._go_on(found)
            if found is not None and self.settings.inherit_weights:
                self.n_inherited = set_variables(self.model, found.last)
                return None
        return None

    def _goes_on_from(self, earlier: Progress) -> bool:
        mine = self.progress
        same = (earlier.network, earlier.optimizer) == (mine.network, mine.optimizer)
        return same and 0 < earlier.epoch < self.epochs

    def _go_on(self, found: Checkpoint) -> None:
        set_variables(self.model, found.last)
        for variable, array in zip(self.model.optimizer.variables, found.optimizer, strict=False):
            variable.assign(array)
        self.progress, self.best = found.progress, found.best

    def _earlier_attempt(self) -> Path | None:
        # An attempt whose worker was lost; without a study's directory there is nothing beside this one's.
        if self._trial.attempt < 2 or self._trial.dir.name != str(self._trial.attempt):
            return None
        return self._trial.dir.with_name(str(self._trial.attempt - 1))

    # While it runs

    def begin_epoch(self) -> None:
        """Take the time."""
        self._epoch_began = self._clock()

    def end_first_step(self) -> None:
        """Take the time of the first step: TensorFlow compiles in it, and later epochs do not."""
        self._first_step_s = self._clock() - self._epoch_began

    def end_epoch(self, logs: dict[str, Any]) -> bool:
        """Report an epoch's numbers, and keep the network if it is the best so far.

        Returns
        -------
        bool
            Whether training should end.

        Raises
        ------
        ObjectiveError
            If a number is not finite, or the objective is none of them.
        """
        progress = self.progress
        progress.epoch += 1
        values = {name: float(value) for name, value in logs.items()}
        self._trial.report(progress.epoch, **values)
        self._check(values)
        for name, value in values.items():
            progress.history.setdefault(name, []).append(value)
        if self._is_best():
            progress.best_epoch = progress.epoch
            self.best = variables_of(self.model)
        took_s = self._clock() - self._epoch_began - self._first_step_s
        self._first_step_s = 0.0
        is_over = progress.epoch >= self.epochs or self._is_enough(took_s)
        interval = self.settings.checkpoint_interval_s
        if interval is not None and not is_over and self._clock() - self._saved >= interval:
            self.save()
        return is_over

    def _check(self, values: dict[str, float]) -> None:
        name, epoch = self.settings.objective, self.progress.epoch
        if name not in values:
            raise ObjectiveError(
                f"the objective {name!r} is none of what an epoch reports: {', '.join(sorted(values))}"
            )
        for each in dict.fromkeys(("loss", name)):
            if not math.isfinite(values.get(each, 0.0)):
                raise ObjectiveError(f"{each} is {values[each]} after epoch {epoch}: the training has diverged")

    def _losses(self) -> list[float]:
        return [self.settings.loss_of(value) for value in self.progress.history[self.settings.objective]]

    def _is_best(self) -> bool:
        *before, now = self._losses()
        at = self.progress.best_epoch
        return not before or at == 0 or now < before[at - 1] - self.settings.min_delta

    def _is_enough(self, epoch_s: float) -> bool:
        patience, limit = self.settings.patience, self.settings.time_limit_s
        if patience is not None and self.progress.epoch - self.progress.best_epoch >= patience:
            return True
        if limit is not None and self._clock() - self._began + epoch_s > limit:
            return True
        return self._trial.should_stop(needs_s=epoch_s)

    # Its end

    def save(self) -> None:
        """Write the checkpoint, if there are to be any; on a full disk the one before is worth more than the trial."""
        self._saved = self._clock()
        if self.settings.checkpoint_interval_s is None:
            return
        optimizer = [array_of(each) for each in self.model.optimizer.variables]
        with contextlib.suppress(OSError):
            found = Checkpoint(self.progress, variables_of(self.model), self.best, optimizer)
            write_checkpoint(self._trial.dir, found)

    def chosen_epoch(self) -> int:
        """Return the epoch whose network counts: the best one or the last one."""
        return self.progress.best_epoch if self.settings.summary == "best" else self.progress.epoch

    def choose(self) -> None:
        """Put the weights of that epoch into the model."""
        if self.chosen_epoch() != self.progress.epoch:
            set_variables(self.model, self.best)

    def value(self) -> float:
        """Return the objective's value, summed up as asked."""
        values = self.progress.history[self.settings.objective]
        if self.settings.summary == "best":
            return max(values) if self.settings.direction == "maximize" else min(values)
        return float(np.mean(values[-self.settings.n_last :])) if self.settings.summary == "mean" else values[-1]


def make_callback(run: Run) -> Any:
    """Return what lets ``fit`` tell `run` of its epochs."""
    keras = load_keras()

    class Watch(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            run.begin_epoch()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0 and self._is_first:
                self._is_first = False
                run.end_first_step()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            numbers = dict(logs or {})
            if not run.settings.decay.is_constant:
                numbers["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
            if run.end_epoch(numbers):
                self.model.stop_training = True

        _is_first = True

    return Watch()
