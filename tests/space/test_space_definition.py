"""The space as a whole: what is refused when it is written, validation of configs, products, JSON."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import numpy as np
import pytest

from dhflow.errors import ConfigNotInSpaceError, SpaceError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, SearchSpace


def nested() -> SearchSpace:
    return SearchSpace(
        {
            "momentum": Float(0, 1, when={"optimizer": ["sgd", "rmsprop"]}),
            "optimizer": Categorical(["adam", "sgd", "rmsprop"]),
            "nesterov": Categorical([False, True], when={"optimizer": "sgd"}),
            "decay": Ordinal([1, 2, 4], when={"nesterov": True, "schedule": "step"}),
            "schedule": Categorical(["none", "step"]),
            "layers": Integer(1, 3),
        },
        forbidden=[{"optimizer": "sgd", "layers": [2, 3]}],
    )


@pytest.mark.parametrize(
    ("arguments", "path", "says"),
    [
        ([{}], "parameters", "empty"),
        ([[Float(0, 1)]], "parameters", "mapping"),
        ([{"": Float(0, 1)}], "parameters", "not empty"),
        ([{3: Float(0, 1)}], "parameters", "string"),
        ([{"x": (0, 1)}], "x", "not a Float"),
        ([{"x": Float}], "x", "not a Float"),
        ([{"momentum": Float(0, 1, when={"optimiser": "sgd"})}], "momentum.when", "no parameter 'optimiser'"),
        (
            [{"m": Float(0, 1, when={"o": "sgdd"}), "o": Categorical(["sgd", "adam"])}],
            "m.when",
            "'sgdd' is not one of ['sgd', 'adam']",
        ),
        ([{"m": Float(0, 1, when={"o": 1}), "o": Categorical([True, False])}], "m.when", "1 is not one of"),
        ([{"m": Float(0, 1, when={"o": 0.5}), "o": Float(0, 1)}], "m.when", "hardly ever"),
        ([{"x": Categorical([1], when={"x": 1})}], "x.when", "circle: x ← x"),
        (
            [{"c": Float(0, 1, when={"a": 1}), "a": Integer(1, 2, when={"b": 1}), "b": Integer(1, 2, when={"a": 2})}],
            "a.when",
            "circle: a ← b ← a",
        ),
    ],
)
def test_refuses_parameters(arguments: Any, path: str | None, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(*arguments)
    assert caught.value.path == path
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "path", "says"),
    [
        ({"forbidden": {"a": 1}}, "forbidden", "list"),
        ({"forbidden": [{}]}, "forbidden[0]", "mapping"),
        ({"forbidden": [{"a": 2}, {"z": 1}]}, "forbidden[1]", "no parameter 'z'"),
        ({"forbidden": [{"a": 9}]}, "forbidden[0]", "9 is not a whole number"),
        ({"forbidden": [{"x": 0.5}]}, "forbidden[0]", "hardly ever"),
        ({"forbidden": [{"a": [1, 2, 3], "b": "u"}]}, "default", "is forbidden: give the parameters other defaults"),
        ({"constraints": ["a < 3"]}, "constraints", "function"),
        ({"constraints": lambda _: True}, "constraints", "list"),
        ({"constraints": [lambda config: config["a"] > 2]}, "default", "'<lambda>' refuses"),
        ({"starting_points": {"a": 1}}, "starting_points", "list"),
        ({"starting_points": [{"a": 1, "b": "u", "x": 2.0}]}, "starting_points[0]", "x: 2.0 is not a number"),
        ({"starting_points": [{"a": 1, "b": "u"}]}, "starting_points[0]", "x: is missing"),
        ({"starting_points": ["abc"]}, "starting_points[0]", "mapping"),
        ({"starting_points": [{"a": 1, "b": "v", "x": 0, "z": 1}]}, "starting_points[0]", "z: the space has no such"),
    ],
)
def test_refuses_rules_and_points(options: Any, path: str | None, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace({"a": Integer(1, 3), "b": Categorical(["u", "v"]), "x": Float(0, 1)}, **options)
    assert caught.value.path == path
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("config", "path", "says"),
    [
        ({"optimizer": "adam", "schedule": "none"}, "layers", "is missing"),
        ({"optimizer": "adam", "schedule": "none", "layer": 1}, "layer", "did you mean 'layers'"),
        ({"optimizer": "adam", "schedule": "none", "layers": 1, 5: 1}, "5", "no such parameter"),
        ({"optimizer": "adam", "schedule": "none", "layers": 4}, "layers", "whole number in [1, 3]"),
        ({"optimizer": "adam", "schedule": "none", "layers": True}, "layers", "True is not a whole number"),
        (
            {"optimizer": "adam", "schedule": "none", "layers": 1, "momentum": 0.5},
            "momentum",
            "inactive: it needs optimizer in ['sgd', 'rmsprop']",
        ),
        (
            {"optimizer": "sgd", "schedule": "none", "layers": 1, "momentum": 0.5, "nesterov": True, "decay": 1},
            "decay",
            "it needs nesterov = True and schedule = 'step'",
        ),
        (
            {"optimizer": "sgd", "schedule": "none", "layers": 2, "momentum": 0.5, "nesterov": True},
            "forbidden[0]",
            "{'optimizer': 'sgd', 'layers': 2} is forbidden",
        ),
        (["optimizer"], None, "mapping"),
    ],
)
def test_validate_says_what_is_wrong(config: dict[str, Any], path: str | None, says: str) -> None:
    with pytest.raises(ConfigNotInSpaceError) as caught:
        nested().validate(config)
    assert caught.value.path == path
    assert says in str(caught.value)
    assert config not in nested()


def test_validate_returns_plain_values_in_order() -> None:
    given = {
        "layers": np.int64(1), "nesterov": np.bool_(True), "schedule": np.str_("step"),
        "optimizer": "sgd", "momentum": 0, "decay": 2.0,
    }  # fmt: skip
    config = nested().validate(given)
    assert list(config.items()) == [
        ("momentum", 0.0), ("optimizer", "sgd"), ("nesterov", True), ("decay", 2), ("schedule", "step"), ("layers", 1),
    ]  # fmt: skip
    assert {type(each) for each in config.values()} == {float, str, bool, int}
    np.testing.assert_array_equal(nested().encode([given]), nested().encode([config]))


def test_a_constraint_refuses_by_name() -> None:
    def small(config: dict[str, Any]) -> Any:
        return config["x"] < 0.75

    space = SearchSpace({"x": Float(0, 1)}, constraints=[small])
    with pytest.raises(ConfigNotInSpaceError, match="'small' refuses"):
        space.validate({"x": 0.8})


@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": "adam", "schedule": "none"},
        {"optimizer": "adam", "schedule": "none", "layers": 1, "momentum": 0.5},
        {"optimizer": "rmsprop", "schedule": "none", "layers": 1, "nesterov": True},  # one too few, one too many
        {"optimizer": "adam", "schedule": "none", "layers": 1.5},
        {"optimizer": "adam", "schedule": "none", "layers": "1"},
        {"optimizer": ["adam"], "schedule": "none", "layers": 1},
        {"optimizer": "sgd", "schedule": "none", "layers": 1, "momentum": math.nan, "nesterov": False},
        {"optimizer": "sgd", "schedule": "none", "layers": 1, "momentum": 0.5, "nesterov": 0},
        None,
    ],
)
def test_encode_refuses_what_has_no_code(config: dict[str, Any]) -> None:
    fine = {"optimizer": "adam", "schedule": "none", "layers": 1}
    with pytest.raises(ConfigNotInSpaceError):
        nested().encode([fine, config])


def test_what_it_consists_of() -> None:
    space = nested()
    assert space.names == ("momentum", "optimizer", "nesterov", "decay", "schedule", "layers")
    assert list(space.parameters) == list(space.names)
    assert len(space) == 6
    assert "decay" in space
    assert "optimiser" not in space
    assert space.default_config() == {"optimizer": "adam", "schedule": "none", "layers": 2}
    assert space.is_categorical.tolist() == [False, True, True, False, True, False]
    assert space.n_values.tolist() == [math.inf, 3, 2, 3, 2, 3]
    parameters: Any = space.parameters
    with pytest.raises(TypeError):
        parameters["x"] = Float(0, 1)
    space.default_config().clear()
    assert space.default_config()


def test_starting_points_are_copies_in_plain_python() -> None:
    space = SearchSpace({"a": Integer(1, 9)}, starting_points=[{"a": np.int64(3)}, {"a": 4.0}])
    assert space.starting_points == [{"a": 3}, {"a": 4}]
    space.starting_points[0]["a"] = 9
    assert space.starting_points[0] == {"a": 3}


def test_product_joins_spaces_and_keeps_groups() -> None:
    layers = SearchSpace(
        {"depth": Integer(1, 3), "wide": Categorical([False, True], when={"depth": [2, 3]})},
        forbidden=[{"depth": 3, "wide": True}],
        starting_points=[{"depth": 1}],
    ).grouped("architecture")
    training = SearchSpace(
        {"lr": Float(0, 1)}, constraints=[lambda config: config["lr"] < 0.9], starting_points=[{"lr": 0.25}]
    )
    both = layers * training
    assert both.names == ("depth", "wide", "lr")
    assert both.groups == {"architecture": ("depth", "wide"), "hyperparameter": ("lr",)}
    assert both.starting_points == [{"depth": 1, "lr": 0.5}, {"depth": 2, "wide": False, "lr": 0.25}]
    assert {"depth": 3, "wide": True, "lr": 0.1} not in both
    assert {"depth": 1, "lr": 0.95} not in both
    assert SearchSpace.from_json(both.to_json()).groups == both.groups
    assert layers * training != training * layers
    with pytest.raises(SpaceError, match="both spaces have 'lr'"):
        both * training
    with pytest.raises(TypeError):
        both * 2


def test_what_decides_an_architecture_is_a_group() -> None:
    cell = SearchSpace({"stem": Integer(1, 2), "edge": Integer(0, 4, group="architecture")})
    assert cell.architecture == ("edge",)
    assert (cell * SearchSpace({"node": Integer(0, 4)}).grouped("architecture")).architecture == ("edge", "node")
    assert SearchSpace.from_json(json.loads(json.dumps(cell.to_json()))).architecture == ("edge",)
    assert SearchSpace({"lr": Float(0, 1)}).architecture == ()


def test_json_form_is_the_documented_one() -> None:
    def small(config: dict[str, Any]) -> Any:
        return config["lr"] < 0.09

    space = SearchSpace(
        {
            "lr": Float(1e-5, 0.1, log=True, prior=Normal(-7, 1)),
            "batch": Ordinal([8, 16], when={"flag": True}),
            "flag": Categorical([True, 1, None, "a"]),
            "units": Integer(1, 5),
            "note": Constant("x", group="architecture"),
        },
        forbidden=[{"flag": 1, "units": [4, 5]}],
        constraints=[functools.partial(small)],
        starting_points=[{"lr": 0.01, "flag": 1, "units": 3, "note": "x"}],
    )
    data = space.to_json()
    assert data == {
        "version": 1,
        "parameters": [
            {
                "name": "lr", "type": "float", "low": 1e-5, "high": 0.1, "log": True,
                "prior": {"mean": -7.0, "std": 1.0}, "default": 0.000911881965555, "group": "hyperparameter",
            },
            {
                "name": "batch", "type": "ordinal", "values": [8, 16], "default": 8,
                "when": {"flag": [True]}, "group": "hyperparameter",
            },
            {
                "name": "flag", "type": "categorical", "choices": [True, 1, None, "a"], "default": True,
                "group": "hyperparameter",
            },
            {
                "name": "units", "type": "integer", "low": 1, "high": 5, "log": False, "default": 3,
                "group": "hyperparameter",
            },
            {"name": "note", "type": "constant", "value": "x", "default": "x", "group": "architecture"},
        ],
        "forbidden": [{"flag": [1], "units": [4, 5]}],
        "constraints": ["small"],
        "starting_points": [{"lr": 0.01, "flag": 1, "units": 3, "note": "x"}],
    }  # fmt: skip
    again = SearchSpace.from_json(json.loads(json.dumps(data)))
    assert again == space
    assert hash(again) == hash(space)
    assert again.starting_points == space.starting_points
    assert [each.name for each in again.constraints] == ["small"]


def test_constraints_read_from_json_cannot_be_called() -> None:
    def small(config: dict[str, Any]) -> Any:
        return config["x"] < 0.75

    space = SearchSpace({"x": Float(0, 1)}, constraints=[small])
    again = SearchSpace.from_json(space.to_json())
    np.testing.assert_array_equal(again.encode([{"x": 0.25}]), space.encode([{"x": 0.25}]))
    for use in (
        lambda: again.sample(1, np.random.default_rng(0)),
        lambda: again.validate({"x": 0.5}),
        lambda: again.allowed(np.zeros((1, 1))),
    ):
        with pytest.raises(SpaceError, match="'small' is known by its name only"):
            use()


def test_equality_compares_names_of_constraints_only() -> None:
    def rule(config: Any) -> Any:
        return config["x"] < 0.75

    def other(config: Any) -> Any:
        return config["x"] <= 0.5

    other.__name__ = "rule"
    spaces = [SearchSpace({"x": Float(0, 1)}, constraints=[each]) for each in (rule, other)]
    assert spaces[0] == spaces[1]
    assert spaces[0] != SearchSpace({"x": Float(0, 1)})
    assert SearchSpace({"x": Categorical([True, False])}) != SearchSpace({"x": Categorical([1, 0])})
    assert spaces[0] != "a space"


def valid() -> dict[str, Any]:
    return SearchSpace({"x": Float(0, 1, prior=Normal(0.5, 1)), "c": Categorical(["a", "b"])}).to_json()


def broken(change: Any) -> dict[str, Any]:
    data = valid()
    change(data)
    return data


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        ([], "version", "no search space"),
        ({}, "version", "no search space"),
        (broken(lambda data: data.update(version=2)), "version", "newer dhflow"),
        (broken(lambda data: data.update(version="1")), "version", "no version"),
        (broken(lambda data: data.update(version=True)), "version", "no version"),
        (broken(lambda data: data.update(extra=1)), None, "unknown key 'extra'"),
        (broken(lambda data: data.pop("parameters")), None, "'parameters' is missing"),
        (broken(lambda data: data.update(parameters={})), "parameters", "no list"),
        (broken(lambda data: data.update(constraints=[1])), "constraints[0]", "no string"),
        (broken(lambda data: data.update(forbidden=[{"c": "z"}])), "forbidden[0]", "not one of"),
        (broken(lambda data: data["parameters"].append(3)), "parameters[2]", "no parameter"),
        (broken(lambda data: data["parameters"].append(data["parameters"][0])), "x", "twice"),
        (broken(lambda data: data["parameters"][0].update(step=1)), "x", "unknown key 'step'"),
        (broken(lambda data: data["parameters"][0].update(type="real")), "x.type", "not one of"),
        (broken(lambda data: data["parameters"][0].update(name=3)), "parameters[0].name", "no string"),
        (broken(lambda data: data["parameters"][0].pop("low")), "x", "'low' is missing"),
        (broken(lambda data: data["parameters"][0].update(low=2)), "x.low", "below"),
        (broken(lambda data: data["parameters"][0].update(prior=[0, 1])), "x.prior", "no prior"),
        (broken(lambda data: data["parameters"][0]["prior"].update(skew=1)), "x.prior", "unknown key"),
        (broken(lambda data: data["parameters"][0]["prior"].update(std=-1)), "x.prior.std", "positive"),
        (broken(lambda data: data["parameters"][1].update(when={"x": [1]})), "c.when", "hardly ever"),
    ],
)
def test_json_reader_is_strict(data: Any, path: str | None, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_json(data)
    assert caught.value.path == path
    assert says in str(caught.value)


def test_text_of_a_space_names_everything() -> None:
    space = SearchSpace(
        {"a": Integer(1, 3), "b": Categorical(["u", "v"], when={"a": 2})},
        forbidden=[{"a": 2, "b": "v"}],
        constraints=[lambda _: True],
        starting_points=[{"a": 3}],
    )
    assert repr(space) == (
        "SearchSpace({\n"
        "    'a': Integer(1, 3),\n"
        "    'b': Categorical(['u', 'v'], when={'a': [2]}),\n"
        "}, forbidden=[{'a': [2], 'b': ['v']}], constraints=[<lambda>], starting_points=[{'a': 3}])"
    )
