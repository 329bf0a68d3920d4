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
