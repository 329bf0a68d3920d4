"""Going on with a history: the same search, or an error that names the difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dhflow.errors import HistoryFormatError
from dhflow.history.comparison import check_same_study
from dhflow.objective import Objective
from dhflow.space import Categorical, Float, Integer, SearchSpace
from dhflow.testing.history import HEADER

PARAMETERS: dict[str, Any] = {"lr": Float(1e-5, 1e-1, log=True), "units": Integer(8, 64), "bias": Categorical([1, 2])}


def header_of(parameters: dict[str, Any], **options: Any) -> Any:
    return replace(HEADER, space=SearchSpace(parameters, **options).to_json())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({**PARAMETERS, "lr": Float(1e-5, 1.0, log=True)}, "parameter 'lr' was changed: high was 0.1, it is 1.0 now"),
        ({name: each for name, each in PARAMETERS.items() if name != "units"}, "parameter 'units' was removed"),
        ({**PARAMETERS, "extra": Integer(1, 2)}, "parameter 'extra' was added"),
        ({**PARAMETERS, "lr": Integer(1, 2)}, "parameter 'lr' was changed: type was"),
        ({**PARAMETERS, "bias": Categorical([True, 2])}, "parameter 'bias' was changed"),
        (dict(reversed(PARAMETERS.items())), "another order"),
    ],
)
def test_another_space_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(HistoryFormatError) as caught:
        check_same_study(header_of(PARAMETERS), header_of(changed), "h.h5")
    assert said in str(caught.value)
    assert "h.h5" in str(caught.value)


def test_another_rule_is_named() -> None:
    with pytest.raises(HistoryFormatError, match="forbidden of the space was null"):
        check_same_study(header_of(PARAMETERS), header_of(PARAMETERS, forbidden=[{"units": 8, "bias": 1}]))


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        ((Objective("accuracy", "minimize"),), "objective 'accuracy' was changed"),
        ((Objective("loss", "minimize"),), "objective 'accuracy' was removed; objective 'loss' was added"),
    ],
)
def test_another_objective_is_named(objectives: tuple[Objective, ...], said: str) -> None:
    with pytest.raises(HistoryFormatError, match=said):
        check_same_study(HEADER, replace(HEADER, objectives=objectives))


def test_another_budget_is_named() -> None:
    with pytest.raises(HistoryFormatError, match="the budget was null"):
        check_same_study(HEADER, replace(HEADER, budget={"name": "epochs", "low": 1, "high": 81}))


def test_another_constraint_is_named_and_their_order_is_free() -> None:
    recorded = replace(HEADER, constraints=("memory_gb <= 16", "latency_ms < 5"))
    check_same_study(recorded, replace(HEADER, constraints=("latency_ms < 5", "memory_gb <= 16")))
    with pytest.raises(HistoryFormatError, match=r"constraint 'memory_gb <= 16' was removed; .*'memory_gb <= 8' was"):
        check_same_study(recorded, replace(HEADER, constraints=("latency_ms < 5", "memory_gb <= 8")))
    with pytest.raises(HistoryFormatError, match="constraint 'latency_ms < 5' was added"):
        check_same_study(HEADER, replace(HEADER, constraints=("latency_ms < 5",)))


def test_many_differences_are_summed_up() -> None:
    others = {f"p{number}": Integer(1, 2) for number in range(9)}
    with pytest.raises(HistoryFormatError, match="and 9 more"):
        check_same_study(header_of(PARAMETERS), header_of(others))


def test_the_same_search_may_differ_in_identity_seed_and_starting_points() -> None:
    wanted = header_of(PARAMETERS, starting_points=[{"lr": 1e-3, "units": 8, "bias": 1}])
    check_same_study(header_of(PARAMETERS), replace(wanted, study_id="other", seed=9, created_at=1.0))
