from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dhflow.errors import SurrogateError
from dhflow.searcher import make_searcher
from dhflow.searcher.ambs import Ambs
from dhflow.searcher.features import Features
from dhflow.searcher.scoring import ACQUISITIONS, PORTFOLIO
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.searcher import example_spaces, loss_of
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import Suggestion, Trial, TrialStatus

SQUARE = SearchSpace({"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)})


def branin(config: dict[str, Any]) -> float:
    x, y = config["x"], config["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def ambs(space: SearchSpace, seed: int = 0, **options: Any) -> Ambs:
    made = make_searcher("ambs", space, seed=seed, **options)
    assert isinstance(made, Ambs)
    return made


def trained(space: SearchSpace = SQUARE, n: int = 40, **options: Any) -> SimulatedStudy:
    """Return a study of `n` finished trials that the searcher had not suggested, none pending."""
    study = SimulatedStudy(ambs(space, **options))
    for config in space.sample(n, np.random.default_rng(77)):
        study.add(config, branin(config) if space is SQUARE else loss_of(config))
    return study


class Spy(Ambs):
    """Keeps the pending rows of the last ask, to see what its surrogate then believed."""

    def _propose(self, n: int, pending: Sequence[Trial], *rest: Any) -> list[Suggestion]:
        self.pending = [self._pending_rows[each.trial_id][0] for each in pending]
        self.picked = super()._propose(n, pending, *rest)
        return self.picked

    def believed(self, config: dict[str, Any], *, with_picks: bool = False) -> tuple[float, float]:
        (proposer,) = self._proposers
        rows = [*self.pending, *self.space.encode([dict(each.config) for each in self.picked])] if with_picks else None
        belief = proposer.belief(self.pending if rows is None else rows)
        mean, std = belief.moments(proposer.place(self.space.encode([config])))
        return float(mean[0]), float(std[0])

    @property
    def targets(self) -> Any:
        return self._proposers[0].model.targets


def spying(**options: Any) -> tuple[Spy, SimulatedStudy]:
    spy = Spy(SQUARE, **options)
    study = SimulatedStudy(spy)
    for config in SQUARE.sample(40, np.random.default_rng(77)):
        study.add(config, branin(config))
    return spy, study


# Quality, with wide margins


@pytest.mark.parametrize("n_workers", [1, 8])
@pytest.mark.parametrize("surrogate", ["random_forest", "extra_trees"])
def test_it_beats_random_search_by_far(n_workers: int, surrogate: str) -> None:
    def regret(name: str, seed: int, **options: Any) -> float:
        searcher = make_searcher(name, SQUARE, seed=seed, **options)
        return min(run_simulated(searcher, branin, n_trials=70, n_workers=n_workers).losses()) - 0.397887

    model = np.median([regret("ambs", seed, surrogate=surrogate) for seed in range(5)])
    blind = np.median([regret("random", seed) for seed in range(15)])
    assert model < 0.3 * blind


def test_maximising_is_minimising_the_negative() -> None:
    study = run_simulated(ambs(SQUARE), lambda config: -branin(config), n_trials=60, n_workers=4)
    # The highest values, 308 and 213, lie in corners, where the bounds must be reached.
    assert min(study.losses()) < -200


def test_it_learns_which_branch_is_better() -> None:
    space = SearchSpace(
        {
            "branch": Categorical(["bad", "good"]),
            "a": Float(0.0, 1.0, when={"branch": "bad"}),
            "b": Float(0.0, 1.0, when={"branch": "good"}),
            "n": Integer(1, 9, when={"branch": "good"}),
        }
    )

    def loss(config: dict[str, Any]) -> float:
        return float(3.0 + config["a"] if config["branch"] == "bad" else abs(config["b"] - 0.7) + 0.1 * config["n"])

    study = run_simulated(ambs(space), loss, n_trials=60, n_workers=4)
    late = [each.config["branch"] for each in list(study.trials.values())[30:]]
    assert late.count("good") > 25
    assert min(study.losses()) < 0.2


# Pending trials


@pytest.mark.parametrize(("liar", "sign"), [("min", -1), ("max", 1)])
def test_the_surrogate_is_told_a_lie_for_every_pending_trial(liar: str, sign: int) -> None:
    spy, study = spying(liar=liar)
    study.searcher.ask(1)
    configs = [{"x": -4.0 + 2 * i, "y": 1.0 + 2 * i} for i in range(7)]
    before = [spy.believed(config) for config in configs]
    pending = [Trial(1000 + i, config) for i, config in enumerate(configs)]
    study.searcher.ask(1, pending)
    after = [spy.believed(config) for config in configs]
    for (mean, _), (old_mean, _) in zip(after, before, strict=True):
        assert sign * (mean - old_mean) > 0.1


def test_a_believers_lie_lowers_the_uncertainty_and_keeps_the_mean() -> None:
    spy, study = spying()
    study.searcher.ask(1)
    config = {"x": 2.0, "y": 3.0}
    mean, std = spy.believed(config)
    study.searcher.ask(1, [Trial(1000, config)])
    new_mean, new_std = spy.believed(config)
    assert new_mean == pytest.approx(mean, abs=0.05)
    assert new_std < 0.9 * std


def test_min_and_max_are_the_best_and_worst_loss_so_far() -> None:
    for liar, which in (("min", np.min), ("mean", np.mean), ("max", np.max)):
        spy, study = spying(liar=liar, n_trees=5)
        config = {"x": 2.0, "y": 3.0}
        # With very many lies at one place the belief there is the lie.
        study.searcher.ask(1, [Trial(1000 + i, config) for i in range(3000)])
        assert spy.believed(config)[0] == pytest.approx(which(spy.targets), abs=0.02)


def test_naive_ignores_pending_trials_but_for_duplicates() -> None:
    study = trained(multipoint="naive")
    other = trained(multipoint="naive")
    (first,) = study.searcher.ask(1)
    assert other.searcher.ask(1, [Trial(1000, {"x": 0.0, "y": 0.0})]) == [first]
    third = trained(multipoint="naive")
    assert third.searcher.ask(1, [Trial(1000, first.config)]) != [first]


def test_naive_takes_the_best_of_one_acquisition() -> None:
    one, many = trained(multipoint="naive").searcher.ask(1), trained(multipoint="naive").searcher.ask(9)
    assert many[0] == one[0]


def test_conditioned_picks_differ_from_naive_ones_after_the_first() -> None:
    naive, conditioned = trained(multipoint="naive").searcher.ask(9), trained().searcher.ask(9)
    assert naive[0] == conditioned[0]
    assert naive != conditioned


@pytest.mark.parametrize(
    ("n_finished", "n_pending", "n_wanted", "like"),
    [
        (40, 0, 31, "conditioned"),  # no crowd
        (40, 16, 16, "penalised"),
        (63, 0, 32, "penalised"),
        (64, 0, 32, "conditioned"),  # two have finished for each
        (40, 1023, 1, "penalised"),
        (40, 1024, 1, "conditioned"),  # to look at so many would cost much
    ],
)
def test_forests_penalise_while_few_of_a_crowd_have_finished(
    n_finished: int, n_pending: int, n_wanted: int, like: str
) -> None:
    pending = [Trial(1000 + i, each) for i, each in enumerate(SQUARE.sample(n_pending, np.random.default_rng(1)))]
    asked = {
        each: trained(n=n_finished, multipoint=each, n_trees=5).searcher.ask(n_wanted, pending)
        for each in ("adaptive", "conditioned", "penalised")
    }
    assert asked["conditioned"] != asked["penalised"]
    assert asked["adaptive"] == asked[like]


def test_a_gaussian_process_is_conditioned_in_a_crowd_too() -> None:
    options: dict[str, Any] = {"surrogate": "gaussian_process", "n_candidates": 40}
    asked = [trained(multipoint=each, **options).searcher.ask(32) for each in ("adaptive", "conditioned")]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("liar", ["min", "max"])
def test_a_liar_that_is_named_is_believed_in_a_crowd_too(liar: str) -> None:
    asked = [trained(multipoint=each, liar=liar).searcher.ask(32) for each in ("adaptive", "conditioned")]
    assert asked[0] == asked[1]


def test_with_a_gaussian_process_beside_them_trees_are_conditioned_while_it_takes_turns() -> None:
    options: dict[str, Any] = {"surrogate": "mixed", "n_candidates": 40, "n_trees": 5}
    asked = [trained(multipoint=each, **options).searcher.ask(32) for each in ("adaptive", "conditioned")]
    assert asked[0] == asked[1]
    pending = [Trial(1000 + i, each) for i, each in enumerate(SQUARE.sample(128, np.random.default_rng(1)))]
    alone = [trained(multipoint=each, **options).searcher.ask(8, pending) for each in ("adaptive", "penalised")]
    assert alone[0] == alone[1]


def test_a_crowd_is_kept_apart() -> None:
    def apart(multipoint: str) -> float:
        found = trained(multipoint=multipoint).searcher.ask(64)
        X = SQUARE.encode([each.config for each in found])
        distance = np.linalg.norm(X[:, None] - X, axis=2) + np.diag(np.full(64, np.inf))
        return float(distance.min(axis=1).mean())

    assert apart("adaptive") > 1.2 * apart("conditioned")


def test_one_ask_for_many_equals_many_asks_of_one_in_what_it_believes() -> None:
    # Within an ask each pick becomes the lie that a pending trial would be.
    spy, study = spying()
    picks = study.searcher.ask(5)
    spy.picked = picks[:-1]
    believed = [spy.believed(dict(each.config), with_picks=True) for each in picks[:-1]]
    other, other_study = spying()
    other_study.searcher.ask(1, [Trial(1000 + i, each.config) for i, each in enumerate(picks[:-1])])
    expected = [other.believed(dict(each.config)) for each in picks[:-1]]
    np.testing.assert_allclose(believed, expected, atol=0.15)


def test_a_batch_is_no_more_crowded_than_it_must_be() -> None:
    study = trained()
    X = SQUARE.encode([dict(each.config) for each in study.searcher.ask(64)])
    distances = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2)) + np.eye(64)
    assert np.median(distances.min(axis=1)) > 0.005


# Trials without a proper value


@pytest.mark.parametrize("failed", ["worst", "mean", "leave_out"])
def test_a_failing_region_costs_little(failed: str) -> None:
    def loss(config: dict[str, Any]) -> float | None:
        return None if config["x"] > 5 else branin(config)

    study = SimulatedStudy(ambs(SQUARE, failed=failed))
    for _ in range(70):
        (trial,) = study.ask(1)
        study.tell(trial, loss(dict(trial.config)))
    assert min(study.losses()) < 1.5
    n_failed = sum(each.status is TrialStatus.FAILED for each in list(study.trials.values())[20:])
    assert n_failed < (10 if failed == "worst" else 50)


def test_a_thousand_failures_neither_slow_nor_skew_the_search() -> None:
    study = trained()
    rng = np.random.default_rng(5)
    for config in SQUARE.sample(1000, rng):
        study.add(config, None)
    found = [study.ask(1)[0] for _ in range(5)]
    assert min(branin(dict(each.config)) for each in found) < 10


def test_a_stopped_trial_does_not_look_like_the_best() -> None:
    def near(study: SimulatedStudy) -> float:
        X = SQUARE.encode([dict(each.config) for each in study.searcher.ask(20)])
        return float(np.mean(np.abs(X - SQUARE.encode([corner])).max(axis=1) < 0.2))

    corner = {"x": -4.9, "y": 0.1}  # the highest hill
    stopped, completed = trained(), trained()
    for study, status in ((stopped, TrialStatus.STOPPED), (completed, TrialStatus.COMPLETED)):
        for shift in (0.0, 0.1, 0.2):
            study.add({**corner, "y": corner["y"] + shift}, None)
        trials = [replace(each, status=status, losses=(-5.0,)) for each in list(study.trials.values())[-3:]]
        study.searcher._unfolded.clear()
        study.searcher.tell([*list(study.trials.values())[:-3], *trials])
    assert near(stopped) == 0.0
    assert near(completed) > 0.3


def test_only_the_highest_budget_counts() -> None:
    study = trained(n=30)
    full = list(study.trials.values())
    misleading = [replace(each, trial_id=100 + i, budget=1.0, losses=(-each.losses[0],)) for i, each in enumerate(full)]
    first, second = ambs(SQUARE), ambs(SQUARE)
    first.tell(full)
    second.tell(misleading)  # all there is, at first
    second.ask(1)
    first.ask(1)
    second.tell(full)
    first_found, second_found = first.ask(1), second.ask(1)
    assert first_found == second_found


# The initial design


@pytest.mark.parametrize("design", ["random", "lhs", "sobol"])
def test_the_model_waits_for_the_initial_design(design: str) -> None:
    study = SimulatedStudy(ambs(SQUARE, initial_design=design, n_initial=12, seed=3))
    study.ask(20)
    if design != "random":  # random search has a stream of its own
        options = {"block_size": 12} if design == "lhs" else {}
        reference = SimulatedStudy(make_searcher(design, SQUARE, seed=3, **options))
        reference.ask(20)
        assert [each.config for each in study.pending] == [each.config for each in reference.pending]
    for n_told, trial in enumerate(study.pending[:12], 1):
        study.tell(trial, branin(dict(trial.config)))
        study.ask(1)
        assert isinstance(study.searcher, Ambs)
        assert (study.searcher.n_fitted > 0) == (n_told == 12)


def test_without_any_completed_trial_the_design_goes_on() -> None:
    study = SimulatedStudy(ambs(SQUARE))
    for _ in range(30):
        (trial,) = study.ask(1)
        study.tell(trial, None)
    assert isinstance(study.searcher, Ambs)
    assert study.searcher.n_fitted == 0


# Cost that does not depend on the clock


def test_a_tell_grows_few_trees_and_a_restart_each_once() -> None:
    study = run_simulated(ambs(SQUARE, n_trees=20), branin, n_trials=150, n_workers=4)
    assert isinstance(study.searcher, Ambs)
    (trial,) = study.ask(1)
    before = study.searcher.n_fitted
    study.tell(trial, 1.0)
    study.ask(1)
    assert 1 <= study.searcher.n_fitted - before <= 2
    resumed = ambs(SQUARE, n_trees=20)
    resumed.tell([each for each in study.trials.values() if each.is_finished])
    resumed.ask(1)
    assert resumed.n_fitted == 20


@pytest.mark.parametrize("option", ["between", "total"])
def test_variance_is_an_option(option: str) -> None:
    assert len(trained(variance=option).searcher.ask(3)) == 3


def _spread(make: Callable[[], SimulatedStudy]) -> float:
    X = SQUARE.encode([dict(each.config) for each in make().searcher.ask(30)])
    return float(X.std(axis=0).mean())


def test_kappa_widens_the_search() -> None:
    narrow, wide = (_spread(lambda kappa=kappa: trained(acquisition="lcb", kappa=kappa)) for kappa in (0.0, 5.0))
    assert narrow < wide
    decayed = _spread(lambda: trained(acquisition="lcb", kappa=5.0, kappa_decay=10.0))
    assert decayed == narrow


def test_workers_draw_their_own_kappas() -> None:
    study = trained(acquisition="lcb", kappa_draw="exponential", multipoint="naive", kappa=3.0)
    fixed = trained(acquisition="lcb", multipoint="naive", kappa=3.0)
    assert [each.config for each in study.searcher.ask(8)] != [each.config for each in fixed.searcher.ask(8)]


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
@pytest.mark.parametrize("surrogate", ["extra_trees", "bayesian_network"])
def test_every_acquisition_beats_random_search(acquisition: str, surrogate: str) -> None:
    ratios = []
    for seed in range(3):
        found = run_simulated(
            ambs(SQUARE, seed, acquisition=acquisition, surrogate=surrogate), branin, n_trials=50, seed=seed
        )
        by_chance = run_simulated(make_searcher("random", SQUARE, seed=seed), branin, n_trials=50, seed=seed)
        ratios.append((min(found.losses()) - 0.397) / (min(by_chance.losses()) - 0.397))
    assert np.median(ratios) < 0.7


def test_boosted_quantiles_shun_pending_trials() -> None:
    study = trained(surrogate="gradient_boosting", n=30)
    (first,) = study.searcher.ask(1)
    assert study.searcher.ask(1, [Trial(1000, first.config)]) != [first]
    X = SQUARE.encode([dict(each.config) for each in study.searcher.ask(8)])
    distances = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2)) + np.eye(8)
    assert distances.min() > 0.01


