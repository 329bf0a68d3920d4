"""Problems that are tables of real fits: grids looked up, and random settings of which the nearest one answers."""

from __future__ import annotations

import csv
import functools
import gzip
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from problems import BenchmarkProblem, Config

from dhflow.space import Categorical, Float, Integer, Ordinal, SearchSpace
from dhflow.space.parameter import Parameter

FloatArray = npt.NDArray[np.float64]

_N_NEAR = 8
"""Settings that answer together where the nearest one alone would make a landscape of plateaus."""

_FEW = 8
"""A numeric column of a table with so few values is an ordinal parameter."""


def shared_folder() -> Path | None:
    """Return the folder of shared data: ``DHFLOW_SHARED``, or ``shared`` beside the checkout or further above."""
    given = os.environ.get("DHFLOW_SHARED")
    places = [Path(given)] if given else [each / "shared" for each in Path(__file__).resolve().parents[2:]]
    return next((each for each in places if (each / "data").is_dir()), None)


def _file(*parts: str) -> Path:
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError("there is no folder shared/data above the checkout; DHFLOW_SHARED names another")
    return folder.joinpath(*parts)


def _floor(losses: FloatArray, best: float) -> float:
    """Return a tenth of the regret of the one config in a hundred: what random search soon finds counts as a lot."""
    usual = float(np.quantile(losses, 0.01))
    # Where more than one in a hundred is the best one, the next best.
    return (usual - best if usual > best else float(losses[losses > best].min()) - best) / 10


# Grids ------------------------------------------------------------------------------------------------


def _grid(name: str, task: str) -> BenchmarkProblem:
    """Return a complete grid, each value the mean of its recorded seeds."""
    direction = "minimize" if name == "fcnet" else "maximize"
    with np.load(_file("data", "hpo_tables", f"{name}.npz"), allow_pickle=False) as table:
        axes: dict[str, list[Any]] = json.loads(str(table["grid_json"]))
        values = table["value"][list(table["tasks"]).index(task)].astype(np.float64).mean(axis=-1)
    kinds = {key: Categorical if isinstance(each[0], str) else Ordinal for key, each in axes.items()}
    space = SearchSpace({key: kinds[key](each) for key, each in axes.items()})
    index = {key: {value: i for i, value in enumerate(each)} for key, each in axes.items()}

    def value(c: Config) -> float:
        return float(values[tuple(index[key][c[key]] for key in axes)])

    losses = values.ravel() if direction == "minimize" else -values.ravel()
    best = float(losses.min())
    optimum = best if direction == "minimize" else -best
    return BenchmarkProblem(f"{name}_{task}", space, value, optimum, _floor(losses, best), direction)  # type: ignore[arg-type]


# Random settings: the nearest one answers -------------------------------------------------------------


class NearestTable:
    """Answers for any config with the value of the nearest setting of a table.

    Parameters
    ----------
    space : SearchSpace
    rows : sequence of mapping
        Configs of `space`.
    losses : (n,)
        Equal configs count as one, with their mean.
    k : int
        How many settings answer: the nearest alone, or several, each with the inverse square of its distance as
        weight (Shepard 1968). No answer is better than the best setting's.

    Notes
    -----
    Distance in the encoded space: differences in [0, 1], and 1 for unequal values of a categorical parameter.
    """

    def __init__(self, space: SearchSpace, rows: Sequence[Config], losses: FloatArray, *, k: int = 1) -> None:
        from scipy.spatial import cKDTree

        self._space = space
        unique, place = np.unique(self._features(rows), axis=0, return_inverse=True)
        self.losses = np.bincount(place.ravel(), losses) / np.bincount(place.ravel())
        self._tree = cKDTree(unique)
        self._k = min(k, len(unique))

    def _features(self, rows: Sequence[Config]) -> FloatArray:
        X = self._space.encode(rows)
        columns = [X[:, ~self._space.is_categorical]]
        for name, parameter in self._space.parameters.items():
            if isinstance(parameter, Categorical):
                hot = np.array([[row[name] == each for each in parameter.listed] for row in rows], dtype=np.float64)
                columns.append(hot / math.sqrt(2))
        return np.hstack(columns)

    def __call__(self, config: Config) -> float:
        distances, rows = self._tree.query(self._features([config])[0], k=[*range(1, self._k + 1)])
        if distances[0] < 1e-12:
            return float(self.losses[rows[0]])
        weights = distances**-2.0
        return float(weights @ self.losses[rows] / weights.sum())


def _nearest(
    name: str, space: SearchSpace, rows: Sequence[Config], losses: FloatArray, *, k: int = 1
) -> BenchmarkProblem:
    table = NearestTable(space, rows, losses, k=k)
    best = float(table.losses.min())
    return BenchmarkProblem(name, space, table, best, _floor(table.losses, best))


def _xgboost8(task: str) -> BenchmarkProblem:
    """Return an XGBoost table in which eight settings answer together."""
    return _xgboost(task, k=_N_NEAR)


def _xgboost(task: str, *, k: int = 1) -> BenchmarkProblem:
    with np.load(_file("data", "hpo_tables", "xgboost.npz"), allow_pickle=False) as table:
        number = list(table["tasks"]).index(task)
        names = [str(each).removeprefix("hp_") for each in table["hp_names"]]
        settings, losses = table["hp"][number].astype(np.float64), table["error"][number].astype(np.float64)
    ends = {name: (float(column.min()), float(column.max())) for name, column in zip(names, settings.T, strict=True)}
    depth = "max_depth_index"
    space = SearchSpace({name: Integer(0, 12) if name == depth else Float(*ends[name]) for name in names})
    rows = [{n: int(v) if n == depth else float(v) for n, v in zip(names, row, strict=True)} for row in settings]
    return _nearest(f"xgboost{'' if k == 1 else k}_{task}", space, rows, losses, k=k)


