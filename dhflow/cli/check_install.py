"""Whether everything is installed, and what this machine has to offer."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from dhflow.cli.check import Check, fail, ok, warn

EXTRAS = {
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
    "globus-compute-sdk": "globus",
    "pandas": "pandas",
    "pyarrow": "pandas",
    "matplotlib": "plot",
    "ConfigSpace": "configspace",
}
"""Optional packages, and the extra that brings each."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")

_MAX_SOCKET_FOLDER = 80
"""A socket's path has at most 107 bytes, and Python's own names below the folder take some of them."""


def check_install() -> Iterator[Check]:
    """Look at Python, at what dhflow needs, at what it can use, and at the scripts."""
    yield ok("python", f"{platform.python_version()} ({sys.executable})")
    yield ok("dhflow", _own_version())
    for name, least in requirements():
        yield _check_package(name, least)
    for name, extra in EXTRAS.items():
        version = installed(name)
        yield ok(name, version or f'not installed; if you need it: pip install "dhflow[{extra}]"')
    yield from _check_scripts()


def check_machine() -> Iterator[Check]:
    """Look at cores, thread limits, the folder for sockets."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total = os.cpu_count() or usable
    yield ok("cores", f"{usable} usable" + (f" of {total}" if usable != total else ""))
    limits = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    text = " ".join(f"{name}={value}" for name, value in limits.items())
    yield ok("threads", text or "not limited here; each worker gets its share of the cores from its site")
    folder = tempfile.gettempdir()
    if len(folder) > _MAX_SOCKET_FOLDER:
        yield warn("TMPDIR", f"{folder} is long for sockets", "export TMPDIR=/tmp")


def requirements() -> list[tuple[str, str]]:
    """Return the packages that dhflow needs, each with the least version that it works with ("" for any)."""
    try:
        wanted = metadata.requires("dhflow") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for each in wanted:
        if "extra ==" in each:
            continue
        name = re.split(r"[<>=!~;\[ ]", each, maxsplit=1)[0]
        least = re.search(r">=\s*([0-9.]+)", each)
        found.append((name, least[1] if least else ""))
    return found


def installed(name: str) -> str:
    """Return the version of a package, or "" if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def is_at_least(version: str, least: str) -> bool:
    """Compare two versions by their numbers."""
    return _numbers(version) >= _numbers(least)


def _check_package(name: str, least: str) -> Check:
    version = installed(name)
    if not version:
        return fail(name, "not installed", f"pip install {name}")
    if least and not is_at_least(version, least):
        return fail(name, f"{version} is too old", f'pip install "{name}>={least}"')
    return ok(name, version)


def _check_scripts() -> Iterator[Check]:
    folder = Path(sys.executable).parent
    found = shutil.which("dhflow")
    if found is None:
        where = folder if (folder / "dhflow").exists() else "the environment's bin folder"
        yield warn("dhflow script", "is not on PATH", f"put {where} on PATH, or call python -m dhflow")
    else:
        yield ok("dhflow script", found)
    # dhflow itself finds them beside its interpreter; a worker of another site looks on its PATH.
    missing = [each for each in ("process_worker_pool.py", "interchange.py") if not (folder / each).exists()]
    if missing and any(shutil.which(each) is None for each in missing):
        yield fail(
            "parsl scripts",
            f"{', '.join(missing)} not found",
            "install parsl again: pip install --force-reinstall parsl",
        )
    else:
        yield ok("parsl scripts", "found")
    if platform.system() == "Linux" and shutil.which("setpriv") is None:
        yield warn(
            "setpriv",
            "not found: workers may live on for a minute when the driver is killed",
            "install util-linux",
        )


def _own_version() -> str:
    from dhflow import __version__

    return f"{__version__} ({Path(__file__).parent.parent})"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])
