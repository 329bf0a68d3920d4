"""Problems whose best value is known: what searchers are compared on, and fresh ones to check a choice on.

The group ``chosen`` is what options of searchers were chosen on; ``fresh`` has problems that no choice was
made on, so a choice that holds on both is not an accident. ``smooth`` has the XGBoost tables again, with several
settings answering for a config instead of the nearest one; ``branches`` and ``branches_fresh`` (``branches.py``) have
choices among models, for what concerns conditional spaces alone. Each problem has an optimum, the regret below
which nobody would care (the floor), and a direction. Table problems need the folder ``shared/data``, and SVC
on digits ``shared/peers``, above the checkout or where ``DHFLOW_SHARED`` says; without them they are left out
and the reason is given.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace

Config = Mapping[str, Any]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BenchmarkProblem:
    """A function over a space, with all that is needed to say how well it was searched.

    Parameters
    ----------
    name : str
    space : SearchSpace
    value : callable
        From a config to its true value, in the sign of `direction`.
    optimum : float
        The best value: known, or the best in a table.
    floor : float
        A regret below this counts as this.
    direction : {"minimize", "maximize"}
    noise : float
        Standard deviation of what is added to each value that a searcher sees; regret is of true values.
    """

    name: str
    space: SearchSpace
    value: Callable[[Config], float]
    optimum: float
    floor: float
    direction: Literal["minimize", "maximize"] = "minimize"
    noise: float = 0.0

    def loss(self, config: Config) -> float:
        """Return the true value as something to minimise."""
        return self.value(config) if self.direction == "minimize" else -self.value(config)

    def regret(self, loss: float) -> float:
        """Return how far a true loss is from the best one, never below 0."""
        best = self.optimum if self.direction == "minimize" else -self.optimum
        return max(0.0, loss - best)

    def fingerprint(self) -> str:
        """Return what changes when the problem does: a hash of its space and of its values at fixed configs."""
        configs = self.space.sample(16, np.random.default_rng(1))
        values = [f"{self.value(each):.9g}" for each in configs]
        parts = [self.name, self.space.to_json(), values, self.optimum, self.direction, self.noise]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _cube(d: int, low: float, high: float) -> dict[str, Float]:
    return {f"x{i}": Float(low, high) for i in range(d)}


def _vector(config: Config, d: int, name: str = "x") -> FloatArray:
    return np.array([config[f"{name}{i}"] for i in range(d)], dtype=np.float64)


# Chosen on -------------------------------------------------------------------------------------------


def branin() -> BenchmarkProblem:
    """Return Branin's function: two parameters, three minima (Dixon and Szegő 1978)."""

    def value(c: Config) -> float:
        x, y = c["x0"], c["x1"]
        bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)

    space = SearchSpace({"x0": Float(-5.0, 10.0), "x1": Float(0.0, 15.0)})
    return BenchmarkProblem("branin", space, value, 0.39788735772973816, 1e-3)


def hartmann6() -> BenchmarkProblem:
    """Return Hartmann's function of six parameters (Dixon and Szegő 1978)."""
    widths = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    value = _hartmann(widths, centres)
    return BenchmarkProblem("hartmann6", SearchSpace(_cube(6, 0.0, 1.0)), value, -3.322368011391339, 1e-2)


def _hartmann(widths: FloatArray, centres: FloatArray) -> Callable[[Config], float]:
    heights = np.array([1.0, 1.2, 3.0, 3.2])
    d = widths.shape[1]

    def value(c: Config) -> float:
        return -float(heights @ np.exp(-(widths * (_vector(c, d) - centres) ** 2).sum(axis=1)))

    return value


def rosenbrock5() -> BenchmarkProblem:
    """Return Rosenbrock's curved valley in five dimensions."""

    def value(c: Config) -> float:
        x = _vector(c, 5)
        return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())

    return BenchmarkProblem("rosenbrock5", SearchSpace(_cube(5, -5.0, 10.0)), value, 0.0, 0.1)


