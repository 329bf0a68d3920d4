from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.errors import SurrogateError
from dhflow.surrogate.target import normal_scores
from dhflow.surrogate.training import FAILED_AS, FailedAs, TrainingSet


def filled(loss: list[float], censored: list[bool] | None = None, **options: object) -> TrainingSet:
    training = TrainingSet(1, **options)  # type: ignore[arg-type]
    training.append(np.linspace(0, 1, len(loss))[:, None], loss, censored)
    return training


def all_targets(training: TrainingSet) -> np.ndarray:
    return training.targets(training.select(len(training)))


def test_targets_are_scores_of_the_losses() -> None:
    loss = [3.0, 1.0, 2.0, 2.0]
    np.testing.assert_array_equal(all_targets(filled(loss)), normal_scores(loss))


@pytest.mark.parametrize("failed", ["worst", "mean"])
def test_failures_never_distort_the_others(failed: FailedAs) -> None:
    plain = all_targets(filled([3.0, 1.0, 2.0]))
    for n_failed in (1, 10, 1000):
        targets = all_targets(filled([3.0, 1.0, 2.0] + [np.nan] * n_failed, failed=failed, max_rows=2000))
        assert np.abs(targets).max() < 1.5  # ranks, not huge numbers
        assert np.array_equal(np.argsort(targets[:3]), np.argsort(plain))
        assert np.abs(targets[:3] - plain).max() < 0.6
    np.testing.assert_array_equal(
        all_targets(filled([3.0, 1.0, 2.0, np.nan], failed=failed))[:3],
        all_targets(filled([3.0, 1.0, 2.0] + [np.nan] * 99, failed=failed))[:3],
    )


def test_a_failure_is_one_rank_worse_than_the_worst() -> None:
    targets = all_targets(filled([5.0, np.nan, 1e9, np.nan], failed="worst"))
    np.testing.assert_array_equal(targets, normal_scores([5.0, np.inf, 1e9])[[0, 1, 2, 1]])
    assert targets[1] > targets[2] > targets[0]


def test_a_failure_as_the_mean_is_the_middle() -> None:
    targets = all_targets(filled([5.0, np.nan, 1.0], failed="mean"))
    assert targets[1] == pytest.approx(targets[[0, 2]].mean(), abs=1e-12)


def test_left_out_failures_take_no_row() -> None:
    training = filled([5.0, np.nan, 1.0], failed="leave_out")
    assert len(training) == 2
    assert training.X[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("failed", FAILED_AS)
def test_when_all_failed_nothing_is_known(failed: FailedAs) -> None:
    assert not all_targets(filled([np.nan] * 4, failed=failed)).any()
    assert filled([np.nan] * 4, failed=failed).n_completed == 0


def test_a_stopped_trial_is_no_better_than_the_median() -> None:
    # Stopped early at 0.5, which would be the best of all.
    targets = all_targets(filled([1.0, 2.0, 3.0, 4.0, 0.5], [False] * 4 + [True]))
    assert targets[1] < targets[4] < targets[2]
    worse = all_targets(filled([1.0, 2.0, 3.0, 4.0, 9.0], [False] * 4 + [True]))
    assert worse[4] == worse.max()


def test_stopped_trials_alone_are_ranked_as_they_are() -> None:
    np.testing.assert_array_equal(all_targets(filled([2.0, 1.0], [True, True])), normal_scores([2.0, 1.0]))


@given(st.integers(3, 40), st.integers(0, 120), st.integers(0, 10))
def test_the_selection_is_capped_and_holds_the_best_and_the_latest(max_rows: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    training = TrainingSet(1, max_rows=max_rows, seed=seed)
    training.append(rng.random((n, 1)), loss)
    rows = training.select(n)
    assert rows.size == min(n, max_rows)
    assert np.array_equal(rows, np.unique(rows))
    if n > max_rows:
        third = max_rows // 3
        assert set(range(n - third, n)) <= set(rows.tolist())
        best = np.argsort(loss, kind="stable")[: min(third, np.count_nonzero(~np.isnan(loss)))]
        assert set(best.tolist()) <= set(rows.tolist())


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(0, 5))
def test_the_selection_depends_on_the_first_trials_alone(batches: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = sum(batches)
    X, loss = rng.random((n, 2)), rng.normal(size=n)
    at_once, in_parts = (TrainingSet(2, max_rows=20, seed=seed) for _ in range(2))
    at_once.append(X, loss)
    begin = 0
    for size in batches:
        in_parts.append(X[begin : begin + size], loss[begin : begin + size])
        begin += size
        np.testing.assert_array_equal(in_parts.select(begin), at_once.select(begin))


def test_the_random_part_changes_by_few_rows() -> None:
    rng = np.random.default_rng(0)
    training = TrainingSet(1, max_rows=60)
    training.append(rng.random((500, 1)), rng.normal(size=500))
    changes = [np.setdiff1d(training.select(n + 1), training.select(n)).size for n in range(100, 499)]
    assert max(changes) <= 3


def test_best_leaves_failures_and_stopped_trials_out() -> None:
    training = filled([2.0, np.nan, 1.0, -5.0], [False, False, False, True])
    assert training.best(training.select(4), 5).tolist() == [2, 0]
    assert filled([-5.0], [True]).best(np.arange(1), 5).tolist() == []


def test_stopped_trials_take_no_place_among_the_best() -> None:
    n = 50
    losses, stopped = np.r_[np.arange(n) + 1.0, -np.arange(n) - 1.0], np.repeat([False, True], n)
    order = np.random.default_rng(0).permutation(2 * n)
    training = TrainingSet(1, max_rows=30)
    training.append(np.zeros((2 * n, 1)), losses[order], stopped[order])
    rows = training.select(2 * n)
    assert set(range(1, 11)) <= set(training.loss[rows].tolist())


def test_what_is_told_is_never_changed() -> None:
    training = filled([3.0, 0.1, 2.0], [False, True, False])
    all_targets(training)
    assert training.loss.tolist() == [3.0, 0.1, 2.0]


def test_impossible_input_is_refused() -> None:
    with pytest.raises(SurrogateError, match="max_rows"):
        TrainingSet(1, max_rows=2)
    with pytest.raises(SurrogateError, match="failed"):
        TrainingSet(1, failed="ignore")  # type: ignore[arg-type]
    training = TrainingSet(2)
    with pytest.raises(SurrogateError, match="columns"):
        training.append([[0.5]], [1.0])
    with pytest.raises(SurrogateError, match="finite"):
        training.append([[0.5, np.inf]], [1.0])
    with pytest.raises(SurrogateError, match="losses"):
        training.append([[0.5, 0.5]], [1.0, 2.0])
    with pytest.raises(SurrogateError, match="select"):
        training.select(1)
