"""The trend's judgement and the extrapolation behind it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.monitor.context import Context
from dhflow.monitor.record import Reading, Records, Series
from dhflow.monitor.rules import judge
from dhflow.monitor.trend.extrapolation import extrapolate
from dhflow.monitor.trend.features import curve_features, line
from dhflow.monitor.trend.judgement import Verdict, judge_curve, positive, trend_of
from dhflow.monitor.trend.model import TrendModel, shipped_model

T = np.arange(1.0, 21.0)


def series(values) -> Series:
    values = np.asarray(values, dtype=np.float64)
    return Series(np.arange(1.0, len(values) + 1), values, np.zeros(len(values)))


def verdict(values, n_full=51.0):
    curve = series(values)
    return judge_curve(curve, curve, n_full)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_clear_cases(scale):
    noise = np.exp(np.random.default_rng(0).normal(0, 0.002, 20))
    assert verdict(scale * (0.1 + T**-0.5) * noise).verdict is Verdict.IMPROVING
    assert verdict(scale * (1 + np.exp(-3 * T)) * noise).verdict is Verdict.CONVERGED
    assert verdict(scale * np.exp(0.2 * T) * noise).verdict is Verdict.WORSE


def test_probabilities_and_the_unit_of_the_loss():
    values = 0.3 + T**-1.0
    found, other = verdict(values), verdict(1000 * values)
    assert found.improving + found.converged + found.worse == pytest.approx(1.0)
    assert found.probability == max(found.improving, found.converged, found.worse)
    assert other.improving == pytest.approx(found.improving, abs=1e-9)


def test_too_little_is_no_trend_and_nan_is_worse():
    assert verdict([1.0, 0.9, 0.8]) is None
    assert verdict([1.0, 0.9, np.nan]).worse == 1.0
    assert trend_of(Records(), Context()) is None


def test_a_long_run_is_thinned():
    t = np.arange(1, 401)
    found = verdict(0.1 + t**-0.5, n_full=800)
    assert found.verdict is Verdict.IMPROVING


def test_a_run_without_losses_is_judged_by_its_metric():
    values = 0.9 - 0.6 * T**-0.5
    records = Records(tuple(Reading(i + 1, {"val_accuracy": v}) for i, v in enumerate(values)))
    found = trend_of(records, Context(metric="val_accuracy", full_budget=60))
    assert found.metric == "val_accuracy"
    assert found.verdict is Verdict.IMPROVING


def test_a_score_is_said_to_improve_and_a_loss_to_fall():
    for name, word, gain in (("val_accuracy", "improve", 1.0), ("val_loss", "fall", -1.0)):
        curve = Records.of(Reading(n, {name: 0.6 - 0.5 * gain * 0.5**n}) for n in range(1, 31))
        said = [each.text for each in judge(curve, Context(metric=name, full_budget=60)).findings]
        assert any(f"{name} will {word} by 2 % or more" in each for each in said), said


def test_scores_become_errors():
    assert positive(np.array([-0.25, -0.75]), is_score=True).tolist() == [0.75, 0.25]
    assert positive(np.array([-25.0, -75.0]), is_score=True).tolist() == [75.0, 25.0]
    assert positive(np.array([3.0, 1.0])).tolist() == [3.0, 1.0]
    assert positive(np.array([2.0, -2.0])).min() == 2.0


@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_a_loss_below_zero_is_judged_like_one_above(offset: float) -> None:
    steps = np.arange(1.0, 21.0)
    falling = np.exp(-steps / 8)
    train, valid = (Series(steps, 4.0 * falling + each + offset, steps) for each in (0.5, 0.6))
    trend = judge_curve(valid, train, 40.0)
    assert trend is not None
    assert trend.verdict is Verdict.IMPROVING


@given(st.lists(st.floats(1e-6, 1e6), min_size=6, max_size=60), st.floats(1, 500))
def test_any_finite_curve_is_judged(values, full):
    found = verdict(values, full)
    assert 0.999 < found.improving + found.converged + found.worse < 1.001
    assert np.isfinite(found.outlook.mean)


def test_the_shipped_model_reads_back_as_it_was_written():
    model = shipped_model()
    again = TrendModel.from_json(model.to_json())
    rows = curve_features(np.exp(-T)[None] + 0.1, np.exp(-T)[None] + 0.1, np.array([51.0]))
    assert model.probabilities(rows).tolist() == again.probabilities(rows).tolist()
    assert rows.shape[1] == len(model.centre)


def test_a_line_s_slope_and_error():
    slope, scatter, error = line(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]]))
    assert slope.tolist() == pytest.approx([1.0, 0.8])
    assert scatter[0] == pytest.approx(0.0, abs=1e-12)
    assert error[1] == pytest.approx(np.sqrt(1.8 / 2 / 5))  # residuals -0.3, 0.9, -0.9, 0.3


@pytest.mark.parametrize("rate", [0.3, 0.5, 1.0])
def test_a_power_law_is_extrapolated(rate):
    found = extrapolate(T, 0.2 + T**-rate, 100.0)
    assert found.mean == pytest.approx(0.2 + 100**-rate, abs=0.03)
    assert found.quantile(0.1) < found.mean < found.quantile(0.9)


def test_an_exponential_is_extrapolated():
    found = extrapolate(T, 2.0 + 3.0 * np.exp(-T / 6), 60.0)
    assert found.mean == pytest.approx(2.0, abs=0.05)
    assert found.p_below(1.8) < 0.1
    assert found.p_below(2.5) > 0.9


def test_outliers_count_little():
    y = 0.2 + T**-0.5
    y[12] = 40.0
    assert extrapolate(T, y, 60.0).mean == pytest.approx(0.2 + 60**-0.5, abs=0.15)


def test_a_rising_curve_is_not_thought_to_fall():
    assert extrapolate(T, 1 + 0.1 * T, 60.0).mean >= 1.0


def test_the_interval_widens_with_the_distance():
    noise = np.random.default_rng(1).normal(0, 0.02, 20)
    near, far = (extrapolate(T, 0.2 + T**-0.5 + noise, at) for at in (22.0, 200.0))
    assert near.quantile(0.9) - near.quantile(0.1) < far.quantile(0.9) - far.quantile(0.1)


def test_too_few_readings_have_no_outlook():
    assert extrapolate(T[:5], np.array([1.0, np.nan, 0.9, np.inf, 0.8]), 10.0) is None
