from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm, rankdata

from dhflow.errors import SurrogateError
from dhflow.surrogate.target import FENCE, MAX_QUARTILES, mean_ranks, normal_scores, power_scores, standard_scores

values = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-5, 5, width=16))


@given(values)
def test_ranks_are_scipys_average_ranks(y: np.ndarray) -> None:
    np.testing.assert_array_equal(mean_ranks(y), rankdata(y, method="average"))


def test_scores_are_bloms() -> None:
    scores = normal_scores([30.0, 10.0, 20.0])
    expected = norm.ppf((np.array([3, 1, 2]) - 3 / 8) / (3 + 1 / 4))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_ties_share_the_score_of_their_mean_rank() -> None:
    scores = normal_scores([1.0, 0.0, 1.0, 5.0])
    assert scores[0] == scores[2] == pytest.approx(norm.ppf((2.5 - 0.375) / 4.25))
    assert scores[1] < scores[0] < scores[3]


@given(values, st.floats(0.1, 10), st.floats(-3, 3))
def test_only_the_order_counts(y: np.ndarray, factor: float, shift: float) -> None:
    scaled = factor * y + shift
    ranks_kept = np.array_equal(mean_ranks(scaled), mean_ranks(y))  # rounding may create a tie
    if ranks_kept:
        np.testing.assert_array_equal(normal_scores(scaled), normal_scores(y))


@given(values)
def test_scores_are_antisymmetric(y: np.ndarray) -> None:
    np.testing.assert_allclose(normal_scores(-y), -normal_scores(y), atol=1e-12)


def test_an_outlier_has_no_more_weight_than_its_rank() -> None:
    np.testing.assert_array_equal(normal_scores([1.0, 2.0, 3.0]), normal_scores([1.0, 2.0, 1e300]))
    np.testing.assert_array_equal(normal_scores([1.0, 2.0, 3.0]), normal_scores([1.0, 2.0, np.inf]))


def test_one_value_and_none() -> None:
    assert normal_scores([7.0]).tolist() == [0.0]
    assert normal_scores([]).shape == (0,)


@pytest.mark.parametrize("bad", [[1.0, np.nan], [[1.0, 2.0]], ["a"]])
def test_bad_values_are_refused(bad: Any) -> None:
    with pytest.raises(SurrogateError, match="values"):
        normal_scores(bad)


# Scores that keep the scale --------------------------------------------------------------------------------


def test_differences_of_good_values_keep_their_scale_however_many_there_are() -> None:
    first = np.array([0.0, 1.0, 2.0, 3.0, 4.0])  # quartiles 1 and 3
    alike = 0.5 + 1e-6 * np.arange(200)
    scores = standard_scores([*first, *alike], first)
    steps = np.diff(scores)
    np.testing.assert_allclose(steps[:4], steps[0])
    np.testing.assert_allclose(steps[5:], 1e-6 * steps[0], rtol=1e-3)
    assert np.diff(power_scores([*first, *alike]))[5:].min() > 1e-4
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1)


def test_bad_values_are_cut_at_the_fence_and_impossibly_good_ones_too() -> None:
    first = [0.0, 1.0, 2.0, 3.0, 4.0]
    fence, least = 3.0 + FENCE * 2.0, 3.0 - MAX_QUARTILES * 2.0
    for far, near in ([[fence + 1, 1e300], [fence, fence]], [[least - 1, -1e300], [least, least]]):
        np.testing.assert_allclose(standard_scores([*first, *far], first), standard_scores([*first, *near], first))


@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_scores_of_anything_finite_are_finite_and_keep_the_order(y: np.ndarray) -> None:
    for first in (y, y[:5], []):
        scores = standard_scores(y, first)
        assert np.isfinite(scores).all()
        assert (np.diff(scores[np.argsort(y, kind="stable")]) >= 0).all()


def test_without_a_scale_values_are_made_normal() -> None:
    y = [3.0, 1.0, 2.0, 7.0]
    np.testing.assert_array_equal(standard_scores(y, [5.0, 5.0]), power_scores(y))
    np.testing.assert_array_equal(standard_scores([30.0, 10.0, 20.0], [1.0, 2.0]), power_scores([30.0, 10.0, 20.0]))
    assert standard_scores([], []).shape == (0,)
