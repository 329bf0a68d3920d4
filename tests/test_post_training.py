"""Configs trained again: every repeat from its own seed, in numbers that are right; the best models kept."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dhflow import Budget, Float, Problem, SearchSpace, Study, keep_models, retrain, search
from dhflow.errors import SearchError
from dhflow.nas import ArchitectureSpace, Dense, Identity
from dhflow.plot import plot_retraining

SPACE = SearchSpace({"x": Float(0.0, 1.0)})


def objective(config, trial):
    noise = np.random.default_rng(trial.seed).normal(scale=0.01)
    if config["x"] > 0.9 and trial.seed % 2:
        raise ValueError("too far right")
    trial.report(int(trial.budget), x=config["x"])
    return {"score": 1.0 - config["x"] + noise, "epochs": trial.budget, "seed": trial.seed, "seen": trial.config["x"]}


def make_problem(**more) -> Problem:
    return Problem(SPACE, objective, direction={"score": "maximize"}, budget=Budget("epochs", 1, 9), **more)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_each_config_is_trained_from_several_seeds(pool):
    again = retrain(make_problem(), {"good": {"x": 0.1}, "poor": {"x": 0.6}}, n_repeats=5, budget=27, site=pool)
    trials = again.result.trials
    assert len(trials) == 10
    assert len({each.metrics["seed"] for each in trials}) == 10
    assert {each.metrics["epochs"] for each in trials} == {27}
    assert {each.metrics["seen"] for each in trials} == {0.1, 0.6}
    good, poor = again["good"], again["poor"]
    own = [each.values["score"] for each in trials if each.config["network"] == "good"]
    assert good.values == tuple(sorted(own))
    assert (good.mean, good.std) == (pytest.approx(np.mean(own)), pytest.approx(np.std(own, ddof=1)))
    assert good.quantile(0.5) == pytest.approx(np.median(own))
    assert poor.mean < 0.5 < good.mean
    values, shares = good.cdf()
    assert values.tolist() == sorted(own)
    assert shares.tolist() == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert "good" in str(again)
    assert str(again).startswith("score:")
    with pytest.raises(KeyError):
        again["other"]


def test_the_best_of_a_search_are_trained_again(pool):
    problem = make_problem()
    result = search(problem, searcher="random", seed=1, max_trials=6, site=pool)
    again = retrain(problem, result, best=2, beside={"own": {"x": 0.5}}, n_repeats=2, measure="epochs", site=pool)
    ranked = sorted((each for each in result if each.objective is not None), key=lambda each: each.losses)
    assert [each.name for each in again.repeats] == ["1st", "2nd", "own"]
    assert [each.config for each in again.repeats] == [*(each.config for each in ranked[:2]), {"x": 0.5}]
    assert again["1st"].values == (9.0, 9.0)


def units_matter(config, trial):
    return {"score": len(config["a"]) + 0.1 * len(config["b"])}


def test_the_best_networks_of_a_search_are_different_ones(pool):
    # An identity before or after a layer is the same network.
    space = ArchitectureSpace((4,), (1,))
    nodes = [space.variable([Identity(), Dense(4, "relu")], name=name) for name in "ab"]
    space.connect(space.input, *nodes, space.constant(Dense(1), name="head"), space.output)
    problem = Problem(space.decisions(), units_matter, direction={"score": "maximize"})
    configs = [{"a": a, "b": b} for a in ("Identity", "Dense(4, relu)") for b in ("Identity", "Dense(4, relu)")]
    with Study(problem, searcher="random") as study:
        study.enqueue(*configs)
        result = study.run(site=pool, max_trials=4)
    assert len(result) == 4
    again = retrain(problem, result, best=4, n_repeats=1, site=pool)
    assert [each.name for each in again.repeats] == ["1st", "2nd", "3rd"]
    assert [each.config for each in again.repeats] == [configs[3], configs[2], configs[0]]


def test_trainings_that_fail_are_counted(pool):
    again = retrain(make_problem(), {"far": {"x": 0.95}}, n_repeats=8, site=pool, abort_after=None)
    far = again["far"]
    assert far.n_failed + len(far.values) == 8
    assert far.n_failed > 0
    assert f"{far.n_failed} failed" in str(again)


def ends_early(config, trial):
    return {"score": float(trial.should_stop(needs_s=60.0))}


def test_trainings_that_were_stopped_early_are_counted(pool):
    problem = Problem(SPACE, ends_early, direction={"score": "maximize"})
    again = retrain(problem, {"only": {"x": 0.2}}, n_repeats=2, site=pool, timeout_s=30.0)
    assert again["only"].values == (1.0, 1.0)
    assert again["only"].n_stopped == 2
    assert str(again).endswith("2 stopped early")


def test_one_training_of_one_config_has_no_spread(pool):
    again = retrain(make_problem(), {"only": {"x": 0.2}}, n_repeats=1, site=pool)
    assert np.isnan(again["only"].std)
    assert again["only"].mean == pytest.approx(0.8, abs=0.05)


def test_trainings_go_on_in_a_history(pool, tmp_path):
    arguments = {"n_repeats": 4, "history": tmp_path / "again.h5", "site": pool}
    first = retrain(make_problem(), {"a": {"x": 0.2}}, max_trials=2, **arguments)
    whole = retrain(make_problem(), {"a": {"x": 0.2}}, resume=True, **arguments)
    assert (len(first.result), len(whole.result)) == (2, 4)
    assert set(first["a"].values) < set(whole["a"].values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": {}}, "nothing to train: 0 configs"),
        ({"candidates": {"a": {"x": 0.1}}, "measure": "auc"}, "has no number 'auc'; it has: score, epochs"),
        ({"problem": Problem(SPACE, "train {x}"), "candidates": {"a": {"x": 0.1}}}, "a function, not a command"),
        (
            {"problem": Problem(SPACE, objective), "candidates": {"a": {"x": 0.1}}, "budget": 5},
            "the problem declares no budget",
        ),
    ],
)
def test_what_cannot_be_retrained_says_why(pool, arguments, message):
    with pytest.raises(SearchError, match=message):
        retrain(**{"problem": make_problem(), "n_repeats": 1, "site": pool, **arguments})


def test_the_figure_shows_every_config(pool):
    again = retrain(make_problem(), {"good": {"x": 0.1}, "poor": {"x": 0.6}}, n_repeats=3, site=pool)
    axes = plot_retraining(again, as_error=True)
    steps = [each for each in axes.lines if len(each.get_xdata()) > 2]
    assert steps[0].get_xdata()[1:].tolist() == pytest.approx(sorted(1 - each for each in again["good"].values))
    assert steps[1].get_ydata().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axes.get_xlabel() == "1 - score"


def leaving(config, trial):
    if config["x"] < 0.7:
        (trial.dir / "model.keras").write_text(repr(config["x"]))
    return config["x"]


def test_the_best_models_are_kept_beside_the_history(pool, tmp_path):
    result = search(leaving, SPACE, searcher="random", seed=2, max_trials=8, site=pool, history=tmp_path / "h.h5")
    kept = keep_models(result, 2)
    best = sorted((each for each in result), key=lambda each: each.objective)[:2]
    assert [each.name for each in kept] == [f"{i}-trial-{each.trial_id}.keras" for i, each in enumerate(best, 1)]
    assert [float(each.read_text()) for each in kept] == [each.config["x"] for each in best]
    assert kept[0].parent == tmp_path / "h.h5.models"
    told = [json.loads(each.with_suffix(".json").read_text()) for each in kept]
    assert [(each["trial"], each["config"]) for each in told] == [(each.trial_id, each.config) for each in best]
    left = list(tmp_path.glob("h.h5.run/**/model.keras"))
    assert len(left) > 2
    assert len(keep_models(result, 1, folder=tmp_path / "elsewhere", prune=True)) == 1
    assert not list(tmp_path.glob("h.h5.run/**/model.keras"))
    with pytest.raises(SearchError, match="no trial has left a model"):
        keep_models(result)


def failing_late(config, trial):
    (trial.dir / "model.keras").write_text("model")
    if config["x"] > 0.5:
        raise ValueError
    return config["x"]


def test_pruning_leaves_no_model_of_any_trial(pool, tmp_path):
    result = search(failing_late, SPACE, searcher="random", seed=2, max_trials=8, site=pool, history=tmp_path / "h.h5")
    assert 0 < result.n_failed < 8
    assert len(keep_models(result, 1, prune=True)) == 1
    assert not list(tmp_path.glob("h.h5.run/**/model.keras"))


def test_without_a_history_no_model_is_kept(pool):
    result = search(leaving, SPACE, searcher="random", seed=2, max_trials=1, site=pool)
    with pytest.raises(SearchError, match="beside a history"):
        keep_models(result)
    assert not list(Path.cwd().glob("*.models"))
