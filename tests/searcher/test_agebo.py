from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.searcher import make_searcher
from dhflow.searcher.agebo import AgEbo
from dhflow.searcher.candidate import PinnedCandidates
from dhflow.space import ARCHITECTURE, Categorical, Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated

CELL = {f"op{i}": Categorical(list("abcd")) for i in range(5)}
TRAINING = {"rate": Float(1e-4, 1.0, log=True), "batch": Integer(1, 64, log=True)}
ALONE = SearchSpace(CELL).grouped(ARCHITECTURE)
JOINT = ALONE * SearchSpace(TRAINING)


def loss_of(config: dict[str, Any]) -> float:
    wrong = sum(config[name] != letter for name, letter in zip(CELL, "dcbad", strict=True))
    return float(wrong + 5 * (np.log10(config["rate"]) + 2) ** 2)


def tuned(study: SimulatedStudy, first: int) -> float:
    rates = [each.config["rate"] for each in list(study.trials.values())[first:]]
    return float(np.mean([abs(np.log10(each) + 2) for each in rates]))


def test_it_finds_better_configs_than_either_part_alone() -> None:
    def best(name: str, seed: int, **options: Any) -> float:
        made = make_searcher(name, JOINT, seed=seed, **options)
        return min(run_simulated(made, loss_of, n_trials=80, n_workers=8).losses())

    ours = [best("agebo", seed) for seed in range(3)]
    assert np.mean(ours) < np.mean([best("random", seed) for seed in range(3)]) - 1.0
    assert np.mean(ours) < np.mean([best("evolution", seed) for seed in range(3)]) + 0.25


def test_hyperparameters_are_learned_while_the_population_fills() -> None:
    study = run_simulated(make_searcher("agebo", JOINT, n_initial=40, seed=1), loss_of, n_trials=40, n_workers=4)
    architectures = {tuple(each.config[name] for name in CELL) for each in study.trials.values()}
    assert len(architectures) > 35
    assert tuned(study, 30) < 0.5 * tuned(study, 0)


def test_a_child_has_an_architecture_one_step_from_its_parent() -> None:
    study = run_simulated(make_searcher("agebo", JOINT, seed=2, n_initial=10), loss_of, n_trials=40, n_workers=4)
    searcher = study.searcher
    assert isinstance(searcher, AgEbo)
    searcher._fold_told()
    members = JOINT.decode([each.row for each in searcher.individuals])
    for child in study.ask(8):
        steps = [sum(child.config[name] != each[name] for name in CELL) for each in members]
        assert min(steps) <= 1


def test_it_needs_to_know_the_architecture() -> None:
    plain = SearchSpace({**CELL, **TRAINING})
    with pytest.raises(SearchError, match="must know which parameters decide the architecture: declare them"):
        make_searcher("agebo", plain)
    with pytest.raises(SearchError, match="'op9': the space has no such parameter"):
        make_searcher("agebo", plain, architecture=["op1", "op9"])
    for given in (["op0", "op1"], "op0, op1"):
        made = make_searcher("agebo", plain, architecture=given)
        assert isinstance(made, AgEbo)
        assert made.architecture == ("op0", "op1")
    assert make_searcher("agebo", plain, architecture=["op0"]).describe()["options"]["architecture"] == ["op0"]
    assert AgEbo(JOINT).architecture == tuple(CELL)


def test_without_hyperparameters_it_is_ageing_evolution() -> None:
    def configs(name: str) -> list[Any]:
        study = run_simulated(
            make_searcher(name, ALONE, seed=4),
            lambda config: loss_of({**config, "rate": 0.01}),
            n_trials=60,
            n_workers=4,
        )
        return [each.config for each in study.trials.values()]

    assert configs("agebo") == configs("evolution")


def test_an_architecture_that_the_rules_leave_nothing_is_passed_over() -> None:
    space = SearchSpace(
        {"op": Categorical(list("abc"), group=ARCHITECTURE), "k": Integer(1, 9)},
        forbidden=[{"op": "c", "k": list(range(1, 9))}],
    )
    study = SimulatedStudy(make_searcher("agebo", space, n_initial=4))
    for _ in range(30):
        for trial in study.ask(2):
            study.tell(trial, float(trial.config["k"]))
    assert len(study.trials) == 19


@pytest.mark.parametrize("option", [{"surrogate": "mixed"}, {"kappa": -1.0}, {"population": 1}])
def test_impossible_options(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(SearchError, match=name):
        make_searcher("agebo", JOINT, **option)


def test_pinned_candidates_have_the_pinned_values() -> None:
    space = SearchSpace(
        {
            "op": Categorical(["a", "b"]),
            "x": Float(0.0, 1.0),
            "drop": Float(0.0, 1.0, when={"op": "b"}),
            "k": Integer(1, 9),
        },
        constraints=[lambda config: config["k"] > 1],
    )
    rng = np.random.default_rng(0)
    candidates = PinnedCandidates(space, [0, 3])
    candidates.pin(space.encode([{"op": "b", "x": 0.5, "drop": 0.5, "k": 4}])[0])
    others = space.encode([{"op": "a", "x": 0.25, "k": 7}])
    for X in (candidates.sample(50, rng), candidates.neighbours(others, 50, rng)):
        configs = space.decode(X)
        assert len(configs) == 50
        assert {(each["op"], each["k"]) for each in configs} == {("b", 4)}
        assert len({each["drop"] for each in configs}) > 10
        assert len({each["x"] for each in configs}) > 10
