"""Import from and export to ConfigSpace."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

from dhflow.errors import MissingExtraError, SpaceError
from dhflow.space import Categorical, Constant, Float, Integer, Normal, Ordinal, SearchSpace
from dhflow.space.configspace import from_configspace, to_configspace


@pytest.fixture(scope="module")
def package() -> Any:
    return pytest.importorskip("ConfigSpace")


def everything() -> SearchSpace:
    return SearchSpace(
        {
            "lr": Float(1e-6, 1, log=True, default=1e-3),
            "drop": Float(0, 0.9, prior=Normal(0.5, 0.125)),
            "clip": Float(1e-4, 1, log=True, prior=Normal(math.log(1e-2), 1.5)),
            "epochs": Integer(5, 60),
            "units": Integer(16, 1024, log=True, group="architecture"),
            "layers": Integer(1, 9, prior=Normal(3, 2)),
            "batch": Ordinal([8, 16, 32], default=8),
            "flag": Categorical([False, True]),
            "optimizer": Categorical(["sgd", "adam", "rmsprop"], default="adam"),
            "note": Constant("x", when={"flag": True}),
            "momentum": Float(0, 1, when={"optimizer": ["sgd", "rmsprop"]}),
            "nesterov": Categorical([False, True], when={"optimizer": "sgd", "flag": False}),
        },
        forbidden=[{"optimizer": "sgd", "batch": [8, 16], "flag": True}, {"epochs": 7}],
    )


@pytest.mark.usefixtures("package")
def test_what_goes_out_comes_back() -> None:
    space = everything()
    again = from_configspace(to_configspace(space))
    assert set(again.names) == set(space.names)
    parameters: dict[str, Any] = dict(space.parameters)
    for name, parameter in parameters.items():
        found: Any = again.parameters[name]
        if getattr(parameter, "prior", None) is None:
            assert found == parameter
        else:
            assert (found.low, found.high, found.log) == (parameter.low, parameter.high, parameter.log)
            assert found.prior.mean == pytest.approx(parameter.prior.mean)
            assert found.prior.std == pytest.approx(parameter.prior.std)
    assert again.forbidden == space.forbidden
    assert again.groups["architecture"] == ("units",)


@pytest.mark.usefixtures("package")
def test_both_agree_on_which_configs_are_valid() -> None:
    space = everything()
    other = to_configspace(space)
    other.seed(1)
    for configuration in other.sample_configuration(200):
        assert dict(configuration) in space
    for config in space.sample(200, np.random.default_rng(0)):
        type(other.sample_configuration())(other, values=config).check_valid_configuration()


def test_imports_what_others_write(package: Any) -> None:
    space = from_configspace(
        package.ConfigurationSpace({"a": (0.5, 5.5), "b": (1, 10), "c": ["x", "y"], "d": 3.5, "e": (1, 8)})
    )
    assert dict(space.parameters) == {
        "a": Float(0.5, 5.5),
        "b": Integer(1, 10, default=6),
        "c": Categorical(["x", "y"]),
        "d": Constant(3.5),
        "e": Integer(1, 8, default=4),
    }


@pytest.mark.parametrize(
    ("space", "path", "says"),
    [
        (SearchSpace({"x": Float(0, 1)}, constraints=[lambda _: True]), "constraints", "code constraints"),
        (SearchSpace({"x": Float(0, 1)}, starting_points=[{"x": 0.5}]), "starting_points", "starting points"),
        (SearchSpace({"x": Float(1e-20, 1, log=True)}), "x.low", "round 1e-20"),
        (SearchSpace({"x": Float(2, 9, log=True, prior=Normal(1, 0.1))}), "x.prior", "narrow"),
    ],
)
@pytest.mark.usefixtures("package")
def test_export_refuses_what_cannot_be_held(space: SearchSpace, path: str | None, says: str) -> None:
    with pytest.raises(SpaceError, match=says) as caught:
        to_configspace(space)
    assert caught.value.path == path


def _beta(package: Any, space: Any) -> str:
    space.add(package.BetaFloatHyperparameter("beta", 2, 3, 0, 1))
    return "beta"


def _weights(package: Any, space: Any) -> str:
    space.add(package.CategoricalHyperparameter("weighted", ["u", "v"], weights=[1, 3]))
    return "weighted.choices"


def _greater(package: Any, space: Any) -> str:
    space.add(package.GreaterThanCondition(space["x"], space["i"], 3))
    return "x.when"


def _either(package: Any, space: Any) -> str:
    terms = (package.EqualsCondition(space["x"], space[name], 2) for name in "ij")
    space.add(package.OrConjunction(*terms))
    return "x.when"


def _nested(package: Any, space: Any) -> str:
    either = package.OrConjunction(*(package.EqualsCondition(space["x"], space[name], 2) for name in "ij"))
    space.add(package.AndConjunction(either, package.EqualsCondition(space["x"], space["c"], "a")))
    return "x.when"


def _relation(package: Any, space: Any) -> str:
    space.add(package.ForbiddenLessThanRelation(space["i"], space["j"]))
    return "forbidden[0]"


def _same_twice(package: Any, space: Any) -> str:
    clauses = (package.ForbiddenInClause(space["i"], values) for values in ([1, 2], [2, 3]))
    space.add(package.ForbiddenAndConjunction(*clauses))
    return "forbidden[0]"


@pytest.mark.parametrize("add", [_beta, _weights, _greater, _either, _nested, _relation, _same_twice])
def test_import_refuses_what_has_no_counterpart(package: Any, add: Any) -> None:
    space = package.ConfigurationSpace({"x": (0.0, 1.0), "i": (1, 9), "j": (1, 9), "c": ["a", "b"]})
    path = add(package, space)
    with pytest.raises(SpaceError, match=r"counterpart|twice") as caught:
        from_configspace(space)
    assert caught.value.path == path


def test_without_the_package_the_extra_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ConfigSpace", None)
    with pytest.raises(MissingExtraError, match=r"dhflow\[configspace\]"):
        to_configspace(SearchSpace({"x": Float(0, 1)}))


def test_space_does_not_load_it() -> None:
    import subprocess

    code = "import sys, dhflow.space; sys.exit('ConfigSpace' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
