from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dhflow.errors import SearchError
from dhflow.searcher import make_searcher
from dhflow.searcher.decision import Decisions
from dhflow.searcher.reinforce import PolicySearcher
from dhflow.space import ARCHITECTURE, Categorical, Float, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import TrialStatus

LETTERS = SearchSpace({f"c{i}": Categorical(list("abcde")) for i in range(8)})
CUBE = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(4)})
POLICIES = ["reinforce", "ppo"]


def mismatches(config: dict[str, Any]) -> float:
    """How many letters are not the one after the letter before: only the sequence tells."""
    letters = "a" + "".join(config[f"c{i}"] for i in range(8))
    return float(sum((ord(b) - ord(a)) % 5 != 1 for a, b in itertools.pairwise(letters)))


def bowl(config: dict[str, Any]) -> float:
    return float(sum((value - 0.3) ** 2 for value in config.values()))


def searcher_of(study: SimulatedStudy) -> PolicySearcher:
    assert isinstance(study.searcher, PolicySearcher)
    return study.searcher


@pytest.mark.parametrize("name", [*POLICIES, "q_learning"])
@pytest.mark.parametrize(("space", "loss"), [(LETTERS, mismatches), (CUBE, bowl)], ids=["letters", "numbers"])
def test_it_learns(name: str, space: SearchSpace, loss: Any) -> None:
    def late(which: str, seed: int) -> float:
        study = run_simulated(make_searcher(which, space, seed=seed), loss, n_trials=300, n_workers=8)
        return float(np.mean(study.losses()[-60:]))

    assert np.mean([late(name, seed) / late("random", seed) for seed in range(2)]) < (
        0.9 if name == "q_learning" else 0.75
    )


@pytest.mark.parametrize("name", [*POLICIES, "q_learning", "agebo"])
def test_architectures_that_are_the_same_in_effect_are_tried_once(name: str) -> None:
    letters = {f"c{i}": Categorical(list("abcd"), group=ARCHITECTURE) for i in range(3)}
    space = SearchSpace(letters, canonical=lambda config: "".join(sorted(config.values())))
    study = run_simulated(make_searcher(name, space), lambda config: float(config["c0"] == "a"), n_trials=64)
    # So many multisets of three out of four letters there are.
    found = space.identities(space.encode([each.config for each in study.trials.values()]))
    assert len(found) == len(set(found)) == 20


@pytest.mark.parametrize("name", POLICIES)
def test_a_suggestion_keeps_how_probable_it_was(name: str) -> None:
    study = run_simulated(make_searcher(name, LETTERS, seed=1), mismatches, n_trials=40, n_workers=4)
    searcher = searcher_of(study)
    trials = study.ask(6)
    levels = searcher.decisions.levels(LETTERS.encode([each.config for each in trials]))
    found = searcher.policy.run(levels).log_probabilities().sum(axis=1)
    np.testing.assert_allclose([each.meta["log_probability"] for each in trials], found)
    uniform = Decisions(LETTERS, 10).prior_log_probability(levels)
    assert not np.allclose(found, uniform)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_probable_anyway_counts_as_much_as_it_should(name: str) -> None:
    """Decisions that had been improbable where they were taken have weights above 1, cut off; others below."""
    study = SimulatedStudy(make_searcher(name, LETTERS, max_weight=1.5))
    searcher = searcher_of(study)
    now = np.log([0.5, 0.5, 0.5])
    weights = searcher._importance(now, np.log([0.4, 0.01, 1.0]))
    np.testing.assert_allclose(weights, [1.25, 1.5, 0.5])


def test_one_update_moves_probabilities_as_the_rewards_say() -> None:
    study = SimulatedStudy(make_searcher("reinforce", LETTERS, batch_size=4))
    searcher = searcher_of(study)
    trials = study.ask(4)
    levels = searcher.decisions.levels(LETTERS.encode([each.config for each in trials]))
    before = searcher.policy.run(levels).log_probabilities().sum(axis=1)
    for trial, loss in zip(trials, [0.0, 9.0, None, 0.1], strict=True):
        study.tell(trial, loss)
    study.ask()
    change = searcher.policy.run(levels).log_probabilities().sum(axis=1) - before
    assert change[0] > 0 > change[2]
    assert change[0] > change[1]


