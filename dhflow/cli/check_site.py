"""Whether a trial runs on a site, and its worker has what this process has; tried with a search of one trial."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.cli.check import Check, fail, ok, warn
from dhflow.errors import DhflowError

if TYPE_CHECKING:
    from dhflow.result import Result

COMPARED = ("dhflow", "parsl", "numpy", "cloudpickle", "dill", "tensorflow", "keras")
"""What must be alike on both sides, or nearly so."""


def look_around(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker has, as a trial's metrics: its host, Python, cores, and versions."""
    import os
    import platform as here
    from importlib import metadata as packages

    del config
    found: dict[str, Any] = {"objective": 0.0, "host": here.node(), "python": here.python_version()}
    found["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in ("dhflow", "parsl", "numpy", "cloudpickle", "dill", "tensorflow", "keras"):
        try:
            found[name] = packages.version(name)
        except packages.PackageNotFoundError:
            found[name] = ""
    return found


def check_site(site: str, arguments: Mapping[str, Any], path: Path, timeout_s: float | None) -> Iterator[Check]:
    """Run one trial on a site, its files in a folder under `path`, and compare its worker with this process."""
    folder = Path(tempfile.mkdtemp(prefix=".dhflow-doctor-", dir=path))
    began = time.time()
    try:
        result = _search(site, arguments, folder, timeout_s)
    except DhflowError as error:
        yield fail("reachable", str(error), "see `dhflow sites` for the site's arguments")
        return
    finally:
        took = time.time() - began
        shutil.rmtree(folder, ignore_errors=True)
    trial = result.trials[0] if result.trials else None
    if trial is None or trial.status.value != "completed":
        failure = trial.failure if trial is not None else None
        why = f"{failure.kind}: {failure.message}" if failure else result.reason
        advice = (
            "give it longer with --timeout, or see the scheduler's queue and Parsl's log" if failure is None else ""
        )
        yield fail("trial", f"none came back in {took:.0f} s: {why}", advice or "mend the workers' environment")
        return
    attempt = trial.attempts[-1]
    first = (attempt.received_at or time.time()) - began
    started = (attempt.started_at or began) - began
    yield ok("reachable", f"first result after {first:.1f} s (the worker began after {started:.1f} s)")
    yield ok("worker", f"on {trial.metrics['host']}, {trial.metrics['cores']} cores, Python {trial.metrics['python']}")
    yield from compare_versions(trial.metrics)


def compare_versions(worker: Mapping[str, Any]) -> Iterator[Check]:
    """Compare the worker's versions with those here."""
    here = platform.python_version()
    if _minor(str(worker["python"])) != _minor(here):
        yield fail(
            "python there", f"{worker['python']}, here {here}", "use the same Python minor version on both sides"
        )
    differing = []
    for name in COMPARED:
        there, mine = str(worker.get(name) or ""), _version(name)
        if there == mine or not mine:
            continue
        if name in ("dhflow", "parsl"):
            yield fail(f"{name} there", f"{there or 'not installed'}, here {mine}", f"install {name}=={mine} there")
        else:
            differing.append(f"{name} {there or 'not installed'} (here {mine})")
    if differing:
        yield warn("versions there", ", ".join(differing), "fine unless objects of theirs travel")
    else:
        yield ok("versions there", "as here")


def _search(site: str, arguments: Mapping[str, Any], folder: Path, timeout_s: float | None) -> Result:
    from dhflow import Constant, SearchSpace, search

    return search(
        look_around,
        SearchSpace({"x": Constant(0)}),
        searcher="random",
        site=site,
        site_set=arguments,
        history=folder / "doctor.h5",
        max_trials=1,
        max_attempts=1,
        wall_time_s=timeout_s,
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
