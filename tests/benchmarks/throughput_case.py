"""Runs one of dhflow's cases of ``throughput.py`` in a process of its own and prints one JSON line.

The space is that of the peers' script, ten mixed parameters. A short run comes first, so that no package is loaded
while the clock runs; ``--cold`` leaves it out.

    python tests/benchmarks/throughput_case.py search --workers 16 --searcher ambs --history --nap 0.1 --trials 400
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from throughput_spans import Span, Value, figures, noting

from dhflow import Categorical, Float, Integer, SearchSpace, Study, search

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "wd": Float(1e-6, 1e-2, log=True),
        "dropout": Float(0.0, 0.8),
        "momentum": Float(0.5, 0.99),
        "clip": Float(1e-2, 1e2, log=True),
        "layers": Integer(1, 8),
        "units": Integer(16, 512),
        "batch": Integer(8, 256),
        "act": Categorical(["relu", "tanh", "elu", "gelu", "silu"]),
        "opt": Categorical(["sgd", "adam", "rmsprop", "adagrad", "lion"]),
    }
)
N_WARM = 32


def value(config: Mapping[str, Any]) -> float:
    """Return something that a model can learn, for next to nothing."""
    found: float = (config["dropout"] - 0.2) ** 2 + (config["momentum"] - 0.9) ** 2 + 0.1 * (config["layers"] - 4) ** 2
    return found


def search_round(objective: Value, history: Path | None, chosen: argparse.Namespace, n_trials: int) -> dict[str, Any]:
    """Run trials through ``search`` on Parsl's threads, start and close included."""
    with tempfile.TemporaryDirectory(prefix="dhflow-parsl-") as folder:
        result = search(
            objective,
            SPACE,
            site="laptop",
            site_set={"executor": "threads", "workers": chosen.workers, "run_dir": folder},
            searcher=chosen.searcher,
            seed=1,
            max_trials=n_trials,
            history=history,
        )
        share = result.utilisation.share if result.utilisation else None
        return {"done": len(result), "result_utilisation": share}


def ask_tell_round(objective: Value, history: Path | None, chosen: argparse.Namespace, n_trials: int) -> dict[str, Any]:
    """Ask, evaluate and tell in this thread, creation and close included."""
    with Study(SPACE, searcher=chosen.searcher, seed=1, history=history) as study:
        for _ in range(n_trials):
            trial = study.ask()
            study.tell(trial, objective(trial.config))
    return {"done": n_trials}


LOOPS = {"search": search_round, "ask_tell": ask_tell_round}


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a case."""
    with tempfile.TemporaryDirectory(prefix="dhflow-bench-") as folder:
        spans: list[Span] = []
        objective = noting(value, spans, chosen.nap)
        if not chosen.cold:
            LOOPS[chosen.loop](objective, Path(folder, "warm.h5") if chosen.history else None, chosen, N_WARM)
            spans.clear()
        began = time.perf_counter()
        found = LOOPS[chosen.loop](objective, Path(folder, "h.h5") if chosen.history else None, chosen, chosen.trials)
        wall = time.perf_counter() - began
    return {
        **found,
        "whole_per_s": found["done"] / wall,
        "version": f"dhflow {metadata.version('dhflow')}",
        **figures(spans, chosen.workers),
    }


def main() -> None:
    """Measure one case and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("loop", choices=list(LOOPS))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--searcher", default="random")
    parser.add_argument("--history", action="store_true", help="keep a history")
    parser.add_argument("--nap", type=float, default=0.0, help="seconds that a trial sleeps")
    parser.add_argument("--cold", action="store_true", help="without a short run first")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
