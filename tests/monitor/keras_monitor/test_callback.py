"""The callback on small trainings: what it records, that it changes nothing, and what it does when asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.monitor import Context, Control, Light
from dhflow.testing.channel import ListChannel


@dataclass
class Trial:
    """What the callback needs of a trial, in memory."""

    dir: Path | None = None
    channel: Any = field(default_factory=ListChannel)
    stop_after: int | None = None
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def report(self, step, **metrics):
        self.reports.append((step, metrics))

    def should_stop(self):
        return self.stop_after is not None and len(self.reports) >= self.stop_after


def test_a_run_without_a_trial_is_kept_in_memory_and_judged(make, fit, watch, data):
    train, validation = data
    monitor = watch(probe=validation, data=train, batch_size=32, context=Context(metric="val_accuracy"))
    history = fit(make(), monitor)
    found = monitor.records
    assert found.series("loss").values.tolist() == history.history["loss"]
    assert found.series("val_accuracy").values.tolist() == history.history["val_accuracy"]
    network = found.network
    assert [each.name for each in network.layers] == ["first", "norm", "drop", "last"]
    assert (network.layers[0].units, network.layers[0].n_weights) == (8, 56)
    assert network.layers[0].initializer == "glorot_uniform"
    assert (network.loss, network.last_activation, network.last_units) == (
        "sparse_categorical_crossentropy",
        "softmax",
        3,
    )
    assert (network.optimizer, network.n_steps_per_epoch, network.batch_size) == ("Adam", 4, 32)
    assert network.n_epochs == len(monitor.records.series("loss"))
    assert network.learning_rate == pytest.approx(0.01)
    assert (found.data.n_samples, found.data.class_counts) == (len(data[0][1]), (43, 43, 42))
    assert [each.step for each in found.machine] == [1, 2, 3]
    assert np.sum(found.classes[-1].counts) == 64
    assert [each.loss for each in found.worst[-8:]] == sorted((e.loss for e in found.worst[-8:]), reverse=True)
    assert monitor.judgement().light is Light.GREEN


def test_tensors_are_recorded_at_the_start_and_after_each_epoch(make, fit, watch, data):
    monitor = watch(probe=data[1])
    model = make()
    fit(model, monitor)
    found = monitor.records
    weights = found.tensors_of("weight")
    assert set(weights) == {
        *(("first", each) for each in ("kernel", "bias")),
        *(("norm", each) for each in ("gamma", "beta", "moving_mean", "moving_variance")),
        *(("last", each) for each in ("kernel", "bias")),
    }
    kernel = weights["first", "kernel"]
    assert [each.step for each in kernel] == [0, 1, 2, 3]
    assert kernel[-1].norm == pytest.approx(np.linalg.norm(model.layers[0].kernel.numpy()), rel=1e-5)
    assert [each.step for each in found.tensors_of("gradient")["first", "kernel"]] == [0, 1, 2, 3]
    updates = found.tensors_of("update")["first", "kernel"]
    assert [each.step for each in updates] == [1, 2, 3]
    assert all(0 < each.norm < 0.5 for each in updates)  # Adam at 0.01 moves 48 weights by 0.07 and less
    assert [layer for layer, _ in found.tensors_of("activation")] == ["first", "norm", "last"]
    assert found.series("loss", "batch").steps.tolist() == [0.0]


def test_gradients_are_those_of_the_loss_on_the_probe(make, fit, watch, data, keras):
    import tensorflow as tf

    monitor = watch(probe=data[1])
    model = make()
    fit(model, monitor)
    x, y = data[1]
    with tf.GradientTape() as tape:
        p = model(x, training=False)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, p))
    expected = tape.gradient(loss, model.layers[0].kernel.value)
    last = monitor.records.tensors_of("gradient")["first", "kernel"][-1]
    assert last.norm == pytest.approx(float(tf.norm(expected)), rel=1e-4)
    losses = -np.log(np.asarray(p)[np.arange(len(y)), y])
    worst = monitor.records.worst[-8]
    assert (worst.index, worst.loss) == (losses.argmax(), pytest.approx(losses.max(), rel=1e-4))


def test_watching_changes_nothing(make, fit, watch, data, keras):
    monitored = fit(make(), watch(probe=data[1], display_interval=1)).history
    plain = fit(make(), keras.callbacks.Callback()).history
    assert monitored == plain


def test_what_has_no_targets_or_no_probe_is_left_out(make, fit, watch, data):
    monitor = watch(probe=data[1][0])
    fit(make(), monitor)
    found = monitor.records
    assert found.tensors_of("activation")
    assert [len(each) for each in (found.tensors_of("gradient"), found.classes, found.worst)] == [0, 0, 0]
    monitor = watch()
    fit(make(), monitor)
    assert monitor.records.tensors_of("update")
    assert not monitor.records.tensors_of("activation")


def test_intervals(make, fit, watch, data):
    monitor = watch(probe=data[1], interval=2, test_interval=3, display_interval=3, bins=7, scales={"weight": "log"})
    fit(make(), monitor, epochs=6)
    found = monitor.records
    kernel = found.tensors_of("weight")["first", "kernel"]
    assert [each.step for each in kernel] == [0, 2, 4, 6]
    assert (len(kernel[0].counts), kernel[0].scale) == (7, "log")
    assert [each.step for each in found.tensors_of("update")["last", "kernel"]] == [2, 4, 6]
    assert [each.step for each in found.classes] == [3, 6]
    assert len(found.series("loss", "batch")) == 1 + 6  # the start, and the third of each epoch's four batches


def test_looks_that_cost_too_much_are_left_out(make, fit, watch, data, monkeypatch):
    from dhflow.monitor.keras_monitor import cost

    monkeypatch.setattr(cost, "FREE_S", 0.0)
    monitor = watch(probe=data[1], max_cost=1e-6)
    fit(make(), monitor, epochs=4)
    assert {each.step for each in monitor.records.tensors} == {0}
    assert len(monitor.records.series("loss")) == 4


def test_an_overflow_is_red_and_ends_the_run_if_it_may(make, fit, watch, data, keras):
    said = []
    monitor = watch(probe=data[1], adapt="stop", show=said.append)
    model = make(activation="exponential", compiled=False)
    model.compile(keras.optimizers.SGD(1e6), "sparse_categorical_crossentropy")
    history = fit(model, monitor, epochs=10)
    assert len(history.history["loss"]) < 10
    judged = monitor.judgement()
    assert (judged.light, judged.findings[0].rule) == (Light.RED, "overflow")
    assert judged.suggestions[0].name == "clip_gradients"
    assert monitor.light is Light.RED
    assert any("red, was" in each for each in said)
    assert "clip the gradients" in said[-1]


def test_a_trial_gets_reports_and_its_channel_the_rest(make, fit, watch, data):
    trial = Trial()
    fit(make(), watch(trial, probe=data[1]))
    assert [step for step, _ in trial.reports] == [1, 2, 3]
    assert set(trial.reports[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    sent = trial.channel.records
    assert {each.per for each in sent.readings} == {"batch"}
    assert sent.tensors
    assert sent.machine
    assert sent.network.optimizer == "Adam"
    quiet = Trial()
    fit(make(), watch(quiet, report=False))
    assert not quiet.reports
    assert quiet.channel.records.machine


def test_a_trial_that_should_stop_stops(make, fit, watch):
    history = fit(make(), watch(Trial(stop_after=2)), epochs=9)
    assert len(history.history["loss"]) == 2


def test_controls_take_effect_within_an_epoch(make, fit, watch, tmp_path):
    asks = [[Control("learning_rate", 0.002)], [Control("checkpoint")], [Control("stop", reason="enough")]]
    trial = Trial(tmp_path, ListChannel(asks))
    model = make()
    history = fit(model, watch(trial), epochs=9)
    assert len(history.history["loss"]) == 3
    assert float(model.optimizer.learning_rate) == pytest.approx(0.002)
    assert trial.channel.records.network.learning_rate == pytest.approx(0.002)
    assert (tmp_path / "monitored.keras").exists()


def test_a_schedule_goes_on_from_another_learning_rate(make, fit, watch, keras):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 4, 0.5)
    model = make(learning_rate=schedule)
    fit(model, watch(Trial(channel=ListChannel([[Control("learning_rate", 0.1)]]))), epochs=2)
    # After the first of two epochs of four steps it was 0.005 and became 0.1; it has halved since.
    assert float(np.asarray(model.optimizer.learning_rate)) == pytest.approx(0.05)
    from dhflow.monitor.keras_monitor.learning_rate import Rescaled

    again = Rescaled.from_config(Rescaled(schedule, 3.0).get_config())
    assert float(again(0)) == pytest.approx(0.03)


def test_a_run_without_a_trial_can_be_asked_too(make, fit, watch):
    saved = []
    monitor = watch(save=lambda: saved.append(1), snapshot_interval=2)
    monitor.ask(Control("checkpoint"))
    fit(make(), monitor, epochs=4)
    assert len(saved) == 3
    with pytest.warns(UserWarning, match="no place for a checkpoint"):
        fit(make(), watch(snapshot_interval=1), epochs=1)


def test_a_network_that_its_first_batch_builds(eager, keras, fit, watch, data):
    def unbuilt():
        keras.utils.set_random_seed(1)
        net = keras.Sequential([keras.layers.Dense(4, "tanh"), keras.layers.Dense(3, "softmax")])
        net.compile("sgd", "sparse_categorical_crossentropy")
        return net

    monitor = watch(probe=data[1])
    fit(unbuilt(), monitor, epochs=1)
    assert [each.n_weights for each in monitor.records.network.layers] == [28, 15]
    assert {each.step for each in monitor.records.tensors} == {0, 1}
    late = watch()
    fit(unbuilt(), late, epochs=1)
    assert [each.n_weights for each in late.records.network.layers] == [28, 15]


def test_a_graph_with_two_inputs_and_a_model_inside(eager, keras, watch):
    layers = keras.layers
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, layers.Dense(3, "relu", name="dense_in")(inner_input), name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    out = layers.Dense(1, name="out")(
        layers.Concatenate(name="both")([inner(a), layers.Dense(2, "tanh", name="side")(b)])
    )
    model = keras.Model({"a": a, "b": b}, out)
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = {"b": rng.normal(size=(40, 2)), "a": rng.normal(size=(40, 4))}, rng.normal(size=40)
    monitor = watch(probe=(x, y))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[monitor])
    found = monitor.records
    assert [each.name for each in found.network.layers if each.n_weights] == ["dense_in", "side", "out"]
    assert {layer for layer, _ in found.tensors_of("gradient")} == {"dense_in", "side", "out"}
    assert {layer for layer, _ in found.tensors_of("activation")} == {"side", "out"}
    assert (found.data.target_std > 0, found.data.class_counts) == (True, ())
    assert len(found.worst) == 16


def test_what_fails_is_said_once_and_training_goes_on(make, fit, watch, data):
    wrong = (data[1][0][:, :4], data[1][1])  # too few features
    with pytest.warns(UserWarning, match="not recorded") as told:
        history = fit(make(), watch(probe=wrong), epochs=3)
    assert len(history.history["loss"]) == 3
    said = [str(each.message).partition(":")[2].strip() for each in told]
    assert [each.partition(" ")[0] for each in said if "not recorded" in each] == ["tensors", "tests"]


def binary(keras, loss, last="sigmoid"):
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1, last)])
    net.compile(keras.optimizers.Adam(0.03), loss)
    return net


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("kind", ["int32", "float32"])
@pytest.mark.parametrize(
    ("loss", "last"), [("binary_crossentropy", "sigmoid"), ("BinaryCrossentropy", "sigmoid"), ("logits", None)]
)
def test_two_classes_of_one_unit(eager, keras, watch, data, shape, kind, loss, last):
    (x, y), (x_val, y_val) = data
    y, y_val = ((each == 1).astype(kind).reshape(shape) for each in (y, y_val))
    made = keras.losses.BinaryCrossentropy(from_logits=True) if loss == "logits" else loss
    model = binary(keras, made, last)
    monitor = watch(probe=(x_val, y_val))
    model.fit(x, y, epochs=4, batch_size=32, verbose=0, callbacks=[monitor])
    found = monitor.records
    outputs = model.predict(x_val, verbose=0)[:, 0]
    predicted, true = outputs > (0.0 if last is None else 0.5), y_val.ravel() == 1
    expected = tuple(tuple(int((a & b).sum()) for b in (~predicted, predicted)) for a in (~true, true))
    assert found.classes[-1].counts == expected
    assert len(found.worst) == 4 * 8
    p = 1 / (1 + np.exp(-outputs)) if last is None else outputs
    losses = -np.log(np.where(true, p, 1 - p))
    assert found.worst[-8].loss == pytest.approx(losses.max(), rel=1e-4)
    assert found.worst[-8].index == losses.argmax()


def test_a_loss_of_the_user_s_own_gets_what_keras_would_give_it(eager, keras, watch, data):
    (x, y), (x_val, y_val) = data
    model = binary(keras, lambda true, found: keras.ops.mean((true - found) ** 2, axis=-1), None)
    monitor = watch(probe=(x_val, y_val))
    model.fit(x, y, epochs=2, batch_size=32, verbose=0, callbacks=[monitor])
    squares = (model.predict(x_val, verbose=0)[:, 0] - y_val) ** 2
    assert monitor.records.worst[-8].loss == pytest.approx(squares.max(), rel=1e-4)


def test_a_loss_of_one_number_is_said_once_and_classes_are_recorded_all_the_same(eager, keras, watch, data):
    (x, y), (x_val, y_val) = data

    def crossentropy_of_all(true, found):
        return keras.ops.mean(keras.losses.binary_crossentropy(true, found))

    monitor = watch(probe=(x_val, y_val == 1))
    with pytest.warns(UserWarning, match="let it return one for each") as told:
        binary(keras, crossentropy_of_all).fit(x, y == 1, epochs=3, batch_size=32, verbose=0, callbacks=[monitor])
    assert len([each for each in told if "KerasMonitor" in str(each.message)]) == 1
    assert (len(monitor.records.classes), monitor.records.worst) == (3, ())


def test_waiting_for_input_is_measured(keras, make, watch, data):
    import time

    import tensorflow as tf

    x, y = data[0]

    def slow(i):
        time.sleep(0.02)
        return x[i * 32 : (i + 1) * 32], y[i * 32 : (i + 1) * 32].astype("int64")

    def batch(i):
        a, b = tf.numpy_function(slow, [i], [tf.float32, tf.int64])
        return tf.ensure_shape(a, (32, 6)), tf.ensure_shape(b, (32,))

    monitor = watch()
    dataset = tf.data.Dataset.range(4).map(batch)
    make().fit(monitor.timed(dataset), epochs=3, shuffle=False, verbose=0, callbacks=[monitor])
    last = monitor.records.machine[-1]
    assert 0.015 < last.input_wait_s < last.step_time_s
    # Where nobody times the dataset nothing is claimed.
    other = watch()
    make().fit(dataset, epochs=1, shuffle=False, verbose=0, callbacks=[other])
    assert math.isnan(other.records.machine[-1].input_wait_s)


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 0}, {"display_interval": 1.5}, {"adapt": "auto"}, {"max_cost": 0}, {"trial": Trial(), "path": "x.h5"},
     {"trial": Trial(), "adapt": "stop"}, {"n_worst": -1}, {"n_worst": 2.5}, {"batch_size": -32}, {"max_cost": "1 %"},
     {"context": {"metric": "loss"}}, {"show": "yes"}, {"save": "model.keras"}, {"trial": object()}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(watch, wrong):
    with pytest.raises(SearchError, match="KerasMonitor"):
        watch(**wrong)


def test_a_path_that_cannot_be_is_refused_before_the_training(watch, tmp_path):
    with pytest.raises(SearchError, match=r"'run.h5' is no trial; did you mean path='run.h5'\?"):
        watch("run.h5")
    with pytest.raises(SearchError, match="there is no folder"):
        watch(path=tmp_path / "nowhere" / "run.h5")
    with pytest.raises(SearchError, match="is a folder"):
        watch(path=tmp_path)
