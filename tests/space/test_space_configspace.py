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


def _greater_real(package: Any, space: Any) -> str:
    space.add(package.GreaterThanCondition(space["i"], space["x"], 0.5))
    return "i.when"


def _never(package: Any, space: Any) -> str:
    terms = (package.EqualsCondition(space["x"], space["i"], value) for value in (2, 3))
    space.add(package.AndConjunction(*terms))
    return "x.when"


def _either(package: Any, space: Any) -> str:
    terms = (package.EqualsCondition(space["x"], space[name], 2) for name in "ij")
    space.add(package.OrConjunction(*terms))
    return "x.when"


def _nested(package: Any, space: Any) -> str:
    either = package.OrConjunction(*(package.EqualsCondition(space["x"], space[name], 2) for name in "ij"))
    space.add(package.AndConjunction(either, package.EqualsCondition(space["x"], space["c"], "a")))
    return "x.when"


@pytest.mark.parametrize("add", [_beta, _weights, _greater_real, _never, _either, _nested])
def test_import_refuses_what_has_no_counterpart(package: Any, add: Any) -> None:
    space = package.ConfigurationSpace({"x": (0.0, 1.0), "i": (1, 9), "j": (1, 9), "c": ["a", "b"]})
    path = add(package, space)
    with pytest.raises(SpaceError, match=r"counterpart|no value") as caught:
        from_configspace(space)
    assert caught.value.path == path


def comparing(package: Any) -> Any:
    """Return a space with every kind of condition and forbidden term that import can read."""
    space = package.ConfigurationSpace({"a": (0.0, 1.0), "b": (0.0, 1.0), "i": (1, 9), "j": (1, 9), "c": [*"uvw"]})
    space.add(package.OrdinalHyperparameter("size", ["s", "m", "l", "xl"]))
    space.add(*(package.UniformFloatHyperparameter(f"x{n}", 0.0, 1.0) for n in range(5)))
    space.add(package.GreaterThanCondition(space["x0"], space["i"], 3))
    space.add(package.LessThanCondition(space["x1"], space["size"], "l"))
    space.add(package.NotEqualsCondition(space["x2"], space["c"], "v"))
    space.add(
        package.OrConjunction(
            package.LessThanCondition(space["x3"], space["i"], 2),
            package.GreaterThanCondition(space["x3"], space["i"], 8),
        )
    )
    space.add(
        package.AndConjunction(
            package.GreaterThanCondition(space["x4"], space["i"], 2),
            package.LessThanCondition(space["x4"], space["i"], 6),
            package.NotEqualsCondition(space["x4"], space["c"], "u"),
        )
    )
    forbidden = package.forbidden
    space.add(forbidden.ForbiddenLessThanRelation(space["j"], space["i"]))
    space.add(
        package.ForbiddenAndConjunction(
            forbidden.ForbiddenGreaterThanClause(space["a"], 0.5), package.ForbiddenEqualsClause(space["c"], "w")
        )
    )
    space.add(
        forbidden.ForbiddenOrConjunction(
            package.ForbiddenEqualsClause(space["j"], 9),
            forbidden.ForbiddenGreaterThanEqualsClause(space["size"], "xl"),
        )
    )
    clauses = (package.ForbiddenInClause(space["i"], values) for values in ([1, 2], [2, 3]))
    space.add(package.ForbiddenAndConjunction(*clauses))
    return space


def test_comparisons_become_lists_or_constraints(package: Any) -> None:
    space = from_configspace(comparing(package))
    when = {name: space.parameters[name].when for name in ("x0", "x1", "x2", "x3", "x4")}
    assert when == {
        "x0": {"i": (4, 5, 6, 7, 8, 9)},
        "x1": {"size": ("s", "m")},
        "x2": {"c": ("u", "w")},
        "x3": {"i": (1, 9)},
        "x4": {"i": (3, 4, 5), "c": ("v", "w")},
    }
    assert sorted(map(repr, space.forbidden)) == sorted(map(repr, [{"j": (9,)}, {"size": ("xl",)}, {"i": (2,)}]))
    assert len(space.constraints) == 2


def test_both_agree_where_things_are_compared(package: Any) -> None:
    other = comparing(package)
    space = from_configspace(other)
    other.seed(1)
    for configuration in other.sample_configuration(200):
        assert dict(configuration) in space
    for config in space.sample(200, np.random.default_rng(0)):
        type(other.get_default_configuration())(other, values=config).check_valid_configuration()


def test_many_whole_numbers_are_listed_only_when_they_are_named(package: Any) -> None:
    space = package.ConfigurationSpace({"x": (0.0, 1.0), "n": (1, 1_000_000)})
    space.add(package.InCondition(space["x"], space["n"], [5, 50_000]))
    assert from_configspace(space).parameters["x"].when == {"n": (5, 50_000)}
    other = package.ConfigurationSpace({"x": (0.0, 1.0), "n": (1, 1_000_000)})
    other.add(package.GreaterThanCondition(other["x"], other["n"], 5))
    with pytest.raises(SpaceError, match="compares 'n'"):
        from_configspace(other)


def test_without_the_package_the_extra_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ConfigSpace", None)
    with pytest.raises(MissingExtraError, match=r"dhflow\[configspace\]"):
        to_configspace(SearchSpace({"x": Float(0, 1)}))


def test_space_does_not_load_it() -> None:
    import subprocess

    code = "import sys, dhflow.space; sys.exit('ConfigSpace' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
