from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dhflow.searcher import make_searcher
from dhflow.searcher.evolution import EvolutionarySearcher
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import TrialStatus

CUBE = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(4)})
TREE = SearchSpace(
    {
        "c": Categorical(["a", "b"]),
        "x": Float(0.0, 1.0, when={"c": "a"}),
        "y": Float(0.0, 1.0, when={"c": "b"}),
        "k": Integer(1, 20),
    }
)


def bowl(config: dict[str, Any]) -> float:
    return float(sum((value - 0.3) ** 2 for value in config.values()))


def searcher_of(study: SimulatedStudy) -> EvolutionarySearcher:
    assert isinstance(study.searcher, EvolutionarySearcher)
    return study.searcher


@pytest.mark.parametrize("name", ["evolution", "genetic"])
@pytest.mark.parametrize("n_workers", [1, 8])
def test_it_finds_far_better_configs_than_random_search(name: str, n_workers: int) -> None:
    def best(which: str, seed: int) -> float:
        return min(
            run_simulated(make_searcher(which, CUBE, seed=seed), bowl, n_trials=100, n_workers=n_workers).losses()
        )

    assert np.mean([np.log(best(name, seed) / best("random", seed)) for seed in range(4)]) < np.log(0.5)


def test_the_oldest_die() -> None:
    study = SimulatedStudy(make_searcher("evolution", CUBE, population=5))
    for loss in [0.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0]:
        study.add(CUBE.sample(1, np.random.default_rng(int(loss)))[0], loss)
    study.ask()
    assert [each.loss for each in searcher_of(study).individuals] == [8.0, 7.0, 6.0, 5.0, 4.0]


def test_the_worst_die_in_genetic_search() -> None:
    study = SimulatedStudy(make_searcher("genetic", CUBE, population=3))
    for loss in [0.0, 9.0, None, 7.0, 6.0, 5.0]:
        study.add(CUBE.sample(1, np.random.default_rng(0 if loss is None else int(loss)))[0], loss)
    study.ask()
    assert [each.loss for each in searcher_of(study).individuals] == [0.0, 5.0, 6.0]


@pytest.mark.parametrize("name", ["evolution", "genetic"])
def test_failed_and_stopped_trials_are_no_parents(name: str) -> None:
    study = SimulatedStudy(make_searcher(name, TREE, n_initial=1))
    for config in TREE.sample(30, np.random.default_rng(1)):
        if config["c"] == "a":
            study.add(config, 1.0)
        else:
            trial = study.add(config, None)
    trial = study.ask()[0]
    study.tell(trial, -1.0, TrialStatus.STOPPED)
    searcher = searcher_of(study)
    study.ask()
    winners = searcher._parents(50, np.random.default_rng(0))
    assert {each["c"] for each in TREE.decode(np.array([each.row for each in winners]))} == {"a"}


def test_a_child_differs_from_its_parent_in_one_parameter() -> None:
    study = SimulatedStudy(make_searcher("evolution", CUBE, n_initial=1))
    study.add(CUBE.default_config(), 0.0)
    for trial in study.ask(20):
        assert sum(trial.config[name] != value for name, value in CUBE.default_config().items()) == 1


def test_children_of_two_parents_have_each_value_from_one_of_them() -> None:
    searcher = make_searcher("genetic", TREE)
    assert isinstance(searcher, EvolutionarySearcher)
    rng = np.random.default_rng(2)
    mothers, fathers = TREE.sample_encoded(50, rng), TREE.sample_encoded(50, rng)
    children = TREE.decode(searcher._crossed(mothers, fathers, rng))  # type: ignore[attr-defined]
    for child, *parents in zip(children, TREE.decode(mothers), TREE.decode(fathers), strict=True):
        for name, value in child.items():
            values = [each[name] for each in parents if name in each]
            assert value in values


def test_the_winner_of_a_tournament_of_all_is_the_best() -> None:
    study = SimulatedStudy(make_searcher("evolution", CUBE, tournament_size=99))
    for i, config in enumerate(CUBE.sample(10, np.random.default_rng(1))):
        study.add(config, float(abs(i - 6)))
    study.ask()
    searcher = searcher_of(study)
    winners = searcher._parents(3, np.random.default_rng(0))
    assert [each is searcher.individuals[6] for each in winners] == [True] * 3


def test_before_n_initial_it_is_random() -> None:
    study = SimulatedStudy(make_searcher("evolution", CUBE, seed=3, n_initial=5))
    for trial in study.ask(4):
        study.tell(trial, 0.0)
    configs = [dict(each.config) for each in study.ask(30)]
    assert len({each["x0"] for each in configs}) == 30


def test_a_higher_budget_makes_a_new_population() -> None:
    study = SimulatedStudy(make_searcher("evolution", CUBE))
    from dhflow.trial import Suggestion

    for config in CUBE.sample(5, np.random.default_rng(0)):
        study.tell(study._create(Suggestion(config, budget=1.0), 0), 0.0)
    study.add(CUBE.default_config(), 3.0)
    study.ask()
    assert [each.loss for each in searcher_of(study).individuals] == [3.0]


@pytest.mark.parametrize("name", ["evolution", "genetic", "nsga2", "agebo"])
def test_children_name_their_parents_if_asked(name: str) -> None:
    def trials(**options: Any) -> list[Any]:
        more = {"architecture": "c,x,y"} if name == "agebo" else {}
        searcher = make_searcher(name, TREE, seed=5, n_initial=10, **options, **more)
        return list(run_simulated(searcher, lambda c: float(c["k"]), n_trials=40, n_workers=3).trials.values())

    named, plain = trials(name_parents=True), trials()
    assert [each.config for each in named] == [each.config for each in plain]
    assert {each.parent_id for each in plain} == {None}
    assert {each.parent_id for each in named[:10]} == {None}
    children = [each for each in named if each.parent_id is not None]
    assert len(children) > 15
    architecture = [each for each in TREE.names if name != "agebo" or each != "k"]
    for child in children:
        parent = named[child.parent_id]
        changed = [each for each in architecture if child.config.get(each) != parent.config.get(each)]
        # A change of the branch brings its own parameter to life; two parents mix more.
        assert name in {"genetic", "nsga2"} or len(changed) == 1 or "c" in changed