# The optimum of Ackley 10, off the middle: uniform draws of NumPy's RandomState(7), as `shared/peers` has them, so
# that its recorded runs are runs on this very problem.
_ACKLEY_SHIFT = np.array(
    [
        *(-10.168601055025029, 6.71805101376275, -1.478178445418557, 5.36316426794259, 11.471748287918466),
        *(2, 11, -4),
    ]
)
_ACKLEY_LEVELS = [
    {"a": 12.0, "b": 0.0, "c": 9.0, "d": 6.0, "e": 3.0},
    {"a": 3.0, "b": 12.0, "c": 6.0, "d": 9.0, "e": 0.0},
]


def ackley10_mixed() -> BenchmarkProblem:
    """Return a shifted Ackley function of five floats, three integers and two unordered choices."""
    space = SearchSpace(
        {
            **_cube(5, -20.0, 20.0),
            **{f"k{i}": Integer(-20, 20) for i in range(3)},
            **{f"c{i}": Categorical(list("abcde")) for i in range(2)},
        }
    )

    def value(c: Config) -> float:
        z = np.concatenate([_vector(c, 5), _vector(c, 3, "k")]) - _ACKLEY_SHIFT
        z = np.append(z, [_ACKLEY_LEVELS[i][c[f"c{i}"]] for i in range(2)])
        far = -20 * math.exp(-0.2 * math.sqrt((z**2).mean()))
        return float(far - math.exp(np.cos(2 * math.pi * z).mean()) + 20 + math.e)

    return BenchmarkProblem("ackley10_mixed", space, value, 0.0, 0.1)


def levy10() -> BenchmarkProblem:
    """Return Levy's function in ten dimensions (Laguna and Martí 2005)."""

    def value(c: Config) -> float:
        w = 1 + (_vector(c, 10) - 1) / 4
        middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
        last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
        return float(math.sin(math.pi * w[0]) ** 2 + middle + last)

    return BenchmarkProblem("levy10", SearchSpace(_cube(10, -10.0, 10.0)), value, 0.0, 0.1)


def optimizers12() -> BenchmarkProblem:
    """Return a made-up training: each optimizer has parameters of its own, and a learning rate that suits it.

    Twelve parameters, at most eight active. Every term is 0 at its optimum; RMSprop and SGD lose even then.
    """
    space = SearchSpace(
        {
            "optimizer": Categorical(["sgd", "adam", "rmsprop"]),
            "learning_rate": Float(1e-5, 1.0, log=True),
            "momentum": Float(0.0, 0.99, when={"optimizer": "sgd"}),
            "nesterov": Categorical([True, False], when={"optimizer": "sgd"}),
            "one_minus_beta1": Float(1e-2, 0.5, log=True, when={"optimizer": "adam"}),
            "one_minus_beta2": Float(1e-4, 0.1, log=True, when={"optimizer": "adam"}),
            "rho": Float(0.5, 0.999, when={"optimizer": "rmsprop"}),
            "layers": Integer(1, 6),
            "units": Ordinal.geometric(16, 1024, 2),
            "regularizer": Categorical(["none", "l2", "dropout"]),
            "weight_decay": Float(1e-6, 1e-1, log=True, when={"regularizer": "l2"}),
            "dropout": Float(0.0, 0.8, when={"regularizer": "dropout"}),
        }
    )
    best_rate = {"sgd": -1.2, "adam": -3.0, "rmsprop": -3.5}

    def value(c: Config) -> float:
        rate = math.log10(c["learning_rate"]) - best_rate[c["optimizer"]] + 0.15 * (c["layers"] - 3)
        size = 0.02 * (c["layers"] - 3) ** 2 + 0.03 * (math.log2(c["units"]) - 8) ** 2
        return float(0.3 * rate**2 + _own_loss(c) + _penalty(c) + size)

    return BenchmarkProblem("optimizers12", space, value, 0.0, 1e-2)


