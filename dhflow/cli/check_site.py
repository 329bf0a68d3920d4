"""Whether a trial runs on a site, and its worker has what this process has; tried with a search of one trial."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.cli.check import Check, fail, ok, warn
from dhflow.errors import DhflowError

if TYPE_CHECKING:
    from dhflow.flow.batch_script import PlannedBlocks
    from dhflow.result import Result
    from dhflow.trial import Trial

COMPARED = ("dhflow", "parsl", "numpy", "cloudpickle", "dill", "tensorflow", "keras")
"""What must be alike on both sides, or nearly so."""

LOOK_AT_QUEUE = {"sbatch": "`scontrol show partition` and `sacctmgr show qos`", "qsub": "`qstat -Qf`"}
"""What tells the limits of queues, by the command that submits."""

_LOCK = "lock"
_MAX_LAST_LINE = 200
_OUTPUTS = {".stderr": "stderr", ".err": "stderr", ".stdout": "stdout", ".out": "stdout"}
"""What Parsl's providers call the files of a block's output."""

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def look_around(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker has, as a trial's metrics: host, Python, versions, cores, accelerators, what it may lock.

    Parameters
    ----------
    config : mapping
        ``folder`` is where the driver holds a lock.
    """
    found: dict[str, Any] = {"objective": 0.0, "host": platform.node(), "python": platform.python_version()}
    found["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found["visible"] = " ".join(f"{name}={os.environ[name]}" for name in _VISIBLE if name in os.environ)
    found["devices"] = len([*Path("/dev").glob("nvidia[0-9]*")]) or len([*Path("/dev/dri").glob("renderD*")])
    found["lock"] = _try_lock(Path(config.get("folder", "")) / _LOCK)
    return {**found, **{name: _version(name) for name in COMPARED}}


def check_commands(planned: Iterable[PlannedBlocks]) -> Iterator[Check]:
    """Look for the scheduler's commands that a site needs on this machine."""
    needed = sorted({each for blocks in planned for each in blocks.needs})
    missing = [each for each in needed if shutil.which(each) is None]
    if missing:
        yield warn("scheduler", f"no {', '.join(missing)} here", "start searches on a login node of the site")
    elif needed:
        yield ok("scheduler", f"{', '.join(needed)} found")
    else:
        yield ok("scheduler", "none is needed")


def check_request(planned: Iterable[PlannedBlocks], limits: str | None, notes: Iterable[str]) -> Iterator[Check]:
    """Say what the site has to say, and whether nodes and walltime were compared with what the queue takes.

    Parameters
    ----------
    planned : iterable of PlannedBlocks
    limits : str, optional
        What the site says of the queue, or "" where it knows no limits; None where its scheduler itself will answer.
    notes : iterable of str
    """
    for each in notes:
        yield warn("slots", each)
    if limits is None:
        return
    looks = {LOOK_AT_QUEUE[each.needs[0]] for each in planned if each.needs}
    if limits:
        yield ok("limits", limits)
    elif looks:
        text = (
            "those of this queue are not known here: the scheduler may refuse nodes or walltime, or keep them waiting"
        )
        yield warn("limits", text, f"compare with {', '.join(sorted(looks))}, or the machine's user guide")


def check_site(site: str, arguments: Mapping[str, Any], path: Path, timeout_s: float | None) -> Iterator[Check]:
    """Run one trial on each executor of a site, and compare its worker with this process.

    Parameters
    ----------
    site : str
    arguments : mapping
    path : Path
        The trials' files lie in a folder under it, which stays if blocks fail.
    timeout_s : float, optional
        How long to wait for one executor.
    """
    from dhflow.flow.site import load_site

    try:
        executors = load_site(site, **arguments).executors
    except DhflowError as error:
        yield fail("reachable", str(error), "see `dhflow sites` for the site's arguments")
        return
    for each in executors:
        if len(executors) > 1:
            yield ok("executor", each.label)
        wants_accelerators = bool(getattr(each, "available_accelerators", ()))
        for found in _try_executor(site, arguments, each.label, path, timeout_s):
            if found.name != "accelerators" or wants_accelerators:
                yield found


def _try_executor(
    site: str, arguments: Mapping[str, Any], label: str, path: Path, timeout_s: float | None
) -> Iterator[Check]:
    path.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".dhflow-doctor-", dir=path.absolute()))
    began = time.time()
    try:
        with _locked(folder / _LOCK):
            result = _search(site, arguments, label, folder, timeout_s)
    except DhflowError as error:
        yield fail("reachable", " ".join(str(error).split()), "see below" if block_files(folder) else "")
        result = None
    trial = result.trials[0] if result is not None and result.trials else None
    if trial is not None and trial.status.value == "completed":
        yield from _look_at(trial, began)
        shutil.rmtree(folder, ignore_errors=True)
        return
    if result is not None:
        yield _no_trial(result, trial, time.time() - began)
    yield from _what_blocks_say(folder)
    if not block_files(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _no_trial(result: Result, trial: Trial | None, took_s: float) -> Check:
    from dhflow.flow.outcome import INTERRUPTED

    failure = trial.failure if trial is not None else None
    if failure is None or failure.kind == INTERRUPTED:
        advice = "give it longer with --timeout, or see the scheduler's queue"
    else:
        advice = "mend the workers' environment"
    why = f"{failure.kind}: {failure.message}" if failure else result.reason
    return fail("trial", f"none came back in {took_s:.0f} s: {why}", advice)


def _look_at(trial: Trial, began: float) -> Iterator[Check]:
    """Say what a completed trial of :func:`look_around` has found."""
    attempt, seen = trial.attempts[-1], trial.metrics
    first = (attempt.received_at or time.time()) - began
    started = (attempt.started_at or began) - began
    yield ok("reachable", f"first result after {first:.1f} s (the worker began after {started:.1f} s)")
    yield ok("worker", f"on {seen['host']}, {seen['cores']} cores, Python {seen['python']}")
    if not seen["visible"]:
        yield fail("accelerators", "the worker was given none", "see the site file")
    elif not seen["devices"]:
        yield warn("accelerators", f"{seen['visible']}, but its node shows no device", "see the site's --site-set")
    else:
        yield ok("accelerators", f"{seen['visible']}, of {seen['devices']} on its node")
    yield _judge_lock(str(seen["lock"]))
    yield from compare_versions(seen)


def _judge_lock(found: str) -> Check:
    if found == "held":
        return ok("locks there", "a worker is kept out of what this process has locked")
    if found == "unseen":
        advice = "choose a folder that the nodes see, with --path; without one a lost trial may run twice"
        return warn("files there", "the worker does not see this folder", advice)
    return warn("locks there", f"a worker was not kept out ({found})", "never run two searches on one history")


def block_files(folder: Path) -> list[Path]:
    """Return the files with what blocks printed, under a run's folder."""
    return sorted(each for each in folder.rglob("submit_scripts/*") if each.suffix in _OUTPUTS)


def _what_blocks_say(folder: Path) -> Iterator[Check]:
    for each in block_files(folder):
        yield warn(f"block's {_OUTPUTS[each.suffix]}", str(each), _last_line(each))
    for each in sorted(folder.rglob("worker_0.log"))[:1]:  # its workers started, and died of their own
        yield warn("worker's log", str(each), _last_line(each))


def _last_line(file: Path) -> str:
    return file.read_text(errors="replace").strip().rpartition("\n")[2][-_MAX_LAST_LINE:]


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


def _search(site: str, arguments: Mapping[str, Any], label: str, folder: Path, timeout_s: float | None) -> Result:
    from dhflow import Constant, SearchSpace, search

    return search(
        look_around,
        SearchSpace({"folder": Constant(str(folder))}),
        searcher="random",
        site=site,
        site_set=arguments,
        executors=[label],
        history=folder / "doctor.h5",
        max_trials=1,
        max_attempts=1,
        wall_time_s=timeout_s,
    )


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as held:
        with contextlib.suppress(OSError):  # the worker will say that nothing kept it out
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _try_lock(file: Path) -> str:
    """Return "held" if another process keeps this one out, "free" if not, "unseen" if the file is not there."""
    try:
        with file.open() as mine:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "unseen"
    except BlockingIOError:
        return "held"
    except OSError as error:
        return error.strerror or "no locks"
    return "free"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
