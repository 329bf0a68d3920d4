from __future__ import annotations

import numpy as np
import pytest

from dhflow.searcher import make_searcher, searcher_names
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.searcher import example_spaces
from dhflow.testing.simulated import SimulatedStudy


@pytest.mark.parametrize("name", searcher_names())
def test_a_warm_start_with_the_same_random_numbers_does_not_stop_the_search(name: str) -> None:
    # default_rng(1) is also the generator of ask 0 of a search with seed 1.
    space = example_spaces()["mixed"]
    study = SimulatedStudy(make_searcher(name, space, seed=1, budget_range=(1, 27)))
    for config in space.sample(2000, np.random.default_rng(1)):
        study.add(config, 0.0)
    assert len(study.ask(64)) == 64


@pytest.mark.parametrize("name", searcher_names())
def test_the_last_configs_of_an_uneven_grid_are_found(name: str) -> None:
    # Of 1 to 500 on a logarithmic scale, the highest values are drawn once in thousands of draws.
    space = SearchSpace({"n": Integer(1, 500, log=True, group="architecture")})
    study = SimulatedStudy(make_searcher(name, space, budget_range=(1, 27)))
    for config in ({"n": n} for n in range(1, 496)):
        study.add(config, float(config["n"]))
    assert sorted(each.config["n"] for each in study.ask(64)) == [496, 497, 498, 499, 500]
    assert study.ask(1) == []


@pytest.mark.parametrize("name", searcher_names())
def test_inactive_values_make_no_difference(name: str) -> None:
    space = SearchSpace({"on": Categorical([True, False], group="architecture"), "n": Integer(1, 3, when={"on": True})})
    study = SimulatedStudy(make_searcher(name, space, budget_range=(1, 27)))
    assert len(study.ask(64)) == 4


def test_a_lost_worker_gives_the_config_back_to_the_pending_ones() -> None:
    # The same trial is pending again; its config is not suggested to another worker meanwhile.
    space = SearchSpace({"n": Integer(1, 2)})
    study = SimulatedStudy(make_searcher("random", space))
    (first,) = study.ask(1)
    study.ask(1)
    assert study.searcher.ask(1, [first]) != []  # the other one is neither told nor pending here
    assert study.searcher.ask(1, study.pending) == []


def test_a_continuous_space_is_never_exhausted() -> None:
    study = SimulatedStudy(make_searcher("random", SearchSpace({"x": Float(0.0, 1.0)})))
    assert len(study.ask(1000)) == 1000
