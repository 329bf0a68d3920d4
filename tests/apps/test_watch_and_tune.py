"""Three runs, each with what was advised after the one before, and two judgements beside the traditional rule's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from dhflow.monitor import Light, Severity
from dhflow.train import load_file_module

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]
PATH = Path(__file__).parents[2] / "apps" / "watch_and_tune" / "three_runs.py"


@pytest.fixture(scope="module")
def app():
    return load_file_module(PATH)


@pytest.fixture(scope="module")
def runs(app):
    return app.three_runs()


def rules(run):
    return [each.rule for each in run.judgement.findings if each.severity is Severity.CRITICAL]


def test_there_are_three_runs_of_which_each_follows_the_one_before(app, runs):
    assert [each.accepted for each in runs] == ["clip_gradients", "more_layers", ""]
    first, second, third = (dict(each.config) for each in runs)
    assert second == {**first, "global_clipnorm": 0.1}
    assert third == {**second, "n_layers": 2}
    assert all(each in app.space for each in (first, second, third))


def test_the_first_overflows(app, runs):
    run = runs[0]
    assert run.judgement.light is Light.RED
    assert rules(run) == ["overflow"]
    assert run.judgement.findings[0].evidence["n_nonfinite_weights"] > 0
    assert run.judgement.advises_stop
    assert len(run.curves["loss"]) < app.EPOCHS / 4


def test_the_second_underfits_with_the_same_network(app, runs):
    run = runs[1]
    assert run.judgement.light is Light.RED
    assert rules(run) == ["underfitting"]
    assert run.judgement.suggestions[0].name == "more_layers"
    assert run.judgement.advises_stop
    assert len(run.curves["loss"]) < app.EPOCHS
    assert 0.15 < run.curves["accuracy"][-1] < 0.5
    assert 0.15 < run.curves["val_accuracy"][-1] < 0.5


def test_the_third_still_improves_and_nothing_is_advised(app, runs):
    run = runs[2]
    assert run.judgement.light is Light.GREEN
    assert [each.rule for each in run.judgement.findings] == ["still_improving"]
    assert not run.judgement.suggestions
    assert len(run.curves["loss"]) == app.EPOCHS
    assert run.curves["val_accuracy"][-1] > runs[1].curves["val_accuracy"][-1] + 0.2


def test_still_going_down_where_the_traditional_rule_says_underfitting(app, runs):
    curves, judged = app.until(runs[2], app.EPOCHS // 2)
    assert app.textbook(curves) == "underfitting"
    assert judged.light is Light.GREEN
    assert judged.trend.verdict.value == "improving"


def test_good_where_the_traditional_rule_says_underfitting(app):
    """A quarter of the labels is wrong: no network does much better than the share of right ones."""
    run = app.noisy_run()
    assert app.textbook(run.curves) == "underfitting"
    assert run.judgement.light is Light.GREEN
    assert run.judgement.trend.verdict.value == "converged"
