from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from dhflow.errors import ExecutionError
from dhflow.train.signature import CallForm, call_form, check_needs_nothing, name_of


def plain(config: Any) -> None: ...
def with_trial(config: Any, trial: Any) -> None: ...
def other_name(config: Any, ctx: Any) -> None: ...
def with_option(config: Any, epochs: int = 5) -> None: ...
def optional_trial(config: Any, trial: Any = None) -> None: ...
def keyword_trial(config: Any, *, trial: Any) -> None: ...
def with_data(config: Any, data: Any) -> None: ...
def with_data_and_trial(config: Any, trial: Any, data: Any) -> None: ...
def data_between(config: Any, data: Any, trial: Any) -> None: ...
def anything(*values: Any, **named: Any) -> None: ...


class Model:
    def __call__(self, config: Any, trial: Any) -> None: ...

    def train(self, config: Any) -> None: ...


@functools.wraps(with_trial)
def wrapped(*values: Any, **named: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "arguments", "form"),
    [
        (plain, {}, CallForm()),
        (with_trial, {}, CallForm(True)),
        (other_name, {}, CallForm(True)),
        (with_option, {}, CallForm()),
        (with_option, {"epochs": 3}, CallForm()),
        (optional_trial, {}, CallForm(True)),
        (keyword_trial, {}, CallForm(True, None, "trial")),
        (with_data, {"data": 1}, CallForm()),
        (with_data_and_trial, {"data": 1}, CallForm(True)),
        (data_between, {"data": 1}, CallForm(True, None, "trial")),
        (data_between, {"config": 1}, CallForm(True, "data", "trial")),
        (anything, {"data": 1}, CallForm()),
        (wrapped, {}, CallForm(True)),
        (Model(), {}, CallForm(True)),
        (Model().train, {}, CallForm()),
        (functools.partial(with_data_and_trial, data=1), {}, CallForm(True)),
        (dict, {}, CallForm()),
        (lambda config: 1.0, {}, CallForm()),
    ],
)
def test_the_form_follows_from_the_signature(
    function: Callable[..., Any], arguments: dict[str, Any], form: CallForm
) -> None:
    assert call_form(function, arguments) == form


def told(*values: Any, **named: Any) -> Any:
    return values, named


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (CallForm(), (("C",), {"data": 1})),
        (CallForm(True), (("C", "T"), {"data": 1})),
        (CallForm(True, None, "trial"), (("C",), {"data": 1, "trial": "T"})),
        (CallForm(True, "config", "trial"), ((), {"data": 1, "config": "C", "trial": "T"})),
        (CallForm(False, "config"), ((), {"data": 1, "config": "C"})),
    ],
)
def test_the_form_decides_how_it_is_called(form: CallForm, expected: Any) -> None:
    assert form.call(told, {"data": 1}, "C", "T") == expected


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (lambda: 1.0, {}, "takes no config"),
        (lambda **named: 1.0, {}, "takes no config"),
        (with_data_and_trial, {}, "'data'"),
        (lambda config, *, data: 1.0, {}, "'data'"),
        (plain, {"data": 1}, "no parameter 'data'"),
        (lambda config, data, /: 1.0, {"data": 1}, "no parameter 'data'"),
    ],
)
def test_what_cannot_be_called_is_refused(
    function: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExecutionError, match=message):
        call_form(function, arguments)


def test_names_for_messages() -> None:
    assert name_of(plain) == "plain"
    assert name_of(functools.partial(functools.partial(plain))) == "plain"
    assert name_of(Model()) == "Model"
    assert name_of(Model().train) == "Model.train"


def test_a_preparation_needs_nothing() -> None:
    check_needs_nothing(lambda size=3: size)
    check_needs_nothing(dict)
    with pytest.raises(ExecutionError, match="'config'"):
        check_needs_nothing(plain)
