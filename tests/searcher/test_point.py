from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from dhflow.errors import SearchError
from dhflow.searcher.point import LatinHypercube, PointSequence, Sobol


def sequence(kind: str, seed: int = 1) -> PointSequence:
    return Sobol(3, seed=seed) if kind == "sobol" else LatinHypercube(3, seed=seed, block_size=20)


@pytest.mark.parametrize("kind", ["sobol", "lhs"])
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100)), max_size=6))
def test_a_point_depends_on_seed_and_index_alone(kind: str, parts: list[tuple[int, int]]) -> None:
    whole, points = sequence(kind).points(0, 400), sequence(kind)
    for begin, n in parts:
        np.testing.assert_array_equal(points.points(begin, n), whole[begin : begin + n])


@pytest.mark.parametrize("kind", ["sobol", "lhs"])
def test_points_lie_in_the_cube_and_follow_the_seed(kind: str) -> None:
    points = sequence(kind).points(0, 500)
    assert points.shape == (500, 3)
    assert ((points >= 0) & (points < 1)).all()
    assert len(np.unique(points, axis=0)) == 500
    assert not np.allclose(points, sequence(kind, seed=2).points(0, 500))


def test_each_hypercube_has_one_point_in_every_slice_of_every_dimension() -> None:
    points = LatinHypercube(4, seed=0, block_size=20)
    for block in range(3):
        slices = np.floor(points.points(20 * block, 20) * 20)
        np.testing.assert_array_equal(np.sort(slices, axis=0), np.tile(np.arange(20)[:, None], 4))


def test_sobol_is_scipys_scrambled_sequence_without_its_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = Sobol(2, seed=3).points(0, 100)
    for size in (32, 64):  # balanced: as many points in each half and quarter
        counts = np.bincount((points[:size, 0] * 4).astype(int))
        assert counts.tolist() == [size // 4] * 4
    assert qmc.discrepancy(points) < 0.1 * qmc.discrepancy(np.random.default_rng(0).random((100, 2)))


def test_dimensions_have_a_limit() -> None:
    with pytest.raises(SearchError, match="21201"):
        Sobol(30_000, seed=0)
