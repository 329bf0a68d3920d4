from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dhflow.searcher.decision import ABSENT, BoolArray, Decisions, IntArray
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, SearchSpace

TREE = SearchSpace(
    {
        "decay": Float(1e-4, 1.0, log=True, when={"momentum": True}),
        "momentum": Categorical([True, False], when={"optimizer": "sgd"}),
        "optimizer": Categorical(["adam", "sgd", "none"]),
        "fixed": Constant(1),
        "units": Integer(8, 512, log=True),
        "batch": Ordinal([16, 32, 64]),
        "layers": Integer(1, 7, prior=Normal(3, 1)),
    }
)


def names_of(decisions: Decisions) -> list[str]:
    return [decisions.space.names[j] for j in decisions.columns]


def test_parents_are_decided_before_what_depends_on_them() -> None:
    decisions = Decisions(TREE, 10)
    assert names_of(decisions) == ["optimizer", "momentum", "decay", "units", "batch", "layers"]
    assert decisions.n_levels == (3, 2, 10, 10, 3, 7)


def test_levels_of_a_config() -> None:
    decisions = Decisions(TREE, 4)
    sgd = {"optimizer": "sgd", "momentum": True, "decay": 1.0, "fixed": 1, "units": 8, "batch": 64, "layers": 7}
    adam = {"optimizer": "adam", "fixed": 1, "units": 512, "batch": 16, "layers": 1}
    # Half of the prior of the layers lies on one whole number, so there are three levels and not four.
    assert decisions.n_levels == (3, 2, 4, 4, 3, 3)
    found = decisions.levels(TREE.encode([sgd, adam]))
    np.testing.assert_array_equal(found, [[1, 0, 3, 0, 2, 2], [0, ABSENT, ABSENT, 3, 0, 0]])


def test_a_wide_integer_is_divided_without_listing_its_values() -> None:
    space = SearchSpace({"even": Integer(1, 10**15), "log": Integer(1, 10**10, log=True)})
    decisions = Decisions(space, 5)
    assert decisions.n_levels == (5, 5)
    X = space.encode([{"even": 1, "log": 1}, {"even": 5 * 10**14, "log": 10**9}, {"even": 10**15, "log": 10**10}])
    np.testing.assert_array_equal(decisions.levels(X), [[0, 0], [2, 4], [4, 4]])


@pytest.mark.parametrize("n_levels", [2, 3, 10])
def test_what_was_decided_is_read_back(n_levels: int) -> None:
    decisions = Decisions(TREE, n_levels)
    rng = np.random.default_rng(0)

    def choose(t: int, levels: IntArray, is_there: BoolArray) -> IntArray:
        assert (levels[:, t:] == ABSENT).all()
        return rng.integers(0, decisions.n_levels[t], len(is_there))

    X, levels = decisions.draw(500, choose, rng)
    np.testing.assert_array_equal(TREE.snap(X), X)
    np.testing.assert_array_equal(decisions.levels(X), levels)
    for t, n in enumerate(decisions.n_levels):
        assert set(levels[:, t].tolist()) - {ABSENT} == set(range(n))


def test_levels_by_the_prior_are_the_prior() -> None:
    decisions = Decisions(TREE, 4)
    rng = np.random.default_rng(1)
    drawn = decisions.levels(TREE.sample_encoded(20_000, rng))
    log_p = decisions.prior_log_probability(drawn)
    unique, counts = np.unique(drawn, axis=0, return_counts=True)
    expected = np.exp(decisions.prior_log_probability(unique))
    common = counts > 100
    assert common.sum() > 50
    np.testing.assert_allclose(counts[common] / len(drawn), expected[common], rtol=0.4)
    assert log_p.max() <= 0.0
    for t in (0, 3, 4, 5):
        levels: npt.NDArray[np.intp] = decisions.prior_levels(t, rng.random(20_000))
        np.testing.assert_allclose(
            np.bincount(levels, minlength=decisions.n_levels[t]),
            np.bincount(drawn[:, t], minlength=decisions.n_levels[t]),
            atol=400,
        )


def test_a_space_of_one_point_needs_no_decision() -> None:
    decisions = Decisions(SearchSpace({"only": Constant(1)}), 10)
    assert len(decisions) == 0
    assert decisions.levels(np.full((3, 1), 0.5)).shape == (3, 0)
