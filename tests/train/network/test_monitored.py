"""The monitor in a trial's training: on by an option, through the trial's channel, and in the way of nothing."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dhflow import Budget, Float, Problem, SearchSpace, search
from dhflow.errors import ObjectiveError
from dhflow.history import read_records
from dhflow.monitor import Control, Light, judge
from dhflow.nas import ArchitectureSpace, Dense
from dhflow.testing.channel import ListChannel
from dhflow.train import NetworkObjective, TrainingData, TrainingSettings, train_and_validate
from dhflow.train.attempt_directory import read_detail

SETTINGS = TrainingSettings(
    "val_accuracy", metrics=["accuracy"], epochs=3, batch_size=48, learning_rate=0.05, monitor={"max_cost": math.inf}
)


class Trial:
    """What a training needs of a trial, in memory."""

    budget = continues = None
    seed, attempt = 5, 1

    def __init__(self, directory: Path, asks=()):
        self.dir = directory
        self.channel = ListChannel(asks)
        self.reports = []

    def report(self, step, **metrics):
        self.reports.append((step, metrics))

    def should_stop(self, *, needs_s=0.0):
        return False


def load_data() -> TrainingData:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6))
    y = np.arange(144) % 3
    x = (centres[y] + rng.normal(scale=0.7, size=(144, 6))).astype("float32")
    return TrainingData((x[:96], y[:96]), (x[96:], y[96:]))


def make_space() -> ArchitectureSpace:
    space = ArchitectureSpace((6,), (3,))
    block = space.variable([Dense(8, "relu"), Dense(8, "tanh")], name="block")
    space.connect(space.input, block, space.constant(Dense(3, "softmax"), name="head"), space.output)
    return space


@pytest.fixture
def network():
    return make_space().freeze({"block": "Dense(8, relu)"})


def test_a_monitored_training_comes_to_the_same(eager, network, tmp_path):
    watched, plain = Trial(tmp_path), Trial(tmp_path / "b")
    values = train_and_validate(network, load_data(), watched, SETTINGS)
    expected = train_and_validate(network, load_data(), plain, replace(SETTINGS, monitor=False))
    assert {**values, "train_s": 0} == {**expected, "train_s": 0}
    assert watched.reports == plain.reports  # once each, by the training itself
    sent = watched.channel.records
    assert {each.layer for each in sent.tensors} == {"block", "head"}
    assert {each.kind for each in sent.tensors} == {"weight", "gradient", "update", "activation"}
    assert (sent.data.n_samples, sent.data.class_counts, sent.network.batch_size) == (96, (32, 32, 32), 48)
    assert np.sum(sent.classes[-1].counts) == 48
    assert sent.machine[-1].input_wait_s >= 0
    assert not plain.channel.sent


def test_an_overflow_is_recorded_before_the_trial_fails(eager, network, tmp_path):
    trial = Trial(tmp_path)
    settings = replace(SETTINGS, learning_rate=1e30, optimizer="sgd", optimizer_arguments={"momentum": 0.9})
    with pytest.raises(ObjectiveError, match="diverged"):
        train_and_validate(network, load_data(), trial, settings)
    judged = judge(trial.channel.records)
    assert (judged.light, judged.findings[0].rule) == (Light.RED, "overflow")
    assert judged.findings[0].evidence["n_nonfinite_weights"] > 0


def test_controls_reach_a_training(eager, network, tmp_path):
    asks = [[Control("checkpoint")], [Control("stop")]]
    trial = Trial(tmp_path, asks)
    values = train_and_validate(network, load_data(), trial, replace(SETTINGS, epochs=9))
    assert values["n_epochs"] == 2
    assert (tmp_path / "checkpoint.npz").exists()


def test_a_search_keeps_what_its_networks_recorded(eager, tmp_path):
    """With the trials' real channels: what they send lies in the attempts' directories."""
    space = make_space()
    problem = Problem(
        space * SearchSpace({"learning_rate": Float(1e-3, 1e-1, log=True)}),
        NetworkObjective(space, SETTINGS, load_data),
        direction={"val_accuracy": "maximize"},
        budget=Budget("epochs", 1, 3),
    )
    with ThreadPoolExecutor(1) as pool:  # one thread of this process, which has loaded TensorFlow already
        result = search(problem, searcher="random", max_trials=2, seed=1, site=pool, history=tmp_path / "h.h5")
    assert result.best.values["val_accuracy"] > 0.4
    for trial in result.trials:
        found = list(read_detail(tmp_path / "h.h5.run" / "trials" / str(trial.trial_id) / "1"))
        assert {type(each).__name__ for each in found} >= {"TensorRecord", "MachineRecord", "NetworkFacts", "DataFacts"}
    assert read_records(tmp_path / "h.h5", 0).series("loss").values.size == 3
