from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dhflow.errors import SurrogateError
from dhflow.surrogate.acquisition import (
    expected_improvement,
    log_expected_improvement,
    lower_confidence_bound,
    probability_of_improvement,
)


def test_it_is_the_quantile_of_a_normal_belief() -> None:
    mean, std = np.array([0.0, 1.5, -2.0]), np.array([1.0, 0.3, 2.0])
    kappa = norm.ppf(0.975)
    np.testing.assert_allclose(lower_confidence_bound(mean, std, kappa), norm(mean, std).ppf(0.025), rtol=1e-12)


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0.01, 5), st.floats(0.01, 5))
def test_a_lower_mean_and_a_greater_uncertainty_are_more_promising(
    mean: float, std: float, more: float, kappa: float
) -> None:
    means, stds = [mean, mean - more, mean], [std, std, std + more]
    here, better, unsure = lower_confidence_bound(means, stds, kappa)
    assert better < here
    assert unsure < here


def test_without_kappa_only_the_mean_counts() -> None:
    assert lower_confidence_bound([3.0, 1.0], [0.0, 9.0], 0.0).tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("mean", "std", "kappa", "what"),
    [
        ([0.0], [-1.0], 1.0, "negative"),
        ([0.0, 1.0], [1.0], 1.0, "entries"),
        ([np.nan], [1.0], 1.0, "mean holds NaN"),
        ([0.0], [np.nan], 1.0, "std holds NaN"),
        ([0.0], [1.0], -0.1, "kappa"),
        ([0.0], [1.0], np.inf, "kappa"),
        ([[0.0]], [[1.0]], 1.0, "vector"),
    ],
)
def test_impossible_numbers_are_refused(mean: object, std: object, kappa: float, what: str) -> None:
    with pytest.raises(SurrogateError, match=what):
        lower_confidence_bound(mean, std, kappa)  # type: ignore[arg-type]


Z = st.floats(-30.0, 8.0)
SPREADS = st.floats(1e-3, 1e3)


@given(Z, SPREADS, st.floats(-10, 10))
def test_improvements_are_the_integrals_they_stand_for(z: float, std: float, best: float) -> None:
    mean = best - z * std
    density, share = norm.pdf(z), norm.cdf(z)
    assert -expected_improvement([mean], [std], best)[0] == pytest.approx(
        std * (z * share + density), rel=1e-5, abs=1e-15
    )
    log_h = -log_expected_improvement([mean], [std], best)[0] - np.log(std)
    if z > -5:
        assert log_h == pytest.approx(np.log(z * share + density), rel=1e-6, abs=1e-6)
    assert -probability_of_improvement([mean], [std], best)[0] == pytest.approx(norm.logcdf(z), rel=1e-6, abs=1e-9)


def test_the_logarithm_is_exact_far_from_the_best() -> None:
    z = np.array([-1.5, -40.0, -100.0, -9_999.0, -10_001.0, -1e6])
    found = -log_expected_improvement(-z, np.ones(z.size), 0.0)
    # The asymptotic series of z Phi(z) + phi(z) is phi(z) / z^2 (1 - 3 / z^2 + 15 / z^4 - 105 / z^6 ...).
    far = z[1:]
    factor = np.log1p(-3 / far**2 + 15 / far**4 - 105 / far**6)
    series = -0.5 * far**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-far) + factor
    np.testing.assert_allclose(found[1:], series, rtol=1e-6)
    assert (np.diff(found) < 0).all()


def test_probability_of_improvement_has_the_right_sign_in_both_frames() -> None:
    # Minimised: a mean below the best is likely to improve. Maximised values are their negatives.
    likely, unlikely = probability_of_improvement([1.0, 3.0], [1.0, 1.0], best=2.0)
    assert likely < unlikely
    assert np.exp(-likely) == pytest.approx(norm.cdf((2.0 - 1.0) / 1.0))
    accuracy, best_accuracy, spread = 0.9, 0.8, 0.05
    textbook = norm.cdf((accuracy - best_accuracy) / spread)
    assert np.exp(-probability_of_improvement([-accuracy], [spread], -best_accuracy)[0]) == pytest.approx(textbook)


def test_certain_beliefs_improve_or_do_not() -> None:
    assert expected_improvement([0.0, 1.0], [0.0, 0.0], 0.5).tolist() == [-0.5, 0.0]
    assert log_expected_improvement([0.0, 1.0], [0.0, 0.0], 0.5).tolist() == [np.log(2), np.inf]
    assert probability_of_improvement([0.0, 1.0], [0.0, 0.0], 0.5).tolist() == [0.0, np.inf]
    assert np.isfinite(log_expected_improvement([1e300], [1e-300], 0.0)).all()
