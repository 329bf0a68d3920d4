from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from dhflow.train.unpicklable import Part, describe_type, find_unpicklable, largest_part


class Holder:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def method(self, config: Any) -> float:
        return float(bool(self.__dict__) and bool(config))


class Slotted:
    __slots__ = ("lock", "number")

    def __init__(self) -> None:
        self.number = 1
        self.lock = threading.Lock()


def closure(captured: Any) -> Callable[[Any], Any]:
    def objective(config: Any) -> Any:
        return config, captured

    return objective


def two_deep(captured: Any) -> Callable[[Any], Any]:
    def helper() -> Any:
        return captured

    def objective(config: Any) -> Any:
        return config, helper()

    return objective


def with_default(captured: Any) -> Callable[..., Any]:
    def objective(config: Any, first: int = 1, guard: Any = captured) -> Any:
        return config, first, guard

    return objective


def with_keyword_default(captured: Any) -> Callable[..., Any]:
    def objective(config: Any, *, guard: Any = captured) -> Any:
        return config, guard

    return objective


def with_attribute(captured: Any) -> Callable[..., Any]:
    def objective(config: Any) -> Any:
        return config

    objective.guard = captured  # type: ignore[attr-defined]
    return objective


CASES = [
    (closure, "captured"),
    (two_deep, "helper → captured"),
    (with_default, "guard"),
    (with_keyword_default, "guard"),
    (with_attribute, "guard"),
    (lambda lock: closure({"a": [1, lock]}), "captured['a'][1]"),
    (lambda lock: closure(Holder(x=1, lock=lock)), "captured.lock"),
    (lambda lock: closure(Slotted()), "captured.lock"),
    (lambda lock: Holder(lock=lock).method, "self.lock"),
    (lambda lock: Holder(lock=lock), "lock"),
    (lambda lock: functools.partial(with_default(1), guard=lock), "guard"),
    (lambda lock: functools.partial(closure(lock)), "captured"),
    (lambda lock: functools.partial(closure(1), lock), "argument 0"),
]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_the_captured_variable_is_named(make: Callable[[Any], Any], name: str) -> None:
    objective = make(threading.Lock())
    with pytest.raises(TypeError):
        cloudpickle.dumps(objective)
    found = find_unpicklable(objective)
    assert found is not None
    assert found[0] == name
    assert describe_type(found[1]) == "_thread.lock"


def test_a_global_of_a_main_function_is_named() -> None:
    space = {"GUARD": threading.Lock(), "other": 1, "__name__": "__main__"}
    exec("def helper():\n    return [GUARD for _ in 'x']\ndef objective(config):\n    return helper(), other", space)
    found = find_unpicklable(space["objective"])
    assert found is not None
    assert found[0] == "helper → GUARD"


def test_nothing_is_found_in_what_can_be_pickled() -> None:
    assert find_unpicklable(closure([1, {"a": "b"}])) is None


def test_types_are_named_as_users_know_them() -> None:
    with socket.socket() as connection:
        assert describe_type(connection) == "socket.socket"
    assert describe_type(each for each in "ab") == "generator"
    assert describe_type(3) == "int"


def test_the_largest_part_is_named() -> None:
    big = bytes(100_000)
    objective = closure(big)
    assert largest_part([Part("small", 1), Part("objective", objective)]) == (
        "objective → captured",
        len(cloudpickle.dumps(big)),
    )
    assert largest_part([]) is None