def test_the_clip_keeps_the_policy_near_where_the_update_began() -> None:
    def moved(clip: float) -> float:
        made = make_searcher("ppo", LETTERS, seed=2, clip=clip, n_epochs=30, entropy=0.0)
        study = SimulatedStudy(made)
        trials = study.ask(10)
        searcher = searcher_of(study)
        levels = searcher.decisions.levels(LETTERS.encode([each.config for each in trials]))
        before = searcher.policy.run(levels).log_probabilities()
        for trial in trials:
            study.tell(trial, mismatches(dict(trial.config)))
        study.ask()
        return float(np.abs(searcher.policy.run(levels).log_probabilities() - before).mean())

    assert moved(0.05) < 0.5 * moved(5.0)


@pytest.mark.parametrize("name", [*POLICIES, "q_learning"])
def test_rewards_do_not_depend_on_scale_and_outliers(name: str) -> None:
    def configs(change: Any) -> list[Any]:
        study = SimulatedStudy(make_searcher(name, LETTERS, seed=3))
        for _ in range(12):
            for trial in study.ask(2):
                study.tell(trial, change(mismatches(dict(trial.config))))
        return [each.config for each in study.trials.values()]

    assert configs(lambda loss: loss) == configs(lambda loss: 10.0 ** (20 * loss))


@pytest.mark.parametrize("name", [*POLICIES, "q_learning"])
def test_a_stopped_trial_is_no_success(name: str) -> None:
    study = SimulatedStudy(make_searcher(name, LETTERS))
    for loss, status in [(1.0, None), (0.0, TrialStatus.STOPPED), (2.0, None), (None, None)]:
        study.tell(study.ask()[0], loss, status)
    study.ask()
    rewards = searcher_of(study)._rewards() if name != "q_learning" else study.searcher._rewards()  # type: ignore[attr-defined]
    assert rewards[1] == 0.0
    assert rewards[0] > rewards[2] > rewards[3]


@pytest.mark.parametrize("name", POLICIES)
def test_results_of_lower_budgets_are_not_compared(name: str) -> None:
    study = SimulatedStudy(make_searcher(name, LETTERS))
    for budget in (1.0, 1.0, 9.0):
        study.tell(replace(study.ask()[0], budget=budget), 1.0)
    study.ask()
    assert len(searcher_of(study)._memory) == 1


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("reinforce", {key: value}) for key, value in {"n_levels": 1, "n_hidden": 0, "batch_size": 0}.items()),
        *(("ppo", {key: value}) for key, value in {"learning_rate": 0.0, "max_weight": 0, "entropy": -1.0}.items()),
        *(("ppo", {key: value}) for key, value in {"clip": 0.0, "n_epochs": 0}.items()),
        *(("q_learning", {key: 0}) for key in ("learning_rate", "n_replayed", "n_exploring", "n_annealing")),
        ("q_learning", {"least_epsilon": 1.5}),
    ],
)
def test_impossible_options(name: str, option: dict[str, Any]) -> None:
    (key,) = option
    with pytest.raises(SearchError, match=key):
        make_searcher(name, LETTERS, **option)


def test_values_are_learned_backwards_from_the_reward() -> None:
    from dhflow.searcher.q_learning import QLearning

    searcher = QLearning(LETTERS, learning_rate=0.5)
    levels = np.arange(8) % 5
    searcher._replay(levels, 2.0)
    searcher._replay(levels, 2.0)
    # The last decision moves half way to the reward each time, the one before half way to its best value.
    assert searcher._values[7].max() == 1.5
    assert searcher._values[6].max() == 1.0
    assert searcher._values[5].max() == pytest.approx(0.625)


def test_the_share_of_random_decisions_falls() -> None:
    study = SimulatedStudy(make_searcher("q_learning", LETTERS, n_exploring=4, n_annealing=4, least_epsilon=0.2))
    seen = []
    for _ in range(10):
        seen.append(round(study.searcher.epsilon, 3))  # type: ignore[attr-defined]
        study.tell(study.ask()[0], 1.0)
        study.searcher._fold_told()
    assert seen == [1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2]
