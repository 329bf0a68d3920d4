"""A callback with a file of its own: what lies in it, also when the training fails or its process is killed."""

from __future__ import annotations

import pytest

from dhflow.monitor import Context
from dhflow.monitor.line import to_line


def test_a_run_has_a_file_of_its_own(make, fit, watch, data, tmp_path, capsys):
    from dhflow import load
    from dhflow.history import read_findings, read_records
    from dhflow.trial import TrialStatus

    path = tmp_path / "run.h5"
    config = {"learning_rate": 0.01}
    monitor = watch(path=path, probe=data[1], context=Context(metric="val_accuracy", config=config))
    history = fit(make(), monitor, epochs=4)
    assert "dhflow monitor: green after 4 epochs" in capsys.readouterr().out
    kept, mine = read_records(path, 0), monitor.records
    assert (kept.network, kept.data, len(kept.tensors)) == (mine.network, mine.data, len(mine.tensors))
    assert set(map(to_line, kept.tensors)) == set(map(to_line, mine.tensors))  # NaN is not NaN
    assert kept.series("val_loss").values.tolist() == history.history["val_loss"]
    [trial] = load(path).trials
    assert (trial.status, trial.config, trial.budget) == (TrialStatus.COMPLETED, config, 4.0)
    assert trial.values["val_accuracy"] == max(history.history["val_accuracy"])
    assert {each.trial_id for each in read_findings(path)} <= {0}


def test_a_file_that_cannot_be_written_does_not_end_the_training(make, fit, watch, tmp_path):
    (tmp_path / "gone").mkdir()
    monitor = watch(path=tmp_path / "gone" / "run.h5", show=lambda line: None)
    (tmp_path / "gone").rmdir()
    with pytest.warns(UserWarning, match="cannot be written"):
        history = fit(make(), monitor, epochs=2)
    assert len(history.history["loss"]) == 2


def test_the_run_in_a_file_that_was_stopped_keeps_what_was_found(make, fit, watch, data, keras, tmp_path):
    from dhflow import load
    from dhflow.history import read_findings
    from dhflow.trial import TrialStatus

    monitor = watch(path=tmp_path / "run.h5", adapt="stop", show=lambda line: None)
    model = make(activation="exponential", compiled=False)
    model.compile(keras.optimizers.SGD(1e6), "sparse_categorical_crossentropy")
    fit(model, monitor, epochs=10)
    assert "overflow" in [each.finding["rule"] for each in read_findings(tmp_path / "run.h5")]
    [trial] = load(tmp_path / "run.h5").trials
    assert trial.status is not TrialStatus.RUNNING


def failing_at(keras, epoch, error, look=lambda: None):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, number, logs=None):
            look()
            if number == epoch:
                raise error

    return Failing()


def closed(path):
    """Return why the run in a file has ended, and of how many epochs it tells."""
    from dhflow import load
    from dhflow.history import read_records

    [trial] = load(path).trials
    return (
        trial.status.value,
        trial.failure and (trial.failure.kind, trial.failure.message),
        read_records(path, 0).last_step,
    )


def test_a_training_that_fails_leaves_its_file_and_its_advice(make, watch, keras, data, tmp_path):
    path, said, seen = tmp_path / "run.h5", [], []
    x, y = data[0]
    model, failing = make(), failing_at(keras, 2, KeyboardInterrupt(), lambda: seen.append(closed(path)))
    with pytest.raises(KeyboardInterrupt), watch(path=path, show=said.append) as monitor:
        model.fit(x, y, epochs=9, verbose=0, callbacks=[monitor, failing])
    # From the first epoch on there is a file.
    assert seen[0] == ("running", None, 1)
    why = "the training has ended after epoch 3, before its end: KeyboardInterrupt"
    assert closed(path) == ("failed", ("Interrupted", why), 3)
    assert said == [why, "green after 3 epochs: nothing to say"]


def test_a_monitor_that_goes_closes_its_file(make, watch, keras, data, tmp_path):
    import gc

    path, said = tmp_path / "run.h5", []
    x, y = data[0]

    def train():
        monitor = watch(path=path, show=said.append)
        with pytest.raises(ValueError, match="on purpose"):
            make().fit(x, y, epochs=9, verbose=0, callbacks=[monitor, failing_at(keras, 1, ValueError("on purpose"))])

    train()
    gc.collect()
    status, failure, n_epochs = closed(path)
    assert (status, failure[0], n_epochs) == ("failed", "Interrupted", 2)
    assert len(said) == 2


def test_a_training_that_ends_well_is_closed_once(make, fit, watch, tmp_path):
    said = []
    with watch(path=tmp_path / "run.h5", show=said.append) as monitor:
        fit(make(), monitor, epochs=2)
        fit(make(), monitor, epochs=3)
    assert closed(tmp_path / "run.h5") == ("completed", None, 3)
    assert len(said) == 2


SCRIPT = """
import os, signal, sys
import keras
import numpy as np
from dhflow.monitor import KerasMonitor

class Failing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == "kill" else sys.exit("on purpose")

x = np.zeros((8, 2))
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", run_eagerly=True, jit_compile=False)
model.fit(x, x[:, :1], epochs=5, verbose=0, callbacks=[KerasMonitor(path=sys.argv[1]), Failing()])
"""


@pytest.mark.slow
def test_a_process_that_ends_closes_its_file_and_one_that_is_killed_is_not_waited_for(tmp_path):
    import subprocess
    import sys

    from dhflow import load
    from dhflow.cli.monitor import _is_open
    from dhflow.cli.watching import running_lines

    for how, status in (("exit", "failed"), ("kill", "running")):
        path = tmp_path / f"{how}.h5"
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path), how], capture_output=True, text=True, check=False
        )
        assert ran.returncode in (1, -9), ran.stderr
        assert closed(path)[0] == status
        assert not _is_open(path)
        assert ("the training has ended after epoch 2" in ran.stdout) is (how == "exit")
    assert "it runs no longer" in running_lines(path)[1]
    assert load(path).trials[0].attempts[0].worker.isdecimal()
