"""Constraints by themselves: as texts, as distances, and of whole trials."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhflow.constraint import (
    RELATIONS,
    Constraint,
    is_feasible,
    parse_constraints,
    total_violation,
    value_in,
    violations,
)
from dhflow.errors import ObjectiveError, SearchError
from dhflow.objective import Objective, read_returned
from dhflow.trial import Trial, TrialStatus

MEMORY, LATENCY = Constraint("memory_gb", "<=", 16.0), Constraint("latency_ms", "<", 5.0)
finite = st.floats(allow_nan=False, allow_infinity=False)


def trial(**metrics: Any) -> Trial:
    return Trial(0, {}, TrialStatus.COMPLETED, values={"accuracy": 0.9}, losses=(-0.9,), metrics=metrics)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory_gb <= 16", Constraint("memory_gb", "<=", 16.0)),
        ("memory_gb<16", Constraint("memory_gb", "<", 16.0)),
        ("  val/top-5 acc >= -2.5e-3 ", Constraint("val/top-5 acc", ">=", -0.0025)),
        ("n > 0", Constraint("n", ">", 0)),
    ],
)
def test_a_text_is_read(text: str, expected: Constraint) -> None:
    assert Constraint.parse(text) == expected


@given(st.text("abc_ /-1", min_size=1).map(str.strip).filter(bool), st.sampled_from(RELATIONS), finite)
def test_the_text_gives_the_constraint_back(name: str, relation: Any, bound: float) -> None:
    constraint = Constraint(name, relation, bound)
    assert Constraint.parse(constraint.text) == constraint
    assert pickle.loads(pickle.dumps(constraint)) == constraint


def test_a_bound_is_written_as_a_person_would() -> None:
    assert [str(Constraint("m", "<=", each)) for each in (16, 0.1, 1e-9)] == ["m <= 16", "m <= 0.1", "m <= 1e-09"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("memory_gb", "'memory_gb' has no relation"),
        ("memory_gb == 16", "has no relation"),
        ("memory_gb => 16", "'memory_gb =' cannot be what a constraint is on"),
        ("<= 16", "'' cannot be what a constraint is on"),
        ("2 <= memory_gb <= 16", "two bounds: two constraints"),
        ("16 >= memory_gb", "'memory_gb' on its right, no number"),
        ("memory_gb <= 16 GB", "'16 GB' on its right, no number"),
        ("memory_gb <= inf", "must be finite"),
        ("memory_gb <= nan", "must be finite"),
        (16, "16 is no constraint"),
    ],
)
def test_what_is_no_constraint_is_an_error_for_people(wrong: Any, says: str) -> None:
    with pytest.raises(SearchError, match=says) as caught:
        Constraint.parse(wrong)
    assert "memory_gb <= 16" in str(caught.value) or "finite" in str(caught.value)


def test_a_relation_of_another_kind_is_refused() -> None:
    with pytest.raises(SearchError, match="cannot be '!='"):
        Constraint("m", "!=", 1.0)  # type: ignore[arg-type]


def test_one_or_several_are_read_each_once_and_in_order() -> None:
    assert parse_constraints("memory_gb <= 16") == (MEMORY,)
    assert parse_constraints(LATENCY) == (LATENCY,)
    both = parse_constraints([MEMORY, "memory_gb >= 2"], ("latency_ms < 5", "memory_gb <= 16.0"))
    assert [each.text for each in both] == ["memory_gb <= 16", "memory_gb >= 2", "latency_ms < 5"]
    assert parse_constraints() == parse_constraints(()) == ()


@pytest.mark.parametrize("texts", [["m >= 3", "m <= 2"], ["m < 2", "m >= 2"], ["m < 2", "m > 2"]])
def test_bounds_that_no_value_meets_are_refused(texts: list[str]) -> None:
    with pytest.raises(SearchError, match="no value meets both"):
        parse_constraints(texts)
    assert len(parse_constraints(["m <= 2", "m >= 2"])) == 2


def test_a_violation_is_the_distance_in_the_values_unit() -> None:
    assert [MEMORY.violation(each) for each in (12, 16.0, 17.5)] == [0.0, 0.0, 1.5]
    assert [Constraint("n", ">=", 3).violation(each) for each in (1, 3, 4)] == [2.0, 0.0, 0.0]
    assert LATENCY.violation(6.0) == pytest.approx(1.0)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf, "12", True])
def test_no_finite_number_is_a_violation(missing: Any) -> None:
    assert MEMORY.violation(missing) == math.inf
    assert not MEMORY.is_met(missing)


@given(st.sampled_from(RELATIONS), finite, finite)
def test_there_is_a_violation_just_when_the_relation_does_not_hold(relation: Any, bound: float, value: float) -> None:
    holds = {"<=": value <= bound, "<": value < bound, ">=": value >= bound, ">": value > bound}[relation]
    constraint = Constraint("m", relation, bound)
    assert constraint.is_met(value) == holds
    assert (constraint.violation(value) == 0.0) == holds
    assert constraint.violation(bound) >= 0.0


def test_a_strict_bound_itself_is_a_violation_too() -> None:
    for relation in ("<", ">"):
        for bound in (0.0, 5.0, -1e300):
            assert 0.0 < Constraint("m", relation, bound).violation(bound) < math.inf  # type: ignore[arg-type]


def test_a_trials_values_are_its_metrics_and_its_objectives() -> None:
    accurate = Constraint("accuracy", ">=", 0.95)
    fine, large = trial(memory_gb=12.0, latency_ms=3.0), trial(memory_gb=20.0, latency_ms=3.0)
    assert value_in(fine, "accuracy") == 0.9
    assert violations(large, (LATENCY, MEMORY)) == (0.0, 4.0)
    assert violations(fine, (accurate,)) == pytest.approx((0.05,))
    assert is_feasible(fine, (MEMORY, LATENCY))
    assert not is_feasible(large, (MEMORY, LATENCY))
    assert not is_feasible(Trial(1, {}, TrialStatus.FAILED), (MEMORY,))
    assert is_feasible(Trial(1, {}, TrialStatus.FAILED), ())


def test_the_total_counts_each_violation_by_its_bounds_size() -> None:
    constraints = (MEMORY, Constraint("delta", "<=", 0.0))
    assert total_violation(trial(memory_gb=20.0, delta=-1.0), constraints) == 0.25
    assert total_violation(trial(memory_gb=20.0, delta=0.5), constraints) == 0.75
    assert total_violation(trial(memory_gb=20.0), constraints) == math.inf


# What a worker reads ------------------------------------------------------------------------------


class Tensor:
    """One number of a framework."""

    def __float__(self) -> float:
        return 3.5


def test_what_a_constraint_is_on_becomes_a_float() -> None:
    returned = {"objective": 0.9, "memory_gb": 12, "latency_ms": Tensor(), "epochs": 3}
    values, metrics = read_returned(returned, (Objective(),), (MEMORY, LATENCY))
    assert values == {"objective": 0.9}
    assert metrics == {"memory_gb": 12.0, "latency_ms": 3.5, "epochs": 3}
    assert isinstance(metrics["memory_gb"], float)


def test_a_constraint_on_an_objective_needs_no_metric() -> None:
    two = (Objective("accuracy", "maximize"), Objective("size"))
    on_size = (Constraint("size", "<=", 9.0),)
    assert read_returned({"accuracy": 0.9, "size": 5}, two, on_size) == ({"accuracy": 0.9, "size": 5.0}, {})
    assert read_returned(0.5, (Objective("size"),), on_size) == ({"size": 0.5}, {})


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (0.9, r"'memory_gb <= 16' needs 'memory_gb', .* return a mapping with 'memory_gb' \(it returned: objective\)"),
        ({"objective": 0.9, "mem": 1.0}, r"'memory_gb <= 16' needs 'memory_gb'.*\(it returned: mem, objective\)"),
        ({"objective": 0.9, "memory_gb": math.nan}, "'memory_gb' is nan.*'memory_gb <= 16' needs it"),
        ({"objective": 0.9, "memory_gb": "12 GB"}, "'memory_gb' must be.*'memory_gb <= 16' needs it"),
        ({"objective": 0.9, "memory_gb": None}, "'memory_gb' must be a number.*'memory_gb <= 16' needs it"),
        ({"objective": 0.9, "memory_gb": True}, "'memory_gb' must be a number.*'memory_gb <= 16' needs it"),
    ],
)
def test_a_missing_number_is_an_error_that_names_the_constraint(returned: object, says: str) -> None:
    with pytest.raises(ObjectiveError, match=says):
        read_returned(returned, (Objective(),), (MEMORY,))
