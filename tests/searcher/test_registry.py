from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.searcher import Searcher, make_searcher, register_searcher, registry, searcher_names, searcher_options
from dhflow.searcher.ambs import Ambs
from dhflow.space import Float, SearchSpace
from dhflow.trial import Suggestion, Trial

SPACE = SearchSpace({"x": Float(0.0, 1.0, group="architecture")})


class Middle(Searcher):
    name = "middle"

    def __init__(self, space: SearchSpace, *, seed: int = 0, where: float = 0.5) -> None:
        super().__init__(space, seed=seed)
        self.where = where

    def _ask(self, n: int, pending: Sequence[Trial], rng: np.random.Generator) -> list[Suggestion]:
        return [Suggestion({"x": self.where})] * n


@pytest.fixture
def clean_registry() -> Iterator[None]:
    before = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)


def test_the_searchers() -> None:
    assert searcher_names() == [
        *("auto", "random", "lhs", "sobol", "halton", "grid", "ambs", "gp", "tpe", "evolution", "genetic"),
        *("nsga2", "reinforce", "ppo", "q_learning", "agebo"),
        *("successive_halving", "hyperband", "asha", "async_hyperband", "median_stopping", "bohb"),
    ]
    for name in searcher_names():
        searcher = make_searcher(name, SPACE, seed=4, budget_range=(1, 9))
        assert (type(searcher).name, searcher.seed, searcher.space) == (name, 4, SPACE)


def test_options_reach_the_searcher_and_the_history() -> None:
    searcher = make_searcher("ambs", SPACE, seed=1, kappa=0.5, liar="max")
    assert isinstance(searcher, Ambs)
    assert searcher.kappa == 0.5
    described = searcher.describe()
    assert (described["name"], described["seed"]) == ("ambs", 1)
    assert described["options"] == {**searcher_options("ambs"), "kappa": 0.5, "liar": "max"}
    assert make_searcher("ambs", SPACE, **described["options"]).describe()["options"] == described["options"]


@pytest.mark.parametrize("name", searcher_names())
def test_a_flag_is_true_or_false_and_no_word(name: str) -> None:
    flags = [option for option, default in searcher_options(name).items() if isinstance(default, bool)]
    assert ("cost_aware" in flags) == (name in ("auto", "ambs", "gp"))
    for option in flags:
        for value in ("no", "yes", "", 0, 1, None):
            with pytest.raises(SearchError, match=f"{option} is {value!r}: it must be true or false"):
                make_searcher(name, SPACE, **{option: value})


@pytest.mark.parametrize("name", searcher_names())
def test_options_of_another_type_are_refused(name: str) -> None:
    for option, default in searcher_options(name).items():
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        for value in (math.nan, {"a": 1}, 0.5j, *(["3", "", True, [1], None] if is_number else [])):
            with pytest.raises(SearchError, match=f"{option} is {re.escape(repr(value))}: it must be"):
                make_searcher(name, SPACE, budget_range=(1, 9), **{option: value})


def test_an_unknown_name_is_answered_with_a_close_one_and_all() -> None:
    with pytest.raises(SearchError, match=r"no searcher 'abms' \(did you mean 'ambs'\?\); there are: auto, random, "):
        make_searcher("abms", SPACE)
    with pytest.raises(SearchError, match="give a name"):
        make_searcher(3, SPACE)  # type: ignore[arg-type]


def test_an_unknown_option_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(SearchError, match=r"'ambs' has no option 'kapa' \(did you mean 'kappa'\?\); .* n_initial, "):
        make_searcher("ambs", SPACE, kapa=1.0)
    with pytest.raises(SearchError, match="'random' has no option 'kappa'; it has no options"):
        make_searcher("random", SPACE, kappa=1.0)


def test_a_users_class_and_object() -> None:
    made = make_searcher(Middle, SPACE, seed=2, where=0.25)
    assert isinstance(made, Middle)
    assert (made.where, made.seed) == (0.25, 2)
    assert make_searcher(made, SPACE) is made
    with pytest.raises(SearchError, match="'middle' has no option 'wher'"):
        make_searcher(Middle, SPACE, wher=0.25)
    with pytest.raises(SearchError, match="already made"):
        make_searcher(made, SPACE, where=0.1)
    with pytest.raises(SearchError, match="another search space"):
        make_searcher(made, SearchSpace({"y": Float(0.0, 1.0)}))


@pytest.mark.usefixtures("clean_registry")
def test_a_users_class_can_be_registered() -> None:
    assert register_searcher(Middle) is Middle
    register_searcher(Middle)  # again: nothing happens
    assert "middle" in searcher_names()
    assert isinstance(make_searcher("middle", SPACE), Middle)

    class Other(Middle):
        name = "middle"

    with pytest.raises(SearchError, match="belongs to Middle"):
        register_searcher(Other)


def test_a_class_without_a_name_cannot_be_registered() -> None:
    class Nameless(Searcher):
        pass

    with pytest.raises(SearchError, match="has no name"):
        register_searcher(Nameless)  # type: ignore[type-abstract]


def test_several_objectives() -> None:
    assert make_searcher("random", SPACE, n_objectives=3).n_asks == 0
    with pytest.raises(SearchError, match="'tpe' takes 1 objective, not 2; any number: auto, random, lhs"):
        make_searcher("tpe", SPACE, n_objectives=2)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SearchError, match="seed"):
        make_searcher("random", SPACE, seed=-1)


@pytest.mark.parametrize(
    "option",
    [
        {"n_initial": 0},
        {"initial_design": "halton"},
        {"surrogate": "gp"},
        {"n_trees": 0},
        {"n_trees": True},
        {"kappa": -1.0},
        {"kappa": float("nan")},
        {"liar": "median"},
        {"multipoint": "both"},
        {"failed": "huge"},
        {"variance": "none"},
        {"n_candidates": 1},
        {"max_training": 2},
        {"refresh": 0},
    ],
)
def test_impossible_options_of_ambs(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("ambs", SPACE, **option)


@pytest.mark.parametrize(
    "option",
    [
        {"n_initial": 0},
        {"gamma": 0.0},
        {"gamma": 1},
        {"max_good": 0},
        {"n_candidates": 0},
        {"together": "some"},
        {"weights": "ranks"},
        {"prior_weight": 0.0},
        {"pending": "good"},
        {"max_training": 5},
    ],
)
def test_impossible_options_of_tpe(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("tpe", SPACE, **option)


@pytest.mark.parametrize(
    "option",
    [
        {"population": 1},
        {"tournament_size": 0},
        {"n_initial": 0},
        {"step": 0.0},
        {"resample": 1.5},
        {"crossover": -0.1},
        {"mutation": True},
    ],
)
def test_impossible_options_of_genetic(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("genetic", SPACE, **option)


@pytest.mark.parametrize("option", [{"resolution": 0}, {"integer_resolution": 0}, {"order": "random"}])
def test_impossible_options_of_grid(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("grid", SPACE, **option)


def test_impossible_options_of_lhs() -> None:
    with pytest.raises(SearchError, match="block_size"):
        make_searcher("lhs", SPACE, block_size=0)


@pytest.mark.parametrize("option", [{"population": 1}, {"tournament_size": 0}, {"n_initial": 0}, {"crossover": 2}])
def test_impossible_options_of_nsga2(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("nsga2", SPACE, **option)
