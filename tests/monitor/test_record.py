"""Records, their lines, findings and lights."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.monitor.finding import Finding, Light, Severity, by_severity, light_of
from dhflow.monitor.line import from_line, from_lines, to_line
from dhflow.monitor.record import (
    ClassRecord,
    DataFacts,
    Layer,
    MachineRecord,
    NetworkFacts,
    Reading,
    Records,
    TensorRecord,
    WorstSample,
)

EVERY_KIND = [
    Reading(3, {"loss": 0.5, "val_loss": math.inf}, 12.5),
    Reading(40, {"loss": 0.25}, per="batch"),
    TensorRecord(3, "dense", "gradient", "kernel", 20, 1.5, n_nonfinite=2, edges=(-1.0, 0.0, 1.0), counts=(3, 4)),
    MachineRecord(3, 12.5, step_time_s=0.1, input_wait_s=0.05),
    ClassRecord(3, ((8, 2), (1, 9))),
    WorstSample(3, 17, 4.5),
    NetworkFacts((Layer("dense", "Dense", "relu", 64, 640), Layer("out", "Dense")), "mse", last_units=1),
    DataFacts(1000, 256, 0.5, 0.25, class_counts=(600, 400)),
]


@pytest.mark.parametrize("record", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_a_record_survives_its_line(record):
    line = to_line(record)
    json.loads(line, parse_constant=pytest.fail)  # strict JSON: no NaN
    assert repr(from_line(line)) == repr(record)


@given(st.floats(), st.integers(0, 10**6))
def test_any_number_survives_its_line(value, step):
    back = from_line(to_line(Reading(step, {"loss": value})))
    assert isinstance(back, Reading)
    assert back.step == step
    assert back.values["loss"] == value or (math.isnan(value) and math.isnan(back.values["loss"]))


def test_a_program_may_write_its_numbers_beside_the_step():
    assert from_line('{"step": 3, "val_loss": 0.5, "note": "text"}') == Reading(3, {"val_loss": 0.5})
    assert from_line('{"step": 3, "time": 7, "values": {"loss": "nan"}}').time == 7.0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b'{"record": "other"}',
        b'{"loss": 1}',
        b'{"record": "tensor"}',
        b"7",
        b'{"record": "tensor", "step": 1, "layer": "a", "kind": "other"}',
        b'{"record": "tensor", "step": 1, "layer": "a", "kind": "weight", "edges": [0, 1], "counts": [1, 2]}',
        b'{"record": "tensor", "step": 1, "layer": "a", "kind": "weight", "edges": ["x", 1], "counts": [1]}',
        b'{"record": "classes", "step": 1, "counts": [[1, 2], [3]]}',
        b'{"record": "classes", "step": 1, "counts": [1, 2]}',
    ],
)
def test_what_is_no_record_is_passed_over(line):
    assert from_line(line) is None
    assert from_lines([line, to_line(EVERY_KIND[0])]) == [EVERY_KIND[0]]


def test_keys_of_a_newer_version_are_left_aside():
    assert from_line('{"record": "worst", "step": 1, "index": 2, "loss": 3.0, "colour": "red"}') == WorstSample(
        1, 2, 3.0
    )


def test_the_run_is_the_sum_of_its_records():
    run = Records.of(EVERY_KIND)
    assert run.last_step == 3
    assert run.last_time == 12.5
    assert run.metric_names == ("loss", "val_loss")
    assert run.series("loss").values.tolist() == [0.5]
    assert run.series("loss", "batch").steps.tolist() == [40.0]
    assert len(run.series("val_loss").finite) == 0
    assert len(run.series("unknown")) == 0
    assert run.latest("gradient") == (EVERY_KIND[2],)
    assert run.layer("dense").units == 64
    assert run.layer("other") is None


def test_a_step_that_is_reported_again_counts_once():
    run = Records.of([Reading(1, {"loss": 1.0}), Reading(2, {"loss": 0.9})]).extended(
        [Reading(2, {"loss": 0.8}), Reading(3, {"loss": 0.7})]
    )
    assert run.series("loss").values.tolist() == [1.0, 0.8, 0.7]


def test_tensors_come_in_the_order_of_the_layers():
    network = NetworkFacts((Layer("b", "Dense"), Layer("a", "Dense")))
    run = Records.of([TensorRecord(1, "a", "weight", "kernel"), TensorRecord(1, "b", "weight", "kernel"), network])
    assert [each.layer for each in run.latest("weight")] == ["b", "a"]


def test_root_mean_square():
    assert TensorRecord(1, "a", "weight", "kernel", 4, 2.0).rms == 1.0
    assert np.isnan(TensorRecord(1, "a", "weight").rms)


def test_lights_and_order():
    note, warning, critical = (
        Finding(each.value, each, "") for each in (Severity.NOTE, Severity.WARNING, Severity.CRITICAL)
    )
    assert light_of([]) is Light.GREEN
    assert light_of([note]) is Light.GREEN
    assert light_of([note, warning]) is Light.AMBER
    assert light_of([note, critical, warning]) is Light.RED
    assert by_severity([note, critical, warning]) == (critical, warning, note)


def test_the_monitor_needs_numpy_alone():
    code = """
import sys
from dhflow.monitor import Reading, Records, judge
judge(Records.of(Reading(i, {"loss": 1.0 / i}) for i in range(1, 20)))
print([each for each in ("tensorflow", "keras", "h5py", "parsl", "scipy", "sklearn") if each in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
