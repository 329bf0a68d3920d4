"""Searchers as generators of the gest-api convention, against the package itself."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from dhflow.errors import GeneratorError, MissingExtraError, SpaceError
from dhflow.searcher import searcher_class, searcher_names
from dhflow.searcher.generator import SearchGenerator, space_of
from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace
from dhflow.trial import TrialStatus


@pytest.fixture(scope="module")
def package() -> Any:
    return pytest.importorskip("gest_api.vocs")


@pytest.fixture
def vocs(package: Any) -> Any:
    return package.VOCS(
        variables={"x": [0.0, 1.0], "n": {4, 1, 2}, "c": {"b", "a"}},
        objectives={"f": "MAXIMIZE"},
        constants={"alpha": 0.5},
    )


def evaluated(point: dict[str, Any]) -> dict[str, Any]:
    return {**point, "f": -((point["x"] - 0.7) ** 2) - (point["c"] == "b") - point["n"] * point["alpha"]}


@pytest.mark.parametrize("name", [each for each in searcher_names() if not searcher_class(each).needs_budget])
def test_every_searcher_generates(vocs: Any, name: str) -> None:
    import gest_api

    options = {"architecture": "n, c"} if name == "agebo" else {}
    generator = SearchGenerator(vocs, name, seed=3, **options)
    assert isinstance(generator, gest_api.Generator)
    for _ in range(5):
        points = generator.suggest(4)
        assert all(set(each) == {"x", "n", "c", "alpha", "_id"} for each in points)
        generator.ingest([evaluated(each) for each in reversed(points)])
    generator.finalize()
    assert [each.trial_id for each in generator.trials] == list(range(20))
    assert {each.status for each in generator.trials} == {TrialStatus.COMPLETED}


def test_a_vocs_has_no_budget_to_spend(vocs: Any) -> None:
    with pytest.raises(GeneratorError, match="spends budgets"):
        SearchGenerator(vocs, "asha")


def test_it_maximises(vocs: Any) -> None:
    generator = SearchGenerator(vocs, "tpe", seed=1)
    for _ in range(60):
        generator.ingest([evaluated(each) for each in generator.suggest()])
    best = max(generator.trials, key=lambda each: each.values["f"])
    assert best.values["f"] == -best.losses[0]
    assert (best.config["n"], best.config["c"]) == (1, "a")
    assert best.config["x"] == pytest.approx(0.7, abs=0.1)


def test_variables_become_parameters(package: Any) -> None:
    space = space_of(
        package.VOCS(
            variables={
                "x": package.ContinuousVariable(domain=[-1, 2], default_value=0.5),
                "k": package.ContinuousVariable(domain=[0.5, 8.5], dtype="int"),
                "n": {4, 1, 2},
                "c": {"b", "a"},
                "flag": {True, False},
            }
        )
    )
    assert dict(space.parameters) == {
        "x": Float(-1, 2, default=0.5),
        "k": Integer(1, 8),
        "n": Ordinal([1, 2, 4]),
        "c": Categorical(["a", "b"]),
        "flag": Categorical([False, True]),
    }


def test_points_come_back_late_twice_or_from_elsewhere(vocs: Any) -> None:
    generator = SearchGenerator(vocs, "random")
    first, second = generator.suggest(2)
    generator.ingest([evaluated(second), evaluated(second)])
    generator.ingest([evaluated(second)])
    generator.ingest([{"x": 0.25, "n": 2, "c": "a", "alpha": 0.5, "f": 1.0}])
    generator.ingest([evaluated(first)])
    assert [each.outcome_number for each in generator.trials] == [2, 0, 1]
    assert generator.trials[2].config == {"x": 0.25, "n": 2, "c": "a"}


def test_failures_and_violated_constraints_are_as_failed_trials_to_the_searcher(package: Any) -> None:
    vocs = package.VOCS(variables={"x": [0, 1]}, objectives={"f": "MINIMIZE"}, constraints={"g": ["LESS_THAN", 1.0]})
    generator = SearchGenerator(vocs, "tpe")
    points = generator.suggest(3)
    outcomes = [(1.0, 0.5), (1.0, 2.0), (math.nan, 0.5)]
    generator.ingest([{**each, "f": f, "g": g} for each, (f, g) in zip(points, outcomes, strict=True)])
    done, failed = TrialStatus.COMPLETED, TrialStatus.FAILED
    assert [each.status for each in generator.trials] == [done, done, failed]
    folded: list[Any] = []
    generator.searcher._fold = folded.extend  # type: ignore[method-assign]
    assert len(generator.suggest(2)) == 2
    assert [each.status for each in folded] == [done, failed, failed]


def test_constraints_of_every_kind_are_taken_over(package: Any) -> None:
    def of(**constraints: Any) -> Any:
        return package.VOCS(variables={"x": [0, 1]}, objectives={"f": "MINIMIZE"}, constraints=constraints)

    vocs = of(g=["LESS_THAN", 1.0], h=["GREATER_THAN", 2.0], k=["BOUNDS", -1.0, 1.0], m=["BOUNDS", 3.0, math.inf])
    texts = [each.text for each in SearchGenerator(vocs, "random").searcher.constraints]
    assert texts == ["g < 1", "h > 2", "k >= -1", "k <= 1", "m >= 3"]
    for wrong in (of(g=package.BaseConstraint()), of(g=["LESS_THAN", math.inf])):
        with pytest.raises(GeneratorError, match="'g'"):
            SearchGenerator(wrong, "random")


def test_what_is_wrong_with_a_result_is_a_value_error_and_changes_nothing(vocs: Any) -> None:
    generator = SearchGenerator(vocs, "random")
    good = evaluated(generator.suggest()[0])
    for wrong, says in [
        ({**good, "_id": 99}, "99"),
        ({"_id": 0, "x": 0.5}, "lacks 'f'"),
        ({**good, "f": "high"}, "no number"),
        ({"x": 5.0, "n": 1, "c": "a", "f": 0.0}, "x"),
    ]:
        with pytest.raises(ValueError, match=says):
            generator.ingest([good, wrong])
    assert [each.is_finished for each in generator.trials] == [False]


def test_exactly_as_many_points_as_asked_for(package: Any) -> None:
    generator = SearchGenerator(package.VOCS(variables={"n": {1, 2, 3}}, objectives={"f": "MINIMIZE"}), "grid")
    with pytest.raises(ValueError, match="4 points were asked for; the searcher has 3"):
        generator.suggest(4)
    assert {each["n"] for each in generator.suggest(3)} == {1, 2, 3}
    with pytest.raises(GeneratorError):
        generator.suggest()
    assert generator.suggest(0) == []
    with pytest.raises(GeneratorError, match="negative"):
        generator.suggest(-1)


def test_a_space_of_ones_own(vocs: Any, package: Any) -> None:
    space = SearchSpace({"x": Float(1e-3, 1.0, log=True), "n": Ordinal([1, 2, 4]), "c": Categorical(["a", "b"])})
    assert SearchGenerator(vocs, "random", space=space).space is space
    with pytest.raises(SpaceError, match="variables are"):
        SearchGenerator(vocs, "random", space=SearchSpace({"x": Float(0, 1)}))
    branch = SearchSpace({"a": Categorical([1, 2]), "x": Float(0, 1, when={"a": 1})})
    plain = package.VOCS(variables={"a": {1, 2}, "x": [0, 1]}, objectives={"f": "MINIMIZE"})
    with pytest.raises(SpaceError, match="condition"):
        SearchGenerator(plain, "random", space=branch)


def test_what_a_searcher_cannot_take_is_a_value_error(package: Any) -> None:
    def of(objectives: dict[str, str], **variables: Any) -> Any:
        return package.VOCS(variables={"x": [0, 1], **variables}, objectives=objectives)

    for vocs, options in [
        (of({}), {}),
        (of({"f": "EXPLORE"}), {}),
        (of({"f": "MINIMIZE"}, y="CONTEXTUAL"), {}),
        (of({"f": "MINIMIZE", "g": "MAXIMIZE"}), {"searcher": "tpe"}),
        (of({"f": "MINIMIZE"}), {"searcher": "none such"}),
        (of({"f": "MINIMIZE"}), {"searcher": "tpe", "kappa": 1}),
    ]:
        with pytest.raises(ValueError):  # noqa: PT011 - each says something else
            SearchGenerator(vocs, **options)
    assert SearchGenerator(of({"f": "MINIMIZE", "g": "MAXIMIZE"}), "random").suggest()


def test_without_the_package_the_extra_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "gest_api", None)
    with pytest.raises(MissingExtraError, match=r"dhflow\[gest\]"):
        SearchGenerator(None)
