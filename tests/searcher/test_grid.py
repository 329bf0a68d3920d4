from __future__ import annotations

import json
from typing import Any

import pytest

from dhflow.errors import SpaceExhaustedError
from dhflow.searcher import make_searcher
from dhflow.searcher.grid import GridSearch, Shuffle
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated

TABLE = SearchSpace({"i": Integer(1, 3), "x": Float(0.0, 1.0), "y": Float(0.0, 1.0, when={"i": 2})})


def plain(study: SimulatedStudy) -> list[dict[str, Any]]:
    return [dict(each.config) for each in study.trials.values()]


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 100, 1000])
def test_a_shuffle_is_a_permutation(n: int) -> None:
    shuffle = Shuffle(n, seed=3)
    found = [shuffle[i] for i in range(n)]
    assert sorted(found) == list(range(n))
    if n >= 16:
        assert found != list(range(n))
        assert found != [Shuffle(n, seed=4)[i] for i in range(n)]


def test_sorted_order() -> None:
    study = run_simulated(make_searcher("grid", TABLE, resolution=2, order="sorted"), lambda _: 0.0, n_trials=99)
    assert [(each["i"], each["x"], each.get("y")) for each in plain(study)] == [
        (1, 0.0, None),
        (1, 1.0, None),
        (2, 0.0, 0.0),
        (2, 1.0, 0.0),
        (2, 0.0, 1.0),
        (2, 1.0, 1.0),
        (3, 0.0, None),
        (3, 1.0, None),
    ]


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("n_workers", [1, 5])
def test_each_config_once_then_nothing(order: str, n_workers: int) -> None:
    searcher = make_searcher("grid", TABLE, resolution=4, order=order)
    study = run_simulated(searcher, lambda _: 0.0, n_trials=99, n_workers=n_workers)
    found = plain(study)
    assert len({json.dumps(each) for each in found}) == len(found) == 4 + 16 + 4
    assert searcher.ask(3) == []


def test_a_huge_grid_starts_at_once_and_is_spread() -> None:
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(200)})
    study = SimulatedStudy(make_searcher("grid", space))
    trials = study.ask(64)
    assert len({each.config["x0"] for each in trials}) == len({each.config["x199"] for each in trials}) == 5


def test_forbidden_points_are_skipped() -> None:
    space = SearchSpace(
        {"i": Integer(1, 40), "c": Categorical(["a", "b"])}, forbidden=[{"c": "b"}], constraints=[_even]
    )
    study = run_simulated(make_searcher("grid", space), lambda _: 0.0, n_trials=99)
    assert sorted(each["i"] for each in plain(study)) == list(range(2, 41, 2))


def test_where_hardly_anything_is_allowed_it_gives_up() -> None:
    space = SearchSpace({"i": Integer(1, 10_000_000, default=1)}, constraints=[_is_one])
    searcher = make_searcher("grid", space, order="sorted")
    assert len(searcher.ask(1)) == 1
    with pytest.raises(SpaceExhaustedError, match="in a row"):
        searcher.ask(1)


def test_a_record_is_enough_to_go_on() -> None:
    study = SimulatedStudy(make_searcher("grid", TABLE, seed=4))
    study.ask(9)
    for trial in study.pending[:4]:
        study.tell(trial, 0.0)
    other = make_searcher("grid", TABLE, seed=4)
    assert isinstance(other, GridSearch)
    other.tell([each for each in study.trials.values() if each.is_finished])
    assert other.ask(3, study.pending) == study.searcher.ask(3, study.pending)


def _even(config: dict[str, Any]) -> bool:
    return bool(config["i"] % 2 == 0)


def _is_one(config: dict[str, Any]) -> bool:
    return bool(config["i"] == 1)
