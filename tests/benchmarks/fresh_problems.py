"""Problems on which no searcher's defaults were chosen: what ``search_quality.py --problems fresh`` runs.

Each function returns a search space, a loss, its lowest value, and the regret below which nobody would care.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dhflow.space import Categorical, Float, Integer, SearchSpace

Fresh = tuple[SearchSpace, Callable[[dict[str, Any]], float], float, float]


def _cube(d: int, low: float, high: float) -> SearchSpace:
    return SearchSpace({f"x{i}": Float(low, high) for i in range(d)})


def _vector(config: dict[str, Any]) -> np.ndarray:
    return np.array([config[f"x{i}"] for i in range(len(config))])


def _rotation(d: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def _levy(x: np.ndarray) -> float:
    w = 1 + (x - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + middle + last)


def levy10() -> Fresh:
    """Return Levy's function, shifted."""
    shift = np.random.default_rng(3).uniform(-3, 3, 10)
    return _cube(10, -10.0, 10.0), lambda c: _levy(_vector(c) - shift + 1), 0.0, 0.1


def rotated_levy10() -> Fresh:
    """Return Levy's function, shifted and rotated: no parameter can be judged alone."""
    shift, turn = np.random.default_rng(3).uniform(-3, 3, 10), _rotation(10, 2)
    return _cube(10, -10.0, 10.0), lambda c: _levy(turn @ (_vector(c) - shift) + 1), 0.0, 0.1


def styblinski_tang6() -> Fresh:
    """Return a function with two minima in each of six parameters, the better one away from the middle."""

    def loss(c: dict[str, Any]) -> float:
        x = _vector(c)
        return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)

    return _cube(6, -5.0, 5.0), loss, -39.16616570377142 * 6, 1.0


def ellipsoid8() -> Fresh:
    """Return a rotated ellipsoid whose axes differ by a factor of 1,000."""
    shift, turn = np.random.default_rng(6).uniform(-2, 2, 8), _rotation(8, 5)
    stretch = 10 ** (3 * np.arange(8) / 7 / 2)
    return _cube(8, -5.0, 5.0), lambda c: float(((stretch * (turn @ (_vector(c) - shift))) ** 2).sum()), 0.0, 1.0


def rastrigin5() -> Fresh:
    """Return Rastrigin's function, shifted."""
    shift = np.random.default_rng(8).uniform(-2, 2, 5)

    def loss(c: dict[str, Any]) -> float:
        x = _vector(c) - shift
        return float(50 + (x**2 - 10 * np.cos(2 * math.pi * x)).sum())

    return _cube(5, -5.0, 5.0), loss, 0.0, 0.5


def michalewicz5() -> Fresh:
    """Return Michalewicz's function: steep valleys in a plain."""
    order = np.arange(1, 6)

    def loss(c: dict[str, Any]) -> float:
        x = _vector(c)
        return -float((np.sin(x) * np.sin(order * x**2 / math.pi) ** 20).sum())

    return _cube(5, 0.0, math.pi), loss, -4.687658, 0.05


def integer_griewank6() -> Fresh:
    """Return Griewank's function of six whole numbers."""
    shift = np.random.default_rng(9).integers(-20, 20, 6)

    def loss(c: dict[str, Any]) -> float:
        x = _vector(c) - shift
        return float((x**2).sum() / 40 + 1 - np.prod(np.cos(x / np.sqrt(np.arange(1, 7)))))

    return SearchSpace({f"x{i}": Integer(-50, 50) for i in range(6)}), loss, 0.0, 0.05


def conditional() -> Fresh:
    """Return a choice among three kinds of model, each with parameters of its own; the best is the deepest branch."""
    net, kernel = {"model": "net"}, {"kernel": ["rbf", "poly"]}
    space = SearchSpace(
        {
            "lr": Float(1e-5, 1.0, log=True),
            "model": Categorical(["svm", "net", "forest"]),
            "kernel": Categorical(["rbf", "poly", "lin"], when={"model": "svm"}),
            "gamma": Float(1e-4, 10.0, log=True, when=kernel),
            "degree": Integer(2, 6, when={"kernel": "poly"}),
            "layers": Integer(1, 6, when=net),
            "width": Integer(8, 512, log=True, when=net),
            "drop": Float(0.0, 0.8, when=net),
            "opt": Categorical(["sgd", "adam"], when=net),
            "mom": Float(0.0, 0.99, when={"opt": "sgd"}),
            "trees": Integer(10, 500, log=True, when={"model": "forest"}),
            "depth": Integer(2, 20, when={"model": "forest"}),
        }
    )
    branches = {"svm": _svm, "net": _net, "forest": _forest}

    def loss(c: dict[str, Any]) -> float:
        return float(0.05 * (math.log10(c["lr"]) + 2.3) ** 2 + branches[c["model"]](c))

    return space, loss, 0.0, 1e-3


def _svm(c: dict[str, Any]) -> float:
    loss: float = 0.25 + {"rbf": 0.0, "poly": 0.05, "lin": 0.2}[c["kernel"]]
    if "gamma" in c:
        loss += 0.1 * (math.log10(c["gamma"]) + 1.7) ** 2
    return loss + 0.03 * abs(c.get("degree", 3) - 3)


def _net(c: dict[str, Any]) -> float:
    loss = 0.02 * (c["layers"] - 4) ** 2 + 0.05 * (math.log2(c["width"]) - 7.2) ** 2 + 0.8 * (c["drop"] - 0.31) ** 2
    return float(loss + (0.1 if c["opt"] == "adam" else 0.6 * (c["mom"] - 0.9) ** 2))


def _forest(c: dict[str, Any]) -> float:
    return float(0.15 + 0.05 * (math.log10(c["trees"]) - 2.5) ** 2 + 0.002 * (c["depth"] - 11) ** 2)


FRESH: dict[str, Callable[[], Fresh]] = {
    "Levy-10": levy10,
    "rotated Levy-10": rotated_levy10,
    "Styblinski-Tang-6": styblinski_tang6,
    "ellipsoid-8": ellipsoid8,
    "Rastrigin-5": rastrigin5,
    "Michalewicz-5": michalewicz5,
    "integer Griewank-6": integer_griewank6,
    "conditional": conditional,
}
