from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dhflow.errors import SurrogateError
from dhflow.surrogate.acquisition import lower_confidence_bound


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