def _own_loss(c: Config) -> float:
    """Return what an optimizer loses by its own parameters."""
    if c["optimizer"] == "sgd":
        return float(0.15 + 2 * (c["momentum"] - 0.9) ** 2 + (0.0 if c["nesterov"] else 0.05))
    if c["optimizer"] == "rmsprop":
        return float(0.08 + 1.5 * (c["rho"] - 0.95) ** 2)
    first, second = math.log10(c["one_minus_beta1"]), math.log10(c["one_minus_beta2"])
    return 0.2 * (first + 1.0) ** 2 + 0.1 * (second + 2.5) ** 2


def _penalty(c: Config) -> float:
    """Return what a regularizer loses."""
    if c["regularizer"] == "l2":
        return 0.04 + 0.03 * (math.log10(c["weight_decay"]) + 3.5) ** 2
    return 0.12 if c["regularizer"] == "none" else float((c["dropout"] - 0.3) ** 2)


# Fresh ------------------------------------------------------------------------------------------------


def styblinski8() -> BenchmarkProblem:
    """Return the function of Styblinski and Tang (1990) in eight dimensions: 256 minima, one the best."""

    def value(c: Config) -> float:
        x = _vector(c, 8)
        return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)

    return BenchmarkProblem("styblinski8", SearchSpace(_cube(8, -5.0, 5.0)), value, -39.16616570377142 * 8, 0.5)


def griewank6() -> BenchmarkProblem:
    """Return Griewank's bowl with ripples (1981) in six dimensions, its minimum off the middle."""
    shift = np.array([-31.0, 12.5, 44.0, -7.5, 21.0, -52.0])
    scale = np.sqrt(np.arange(1, 7))

    def value(c: Config) -> float:
        z = _vector(c, 6) - shift
        return float((z**2).sum() / 4000 - np.cos(z / scale).prod() + 1)

    return BenchmarkProblem("griewank6", SearchSpace(_cube(6, -100.0, 100.0)), value, 0.0, 1e-2)


def michalewicz5() -> BenchmarkProblem:
    """Return Michalewicz's function (1992) in five dimensions: steep ridges, steepness 10."""
    number = np.arange(1, 6)

    def value(c: Config) -> float:
        x = _vector(c, 5)
        return -float((np.sin(x) * np.sin(number * x**2 / math.pi) ** 20).sum())

    return BenchmarkProblem("michalewicz5", SearchSpace(_cube(5, 0.0, math.pi)), value, -4.687658179088148, 1e-2)


def schwefel4_mixed() -> BenchmarkProblem:
    """Return Schwefel's function (1981) of two floats, an integer and an unordered choice; far minima deceive."""
    levels = {"p": 203.8, "q": -302.5, "r": 421.0, "s": 65.5, "t": -124.8, "u": 5.2}
    space = SearchSpace({**_cube(2, -500.0, 500.0), "k": Integer(-500, 500), "level": Categorical(list(levels))})

    def term(x: float) -> float:
        return 418.9828872724338 - x * math.sin(math.sqrt(abs(x)))

    def value(c: Config) -> float:
        return term(c["x0"]) + term(c["x1"]) + term(c["k"]) + term(levels[c["level"]])

    return BenchmarkProblem("schwefel4_mixed", space, value, 2 * term(420.9687463) + 2 * term(421), 1.0)


def plateau6() -> BenchmarkProblem:
    """Return a bowl in six dimensions, cut into steps: most moves change nothing."""
    shift, weight = np.array([0.31, -0.62, 0.77, -0.15, 0.48, -0.83]), np.array([1.0, 2.0, 4.0, 1.0, 2.0, 4.0])

    def value(c: Config) -> float:
        return float((weight * np.floor(6 * np.abs(_vector(c, 6) - shift)) ** 2).sum())

    return BenchmarkProblem("plateau6", SearchSpace(_cube(6, -1.0, 1.0)), value, 0.0, 0.5)


