"""Surrogates that are fitted now and then: boosted quantiles and the Bayesian network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dhflow.errors import SurrogateError
from dhflow.surrogate.belief import PenalisedBelief, Places, joined
from dhflow.surrogate.boosting import BoostedQuantiles
from dhflow.surrogate.kind import make_surrogate
from dhflow.surrogate.network import BayesianNetwork, evidence_precisions
from dhflow.surrogate.refit import GROWTH, Refitted, last_fit
from dhflow.surrogate.training import TrainingSet

MODELS: tuple[type[Refitted], ...] = (BoostedQuantiles, BayesianNetwork)


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).random((n, 3))
    return X, (X[:, 0] - 0.3) ** 2 + 0.5 * (X[:, 1] - 0.6) ** 2


def made(model: type[Refitted], n: int, batches: tuple[int, ...] = ()) -> Refitted:
    X, loss = data(n)
    training = TrainingSet(3, seed=1)
    surrogate = model(training, seed=4)
    begin = 0
    for size in (*batches, n - sum(batches)):
        training.append(X[begin : begin + size], loss[begin : begin + size])
        begin += size
        surrogate.sync()
    return surrogate


def test_fits_are_spread_over_the_doublings() -> None:
    fits = sorted({last_fit(n) for n in range(1, 2_000)})
    assert fits[:6] == [1, 2, 3, 4, 5, 6]
    assert all(after <= max(before + 1, round(before * GROWTH)) for before, after in itertools.pairwise(fits))
    assert len(fits) < 140


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_and_is_a_function_of_the_told_trials(model: type[Refitted]) -> None:
    points, truth = data(200, seed=9)
    at_once, in_parts = made(model, 60), made(model, 60, batches=(10, 13, 20))
    belief, other = at_once.belief(), in_parts.belief()
    place = at_once.place(points)
    mean, std = belief.moments(place)
    np.testing.assert_array_equal(mean, other.moments(place)[0])
    np.testing.assert_array_equal(std, other.moments(place)[1])
    np.testing.assert_array_equal(mean, belief.mean(place))
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    assert (std >= 0).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("losses", [[1.0], [1.0, 1.0, 1.0], [np.nan, 1.0], [1e300, -1e300, 0.0]])
def test_little_or_odd_data_is_no_error(model: type[Refitted], losses: list[float]) -> None:
    training = TrainingSet(2)
    training.append(np.random.default_rng(0).random((len(losses), 2)), losses)
    surrogate = model(training)
    surrogate.sync()
    mean, std = surrogate.belief().moments(surrogate.place(np.zeros((1, 2))))
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.mark.parametrize("model", MODELS)
def test_without_trials_there_is_nothing_to_learn(model: type[Refitted]) -> None:
    with pytest.raises(SurrogateError, match="at least one"):
        model(TrainingSet(2)).sync()


def test_a_network_is_conditioned_as_if_it_had_seen_the_lie() -> None:
    network = made(BayesianNetwork, 40)
    place = network.place(data(1, seed=3)[0])
    belief = network.belief()
    mean, std = belief.moments(place)
    belief.add(place, mean)
    new_mean, new_std = belief.moments(place)
    np.testing.assert_allclose(new_mean, mean, atol=1e-9)
    assert new_std < std
    belief.add(place, mean + 3 * std)
    assert belief.mean(place) > mean
    # Two rank-one updates are one of rank two.
    places = network.place(data(2, seed=5)[0])
    one, two = network.belief(), network.belief()
    one.add(places, np.array([0.1, 0.2]))
    for i in range(2):
        two.add(places.take([i]), np.array([0.1, 0.2])[[i]])
    np.testing.assert_allclose(one.moments(place), two.moments(place), rtol=1e-6)


def test_the_evidence_finds_the_noise() -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(400, 5))
    y = basis @ np.array([1.0, -1.0, 0.5, 0.0, 2.0]) + rng.normal(0, 0.5, 400)
    _, beta = evidence_precisions(basis, y)
    assert 1 / np.sqrt(beta) == pytest.approx(0.5, rel=0.15)


def test_penalties_take_the_uncertainty_away_near_pending_points() -> None:
    surrogate = made(BoostedQuantiles, 40)
    belief = PenalisedBelief(surrogate.belief(), radius=0.05)
    here = surrogate.place(np.full((1, 3), 0.5))
    far = surrogate.place(np.array([[0.1, 0.9, 0.9]]))
    before = belief.moments(joined([here, far]))
    belief.add(here, belief.mean(here))
    after = belief.moments(joined([here, far]))
    np.testing.assert_array_equal(before[0], after[0])
    assert after[1][0] < 1e-3 * before[1][0]
    assert after[1][1] == pytest.approx(before[1][1], rel=1e-3)
    with pytest.raises(SurrogateError, match="lie"):
        surrogate.belief().add(here, np.zeros(1))


def test_penalties_add_up_whenever_they_come() -> None:
    surrogate = made(BoostedQuantiles, 40)
    pending = [surrogate.place(np.full((1, 3), each)) for each in (0.4, 0.5, 0.55)]
    looked_at, others = surrogate.place(np.full((2, 3), [[0.42], [0.6]])), surrogate.place(np.full((1, 3), 0.52))
    step_by_step, at_once = (PenalisedBelief(surrogate.belief(), radius=0.1) for _ in range(2))
    for each in pending:
        step_by_step.add(each, np.zeros(1))
        step_by_step.moments(looked_at)
    at_once.add(joined(pending), np.zeros(3))
    for places in (looked_at, others, looked_at):
        np.testing.assert_allclose(step_by_step.moments(places)[1], at_once.moments(places)[1], rtol=1e-12)
    assert at_once.moments(others)[1][0] < surrogate.belief().moments(others)[1][0]


def test_places_are_joined_and_taken() -> None:
    first = Places(np.zeros((2, 1)), np.array([[1, 2], [3, 4]]))
    second = Places(np.ones((1, 1)), np.array([[5], [6]]))
    both = joined([first, second])
    assert len(both) == 3
    assert both.leaves is not None
    assert both.leaves.tolist() == [[1, 2, 5], [3, 4, 6]]
    taken = both.take([2, 0])
    assert taken.features.ravel().tolist() == [1.0, 0.0]
    assert taken.leaves is not None
    assert taken.leaves.tolist() == [[5, 1], [6, 3]]
    assert joined([first, Places(np.ones((1, 1)))]).leaves is None


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(SurrogateError, match="must be one of"):
        make_surrogate(TrainingSet(2), kind="oracle")  # type: ignore[arg-type]
