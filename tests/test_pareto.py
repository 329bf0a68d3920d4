from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dhflow.errors import SearchError
from dhflow.pareto import crowding_distances, domination_ranks, hypervolume, non_dominated

FloatArray = npt.NDArray[np.float64]

# Few different values: ties and equal points are what goes wrong.
tables = st.tuples(st.integers(0, 12), st.integers(1, 4)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]))
)


def dominates(p: FloatArray, q: FloatArray) -> bool:
    return bool((p <= q).all() and (p < q).any())


def slow_mask(losses: FloatArray) -> list[bool]:
    return [not any(dominates(q, p) for q in losses) for p in losses]


def test_a_small_set() -> None:
    losses = [[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [2.0, 2.0], [4.0, 4.0]]
    assert non_dominated(losses).tolist() == [True, True, True, False, True, False]
    assert domination_ranks(losses).tolist() == [0, 0, 0, 1, 0, 2]


def test_no_points() -> None:
    none = np.empty((0, 2))
    assert non_dominated(none).tolist() == []
    assert domination_ranks(none).tolist() == []
    assert crowding_distances(none).tolist() == []
    assert hypervolume(none, [1.0, 1.0]) == 0.0


def test_infinite_losses_can_be_compared() -> None:
    losses = [[np.inf, 0.0], [0.0, np.inf], [np.inf, np.inf], [-np.inf, 5.0]]
    assert non_dominated(losses).tolist() == [True, False, False, True]


@given(losses=tables)
def test_the_set_is_what_nobody_dominates(losses: FloatArray) -> None:
    assert non_dominated(losses).tolist() == slow_mask(losses)


@given(losses=tables)
def test_ranks_peel_one_front_after_the_other(losses: FloatArray) -> None:
    ranks = domination_ranks(losses)
    left = np.arange(len(losses))
    for rank in itertools.count():
        if not len(left):
            break
        mask = np.array(slow_mask(losses[left]))
        assert (ranks[left[mask]] == rank).all()
        left = left[~mask]
    if len(losses):
        assert ranks.max() == rank - 1


@given(losses=tables, seed=st.integers(0, 99))
def test_the_order_of_the_points_does_not_matter(losses: FloatArray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(losses))
    np.testing.assert_array_equal(non_dominated(losses)[order], non_dominated(losses[order]))
    np.testing.assert_array_equal(domination_ranks(losses)[order], domination_ranks(losses[order]))
    corner = np.full(losses.shape[1], 4.0)
    assert hypervolume(losses, corner) == hypervolume(losses[order], corner)


def test_one_objective_is_an_order() -> None:
    losses = [[3.0], [1.0], [2.0], [1.0]]
    assert domination_ranks(losses).tolist() == [2, 0, 1, 0]
    assert hypervolume(losses, [5.0]) == 4.0


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_first_of_many_ranks_is_the_set(k: int) -> None:
    losses = np.random.default_rng(k).random((2000, k))
    np.testing.assert_array_equal(domination_ranks(losses) == 0, non_dominated(losses))


def test_crowding_by_hand() -> None:
    losses = [[0.0, 10.0], [1.0, 6.0], [3.0, 5.0], [4.0, 0.0]]
    distances = crowding_distances(losses)
    assert np.isinf(distances[[0, 3]]).all()
    assert distances[1:3] == pytest.approx([3 / 4 + 5 / 10, 3 / 4 + 6 / 10])


def test_crowding_of_equal_points_and_constant_objectives() -> None:
    assert crowding_distances([[1.0, 1.0]] * 3).tolist() == [0.0, 0.0, 0.0]
    assert crowding_distances([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]).tolist() == [np.inf, 1.0, np.inf]
    assert crowding_distances([[-1e308, 1.0], [0.0, 0.5], [1e308, 0.0]])[1] == 2.0


@given(losses=tables, scale=st.sampled_from([0.25, 8.0]), shift=st.sampled_from([-16.0, 0.0, 2.0]))
def test_crowding_knows_no_units(losses: FloatArray, scale: float, shift: float) -> None:
    np.testing.assert_array_equal(crowding_distances(losses), crowding_distances(losses * scale + shift))


def cells(losses: FloatArray, corner: int) -> int:
    """The volume of points with whole coordinates: unit cells are in it or not."""
    axes = [np.arange(corner)] * losses.shape[1]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, losses.shape[1])
    return int((grid[:, None] >= losses[None]).all(axis=2).any(axis=1).sum())


@given(losses=tables, corner=st.integers(1, 5))
def test_the_volume_is_that_of_the_cells(losses: FloatArray, corner: int) -> None:
    found = hypervolume(losses, np.full(losses.shape[1], float(corner)))
    assert found == pytest.approx(cells(losses, corner), abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_the_volume_is_the_share_of_random_points(k: int) -> None:
    rng = np.random.default_rng(k)
    losses = rng.random((20, k))
    draws = rng.random((50_000, k))
    share = (draws[:, None] >= losses[None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(losses, np.ones(k)) == pytest.approx(share, abs=0.01)


def test_what_is_not_better_than_the_reference_adds_nothing() -> None:
    assert hypervolume([[0.5, 0.5]], [1.0, 2.0]) == 0.75
    assert hypervolume([[0.5, 0.5], [0.0, 2.0], [-9.0, 3.0], [0.0, np.inf]], [1.0, 2.0]) == 0.75
    assert hypervolume([[1.0, 0.0, 0.0]], [1.0, 1.0, 1.0]) == 0.0


@given(losses=tables)
def test_a_further_point_never_takes_volume_away(losses: FloatArray) -> None:
    corner = np.full(losses.shape[1], 4.0)
    volumes = [hypervolume(losses[:n], corner) for n in range(len(losses) + 1)]
    assert all(a <= b for a, b in itertools.pairwise(volumes))


@pytest.mark.parametrize("measure", [non_dominated, domination_ranks, crowding_distances])
def test_impossible_losses_are_refused(measure: object) -> None:
    for losses in ([1.0, 2.0], [[np.nan, 1.0]], np.empty((3, 0))):
        with pytest.raises(SearchError):
            measure(losses)  # type: ignore[operator]


def test_impossible_volumes_are_refused() -> None:
    with pytest.raises(SearchError, match="reference point must be 2 finite numbers"):
        hypervolume([[1.0, 2.0]], [1.0])
    with pytest.raises(SearchError, match="finite numbers"):
        hypervolume([[1.0, 2.0]], [1.0, np.inf])
    with pytest.raises(SearchError, match="minus infinity"):
        hypervolume([[-np.inf, 2.0]], [1.0, 3.0])
    with pytest.raises(SearchError, match="finite losses"):
        crowding_distances([[np.inf, 2.0]])
