from __future__ import annotations

import itertools
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from dhflow.train.curve import Curve, from_line, to_line
from dhflow.trial import Measurement


def test_a_short_curve_is_kept_whole() -> None:
    curve = Curve()
    assert all(curve.add(step, float(step), {"loss": 1.0, "accuracy": 0.5}) for step in range(1, 4))
    assert len(curve.measurements()) == 6
    assert curve.measurements()[:2] == (Measurement(1, 1.0, "loss", 1.0), Measurement(1, 1.0, "accuracy", 0.5))
    assert curve.last_step == 3
    assert curve.skipped_last is None


@given(n_reports=st.integers(0, 700), n_metrics=st.integers(1, 4), limit=st.integers(8, 100))
def test_thinning_is_bounded_even_and_keeps_both_ends(n_reports: int, n_metrics: int, limit: int) -> None:
    curve = Curve(limit)
    for step in range(n_reports):
        curve.add(step, 0.0, {f"m{index}": float(step) for index in range(n_metrics)})
    kept = curve.measurements()
    assert len(kept) <= limit + n_metrics  # the last report comes on top
    steps = list(dict.fromkeys(each.step for each in kept))
    if n_reports:
        assert steps[0] == 0
        assert steps[-1] == n_reports - 1
    gaps = {later - earlier for earlier, later in itertools.pairwise(steps[:-1])}
    assert len(gaps) <= 1
    if n_reports * n_metrics >= limit * 2:
        assert len(kept) >= limit // 4


def test_nothing_is_thinned_below_the_limit() -> None:
    curve = Curve(limit=10)
    for step in range(10):
        curve.add(step, 0.0, {"loss": 0.0})
    assert len(curve.measurements()) == 10
    curve.add(10, 0.0, {"loss": 0.0})
    assert [each.step for each in curve.measurements()] == [0, 2, 4, 6, 8, 10]


def test_budget_reached_counts_from_one_or_from_zero() -> None:
    assert Curve().budget_reached is None
    curve = Curve()
    curve.add(1, 0.0, {})
    curve.add(2, 0.0, {})
    assert curve.budget_reached == 2.0
    zero_based = Curve()
    zero_based.add(0, 0.0, {})
    zero_based.add(1, 0.0, {})
    assert zero_based.budget_reached == 2.0


def refuse(name: str) -> None:
    raise AssertionError(name)


@given(
    step=st.integers(0, 2**62),
    time=st.floats(0, 1e12),
    values=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3),
)
def test_a_line_is_strict_json_and_reads_back(step: int, time: float, values: dict[str, float]) -> None:
    line = to_line((step, time, values))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    json.loads(line, parse_constant=refuse)
    assert from_line(line) == (step, time, values)


def test_nan_reads_back() -> None:
    report = from_line(to_line((1, 0.0, {"loss": math.nan, "norm": math.inf})))
    assert report is not None
    assert math.isnan(report[2]["loss"])
    assert report[2]["norm"] == math.inf


@given(cut=st.integers(0, 200), junk=st.binary(max_size=40))
def test_torn_lines_are_no_reports(cut: int, junk: bytes) -> None:
    line = to_line((3, 1.0, {"loss": 0.25, "accuracy": 0.75}))
    report = from_line(line[:cut])
    assert report is None or report == (3, 1.0, {"loss": 0.25, "accuracy": 0.75})
    from_line(junk)


def test_a_script_may_write_its_numbers_beside_the_step() -> None:
    assert from_line(b'{"step": 4, "val_loss": 0.5, "note": "fine", "lr": "NaN"}')[:2] == (4, 0.0)  # type: ignore[index]
    report = from_line(b'{"step": 4, "time": 9, "val_loss": 0.5, "note": "fine"}')
    assert report == (4, 9.0, {"val_loss": 0.5})
    for line in (b"[]", b"3", b'{"step": "x"}', b'{"loss": 1}', b'{"step": null}', b"\xff"):
        assert from_line(line) is None
