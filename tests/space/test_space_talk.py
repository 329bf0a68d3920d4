"""The search space of the DeepHyper talk, held as it was shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dhflow.errors import ConfigNotInSpaceError
from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace


def talk_space() -> SearchSpace:
    """Hyperparameters of a training loop: many optimizers, some of whose arguments share a name."""
    return SearchSpace(
        {
            "optimizer": Categorical(["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"]),
            "learning_rate": Float(1e-6, 1.0, log=True),
            "rho_momentum": Float(0.0, 1.0, when={"optimizer": ["sgd", "rmsprop", "adadelta"]}),
            "beta_1": Float(0.0, 1.0 - 1e-6, when={"optimizer": ["adam", "adamax", "nadam"]}),
            "beta_2": Float(0.0, 1.0 - 1e-8, when={"optimizer": ["adam", "adamax", "nadam"]}),
            "epsilon": Float(
                1e-20, 1.0, log=True, when={"optimizer": ["rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"]}
            ),
            "decay": Float(0.0, 1.0),
            "set_clipnorm": Categorical([False, True]),
            "clipnorm": Float(1e-4, 1.0, log=True, when={"set_clipnorm": True}),
            "set_clipvalue": Categorical([False, True]),
            "clipvalue": Float(1e-4, 1.0, log=True, when={"set_clipvalue": True}),
            "batch_size": Ordinal.geometric(8, 512, 2),
            "epochs": Integer(5, 60),
            "nunits": Integer(256, 1024),
            "activation": Categorical(["relu", "elu", "selu", "tanh", "sigmoid"]),
            "dropout": Float(0.0, 0.9),
        },
        forbidden=[{"set_clipnorm": True, "set_clipvalue": True}],
    )


@pytest.fixture(scope="module")
def configs() -> list[dict[str, Any]]:
    return talk_space().sample(3000, np.random.default_rng(0))


def test_samples_cover_the_space_and_stay_in_it(configs: list[dict[str, Any]]) -> None:
    space = talk_space()
    assert all(space.validate(each) == each for each in configs)
    assert {each["batch_size"] for each in configs} == {8, 16, 32, 64, 128, 256, 512}
    assert {each["epochs"] for each in configs} == set(range(5, 61))
    assert min(each["epsilon"] for each in configs if "epsilon" in each) < 1e-19
    assert max(each["beta_2"] for each in configs if "beta_2" in each) > 0.99


def test_both_clippings_are_never_on(configs: list[dict[str, Any]]) -> None:
    switches = {(each["set_clipnorm"], each["set_clipvalue"]) for each in configs}
    assert switches == {(False, False), (True, False), (False, True)}
    for each in configs:
        assert ("clipnorm" in each) == each["set_clipnorm"]
        assert ("clipvalue" in each) == each["set_clipvalue"]


def test_one_name_serves_several_optimizers(configs: list[dict[str, Any]]) -> None:
    with_momentum = {each["optimizer"] for each in configs if "rho_momentum" in each}
    assert with_momentum == {"sgd", "rmsprop", "adadelta"}
    assert all("rho_momentum" in each for each in configs if each["optimizer"] in with_momentum)


def test_a_forbidden_config_is_refused() -> None:
    config = {**talk_space().default_config(), "set_clipnorm": True, "clipnorm": 0.1}
    assert talk_space().validate(config) == config
    with pytest.raises(ConfigNotInSpaceError, match="forbidden"):
        talk_space().validate({**config, "set_clipvalue": True, "clipvalue": 0.1})


def test_bounds_near_one_round_trip() -> None:
    space = talk_space()
    bounds = {"beta_1": 1 - 1e-6, "beta_2": 1 - 1e-8, "epsilon": 1e-20, "learning_rate": 1e-6}
    config = {**space.default_config(), "optimizer": "adam", **bounds}
    del config["rho_momentum"]
    assert space.decode(space.encode([config])) == [space.validate(config)]


def test_arrays_and_json_bring_it_back(configs: list[dict[str, Any]]) -> None:
    space = talk_space()
    X = space.encode(configs)
    assert X.shape == (3000, 16)
    assert space.decode(X) == configs
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
