"""The monitor's benchmark: its labels, its models and its searches, on curves that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from monitor_alarms import last_five, patience, rising
from monitor_regret import STOPPERS, Search, asha, median_rule, searched
from monitor_runs import Run
from monitor_stops import _lost, first_stop
from train_trend import fit
from trend_data import FALLING_BACK, FLAT, IMPROVING, balanced_accuracy, labels, prefixes

from dhflow.monitor import Context


def test_labels_are_told_from_the_future_alone():
    start = [3.0, 2.0, 1.0]
    ends = {
        IMPROVING: [1.0, 0.97, 1.05, 1.05, 1.05, 1.05, 1.05],
        FLAT: [1.0, 0.985, 1.05, 1.05, 1.05, 1.05, 1.05],
        FALLING_BACK: [0.9, 0.9, 1.2, 1.2, 1.2, 1.2, 1.2],
    }
    curves = np.array([start + end for end in ends.values()] + [[*start, 0.5, np.nan, 0.5, 0.5, 0.5, 0.5, 0.5]])
    assert labels(curves, 3, 10).tolist() == [*ends, FALLING_BACK]


def test_balanced_accuracy():
    assert balanced_accuracy(np.array([0, 1, 1, 1]), np.array([1, 1, 1, 1])) == 0.5


def made_up_curves(n: int = 120) -> np.ndarray:
    """One task of falling, flat and rising curves in turn."""
    rng = np.random.default_rng(0)
    t = np.arange(1, 31)
    shapes = [1.0 - 0.03 * t, np.ones(30), 1.0 + 0.05 * t]
    return np.array([[shapes[i % 3] * np.exp(rng.normal(0, 0.003, 30)) for i in range(n)]])


def test_a_model_learns_what_it_is_shown_and_is_the_same_again():
    curves = made_up_curves()
    data = prefixes(curves, curves, (8, 10, 12, 14), 30)
    many = type(data)(*(np.concatenate([each] * 8) for each in data))
    models = [fit(many, n_members=1, n_epochs=10) for _ in range(2)]
    said = models[0].probabilities(data.features).argmax(axis=1)
    assert balanced_accuracy(data.label, said) > 0.95
    assert models[0].to_json() == models[1].to_json()


@pytest.mark.parametrize(("rule", "fires"), [(patience, 5), (last_five, 5), (rising, 4)])
def test_common_rules(rule, fires):
    flat = np.concatenate([[2.0], 1.0 + 0.001 * np.arange(10)])
    assert not rule(flat[: fires - 1])
    assert rule(flat)
    assert not rule(2.0 ** -np.arange(10.0))


def runs_of(ends: list[float], n: int = 24) -> list[Run]:
    t = np.arange(1.0, n + 1)
    return [Run("made up", {"loss": end + 1 / t, "val_loss": end + 1 / t}) for end in ends]


def test_the_median_rule_and_asha():
    search = Search(24, runs_of([1.0, 2.0, 3.0, 4.0, 5.0]), [24] * 5)
    good, bad = runs_of([0.5, 4.5])
    assert not median_rule(good, 5, search)
    assert median_rule(bad, 5, search)
    assert not asha(bad, 5, search)  # no rung
    assert asha(bad, 8, search)
    assert not asha(good, 8, search)


@pytest.mark.parametrize("name", sorted(STOPPERS))
def test_a_search_spends_its_budget_and_finds_something(name):
    runs = runs_of(list(np.random.default_rng(0).uniform(0.5, 5.0, 200)))
    found = searched(runs, STOPPERS[name], 0, 9)
    assert found.n_trials >= 9
    assert 0.5 < found.best < 6.0
    assert (found.stopped > 0) is (name != "no stopping")


def test_the_first_stop_of_a_run_that_overflows():
    curve = np.concatenate([1 / np.arange(1.0, 11), np.full(14, np.nan)])
    run = Run("made up", {"loss": curve, "val_loss": curve})
    at, rule = first_stop(run, Context(full_budget=24.0))
    assert (at, rule) == (11, "overflow")


def test_what_a_stop_costs_is_relative_to_what_came_later():
    assert _lost(0.2211, 0.3409) == "35.1%"
    assert _lost(0.5, 0.4, 1.0, 0.0) == "0.0%, 50.0%, -"
