"""A control that is sent in the midst of an epoch takes effect at its end: asserted on epochs, never on seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow import Float, SearchSpace, Study, TrialStatus, commands, load
from dhflow.flow import watcher as watcher_module
from dhflow.flow.run_directory import run_path
from dhflow.history import read_commands, read_records
from dhflow.monitor import KerasMonitor

SPACE = SearchSpace({"learning_rate": Float(1e-4, 1.0, log=True)})
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watcher_module, "LEAST_AGE_S", 0.0)


class Epochs:
    """A trial's epochs, which wait in their midst until they are let go."""

    def __init__(self, history: Path) -> None:
        self.now = 0
        self._folder = run_path(history) / "trials" / "0" / "1"
        self._last = 0
        self._changed = threading.Condition()

    def enter(self, epoch: int) -> None:
        """Begin an epoch, and wait until it may end; called by the trial."""
        with self._changed:
            self.now = epoch
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: epoch <= self._last, WAIT_S)

    def let_go(self, last: int) -> None:
        """Let the epochs up to one end, and wait until the next has begun."""
        with self._changed:
            self._last = last
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.now == last + 1, WAIT_S)

    def end(self) -> None:
        """Let all of them end."""
        with self._changed:
            self._last = 1_000
            self._changed.notify_all()

    def ask(self, give: Callable[[], None], kind: str) -> None:
        """Give a command, and wait until the driver has left the control for the trial."""
        give()
        until, path = time.monotonic() + WAIT_S, self._folder / "controls.jsonl"
        while not (path.exists() and kind in path.read_text()):
            assert time.monotonic() < until
            time.sleep(0.01)


@contextmanager
def running(history: Path, objective: Callable[..., Any], epochs: Epochs) -> Iterator[None]:
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue({"learning_rate": 0.1})
        options: Any = {"site": "laptop", "site_set": {"executor": "threads", "workers": 1}, "max_trials": 1}
        thread = threading.Thread(target=study.run, args=(objective,), kwargs={"keep": "all", **options})
        thread.start()
        try:
            yield
        finally:
            epochs.end()
            thread.join(WAIT_S)
        assert not thread.is_alive()


def test_an_objective_is_reached_within_the_epoch(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    epochs = Epochs(history)
    kept = []

    def objective(config: dict[str, Any], trial: Any) -> float:
        rate, epoch = config["learning_rate"], 0
        while not trial.should_stop():
            epoch += 1
            assert epoch < 100
            epochs.enter(epoch)
            trial.report(epoch, loss=1.0 / epoch, learning_rate=rate)
            for each in trial.channel.controls():
                if each.kind == "checkpoint":
                    kept.append(epoch)
                rate = each.value if each.kind == "learning_rate" else rate
        return 1.0 / epoch

    with running(history, objective, epochs):
        epochs.let_go(2)
        epochs.ask(lambda: commands.set_learning_rate(history, 0, 0.025), "learning_rate")
        epochs.let_go(4)
        epochs.ask(lambda: commands.checkpoint(history, 0), "checkpoint")
        epochs.let_go(6)
        assert kept == [5]
        epochs.ask(lambda: commands.stop(history, 0), "stop")
    result = load(history)
    (trial,) = result.trials
    assert (trial.status, trial.budget) == (TrialStatus.STOPPED, 7.0)
    rows = result.measurements(0)
    assert max(each.step for each in rows) == 7
    rates = [each.value for each in rows if each.name == "learning_rate"]
    assert rates == [0.1] * 3 + [0.025] * 4
    assert [each.reply for each in read_commands(history)] == [{"sent": True}] * 3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_keras_training_is_reached_within_the_epoch(tmp_path: Path) -> None:
    history = tmp_path / "h.h5"
    epochs = Epochs(history)
    folder = run_path(history) / "trials" / "0" / "1"
    rates: list[float] = []

    def objective(config: dict[str, Any], trial: Any) -> float:
        import keras

        class Gate(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                rates.append(float(self.model.optimizer.learning_rate))
                epochs.enter(epoch + 1)

        keras.utils.set_random_seed(1)
        x = np.random.default_rng(0).normal(size=(64, 4))
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(config["learning_rate"]), "mse", jit_compile=False)
        watch = [Gate(), KerasMonitor(trial, probe=(x, x[:, 0]))]
        return float(model.fit(x, x[:, 0], epochs=50, verbose=0, callbacks=watch).history["loss"][-1])

    with running(history, objective, epochs):
        epochs.let_go(2)
        epochs.ask(lambda: commands.set_learning_rate(history, 0, 0.025), "learning_rate")
        epochs.let_go(4)
        assert not (folder / "monitored.keras").exists()
        epochs.ask(lambda: commands.checkpoint(history, 0), "checkpoint")
        epochs.let_go(5)
        assert (folder / "monitored.keras").exists()
        epochs.ask(lambda: commands.stop(history, 0), "stop")
    result = load(history)
    (trial,) = result.trials
    assert (trial.status, trial.budget) == (TrialStatus.STOPPED, 6.0)
    assert max(each.step for each in result.measurements(0)) == 6
    assert rates == pytest.approx([0.1] * 3 + [0.025] * 3)
    assert read_records(history, 0).network.learning_rate == pytest.approx(0.025)
