from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dhflow.searcher import make_searcher
from dhflow.searcher.ambs import MIXED_UNTIL_FINISHED, MIXED_UNTIL_PENDING, Ambs
from dhflow.searcher.features import Features
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import Trial, TrialStatus

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "layers": Integer(1, 8),
        "kind": Categorical(["a", "b", "c"]),
        "drop": Float(0.0, 0.9, when={"kind": "b"}),
    }
)


def loss(config: dict[str, Any]) -> float:
    at_best = {"a": 0.6, "b": 0.0, "c": 0.9}[config["kind"]]
    drop = (config["drop"] - 0.3) ** 2 if "drop" in config else 0.0
    return float((np.log10(config["lr"]) + 2) ** 2 + 0.05 * (config["layers"] - 5) ** 2 + at_best + drop)


@pytest.mark.parametrize("name", ["auto", "gp"])
@pytest.mark.parametrize("n_workers", [1, 8])
def test_it_finds_what_random_search_does_not(name: str, n_workers: int) -> None:
    def best(searcher: str, seed: int) -> float:
        made = make_searcher(searcher, SPACE, seed=seed)
        return min(run_simulated(made, loss, n_trials=50, n_workers=n_workers, seed=seed).losses())

    assert np.median([best(name, seed) for seed in range(3)]) < 0.3 * np.median([best("random", s) for s in range(9)])


BRANCHES = SearchSpace(
    {
        "model": Categorical(["easy", "hard"]),
        "a": Float(0.0, 1.0, when={"model": "easy"}),
        "b": Float(0.0, 1.0, when={"model": "hard"}),
        "c": Float(0.0, 1.0, when={"model": "hard"}),
    }
)


def of_branches(config: dict[str, Any]) -> float:
    if config["model"] == "easy":
        return 0.05 + 0.02 * float((config["a"] - 0.3) ** 2)
    return 1.5 * float((config["b"] - 0.8) ** 2 + (config["c"] - 0.2) ** 2)


@pytest.mark.parametrize("name", ["auto", "gp"])
def test_a_branch_that_is_good_at_once_does_not_keep_them_from_a_better_one(name: str) -> None:
    for seed in (3, 4, 5):
        searcher = make_searcher(name, BRANCHES, seed=seed)
        assert min(run_simulated(searcher, of_branches, n_trials=40, n_workers=1, seed=seed).losses()) < 1e-3


def test_scores_are_in_the_units_of_predictions() -> None:
    plain = SearchSpace({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    for space, objective in ((BRANCHES, of_branches), (plain, lambda each: (each["a"] - each["b"]) ** 2)):
        searcher = make_searcher("gp", space, seed=1)
        assert isinstance(searcher, Ambs)
        study = SimulatedStudy(searcher)
        configs = space.sample(40, np.random.default_rng(0))
        for config in configs:
            study.add(config, objective(config))
        searcher.ask(1)
        mean, _ = searcher.predict(configs)
        assert np.abs(mean - searcher.scores([objective(each) for each in configs])).mean() < 0.1


def test_two_models_take_turns_and_the_trees_go_on_alone() -> None:
    searcher = make_searcher("auto", SPACE, seed=1)
    assert isinstance(searcher, Ambs)
    study = SimulatedStudy(searcher)
    for config in SPACE.sample(30, np.random.default_rng(0)):
        study.add(config, loss(config))
    shares = [[(type(each.model).__name__, k) for each, k in searcher._shares(n, 0)] for n in (1, 5)]
    assert shares == [[("GaussianProcess", 1)], [("GaussianProcess", 4), ("Forest", 1)]]
    searcher.ask(2)
    assert [type(each.model).__name__ for each, _ in searcher._shares(1, 0)] == ["Forest"]
    assert [type(each.model).__name__ for each, _ in searcher._shares(4, MIXED_UNTIL_PENDING)] == ["Forest"]
    configs = SPACE.sample(MIXED_UNTIL_FINISHED, np.random.default_rng(1))
    told = [Trial(1_000 + i, config, TrialStatus.COMPLETED, losses=(loss(config),)) for i, config in enumerate(configs)]
    searcher.tell(told)
    searcher.ask(1)
    assert [type(each.model).__name__ for each, _ in searcher._shares(9, 0)] == ["Forest"]


def test_a_mixed_batch_holds_no_config_twice() -> None:
    searcher = make_searcher("auto", SPACE, seed=1)
    study = SimulatedStudy(searcher)
    for config in SPACE.sample(30, np.random.default_rng(0)):
        study.add(config, loss(config))
    asked = [dict(each.config) for each in searcher.ask(64)]
    assert len({tuple(sorted(each.items())) for each in asked}) == 64


def test_features_say_what_is_active() -> None:
    features = Features(SPACE)
    assert len(features) == 5
    X = SPACE.encode([{"lr": 0.1, "layers": 2, "kind": "a"}, {"lr": 0.1, "layers": 2, "kind": "b", "drop": 0.5}])
    assert features.of(X)[:, 4].tolist() == [0.0, 1.0]
    assert features.kinds.categorical.tolist() == [False, False, True, False]
    assert features.kinds.activity.tolist() == [-1, -1, -1, 4]
