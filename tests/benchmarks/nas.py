"""Searchers of architectures on complete tables of trained networks, beside published figures.

    python tests/benchmarks/nas.py --quick
    python tests/benchmarks/nas.py [--tables nb201,cora,naval] [--searchers random,evolution,auto] [--seeds 20]

* NAS-Bench-201, CIFAR-10: 15,625 cells. A trial is told one of the cell's recorded seeds, drawn at random. The score
  is the mean over the cell's seeds of what looked best, so a lucky seed is paid for.
* NAS-Bench-Graph: 26,206 graph networks on four data sets. A network that cannot be built is a failed trial.
* FC-Net: regressors on two data sets, architecture and hyperparameters together; values are means over four seeds.

Eight asynchronous workers are simulated, on FC-Net one, as in the run of Optuna's TPE that stands beside it. The
searcher that is to reach the targets was named before anything was measured: ``auto``, which a user gets who chooses
nothing. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from problems import make_problem
from tables import shared_folder

from dhflow.comparison.statistics import wilcoxon_signed_rank
from dhflow.searcher import make_searcher
from dhflow.space import ARCHITECTURE, Categorical, SearchSpace
from dhflow.testing.simulated import run_simulated

FloatArray = npt.NDArray[np.float64]
Config = dict[str, Any]

_GRAPHS = ("cora", "citeseer", "photo", "computers")
NAMED = "auto"
SEARCHERS = ("random", "evolution", "reinforce", "ppo", "q_learning", "ambs", "gp", "auto", "tpe", "agebo")
SLOW = ("ambs", "gp", "auto")
TITLES = {
    "nb201": "NAS-Bench-201, CIFAR-10: validation accuracy in per cent",
    **{each: f"NAS-Bench-Graph, {each}: validation accuracy in per cent" for each in _GRAPHS},
    "naval": "FC-Net, naval propulsion: mean squared error",
    "parkinsons": "FC-Net, Parkinson's telemonitoring: mean squared error",
}
PUBLISHED: dict[str, dict[str, tuple[str, ...]]] = {
    "nb201": {
        "published: random search": ("", "90.96"),
        "published: reinforcement learning": ("", "91.20"),
        "published: evolution": ("", "91.33"),
        "Optuna's TPE, one at a time, told the mean over the seeds": ("91.483",),
        "aim of the named one": ("91.50", "91.57"),
    },
    **{each: {"aim of the named one": ("optimum - 0.1",)} for each in _GRAPHS},
    "naval": {"Optuna's TPE, one at a time": ("4.12e-05",)},
    "parkinsons": {"Optuna's TPE, one at a time": ("0.0088",)},
}
"""Figures to compare with, in the order of the marks. The published ones had budgets of time, not of trials."""


@dataclass(frozen=True)
class Table:
    """A table as an objective.

    Parameters
    ----------
    name : str
    space : SearchSpace
    observe : callable
        From a config and a generator to what a trial is told, as a loss; NaN for what cannot be built.
    value : callable
        From a config to its true value.
    optimum : float
    marks : tuple of int
        Finished trials after which the score is taken; the search ends with the last.
    workers : int
    """

    name: str
    space: SearchSpace
    observe: Callable[[Config, np.random.Generator], float]
    value: Callable[[Config], float]
    optimum: float
    marks: tuple[int, ...]
    workers: int = 8


def _data(name: str) -> dict[str, Any]:
    folder = shared_folder()
    if folder is None:
        raise FileNotFoundError("there is no folder shared/data above the checkout; DHFLOW_SHARED names another")
    with np.load(folder / "data" / "nas" / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def nb201() -> Table:
    """Return NAS-Bench-201 on CIFAR-10: validation accuracy after 200 epochs, in per cent."""
    data = _data("nasbench201_cifar10")
    edges, ops = [f"edge {each}" for each in data["edges"]], [str(each) for each in data["ops"]]
    rows = np.empty((len(ops),) * len(edges), np.intp)
    rows[tuple(data["arch"].T)] = np.arange(len(data["arch"]))
    seeds = [row[~np.isnan(row)] for row in data["val200_seeds"].astype(np.float64)]

    def recorded(config: Config) -> FloatArray:
        return seeds[rows[tuple(ops.index(config[each]) for each in edges)]]

    return Table(
        "nb201",
        SearchSpace({each: Categorical(ops) for each in edges}).grouped(ARCHITECTURE),
        lambda config, rng: -float(rng.choice(recorded(config))),
        lambda config: float(recorded(config).mean()),
        max(float(each.mean()) for each in seeds),
        (100, 300),
    )


def graph(dataset: str) -> Table:
    """Return NAS-Bench-Graph on one data set: validation accuracy, in per cent."""
    data = _data("nasbench_graph")
    ops = [str(each) for each in data["ops"]]
    links = ["".join(map(str, each)) for each in data["links"].tolist()]
    row_of = data["row_of"]
    valid = 100 * data["valid"][[str(each) for each in data["datasets"]].index(dataset)].astype(np.float64)
    nodes = [f"node {i}" for i in range(1, 5)]

    def value(config: Config) -> float:
        row = row_of[(links.index(config["links"]), *(ops.index(config[each]) for each in nodes))]
        return float(valid[row]) if row >= 0 else float("nan")

    space = SearchSpace({"links": Categorical(links), **{each: Categorical(ops) for each in nodes}}).grouped(
        ARCHITECTURE
    )
    return Table(dataset, space, lambda config, _: -value(config), value, float(np.nanmax(valid)), (300,))


def fcnet(task: str) -> Table:
    """Return an FC-Net table: mean squared error of a network of two layers, architecture and training together."""
    problem = make_problem(f"fcnet_{task}")
    names = [each for each in problem.space.names if each.startswith(("activation", "dropout", "n_units"))]
    space = SearchSpace(
        {
            name: replace(each, group=ARCHITECTURE) if name in names else each
            for name, each in problem.space.parameters.items()
        }
    )
    return Table(
        task.partition("_")[0],
        space,
        lambda config, _: problem.loss(config),
        lambda config: float(problem.value(config)),
        problem.optimum,
        (100,),
        workers=1,
    )


TABLES: dict[str, Callable[[], Table]] = {
    "nb201": nb201,
    **{each: functools.partial(graph, each) for each in _GRAPHS},
    "naval": functools.partial(fcnet, "naval_propulsion"),
    "parkinsons": functools.partial(fcnet, "parkinsons_telemonitoring"),
}


# Runs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """One search.

    Parameters
    ----------
    scores : tuple of float
        True value of what had looked best at each mark.
    cpu_ms : float
        For each trial, of asking and telling.
    """

    scores: tuple[float, ...]
    cpu_ms: float


def run(table: Table, searcher: str, seed: int) -> Outcome:
    """Search a table once."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x4A]))
    made = make_searcher(searcher, table.space, seed=seed)
    began = time.process_time()
    study = run_simulated(
        made,
        lambda config: table.observe(config, rng),
        n_trials=table.marks[-1],
        n_workers=table.workers,
        seed=seed,
    )
    cpu_ms = 1e3 * (time.process_time() - began) / table.marks[-1]
    done = sorted(study.trials.values(), key=lambda each: each.outcome_number or 0)
    scores = []
    for mark in table.marks:
        known = [each for each in done[:mark] if each.losses and np.isfinite(each.losses[0])]
        best = min(known, key=lambda each: each.losses[0])
        scores.append(table.value(dict(best.config)))
    return Outcome(tuple(scores), cpu_ms)