def _csv_rows(name: str, task: str, column: str) -> list[dict[str, str]]:
    path = _file("data", "hpo_tables", name)
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [row for row in csv.DictReader(text.splitlines()) if row[column] == task]


def _parameter(texts: Sequence[str], *, log: bool) -> Parameter:
    """Return the parameter that a column of a table is."""
    try:
        numbers = sorted({float(each) for each in texts})
    except ValueError:
        return Categorical(sorted(set(texts)))
    if len(numbers) <= _FEW:
        return Ordinal(numbers)
    if all(each.is_integer() for each in numbers):
        return Integer(int(numbers[0]), int(numbers[-1]))
    return Float(numbers[0], numbers[-1], log=log)


def _read(parameter: Parameter, text: str) -> Any:
    if isinstance(parameter, Categorical):
        return text
    return int(float(text)) if isinstance(parameter, Integer) else float(text)


def _csv_problem(
    name: str, rows: list[dict[str, str]], columns: Sequence[str], losses: FloatArray, *, log: Sequence[str] = ()
) -> BenchmarkProblem:
    parameters = {each: _parameter([row[each] for row in rows], log=each in log) for each in columns}
    parameters = {key: each for key, each in parameters.items() if each.n_values > 1}
    configs = [{key: _read(each, row[key]) for key, each in parameters.items()} for row in rows]
    # Of a few hundred settings each alone would answer for a large cell: a landscape of plateaus that no training has.
    return _nearest(name, SearchSpace(parameters), configs, losses, k=_N_NEAR)


def _deepar(task: str) -> BenchmarkProblem:
    rows = _csv_rows("deepar.csv", task, "task")
    columns = [each for each in rows[0] if each.startswith("hp_")]
    return _csv_problem(f"deepar_{task}", rows, columns, np.array([float(row["metric_CRPS"]) for row in rows]))


def _openml(learner: str, task: str) -> BenchmarkProblem:
    rows = _csv_rows(f"openml_{learner}.csv.gz", task, "task_id")
    columns = [each for each in rows[0] if each not in ("predictive_accuracy", "task_id")]
    errors = np.array([1 - float(row["predictive_accuracy"]) for row in rows])
    return _csv_problem(f"openml_{learner}_{task}", rows, columns, errors, log=("learning_rate",))


# SVC on digits ----------------------------------------------------------------------------------------

_KERNELS = ("rbf", "poly2", "poly3", "sigmoid", "linear")
_SCALERS = ("none", "standard", "minmax")


def _svc_digits() -> BenchmarkProblem:
    """Return the cross-validated error of support vector machines on digits: 16,875 fits, linear between them."""
    with np.load(_file("peers", "svc_digits.npz"), allow_pickle=False) as file:
        table = file["T"].astype(np.float64)
    space = SearchSpace(
        {
            "C": Float(1e-3, 1e4, log=True),
            "gamma": Float(1e-6, 1e1, log=True),
            "pca": Integer(2, 32, log=True),
            "kernel": Categorical(_KERNELS),
            "scaler": Categorical(_SCALERS),
        }
    )

    def value(c: Config) -> float:
        cell = table[_KERNELS.index(c["kernel"]), _SCALERS.index(c["scaler"])]
        for number, low, high in ((c["pca"], 1, 5), (c["C"], -3, 4), (c["gamma"], -6, 1)):
            at = math.log2(number) if low == 1 else math.log10(number)
            cell = _between(cell, (at - low) / (high - low))
        return float(cell)

    return BenchmarkProblem("svc_digits", space, value, float(table.min()), 1e-3)


def _between(table: Any, share: float) -> Any:
    """Return the first axis of `table` at `share` of its length, linear between two entries."""
    place = min(max(share, 0.0), 1.0) * (len(table) - 1)
    below = min(int(place), len(table) - 2)
    return table[below] + (place - below) * (table[below + 1] - table[below])


# All of them ------------------------------------------------------------------------------------------


def _named(group: str, maker: Callable[..., BenchmarkProblem], *calls: tuple[str, ...]) -> Mapping[str, Any]:
    prefix = maker.__name__.lstrip("_")
    label = {"grid": ""}.get(prefix, f"{prefix}_")
    return {label + "_".join(call): (group, functools.partial(maker, *call)) for call in calls}


_XGBOOST = (("a6a",), ("german.numer",), ("ijcnn1",), ("skin_nonskin",), ("svmguide1",))

TABLES: dict[str, tuple[str, Callable[[], BenchmarkProblem]]] = {
    "svc_digits": ("chosen", _svc_digits),
    **_named("chosen", _grid, ("fcnet", "naval_propulsion"), ("fcnet", "parkinsons_telemonitoring")),
    **_named("chosen", _grid, *(("hpobench_mlp", each) for each in ("australian", "car", "credit_g", "vehicle"))),
    **_named("chosen", _xgboost, *_XGBOOST),
    **_named("smooth", _xgboost8, *_XGBOOST),
    **_named("fresh", _deepar, ("electricity",), ("m4-Weekly",), ("solar",)),
    **_named("fresh", _openml, ("random_forest", "37"), ("adaboost", "49")),
}


def missing_data(name: str) -> str:
    """Return why a table problem cannot be made here, or ""."""
    folder = shared_folder()
    if folder is None:
        return "no folder shared/data above the checkout"
    needed = folder / "peers" / "svc_digits.npz" if name == "svc_digits" else folder / "data" / "hpo_tables"
    return "" if needed.exists() else f"{needed} is not there"
