from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm, rankdata

from dhflow.errors import SurrogateError
from dhflow.surrogate.target import mean_ranks, normal_scores

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
