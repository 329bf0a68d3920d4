"""Made-up choices among models, each with parameters of its own, of which the best is hard to fit.

Three to six models; those with a worse best value come near it almost anywhere, the best one in a small part of its
parameters; half of the models with several have a ridge. A search that refines what is good at once stays with the
wrong model. Of ``branches`` (0 to 7) a choice was made, ``branches_fresh`` (8 to 15) confirm it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from problems import BenchmarkProblem, Config, FloatArray

from dhflow.space import Categorical, Float, SearchSpace

_DECADES = 4
_N_CHOSEN, _N_ALL = 8, 16


@dataclass(frozen=True)
class Model:
    """One branch: a bowl over its own parameters, at `place` on the unit scale.

    Parameters
    ----------
    loss : float
        At its best.
    place, weight : (q,)
    is_log : (q,) of bool
    has_ridge : bool
        Whether the first parameter's best value follows the second.
    """

    loss: float
    place: FloatArray
    weight: FloatArray
    is_log: tuple[bool, ...]
    has_ridge: bool

    def value(self, own: FloatArray) -> float:
        """Return the loss with its own parameters (q,), as they are in a config."""
        unit = np.where(self.is_log, 1 + np.log10(np.where(self.is_log, own, 1.0)) / _DECADES, own)
        away = unit - self.place
        if self.has_ridge:
            away[0] += away[1]
        return float(self.loss + (self.weight * away**2).sum())


def make_branches(number: int) -> BenchmarkProblem:
    """Return a problem by its number, which also is its seed."""
    rng = np.random.default_rng(np.random.SeedSequence([number, 0xB2]))
    models = draw_models(rng)
    middle, losses = rng.uniform(0.2, 0.8), rng.uniform(0.0, 0.06, 3)
    scaling = dict(zip("abc", losses - losses.min(), strict=True))
    own = {name: [f"{name}_{j}" for j in range(len(each.place))] for name, each in models.items()}
    space = SearchSpace(
        {
            "model": Categorical(list(models)),
            **{
                key: Float(10.0**-_DECADES if is_log else 0.0, 1.0, log=is_log, when={"model": name})
                for name, each in models.items()
                for key, is_log in zip(own[name], each.is_log, strict=True)
            },
            "shared": Float(0.0, 1.0),
            "scaling": Categorical(list(scaling)),
        }
    )

    def value(c: Config) -> float:
        fit = models[c["model"]].value(np.array([c[key] for key in own[c["model"]]]))
        return fit + 0.1 * (c["shared"] - middle) ** 2 + float(scaling[c["scaling"]])

    return BenchmarkProblem(f"branches{number}", space, value, 0.0, 1e-4)


def draw_models(rng: np.random.Generator) -> dict[str, Model]:
    """Return three to six models by name; the loss of the best one is 0."""
    n_models = int(rng.integers(3, 7))
    best = int(rng.integers(n_models))
    return {f"m{i}": _draw_model(rng, is_best=i == best) for i in range(n_models)}


def _draw_model(rng: np.random.Generator, *, is_best: bool) -> Model:
    q = int(rng.integers(2, 5)) if is_best else int(rng.integers(1, 4))
    return Model(
        loss=0.0 if is_best else math.exp(rng.uniform(math.log(0.01), math.log(0.1))),
        place=rng.uniform(0.15, 0.85, q),
        weight=np.exp(rng.normal(math.log(0.8 if is_best else 0.15), 0.5, q)),
        is_log=tuple(bool(each) for each in rng.random(q) < 0.4),
        has_ridge=q > 1 and bool(rng.random() < 0.5),
    )


BRANCHES: dict[str, tuple[str, Callable[[], BenchmarkProblem]]] = {
    f"branches{i}": ("branches" if i < _N_CHOSEN else "branches_fresh", functools.partial(make_branches, i))
    for i in range(_N_ALL)
}
