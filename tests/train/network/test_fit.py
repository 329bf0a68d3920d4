"""Training as one trial: the number it comes to, when it ends, and what a trial that goes on from it finds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow.errors import BuildError, ObjectiveError, SearchError
from dhflow.nas import ArchitectureSpace, Dense, Dropout, Identity
from dhflow.nas.library import distribution_regression
from dhflow.train import (
    NetworkObjective,
    TrainingData,
    TrainingSettings,
    load_model,
    train_and_validate,
)
from dhflow.train.network import progress
from dhflow.train.network.checkpoint import read_checkpoint
from dhflow.train.network.memory import available_bytes, check_memory, least_bytes

N, VALIDATION, CLASSES = 96, 48, 3


@dataclass
class Handle:
    """What a training needs of a trial, in memory."""

    dir: Path
    budget: float | None = None
    continues: Path | None = None
    seed: int = 5
    attempt: int = 1
    stop_after: int | None = None
    prepared: Any = None
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    needs: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.dir.mkdir(parents=True, exist_ok=True)

    def report(self, step, **metrics):
        self.reports.append((step, metrics))

    def should_stop(self, *, needs_s=0.0):
        self.needs.append(needs_s)
        return self.stop_after is not None and len(self.reports) >= self.stop_after


def make_data(test: bool = False) -> TrainingData:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, 6))
    y = np.arange(N + VALIDATION) % CLASSES
    x = (centres[y] + rng.normal(scale=0.7, size=(len(y), 6))).astype("float32")
    train, rest = (x[:N], y[:N]), (x[N:], y[N:])
    return TrainingData(train, rest, rest if test else None)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_data()


@pytest.fixture(scope="module")
def space() -> ArchitectureSpace:
    space = ArchitectureSpace((6,), (CLASSES,))
    block = space.variable([Dense(8, "relu"), Dense(16, "relu"), Dropout(0.1), Identity()], name="block")
    head = space.constant(Dense(CLASSES, "softmax"), name="head")
    space.connect(space.input, block, head, space.output)
    return space


@pytest.fixture(scope="module")
def network(space):
    return space.freeze({"block": "Dense(8, relu)"})


BASE = TrainingSettings("val_accuracy", metrics=["accuracy"], epochs=3, batch_size=48, learning_rate=0.05)


def test_a_training_comes_to_a_number_and_reports_its_epochs(keras, data, network, tmp_path):
    trial = Handle(tmp_path / "1")
    values = train_and_validate(network, make_data(test=True), trial, replace(BASE, keep_model=True))
    assert [step for step, _ in trial.reports] == [1, 2, 3]
    assert set(trial.reports[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert values["val_accuracy"] == trial.reports[-1][1]["val_accuracy"] > 0.5
    assert values["test_accuracy"] == pytest.approx(values["val_accuracy"])
    assert (values["n_epochs"], values["n_parameters"]) == (3, network.parameter_count)
    kept = load_model(tmp_path / "1" / "model.keras")
    x, y = data.validation
    assert np.mean(np.asarray(kept(x)).argmax(axis=1) == y) == pytest.approx(values["val_accuracy"])


def test_the_same_seed_gives_the_same_network(eager, data, space, tmp_path):
    random = space.freeze({"block": "Dropout(0.1)"})
    losses = [
        train_and_validate(random, data, Handle(tmp_path / str(i), seed=seed), BASE)["val_loss"]
        for i, seed in enumerate((1, 1, 2))
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("summary", "expected"), [("last", 2.0), ("best", 1.0), ("mean", 3.0)])
def test_the_objective_is_the_last_the_best_or_a_mean(eager, data, network, tmp_path, summary, expected):
    values = iter([5.0, 1.0, 6.0, 1.0, 2.0])

    trial = Handle(tmp_path / "1")
    settings = replace(BASE, objective="val_loss", direction="minimize", summary=summary, n_last=3, epochs=5)
    run_end = progress.Run.end_epoch

    def end_epoch(self, logs):
        return run_end(self, {**logs, "val_loss": next(values)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.Run, "end_epoch", end_epoch)
        found = train_and_validate(network, data, trial, settings)
    assert found["val_loss"] == expected
    assert found["best_epoch"] == 2


def test_early_stopping_and_the_best_network(eager, data, network, tmp_path):
    """With a rate at which it only gets worse, training ends after `patience` epochs and the best network is kept."""
    settings = replace(
        BASE,
        objective="val_loss",
        direction="minimize",
        summary="best",
        patience=2,
        epochs=40,
        learning_rate=0.1,
        keep_model=True,
    )
    trial = Handle(tmp_path / "1")
    values = train_and_validate(network, data, trial, settings)
    losses = [each["val_loss"] for _, each in trial.reports]
    assert values["n_epochs"] == values["best_epoch"] + 2 < 40
    assert values["val_loss"] == min(losses) == losses[values["best_epoch"] - 1]
    x, y = data.validation
    probabilities = np.asarray(load_model(tmp_path / "1" / "model.keras")(x))
    assert -np.log(probabilities[np.arange(len(y)), y]).mean() == pytest.approx(min(losses), rel=1e-4)


def test_a_trial_that_is_told_to_stop_returns_what_it_has(eager, data, network, tmp_path):
    trial = Handle(tmp_path / "1", stop_after=2)
    values = train_and_validate(network, data, trial, BASE)
    assert values["n_epochs"] == 2
    assert len(trial.needs) == 2
    assert all(0 < each < 60 for each in trial.needs)  # how long another epoch takes


def test_a_time_limit_ends_training(eager, data, network, tmp_path):
    values = train_and_validate(network, data, Handle(tmp_path / "1"), replace(BASE, time_limit_s=1e-3))
    assert values["n_epochs"] == 1


def test_rungs_carry_on_weights_optimizer_and_epochs(eager, data, space, tmp_path):
    """Two epochs and then two more come to what four come to: no weight, moment or step is lost on the way."""
    network = space.freeze({"block": "Dense(16, relu)"})
    # One batch per epoch: its order does not matter, so both trainings see the same.
    settings = replace(BASE, batch_size=N, epochs=4, schedule="cosine")
    whole = Handle(tmp_path / "whole", budget=4)
    straight = train_and_validate(network, data, whole, settings)
    first = Handle(tmp_path / "first", budget=2)
    train_and_validate(network, data, first, settings)
    second = Handle(tmp_path / "second", budget=4, continues=first.dir, seed=99)
    resumed = train_and_validate(network, data, second, settings)
    assert [step for step, _ in second.reports] == [3, 4]
    assert resumed["val_loss"] == pytest.approx(straight["val_loss"], rel=1e-4)
    rates = [each["learning_rate"] for _, each in [*first.reports, *second.reports]]
    assert rates == pytest.approx([each["learning_rate"] for _, each in whole.reports])
    assert len(read_checkpoint(second.dir).progress.history["val_loss"]) == 4


def test_a_child_of_another_architecture_inherits_what_fits_if_asked(eager, data, space, tmp_path):
    parent = Handle(tmp_path / "parent")
    train_and_validate(space.freeze({"block": "Dense(8, relu)"}), data, parent, BASE)
    child = space.freeze({"block": "Dropout(0.1)"})  # its head takes 6 features, not 8: only the bias fits
    learnt = read_checkpoint(parent.dir).last["head/1"]
    still = replace(BASE, epochs=1, learning_rate=1e-12)
    for wanted in (True, False):
        trial = Handle(tmp_path / f"child-{wanted}", continues=parent.dir)
        values = train_and_validate(child, data, trial, replace(still, inherit_weights=wanted))
        assert values["n_epochs"] == 1
        assert np.allclose(read_checkpoint(trial.dir).last["head/1"], learnt, atol=1e-6) == wanted


def test_a_second_attempt_goes_on_from_the_first(eager, data, network, tmp_path):
    lost = Handle(tmp_path / "1", budget=2)
    train_and_validate(network, data, lost, BASE)
    again = Handle(tmp_path / "2", attempt=2)
    train_and_validate(network, data, again, BASE)
    assert [step for step, _ in again.reports] == [3]


def test_without_checkpoints_nothing_is_written(eager, data, network, tmp_path):
    train_and_validate(network, data, Handle(tmp_path / "1"), replace(BASE, checkpoint_interval_s=None))
    assert list((tmp_path / "1").iterdir()) == []


def test_a_torn_checkpoint_is_none(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04 torn")
    assert read_checkpoint(tmp_path) is None
    assert read_checkpoint(tmp_path / "nowhere") is None


def test_a_config_replaces_settings_of_the_same_name():
    config = {
        "block": "Identity",
        "learning_rate": 0.5,
        "batch_size": 8,
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "cosine",
        "warm_up_epochs": 2.0,
        "replicas": 2,
    }
    found = replace(BASE, max_replicas=4).for_config(config)
    assert (found.learning_rate, found.batch_size, found.optimizer) == (0.5, 8, "sgd")
    assert found.optimizer_arguments == {"momentum": 0.9}
    assert (found.decay.kind, found.decay.warm_up_epochs, found.replicas) == ("cosine", 2.0, 2)
    assert found.epochs == BASE.epochs
    with pytest.raises(SearchError, match="give TrainingSettings\\(max_replicas"):
        BASE.for_config(config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "val_fancy"}, "is a large 'val_fancy' good"),
        ({"summary": "median"}, "summary is one of last, best, mean"),
        ({"direction": "up"}, "direction is"),
        ({"epochs": 0}, "epochs must be a whole number above 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"precision": "half"}, "precision is one of"),
        ({"schedule": "zigzag"}, "no schedule 'zigzag'"),
    ],
)
def test_settings_that_make_no_sense(arguments, message):
    with pytest.raises(SearchError, match=message):
        TrainingSettings(**arguments)


@pytest.mark.parametrize(
    ("name", "direction"),
    [("val_loss", "minimize"), ("val_accuracy", "maximize"), ("val_head_accuracy", "maximize"), ("mae", "minimize")],
)
def test_usual_directions_are_known(name, direction):
    assert TrainingSettings(name).direction == direction


@pytest.mark.parametrize("optimizer", [("sgd", {"momentum": 0.9, "nesterov": True}), ("adamw", {"weight_decay": 0.01})])
def test_optimizers_and_their_arguments(eager, data, network, tmp_path, optimizer):
    name, arguments = optimizer
    settings = replace(BASE, epochs=1, optimizer=name, optimizer_arguments=arguments)
    assert train_and_validate(network, data, Handle(tmp_path / "1"), settings)["val_accuracy"] > 0.2


def test_what_cannot_be_compiled_says_so(eager, data, network, tmp_path):
    for wrong in ({"optimizer": "adum"}, {"optimizer": "adam", "optimizer_arguments": {"momentum": 0.9}}):
        with pytest.raises(BuildError, match="cannot be compiled"):
            train_and_validate(network, data, Handle(tmp_path / "1"), replace(BASE, **wrong))


def test_training_that_diverges_fails(eager, data, network, tmp_path):
    settings = replace(BASE, loss="mean_squared_error", optimizer="sgd", learning_rate=1e30, metrics=())
    settings = replace(settings, objective="val_loss", direction="minimize")
    targets = TrainingData(*((x, np.eye(CLASSES, dtype="float32")[y] * 1e30) for x, y in (data.train, data.validation)))
    with pytest.raises(ObjectiveError, match="has diverged"):
        train_and_validate(network, targets, Handle(tmp_path / "1"), settings)


def test_an_objective_that_nobody_reports_fails(eager, data, network, tmp_path):
    with pytest.raises(ObjectiveError, match=r"'val_auc' is none of .*: accuracy, loss, val_accuracy, val_loss"):
        train_and_validate(network, data, Handle(tmp_path / "1"), replace(BASE, objective="val_auc"))


def test_mixed_precision_trains(keras, data, network, tmp_path):
    for precision in ("mixed_bfloat16", "mixed_float16"):
        trial = Handle(tmp_path / precision)
        values = train_and_validate(network, data, trial, replace(BASE, precision=precision))
        assert values["val_accuracy"] > 0.5
        assert read_checkpoint(trial.dir).last["head/0"].dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


def test_classes_can_be_balanced(keras, data, network, tmp_path):
    x, y = data.train
    few = np.concatenate([np.flatnonzero(y == 0)[:4], np.flatnonzero(y != 0)])
    rare = TrainingData((x[few], y[few]), data.validation)
    weights = rare.balanced_weights()
    counts = np.bincount(y[few])
    assert [weights[i] * counts[i] for i in range(CLASSES)] == pytest.approx([len(few) / CLASSES] * CLASSES)
    settings = replace(BASE, objective="val_loss", direction=None, epochs=8)
    plain, balanced = (
        train_and_validate(network, rare, Handle(tmp_path / str(i)), replace(settings, class_weight=each))["val_loss"]
        for i, each in enumerate((None, "balanced"))
    )
    assert balanced < plain


def test_regression_with_a_distribution(keras, tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 3)).astype("float32")
    y = (x[:, :1] + rng.normal(scale=0.3, size=(200, 1))).astype("float32")
    space = distribution_regression((3,), 1, n_layers=1, units=(16,))
    network = space.freeze(space.decisions().default_config())
    settings = TrainingSettings("val_loss", loss="normal_nll", epochs=12, learning_rate=0.05, keep_model=True)
    trial = Handle(tmp_path / "1")
    train_and_validate(network, TrainingData((x[:150], y[:150]), (x[150:], y[150:])), trial, settings)
    mean, std = np.split(np.asarray(load_model(trial.dir / "model.keras")(x[150:])), 2, axis=1)
    assert np.std(mean - y[150:]) < 0.5
    assert 0.15 < np.median(std) < 0.6


def test_a_function_that_makes_a_keras_model_is_a_network_too(keras, eager, data, network, tmp_path):
    def make() -> Any:
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(CLASSES, "softmax", name="only")])

    first = Handle(tmp_path / "1", budget=1)
    train_and_validate(make, data, first, BASE)
    second = Handle(tmp_path / "2", budget=2, continues=first.dir)
    train_and_validate(make, data, second, BASE)
    assert [step for step, _ in second.reports] == [2]


def test_several_inputs_and_outputs(keras, tmp_path):
    space = ArchitectureSpace({"a": (2,), "b": (3,)}, {"sum": (1,), "sign": (1,)}, merge="concatenate")
    joined = space.variable([Dense(8, "relu"), Dense(4, "relu")], name="joined")
    for each in space.inputs.values():
        space.connect(each, joined)
    space.connect(joined, space.constant(Dense(1), name="s"), space.outputs["sum"])
    space.connect(joined, space.constant(Dense(1, "sigmoid"), name="g"), space.outputs["sign"])
    rng = np.random.default_rng(1)
    x = {"a": rng.normal(size=(64, 2)).astype("float32"), "b": rng.normal(size=(64, 3)).astype("float32")}
    total = x["a"].sum(axis=1, keepdims=True) + x["b"].sum(axis=1, keepdims=True)
    part = (x, {"sum": total, "sign": (total > 0).astype("float32")})
    settings = TrainingSettings(
        "val_sign_accuracy",
        loss={"sum": "mean_squared_error", "sign": "binary_crossentropy"},
        metrics={"sign": ["accuracy"]},
        epochs=15,
        learning_rate=0.05,
    )
    network = space.freeze({"joined": "Dense(8, relu)"})
    assert (
        train_and_validate(network, TrainingData(part, part), Handle(tmp_path / "1"), settings)["val_sign_accuracy"]
        > 0.8
    )


def test_the_objective_of_a_search(eager, space, data, tmp_path):
    objective = NetworkObjective(space, BASE)
    trial = Handle(tmp_path / "1", budget=1, prepared=data)
    values = objective({"block": "Identity", "learning_rate": 0.1, "batch_size": 24}, trial)
    assert values["n_parameters"] == 6 * CLASSES + CLASSES
    loaded = NetworkObjective(space, BASE, make_data, {"test": True})
    assert "test_accuracy" in loaded({"block": "Identity"}, Handle(tmp_path / "2", budget=1))


def test_a_network_beyond_memory_is_refused_before_it_is_built(data, space, tmp_path):
    huge = ArchitectureSpace((6,), (CLASSES,))
    wide = huge.constant(Dense(10**12), name="wide")
    huge.connect(huge.input, wide, huge.constant(Dense(CLASSES), name="head"), huge.output)
    architecture = huge.freeze({})
    with pytest.raises(BuildError, match=r"does not fit in memory: training its .* weights with batches of 16 takes"):
        check_memory(architecture, 16)
    small = space.freeze({"block": "Identity"})
    assert least_bytes(small, 10) == 4 * (3 * 21 + 10 * (6 + 3))
    check_memory(small, 16)
    with pytest.raises(BuildError, match="and there are 1e-07 GB"):
        check_memory(small, 16, 100)


def test_available_memory_is_known_on_linux():
    found = available_bytes()
    if not Path("/proc/meminfo").exists():
        pytest.skip("not Linux")
    assert found is not None
    assert found > 1e6


def test_files_that_linux_keeps_in_memory_are_not_in_the_way(tmp_path, monkeypatch):
    for name, text in {
        "memory.max": "1000000",
        "memory.current": "990000",
        "memory.stat": "anon 90000\nfile 900000\nshmem 100000\ninactive_file 500000\nactive_file 300000\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("dhflow.train.network.memory._CGROUP", tmp_path)
    assert available_bytes() == 810_000


def test_a_checkpoint_says_in_json_how_far_it_is(eager, data, network, tmp_path):
    trial = Handle(tmp_path / "1")
    train_and_validate(network, data, trial, BASE)
    with np.load(trial.dir / "checkpoint.npz") as file:
        progress = json.loads(str(file["progress"]))
    assert (progress["epoch"], progress["network"], progress["optimizer"]) == (3, network.hash, "Adam")


def scripted_loss(y_true, y_pred):
    return (y_true - y_pred) ** 2


def test_the_users_own_files_go_along_to_the_workers(space):
    assert NetworkObjective(space, BASE).__module__ == "dhflow.train.network.fit"
    assert NetworkObjective(space, BASE, make_data).__module__ == __name__
    assert NetworkObjective(space, replace(BASE, loss=scripted_loss)).__module__ == __name__
