"""Replicas: the scaling rule, and training on several logical CPU devices, in processes of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dhflow.train import Schedule, TrainingSettings
from dhflow.train.network.replicas import scaled

SETTINGS = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=8, batch_size=16, learning_rate=0.01)


def test_batch_size_and_learning_rate_scale_linearly():
    found = scaled(replace(SETTINGS, replicas=4))
    assert (found.batch_size, found.learning_rate) == (64, pytest.approx(0.04))
    rates = [found.learning_rate * float(found.decay.factor(each, 8)) for each in (0, 2.5, 5, 8)]
    assert rates == pytest.approx([0.01, 0.025, 0.04, 0.04])
    assert scaled(SETTINGS) == SETTINGS


def test_a_longer_warm_up_is_left_as_it_is():
    own = Schedule("cosine", warm_up_epochs=10)
    assert scaled(replace(SETTINGS, replicas=2, schedule=own)).decay == own


TRAINING = """
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from dhflow.nas import ArchitectureSpace, Dense, Identity
from dhflow.errors import BuildError
from dhflow.train import TrainingData, TrainingSettings, prepare_replicas, train_and_validate

warnings.filterwarnings("ignore", "__array__ implementation")  # of TensorFlow's variables, when Keras saves them

class Trial:
    attempt, budget, seed, continues = 1, None, 3, None
    def __init__(self, name):
        self.dir, self.reports = Path(name), []
        self.dir.mkdir()
    def report(self, step, **metrics):
        self.reports.append(metrics)
    def should_stop(self, *, needs_s=0.0):
        return False

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype(int)
space = ArchitectureSpace((4,), (2,))
block = space.variable([Dense(8, "relu"), Identity()], name="block")
space.connect(space.input, block, space.constant(Dense(2, "softmax"), name="head"), space.output)
network = space.freeze({"block": "Dense(8, relu)"})
data = TrainingData((x, y), (x, y))
settings = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=4, batch_size=16, learning_rate=0.02,
                            max_replicas=2, keep_model=True)
"""


@pytest.mark.slow
def test_two_logical_devices_train_one_network(keras, run_script):
    """Two replicas of 16 examples do what one does with 32, at twice the rate: the same steps, the same losses."""
    text = f"""{TRAINING}
two, one = Trial("two"), Trial("one")
values = train_and_validate(network, data, two, replace(settings, replicas=2, optimizer="sgd"))
import tensorflow as tf
print(len(tf.config.list_logical_devices("CPU")), values["n_epochs"], two.dir.joinpath("model.keras").exists())
from dhflow.train import Schedule
same = replace(settings, batch_size=32, learning_rate=0.04, optimizer="sgd",
               schedule=Schedule(warm_up_epochs=5.0, warm_up_from=0.5))
train_and_validate(network, data, one, same)
print(max(abs(a["val_loss"] - b["val_loss"]) for a, b in zip(one.reports, two.reports, strict=True)) < 1e-4)
print([round(each["learning_rate"], 4) for each in two.reports])
further = Trial("further")
further.continues, further.budget = two.dir, 6
print(train_and_validate(network, data, further, replace(settings, replicas=2, optimizer="sgd"))["n_epochs"],
      len(further.reports))
try:
    train_and_validate(network, data, Trial("three"), replace(settings, replicas=3))
except BuildError as error:
    print(error)
"""
    lines = run_script(text, timeout_s=300).splitlines()
    assert lines == [
        "2 4 True",
        "True",
        "[0.024, 0.028, 0.032, 0.036]",
        "6 2",
        "3 replicas are more than max_replicas, 2",
    ]


@pytest.mark.slow
def test_a_process_is_divided_before_tensorflow_is_used_or_never(keras, run_script):
    text = """
from dhflow.errors import BuildError
from dhflow.train import prepare_replicas
print(prepare_replicas(2))
print(prepare_replicas(1))
try:
    prepare_replicas(3)
except BuildError as error:
    print(error)
"""
    two, one, refused = run_script(text, timeout_s=300).splitlines()
    assert two == "['/device:CPU:0', '/device:CPU:1']"
    assert one == "['/device:CPU:0']"
    assert "3 replicas need 3 logical CPU devices, and this process has 2" in refused
    assert "max_replicas" in refused