def test_hedge_learns_from_what_its_members_named() -> None:
    study = trained(acquisition="hedge")
    for _ in range(6):
        (trial,) = study.ask(1)
        assert np.shape(trial.meta["nominees"]) == (len(PORTFOLIO), 2)
        study.tell(trial, branin(dict(trial.config)))
    resumed = ambs(SQUARE, acquisition="hedge")
    resumed.tell([each for each in study.trials.values() if each.is_finished])
    resumed.replayed(study.searcher.n_asks - 1, 6)
    assert resumed.ask(2) == study.searcher.ask(2)


def test_conditional_activity_is_a_feature() -> None:
    space = example_spaces()["conditional"]
    assert Features(space).of(space.sample_encoded(2, np.random.default_rng(0))).shape == (2, len(space) + 3)


# What it believes


def test_predict_says_what_the_last_ask_believed_and_changes_nothing() -> None:
    spy, study = spying()
    configs = SQUARE.sample(5, np.random.default_rng(3))
    study.ask()
    mean, std = spy.predict(configs)
    for pair, config in zip(zip(mean, std, strict=True), configs, strict=True):
        assert pair == pytest.approx(spy.believed(config))
    other, same = trained(), trained()
    other.ask()
    same.ask()
    assert isinstance(other.searcher, Ambs)
    other.searcher.predict(configs)
    assert other.ask()[0].config == same.ask()[0].config


def test_predict_takes_pending_trials_in() -> None:
    study = trained()
    searcher, (first, *_) = study.searcher, study.ask()
    assert isinstance(searcher, Ambs)
    _, alone = searcher.predict([first.config])
    _, lied = searcher.predict([first.config], [first])
    assert lied[0] < alone[0]


def test_without_a_surrogate_there_is_nothing_to_predict() -> None:
    with pytest.raises(SurrogateError, match="10 finished trials"):
        ambs(SQUARE).predict(SQUARE.sample(1, np.random.default_rng(0)))
