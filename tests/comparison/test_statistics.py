from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dhflow.comparison.statistics import (
    bootstrap_log_ratio,
    bootstrap_ratio,
    carried_forward,
    cumulative_shares,
    holm,
    paired_ranks,
    quantile_band,
    step_values,
    wilcoxon_signed_rank,
)

INF = math.inf


# Ranks and tests ---------------------------------------------------------------------------------


def test_ranks_are_within_repeats_and_shared_by_equals() -> None:
    ranks = paired_ranks([[3.0, 1.0, 2.0], [1.0, 1.0, INF], [INF, 5.0, INF]])
    assert ranks.tolist() == [[3, 1, 2], [1.5, 1.5, 3], [2.5, 1, 2.5]]


@pytest.mark.parametrize("n", [1, 2, 5, 12, 30])
def test_wilcoxon_is_scipys_without_ties(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.4, 1.0, size=n)
    assert wilcoxon_signed_rank(a, b) == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)


def test_wilcoxon_is_exact_with_ties() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        d = rng.integers(-3, 5, size=9).astype(float)
        kept = d[d != 0]
        ranks = stats.rankdata(np.abs(kept))
        observed = ranks[kept > 0].sum()
        sums = np.array([ranks @ signs for signs in itertools.product((0, 1), repeat=len(kept))])
        by_hand = min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))
        assert wilcoxon_signed_rank(d, np.zeros(9)) == pytest.approx(by_hand)


def test_wilcoxon_takes_failures_as_worst_and_equal_pairs_as_nothing() -> None:
    assert wilcoxon_signed_rank([1.0, INF], [1.0, INF]) == 1.0
    assert wilcoxon_signed_rank([], []) == 1.0
    finite = wilcoxon_signed_rank([5, 6, 7, 8, 99], [1, 2, 3, 4, 5])
    assert wilcoxon_signed_rank([5, 6, 7, 8, INF], [1, 2, 3, 4, 5]) == finite == 2 / 2**5


def test_wilcoxon_of_many_pairs_is_quick_and_near_the_normal_approximation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=300), rng.normal(0.15, 1.0, size=300)
    assert wilcoxon_signed_rank(a, b) == pytest.approx(stats.wilcoxon(a, b, method="approx").pvalue, rel=0.1)


def test_holm_is_the_step_down_method() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # by hand: 3 x 0.01, 2 x 0.03, then as high
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


# Bootstrap ---------------------------------------------------------------------------------------


def test_a_constant_ratio_has_no_spread() -> None:
    b = np.array([1.0, 2.0, 5.0])
    assert bootstrap_ratio(3 * b, b) == pytest.approx((3.0, 3.0, 3.0))
    assert bootstrap_log_ratio([np.full(4, math.log(0.5)), np.full(3, math.log(2.0))]) == pytest.approx((1.0, 1.0, 1.0))


def test_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(10.0, 1.0, 60), np.ones(60)
    ratio = bootstrap_ratio(a, b)
    error = a.std(ddof=1) / math.sqrt(60)
    assert ratio.value == pytest.approx(a.mean())
    assert (ratio.low, ratio.high) == pytest.approx((a.mean() - 1.96 * error, a.mean() + 1.96 * error), abs=0.06)
    assert bootstrap_ratio(a, b) == ratio
    assert bootstrap_ratio(a, b, seed=1) != ratio


def test_nothing_over_nothing_is_no_number() -> None:
    assert all(map(math.isnan, bootstrap_ratio([0.0, 0.0], [0.0, 0.0])))
    assert bootstrap_ratio([1.0, 1.0], [0.0, 0.0]).value == INF


# Curves ------------------------------------------------------------------------------------------


def test_a_shorter_run_keeps_its_last_value_and_an_empty_one_has_none() -> None:
    assert carried_forward([[3.0, 2.0, 1.0], [5.0], []]).tolist() == [[3, 2, 1], [5, 5, 5], [INF, INF, INF]]
    assert carried_forward([]).shape == (0, 0)


def test_values_over_time_are_those_of_the_latest_step() -> None:
    assert step_values([1.0, 2.0], [5.0, 3.0], [0.5, 1.0, 1.5, 9.0]).tolist() == [INF, 5, 5, 3]


def test_a_band_is_left_out_where_runs_have_no_value() -> None:
    low, middle, high = quantile_band(np.array([[INF, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    assert (low[1], middle[1], high[1]) == (1.5, 2.0, 2.5)
    assert middle[0] == 3.0
    assert math.isnan(high[0])
    table = np.random.default_rng(0).normal(size=(7, 5))
    assert quantile_band(table, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(table, [0.1, 0.5, 0.9], axis=0))


def test_shares_count_the_runs_that_failed() -> None:
    values, shares = cumulative_shares([2.0, INF, 1.0, 2.0])
    assert values.tolist() == [1.0, 2.0, 2.0]
    assert shares.tolist() == [0.25, 0.75, 0.75]