def ceiling(table: Table, n_draws: int = 2000) -> float:
    """Return what a search of the whole table would score on average: what looks best need not be best."""
    configs = table.space.decode(table.space.all_encoded(100_000))
    values = np.array([table.value(each) for each in configs])
    top = np.argsort(-values)[:200]
    scores = []
    for seed in range(n_draws):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x4B]))
        seen = [table.observe(configs[i], rng) for i in top]
        scores.append(values[top[int(np.argmin(seen))]])
    return float(np.mean(scores))


# Tables of figures ------------------------------------------------------------------------------------

Scores = dict[str, FloatArray]
"""Searcher to the true values (seeds, marks) of what had looked best."""


def main() -> None:
    """Run what was chosen and print it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", default=",".join(TABLES), help="some of %(default)s")
    parser.add_argument("--searchers", default=",".join(SEARCHERS), help="some of %(default)s")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="three seeds, without the models")
    chosen = parser.parse_args()
    seeds = 3 if chosen.quick else chosen.seeds
    searchers = [each for each in chosen.searchers.split(",") if not chosen.quick or each not in SLOW]
    print(f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}.")
    for name in chosen.tables.split(","):
        table = TABLES[name]()
        print_table(table, measure(table, searchers, seeds))


def measure(table: Table, searchers: Sequence[str], seeds: int) -> tuple[Scores, dict[str, float]]:
    """Return each searcher's scores and what a trial cost it."""
    scores, cpu_ms = {}, {}
    for searcher in searchers:
        if searcher == "agebo" and len(table.space.architecture) == len(table.space):
            continue  # it is ageing evolution then
        runs = [run(table, searcher, seed) for seed in range(seeds)]
        scores[searcher] = np.array([each.scores for each in runs])
        cpu_ms[searcher] = float(np.mean([each.cpu_ms for each in runs]))
    return scores, cpu_ms


