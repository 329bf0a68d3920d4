"""What the callback is made of: its cost, statistics of tensors, times, facts of data. Without TensorFlow."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.monitor import Context, Reading, Records
from dhflow.monitor.keras_monitor.cost import FREE_S, RESERVE, Cost
from dhflow.monitor.keras_monitor.facts import class_numbers, data_facts
from dhflow.monitor.keras_monitor.machine import EpochClock, MachineClock
from dhflow.monitor.keras_monitor.outlet import Outlet, summary
from dhflow.monitor.keras_monitor.probe import Samples
from dhflow.monitor.keras_monitor.tensors import HISTOGRAM_ELEMENTS, Histograms, activation_record, tensor_record
from dhflow.monitor.line import from_line, to_line
from dhflow.monitor.record import MachineRecord


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_monitor_is_there_without_tensorflow():
    code = (
        "import sys, dhflow.monitor as m; m.judge(m.Records()); "
        "import dhflow.monitor.keras_monitor.cost; "
        "print([each for each in ('keras', 'tensorflow', 'h5py', 'dhflow.history') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Cost


def looks(cost: Cost, clock: Clock, *, epochs: int, epoch_s: float, look_s: float) -> list[int]:
    """Return the epochs that are looked at."""
    found = []
    for epoch in range(epochs):
        clock.now += epoch_s
        if cost.allows("tensors"):
            found.append(epoch)
            with cost.of("tensors"):
                clock.now += look_s
    return found


def test_looks_are_spread_so_that_they_stay_a_small_share():
    clock = Clock()
    cost = Cost(0.03, clock=clock)
    seen = looks(cost, clock, epochs=600, epoch_s=1.0, look_s=0.25)
    assert cost.training_s == pytest.approx(600.0)
    assert 0.8 * RESERVE * 0.03 * 600 < cost.own_s <= RESERVE * 0.03 * 600
    assert seen[:2] == [0, 1]  # half a second is free
    assert max(np.diff(seen[3:])) <= 12


def test_a_cheap_look_is_always_allowed():
    clock = Clock()
    assert len(looks(Cost(0.03, clock=clock), clock, epochs=50, epoch_s=1.0, look_s=0.01)) == 50


def test_a_look_that_takes_longer_than_all_that_is_allowed_is_not_repeated():
    clock = Clock()
    cost = Cost(0.03, clock=clock)
    with cost.of_first("tensors"):
        clock.now += 100.0
    assert (cost.own_s, cost.first_s, cost.training_s) == (0.0, 100.0, 0.0)
    assert looks(cost, clock, epochs=100, epoch_s=1.0, look_s=20.0) == []


def test_blocks_within_each_other_count_once_and_tracing_is_left_out():
    clock = Clock()
    cost = Cost(0.03, clock=clock)
    with cost.of("outer"):
        clock.now += 1.0
        with cost.of("inner"):
            clock.now += 2.0
    clock.now += 10.0
    cost.leave_out(4.0)
    assert (cost.own_s, cost.training_s) == (3.0, 6.0)
    assert not cost.allows("anything")
    assert FREE_S < 3.0


# Tensors


def test_statistics_of_a_tensor():
    values = np.array([[3.0, -4.0], [0.0, np.nan]])
    found = tensor_record(2, "dense", "weight", "kernel", values, histograms=Histograms(4), time=1.0)
    assert (found.step, found.label, found.size, found.n_nonfinite) == (2, "dense/kernel", 4, 1)
    assert (found.norm, found.max_abs) == (pytest.approx(5.0), 4.0)
    assert (found.mean, found.zero_share) == (pytest.approx(-1 / 3), pytest.approx(1 / 3))
    assert found.std == pytest.approx(np.std([3.0, -4.0, 0.0]))
    assert (sum(found.counts), len(found.edges), found.edges[0], found.edges[-1]) == (3, 5, -4.0, 3.0)
    assert from_line(to_line(found)) == found


def test_a_logarithmic_histogram_leaves_zeros_out():
    values = np.array([1e-6, -1e-2, 0.0, 1.0])
    found = tensor_record(1, "d", "gradient", "k", values, histograms=Histograms(6), time=0.0)
    assert (found.scale, sum(found.counts)) == ("log", 3)
    assert (found.edges[0], found.edges[-1]) == (-6.0, 0.0)
    linear = tensor_record(1, "d", "gradient", "k", values, histograms=Histograms(6, {"gradient": "linear"}), time=0.0)
    assert (linear.scale, sum(linear.counts)) == ("linear", 4)


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, 2.5), np.full(3, np.nan), np.empty(0), np.full(3, 1e300)])
def test_tensors_without_a_spread(values):
    found = tensor_record(1, "d", "weight", "k", values, histograms=Histograms(8), time=0.0)
    n_finite = int(np.isfinite(values).sum())
    assert (found.size, found.n_nonfinite) == (values.size, values.size - n_finite)
    assert sum(found.counts) == n_finite
    assert math.isnan(found.norm) is (n_finite == 0)
    if n_finite:
        assert found.norm == pytest.approx(math.sqrt(n_finite) * values[0])


def test_the_histogram_of_a_large_tensor_is_of_some_elements_and_its_statistics_of_all():
    values = np.random.default_rng(0).normal(size=5 * HISTOGRAM_ELEMENTS)
    found = tensor_record(1, "d", "weight", "k", values, histograms=Histograms(10), time=0.0)
    assert sum(found.counts) == HISTOGRAM_ELEMENTS
    assert found.norm == pytest.approx(np.linalg.norm(values))
    assert not tensor_record(1, "d", "weight", "k", values, histograms=Histograms(0), time=0.0).edges


def test_dead_and_saturated_units():
    active = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    found = activation_record(1, "d", "relu", active, histograms=Histograms(), time=0.0)
    assert (found.dead_share, found.size) == (pytest.approx(1 / 3), 3)
    assert math.isnan(found.saturated_share)
    assert found.rms == pytest.approx(math.sqrt(np.mean(active**2)))
    ends = np.array([[0.999, -0.99], [0.0, 0.2]])
    assert activation_record(1, "d", "tanh", ends, histograms=Histograms(), time=0.0).saturated_share == 0.5
    # Of an image, a channel that is zero everywhere is one dead unit.
    image = np.ones((2, 4, 4, 2))
    image[..., 1] = 0
    assert activation_record(1, "d", "relu", image, histograms=Histograms(), time=0.0).dead_share == 0.5


@pytest.mark.parametrize(
    "wrong", [{"bins": -1}, {"bins": 2.5}, {"scales": {"weight": "cubic"}}, {"scales": {"w": "log"}}]
)
def test_wrong_histograms_are_refused(wrong):
    with pytest.raises(SearchError, match="KerasMonitor"):
        Histograms(**wrong)


# Times


def test_times_of_epochs_leave_out_tracing_and_watching():
    clock = Clock()
    epochs = EpochClock(clock=clock)
    assert epochs.begin_step() == 0.0
    clock.now += 5.0  # the first step is traced
    assert epochs.begin_step() == 5.0
    clock.now += 1.0
    assert epochs.begin_step() == 0.0
    epochs.leave_out(0.5)
    clock.now += 1.5
    assert epochs.end_steps() == 0.0
    clock.now += 3.0  # validation
    assert (epochs.n_steps, epochs.step_time_s, epochs.epoch_time_s) == (3, 1.0, 5.0)
    epochs.begin_epoch()
    epochs.begin_step()
    clock.now += 2.0
    assert epochs.end_steps() == 0.0
    assert (epochs.step_time_s, epochs.epoch_time_s) == (2.0, 2.0)


def test_an_epoch_of_one_traced_step_has_no_step_time():
    clock = Clock()
    epochs = EpochClock(clock=clock)
    epochs.begin_step()
    clock.now += 4.0
    assert epochs.end_steps() == 4.0
    assert math.isnan(epochs.step_time_s)
    assert epochs.epoch_time_s == 0.0


def test_the_machine_is_measured_between_two_records():
    clock, cpu = Clock(), Clock()
    machine = MachineClock(clock=clock, cpu_clock=cpu)
    clock.now, cpu.now = 10.0, 5.0
    found = machine.record(1, 100.0, step_time_s=0.1, input_wait_s=math.nan, epoch_time_s=10.0)
    assert 0 < found.cpu_share <= 0.5
    assert found.memory_bytes > 1e6
    assert found.network_bytes >= 0
    assert math.isnan(found.gpu_share)
    clock.now = 20.0
    assert machine.record(2, 110.0, step_time_s=0.1, input_wait_s=0.0, epoch_time_s=10.0).cpu_share == 0.0


# Data


def test_facts_of_inputs_and_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3)) * [1.0, 10.0, 200.0]
    x[0, 0] = np.inf
    found = data_facts(x, np.arange(100) % 4, n_samples=500, classes=True)
    assert (found.n_samples, found.n_probed, found.n_nonfinite_inputs) == (500, 100, 1)
    assert found.class_counts == (25, 25, 25, 25)
    assert 10 < found.feature_std_ratio < 40  # 200 over the median, which is 10
    targets = data_facts(x, np.linspace(0, 2, 100), classes=False)
    assert (targets.target_mean, targets.class_counts) == (pytest.approx(1.0), ())
    lost = data_facts(x, np.array([1.0, np.nan, 3.0, np.inf]), classes=False)
    assert (lost.target_mean, lost.n_nonfinite_targets, targets.n_nonfinite_targets) == (2.0, 2, 0)
    assert data_facts(x, np.full(4, np.nan)).n_nonfinite_targets == 4


def test_classes_are_whole_numbers_or_one_hot_rows():
    assert class_numbers(np.array([[0], [2], [1]])).tolist() == [0, 2, 1]
    assert class_numbers(np.eye(3)[[2, 0]]).tolist() == [2, 0]
    assert class_numbers(np.array([0.5, 1.0])) is None
    assert class_numbers(np.array([[0.2, 0.8]])) is None
    assert class_numbers(np.array([-1, 2])) is None
    assert class_numbers({"a": np.array([1])}) is None


def test_samples_are_chosen_evenly_and_keep_their_nesting():
    x = {"a": np.arange(10), "b": [np.arange(20).reshape(10, 2)]}
    some = Samples.of((x, np.arange(10))).some(4)
    assert some.x["a"].tolist() == some.y.tolist() == [0, 3, 6, 9]
    assert some.x["b"][0].tolist() == [[0, 1], [6, 7], [12, 13], [18, 19]]
    assert [len(each) for each in some.batches(3)] == [3, 1]
    with pytest.raises(SearchError, match="4 parts"):
        Samples.of((1, 2, 3, 4))


# Words


def test_advice_in_words(run_of):
    from dhflow.monitor import Context, judge

    judged = judge(run_of([1.0, 0.5, math.nan]), Context(config={"learning_rate": 0.3}))
    said = summary(judged, 3)
    assert said.startswith("red after 3 epochs\n  overflow: loss")
    assert "clip the gradients" in said
    assert "learning_rate = 0.1 instead of 0.3" in said
    assert summary(judge(Records()), 0) == "green after 0 epochs: nothing to say"


def test_a_change_of_the_light_is_said_once(run_of):
    from dhflow.monitor import Context, Reading

    said = []
    outlet = Outlet(None, None, Context(), reports=False, show=said.append)
    for step, loss in enumerate((1.0, 0.9, math.nan, math.nan), 1):
        outlet.send([Reading(step, {"loss": loss})])
        outlet.look(step)
    assert [each.partition(":")[0] for each in said] == ["epoch 3"]
    assert "red, was green: overflow" in said[0]
    assert [each.rule for _, each in outlet.findings] == ["overflow"]


def test_a_finding_is_kept_as_it_was_last_seen_with_the_time_of_the_first():
    outlet = Outlet(None, None, Context(metric="loss"), reports=False, show=None)
    for step in range(1, 9):
        outlet.send([Reading(step, {"loss": math.nan if step > 5 else 1.0 / step}, float(step))])
        outlet.send([MachineRecord(step, float(step), step_time_s=0.1, input_wait_s=0.08 if step < 4 else 0.0)])
        outlet.judgement()
        if step == 6:
            ((first, _),) = (each for each in outlet.findings if each[1].rule == "overflow")
    steps = {each.rule: each.step for _, each in outlet.findings}
    assert steps["overflow"] == 8
    assert 3 <= steps["loading_bound"] < 8  # it has gone since
    assert [at for at, each in outlet.findings if each.rule == "overflow"] == [first]
