from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dhflow.searcher.decision import ABSENT
from dhflow.searcher.policy import Adam, RecurrentPolicy

FloatArray = npt.NDArray[np.float64]

LEVELS = np.array([[0, 1, 2, 0], [2, ABSENT, 3, 1], [1, 0, ABSENT, 1], [2, ABSENT, ABSENT, 0], [0, 1, 0, 1]])


def policy(*, scale: float = 0.5) -> RecurrentPolicy:
    made = RecurrentPolicy((3, 2, 4, 2), 5, np.random.SeedSequence(1))
    made.theta += scale * np.random.default_rng(2).standard_normal(len(made.theta))
    return made


def objective(of: RecurrentPolicy, weights: FloatArray, entropy: float) -> float:
    done = of.run(LEVELS)
    total = float((weights * done.log_probabilities()).sum())
    for step in done.steps:
        p = np.exp(step.log_p[step.is_there])
        total -= entropy * float((p * step.log_p[step.is_there]).sum())
    return total


@pytest.mark.parametrize("entropy", [0.0, 0.7])
def test_the_gradient_is_that_of_finite_differences(entropy: float) -> None:
    made = policy()
    weights = np.random.default_rng(3).standard_normal(LEVELS.shape)
    found = made.gradient(made.run(LEVELS), weights, entropy)
    expected = np.empty_like(found)
    for i in range(len(found)):
        values = []
        for side in (1.0, -1.0):
            made.theta[i] += side * 1e-5
            values.append(objective(made, weights, entropy))
            made.theta[i] -= side * 1e-5
        expected[i] = (values[0] - values[1]) / 2e-5
    np.testing.assert_allclose(found, expected, atol=1e-8, rtol=1e-6)
    # The inputs of decisions that nobody took have no say; the rest has.
    assert np.count_nonzero(found) > 0.8 * len(found)


def test_probabilities_of_all_sequences_add_up_to_one() -> None:
    made = policy()
    every = np.array(np.meshgrid(*(np.arange(n) for n in made.n_levels), indexing="ij")).reshape(4, -1).T
    assert np.exp(made.run(every).log_probabilities().sum(axis=1)).sum() == pytest.approx(1.0)


def test_a_decision_that_is_not_there_changes_nothing() -> None:
    made = policy()
    done = made.run(LEVELS)
    log_p = done.log_probabilities()
    assert (log_p[LEVELS == ABSENT] == 0.0).all()
    assert (log_p[LEVELS != ABSENT] < 0.0).all()
    np.testing.assert_array_equal(done.steps[1].after[1], done.steps[0].after[1])
    assert done.steps[2].tokens[1] == made.offsets[0] + LEVELS[1, 0]


def test_a_new_policy_is_uniform() -> None:
    made = RecurrentPolicy((3, 2, 4, 2), 5, np.random.SeedSequence(1))
    for step, n in zip(made.run(LEVELS).steps, made.n_levels, strict=True):
        np.testing.assert_allclose(np.exp(step.log_p), 1.0 / n)


def test_steps_climb_to_the_top_of_a_parabola() -> None:
    x, adam = np.array([3.0, -2.0]), Adam(2, 0.1)
    for _ in range(500):
        x = x + adam.step(-2.0 * (x - np.array([1.0, 0.5])))
    np.testing.assert_allclose(x, [1.0, 0.5], atol=1e-3)
