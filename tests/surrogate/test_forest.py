"""The forest against scikit-learn where nothing changed since the growth, and against a forest made at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import ExtraTreeRegressor

from dhflow.errors import SurrogateError
from dhflow.surrogate.forest import FOREST_KINDS, Forest, ForestKind, RefreshSchedule, grow_tree
from dhflow.surrogate.training import TrainingSet


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4)).astype(np.float32)
    return X, (X[:, 0] - 0.3) ** 2 + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n)


def made(n: int, *, max_rows: int = 600, batches: tuple[int, ...] = (), **options: object) -> Forest:
    """Return a synced forest of `n` trials, told in `batches` with a sync after each, or at once."""
    X, loss = data(n)
    training = TrainingSet(4, max_rows=max_rows, seed=5)
    forest = Forest(training, **{"n_trees": 8, "seed": 5, **options})  # type: ignore[arg-type]
    begin = 0
    for size in (*batches, n - sum(batches)):
        training.append(X[begin : begin + size], loss[begin : begin + size])
        begin += size
        forest.sync()
    return forest


def leaves(forest: Forest, points: np.ndarray) -> np.ndarray:
    found = forest.place(points).leaves
    assert found is not None
    return found


def predicted(forest: Forest, points: np.ndarray) -> np.ndarray:
    return np.column_stack(forest.belief().moments(forest.place(points)))


def test_fresh_statistics_are_scikit_learns_predictions() -> None:
    # Extremely randomised trees use all rows: what they predict are the means of the same rows.
    forest = made(80, kind="extra_trees", n_trees=6, min_samples_leaf=3, refresh=6)
    X, y = forest.training.X, forest.training.targets(forest.training.select(80))
    points = data(50, seed=9)[0]
    trees = []
    for index in range(6):
        rng = np.random.default_rng(np.random.SeedSequence([5, index, 80]))
        tree = ExtraTreeRegressor(min_samples_leaf=3, max_features=0.5, random_state=int(rng.integers(2**31)))
        trees.append(tree.fit(X, y))
    means = np.array([each.predict(points) for each in trees])
    within = np.array([each.tree_.impurity[each.apply(points)] for each in trees])
    expected = np.sqrt(within.mean(axis=0) + means.var(axis=0))
    np.testing.assert_allclose(predicted(forest, points), np.column_stack([means.mean(axis=0), expected]), atol=1e-6)


@pytest.mark.parametrize("kind", FOREST_KINDS)
def test_total_variance_is_that_of_a_loop_over_trees_and_leaves(kind: ForestKind) -> None:
    forest = made(60, kind=kind, min_samples_leaf=2)
    y = forest.targets
    point = data(1, seed=3)[0]
    at, rows = leaves(forest, point)[:, 0], leaves(forest, forest.training.X)
    inside = [y[rows[tree] == at[tree]] for tree in range(8)]
    means = [each.mean() for each in inside]
    mean = sum(means) / 8
    variance = sum(each.var() for each in inside) / 8 + sum((each - mean) ** 2 for each in means) / 8
    np.testing.assert_allclose(predicted(forest, point)[0], [mean, np.sqrt(variance)], atol=1e-9)


@pytest.mark.parametrize("kind", FOREST_KINDS)
def test_a_forest_learns(kind: ForestKind) -> None:
    forest = made(300, kind=kind, n_trees=30)
    points, loss = data(200, seed=7)
    assert np.corrcoef(predicted(forest, points)[:, 0], loss)[0, 1] > 0.6


@pytest.mark.parametrize("kind", FOREST_KINDS)
@pytest.mark.parametrize("max_rows", [600, 40])
@settings(max_examples=10)
@given(batches=st.lists(st.integers(1, 25), max_size=5))
def test_the_forest_is_a_function_of_the_told_trials(kind: ForestKind, max_rows: int, batches: list[int]) -> None:
    n, points = 130, data(30, seed=2)[0]
    in_parts = made(n, batches=tuple(batches), kind=kind, max_rows=max_rows)
    at_once = made(n, kind=kind, max_rows=max_rows)
    np.testing.assert_array_equal(predicted(in_parts, points), predicted(at_once, points))


def test_a_long_history_costs_one_growth_per_tree() -> None:
    X, loss = data(5000)
    training = TrainingSet(4)
    training.append(X, loss)
    assert Forest(training, n_trees=8).sync() == 8


def test_every_tell_is_seen_though_no_tree_is_grown_for_it() -> None:
    forest = made(200, n_trees=30)
    X, _ = data(1, seed=8)
    before = predicted(forest, X)[0]
    forest.training.append(X, [-100.0])
    grown = forest.sync()
    assert grown < 5
    after = predicted(forest, X)[0]
    assert after[0] < before[0] - 0.1


def test_lies_leave_the_forest_as_it_is() -> None:
    forest = made(50)
    points = data(20, seed=1)[0]
    before = predicted(forest, points)
    statistics = forest.belief()
    statistics.add(forest.place(points), np.full(20, -3.0))
    assert (statistics.moments(forest.place(points))[0] < before[:, 0]).all()
    np.testing.assert_array_equal(predicted(forest, points), before)


def test_trees_differ() -> None:
    ids = leaves(made(100, kind="random_forest"), data(40, seed=4)[0])
    assert len({row.tobytes() for row in ids}) == 8


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 400))
def test_the_schedule_grows_the_trees_in_turn(n_trees: int, refresh: int, n: int) -> None:
    schedule = RefreshSchedule(n_trees, min(refresh, n_trees))
    last = np.zeros(n_trees, int)
    next_tree = 0
    for told in range(1, n + 1):
        for _ in range(schedule.grown_by(told) - schedule.grown_by(told - 1)):
            last[next_tree % n_trees] = told
            next_tree += 1
        np.testing.assert_array_equal(schedule.last_grown(told), last)
    assert last.min() >= 1


def test_the_schedule_grows_more_while_few_are_told_and_never_fewer_than_asked() -> None:
    schedule = RefreshSchedule(30, 2)
    steps = [schedule.grown_by(n) - schedule.grown_by(n - 1) for n in range(1, 2000)]
    assert steps[:10] == [30] * 10
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] == 2


def test_growing_does_not_touch_the_global_generator() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002
    X, y = data(30)
    for kind in FOREST_KINDS:
        first, second = (grow_tree(X, y, kind=kind, min_samples_leaf=1, max_features=0.5, seed=[1]) for _ in range(2))
        np.testing.assert_array_equal(first.threshold, second.threshold)
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_impossible_input_is_refused() -> None:
    training = TrainingSet(4)
    with pytest.raises(SurrogateError, match="at least one trial"):
        Forest(training).sync()
    bad: list[dict[str, Any]] = [
        {"kind": "oak"},
        {"n_trees": 0},
        {"refresh": 31},
        {"max_features": 1.5},
        {"min_samples_leaf": 0},
        {"variance": "all"},
    ]
    for options in bad:
        with pytest.raises(SurrogateError):
            Forest(training, **options)
    with pytest.raises(SurrogateError, match="columns"):
        made(20).place(np.zeros((3, 5)))
