"""Every registered searcher satisfies the contract, in its default form and in others that go another way."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from dhflow.searcher import Searcher, make_searcher, searcher_names
from dhflow.space import SearchSpace
from dhflow.testing.searcher import SearcherTests


class _Registered(SearcherTests):
    searcher: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}

    def make_searcher(self, space: SearchSpace, seed: int) -> Searcher:
        return make_searcher(self.searcher, space, seed=seed, budget_range=(1, 27), **self.options)


class TestRandom(_Registered):
    searcher = "random"


class TestLatinHypercube(_Registered):
    searcher = "lhs"


class TestSobol(_Registered):
    searcher = "sobol"


class TestHalton(_Registered):
    searcher = "halton"


class TestGrid(_Registered):
    searcher = "grid"


class TestAmbs(_Registered):
    searcher = "ambs"


class TestAuto(_Registered):
    searcher = "auto"


class TestGaussianProcess(_Registered):
    searcher = "gp"


class TestAmbsOfThePaper(_Registered):
    searcher = "ambs"
    options: ClassVar[dict[str, Any]] = {"surrogate": "random_forest", "acquisition": "lcb", "liar": "min"}


class TestAmbsHedge(_Registered):
    searcher = "ambs"
    options: ClassVar[dict[str, Any]] = {"acquisition": "hedge", "multipoint": "penalised"}


class TestAmbsAfterSobol(_Registered):
    searcher = "ambs"
    options: ClassVar[dict[str, Any]] = {
        "initial_design": "sobol",
        "surrogate": "bagging",
        "liar": "max",
        "failed": "mean",
        "max_training": 30,
    }


class TestAmbsNaive(_Registered):
    searcher = "ambs"
    options: ClassVar[dict[str, Any]] = {"initial_design": "lhs", "multipoint": "naive", "failed": "leave_out"}


class TestAmbsOfEverything(_Registered):
    searcher = "ambs"
    options: ClassVar[dict[str, Any]] = {"failed": "infeasible", "cost_aware": True, "surrogate": "mixed"}


class TestTpe(_Registered):
    searcher = "tpe"


class TestTpeOfGroups(_Registered):
    searcher = "tpe"
    options: ClassVar[dict[str, Any]] = {"together": "groups", "weights": "uniform", "max_training": 12}


class TestTpeOfSingleParameters(_Registered):
    searcher = "tpe"
    options: ClassVar[dict[str, Any]] = {"together": "none", "pending": "leave_out", "n_initial": 5}


class TestEvolution(_Registered):
    searcher = "evolution"


class TestEvolutionOfFew(_Registered):
    searcher = "evolution"
    options: ClassVar[dict[str, Any]] = {"population": 5, "tournament_size": 2, "n_initial": 1}


class TestGenetic(_Registered):
    searcher = "genetic"


class TestNsga2(_Registered):
    searcher = "nsga2"


class TestNsga2OfFew(_Registered):
    searcher = "nsga2"
    options: ClassVar[dict[str, Any]] = {"population": 4, "n_initial": 1, "crossover": 1.0}


class TestReinforce(_Registered):
    searcher = "reinforce"


class TestPpo(_Registered):
    searcher = "ppo"


class TestPpoOfFew(_Registered):
    searcher = "ppo"
    options: ClassVar[dict[str, Any]] = {
        "batch_size": 3,
        "n_epochs": 2,
        "n_levels": 3,
        "n_hidden": 5,
        "max_weight": 1.0,
    }


class TestQLearning(_Registered):
    searcher = "q_learning"
    options: ClassVar[dict[str, Any]] = {"n_exploring": 5, "n_annealing": 10}


class TestAgEbo(_Registered):
    searcher = "agebo"
    options: ClassVar[dict[str, Any]] = {"n_initial": 12}


class TestAgEboWithAProcess(_Registered):
    searcher = "agebo"
    options: ClassVar[dict[str, Any]] = {"n_initial": 6, "surrogate": "gaussian_process", "population": 5}


class TestSuccessiveHalving(_Registered):
    searcher = "successive_halving"
    distinct = False


class TestHyperband(_Registered):
    searcher = "hyperband"
    distinct = False


class TestAsha(_Registered):
    searcher = "asha"
    distinct = False


class TestAsyncHyperband(_Registered):
    searcher = "async_hyperband"
    distinct = False


class TestMedianStopping(_Registered):
    searcher = "median_stopping"
    distinct = False


class TestModelHyperbandOfOneRung(_Registered):
    searcher = "bohb"
    options: ClassVar[dict[str, Any]] = {"model_rung": 0, "eta": 2.0, "random_share": 0.0, "n_initial": 5}
    distinct = False


class TestModelHyperband(_Registered):
    searcher = "bohb"
    distinct = False


@pytest.mark.parametrize("name", searcher_names())
def test_every_registered_searcher_is_tested_here(name: str) -> None:
    tested = {each.searcher for each in _Registered.__subclasses__()}
    assert name in tested