def hartmann3_noisy() -> BenchmarkProblem:
    """Return Hartmann's function of three parameters with noise, a fiftieth of its range."""
    widths = np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
    centres = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
    value = _hartmann(widths, centres)
    space = SearchSpace(_cube(3, 0.0, 1.0))
    return BenchmarkProblem("hartmann3_noisy", space, value, -3.862782147820756, 2e-2, noise=0.08)


def classifiers9() -> BenchmarkProblem:
    """Return a made-up choice among classifiers, each with parameters of its own; accuracy, to maximise."""
    space = SearchSpace(
        {
            "model": Categorical(["linear", "svm", "forest"]),
            "C": Float(1e-3, 1e3, log=True, when={"model": ["linear", "svm"]}),
            "penalty": Categorical(["l1", "l2"], when={"model": "linear"}),
            "kernel": Categorical(["rbf", "poly"], when={"model": "svm"}),
            "gamma": Float(1e-5, 1e1, log=True, when={"kernel": "rbf"}),
            "degree": Integer(2, 6, when={"kernel": "poly"}),
            "max_depth": Integer(1, 30, log=True, when={"model": "forest"}),
            "max_features": Float(0.05, 1.0, when={"model": "forest"}),
            "scaling": Categorical(["none", "standard", "quantile"]),
        }
    )

    def value(c: Config) -> float:
        scaling = {"none": 0.06, "standard": 0.0, "quantile": 0.015}[c["scaling"]]
        if c["model"] == "forest":
            depth, share = math.log2(c["max_depth"] / 14), c["max_features"] - 0.35
            return float(0.955 - 0.012 * depth**2 - 0.08 * share**2 - 0.1 * scaling)
        fit = math.log10(c["C"])
        if c["model"] == "linear":
            return float(0.925 - 0.01 * (fit + 0.5) ** 2 - (0.01 if c["penalty"] == "l1" else 0.0) - scaling)
        if c["kernel"] == "poly":
            return float(0.95 - 0.01 * (fit - 0.3) ** 2 - 0.008 * (c["degree"] - 3) ** 2 - scaling)
        # A ridge: the larger C, the smaller the best gamma.
        gamma = math.log10(c["gamma"])
        return float(0.98 - 0.012 * (gamma + 2 + 0.5 * (fit - 1)) ** 2 - 0.006 * (fit - 1) ** 2 - scaling)

    return BenchmarkProblem("classifiers9", space, value, 0.98, 1e-4, direction="maximize")


# All of them -----------------------------------------------------------------------------------------

ANALYTIC: dict[str, tuple[Callable[[], BenchmarkProblem], ...]] = {
    "chosen": (branin, hartmann6, rosenbrock5, ackley10_mixed, levy10, optimizers12),
    "fresh": (
        styblinski8,
        griewank6,
        michalewicz5,
        schwefel4_mixed,
        plateau6,
        hartmann3_noisy,
        classifiers9,
    ),
}

GROUPS = ("chosen", "fresh", "smooth", "branches", "branches_fresh")
QUICK = ("branin", "hartmann6", "optimizers12", "classifiers9")
"""For a look at whether all of it works."""


def problem_makers() -> dict[str, tuple[str, Callable[[], BenchmarkProblem]]]:
    """Return for each problem its group and what makes it; making a table problem reads its data."""
    from branches import BRANCHES
    from tables import TABLES

    found = {make.__name__: (group, make) for group, makers in ANALYTIC.items() for make in makers}
    return {**found, **BRANCHES, **{name: (group, make) for name, (group, make) in TABLES.items()}}


def why_missing(name: str) -> str:
    """Return why a problem cannot be made here, or "" if it can."""
    from tables import TABLES, missing_data

    return missing_data(name) if name in TABLES else ""


@functools.cache
def make_problem(name: str) -> BenchmarkProblem:
    """Return a problem by its name; the same object each time in one process."""
    return problem_makers()[name][1]()
