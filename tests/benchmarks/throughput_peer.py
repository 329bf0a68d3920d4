"""Runs one case of the peers' own ``loop_overhead.py`` in a peer's environment and prints one JSON line.

Started by ``throughput.py``, with the folder of that script as the first argument. A short run comes first, so that no
package is loaded while the clock runs. The objective notes when it runs; Ray's, in other processes, does not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from throughput_spans import Span, figures, noting

PACKAGES = {"optuna": "optuna", "dh": "deephyper", "ray": "ray", "hyperopt": "hyperopt"}
N_WARM = 20


def main() -> None:
    """Run the case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("case")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--nap", type=float, default=0.0)
    parser.add_argument("--no-sync", action="store_true", help="make fsync of Python do nothing")
    chosen = parser.parse_args()
    if chosen.no_sync:
        os.fsync = lambda fd: None
    script = load_script(chosen.folder)
    with folders_removed():
        found = measure(script, chosen.case, chosen.trials, chosen.workers, chosen.nap)
    print(json.dumps(found))


@contextlib.contextmanager
def folders_removed() -> Iterator[None]:
    """Remove the temporary folders that are made meanwhile: Ray's lies in /tmp, whatever TMPDIR says."""
    made: list[str] = []
    make = tempfile.mkdtemp

    def noted(*args: Any, **kwargs: Any) -> str:
        made.append(make(*args, **kwargs))
        return made[-1]

    tempfile.mkdtemp = noted  # type: ignore[assignment]
    try:
        yield
    finally:
        for each in made:
            shutil.rmtree(each, ignore_errors=True)


def load_script(folder: Path) -> Any:
    """Return the peers' script; by its path, since one of ours beside this file has the same name."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("peers_loop_overhead", folder / "loop_overhead.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def measure(script: Any, case: str, n_trials: int, workers: int, nap_s: float) -> dict[str, Any]:
    """Return the figures of a case."""
    package = case.partition("_")[0]
    spans: list[Span] = []
    if package != "ray":
        script.mixed10_value = noting(script.mixed10_value, spans, nap_s)
        run(script, case, N_WARM)
        spans.clear()
    found = run(script, case, n_trials)
    return {
        "done": found["done"],
        "whole_per_s": found["trials_per_s"],
        "version": f"{PACKAGES[package]} {metadata.version(PACKAGES[package])}",
        **(figures(spans, workers) if spans else {}),
    }


def run(script: Any, case: str, n_trials: int) -> dict[str, Any]:
    """Run a case and return the line that the peers' script prints, whatever else it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        script.main(case, n_trials)
    found: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