def print_table(table: Table, measured: tuple[Scores, dict[str, float]]) -> None:
    """Print the figures of one table: published ones first."""
    scores, cpu_ms = measured
    n = len(next(iter(scores.values())))
    print(f"\n### {TITLES[table.name]}\n\n{n} seeds. Best value in the table: {table.optimum:{_form(table)}}.", end=" ")
    if table.name == "nb201":
        print(f"A search of all cells would score {ceiling(table):.3f}.", end=" ")
    marks = [f"after {mark}" for mark in table.marks]
    head = ["searcher", *marks, "at the optimum", "better than random (p)", "CPU ms per trial"]
    print("\n")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name, figures in PUBLISHED.get(table.name, {}).items():
        print("| " + " | ".join([name, *figures, *[""] * (len(head) - 1 - len(figures))]) + " |")
    for searcher, values in scores.items():
        cells = [_mean(table, column) for column in values.T]
        hits = float(np.mean(np.abs(values[:, -1] - table.optimum) <= 1e-9 * abs(table.optimum)))
        name = f"**{searcher}**" if searcher == NAMED else searcher
        row = [name, *cells, f"{hits:.0%}", _versus_random(table, scores, searcher), f"{cpu_ms[searcher]:.1f}"]
        print("| " + " | ".join(row) + " |", flush=True)


def _is_error(table: Table) -> bool:
    return table.optimum < 1


def _form(table: Table) -> str:
    return ".3g" if _is_error(table) else ".3f"


def _mean(table: Table, values: FloatArray) -> str:
    """Return the mean, of errors the geometric one as in the figures beside them, with its standard error."""
    if _is_error(table):
        logs = np.log(values)
        return f"{np.exp(logs.mean()):.3g} (×/÷ {np.exp(logs.std(ddof=1) / np.sqrt(len(logs))):.2f})"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def _versus_random(table: Table, scores: Scores, searcher: str) -> str:
    if searcher == "random" or "random" not in scores:
        return ""
    sign = -1 if _is_error(table) else 1
    ours, theirs = sign * scores[searcher][:, -1], sign * scores["random"][:, -1]
    return f"{int((ours > theirs).sum())} of {len(ours)} ({wilcoxon_signed_rank(ours, theirs):.2g})"


if __name__ == "__main__":
    main()
