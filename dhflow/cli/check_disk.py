"""Whether a history can live on this file system; tried for real, with a second process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dhflow.cli.check import Check, fail, ok, warn

_LOCK_IN_CHILD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(7)
"""
_APPEND_IN_CHILD = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for i in range(int(sys.argv[3])):
    os.write(fd, (sys.argv[2] * 200 + "\\n").encode())
"""
_BUSY = 7
_N_LINES = 500
_TIMEOUT_S = 60.0

_LITTLE_BYTES = 1 << 30
_TOO_LITTLE_BYTES = 64 << 20
_SLOW_SYNC_S = 0.2


def check_disk(path: Path) -> Iterator[Check]:
    """Look at one folder's file system: room, locks, appending, replacing, how long a write takes to be safe."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".dhflow-doctor-", dir=path))
    except OSError as error:
        yield fail("writable", f"no: {error.strerror}", "choose another folder with --path")
        return
    try:
        yield ok("kind", _kind(path))
        yield _check_room(path)
        for name, check in (
            ("locks", _check_locks),
            ("appending", _check_appending),
            ("replacing", _check_replacing),
            ("syncing", _check_syncing),
        ):
            yield _guarded(name, check, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _guarded(name: str, check: Callable[[Path], Check], folder: Path) -> Check:
    try:
        return check(folder)
    except (OSError, subprocess.SubprocessError) as error:
        return fail(name, f"does not work: {error}", "keep histories on another file system")


def _check_room(path: Path) -> Check:
    free = shutil.disk_usage(path).free
    text = f"{free / 1e9:.1f} GB free"
    if free < _TOO_LITTLE_BYTES:
        return fail("room", text, "make room, or choose another folder")
    if free < _LITTLE_BYTES:
        return warn("room", text, "a search pauses when the disk is full; nothing is lost")
    return ok("room", text)


def _check_locks(folder: Path) -> Check:
    lock = folder / "lock"
    lock.touch()
    advice = "never run two searches on one history here: nothing would stop the second one"
    fd = os.open(lock, os.O_RDWR)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return warn("locks", f"this file system has none ({error.strerror})", advice)
        while_held = _python(_LOCK_IN_CHILD, str(lock))
        fcntl.flock(fd, fcntl.LOCK_UN)
        after = _python(_LOCK_IN_CHILD, str(lock))
    finally:
        os.close(fd)
    if while_held == 0:
        return warn("locks", "a second process was not kept out", advice)
    if (while_held, after) != (_BUSY, 0):
        return fail("locks", f"a second process got exit codes {while_held} and {after}", "keep histories elsewhere")
    return ok("locks", "a second process is kept out")


def _check_appending(folder: Path) -> Check:
    file = folder / "append"
    file.touch()
    writers = [
        subprocess.Popen([sys.executable, "-c", _APPEND_IN_CHILD, str(file), letter, str(_N_LINES)]) for letter in "ab"
    ]
    codes = [each.wait(_TIMEOUT_S) for each in writers]
    lines = file.read_text().splitlines()
    whole = sum(each in ("a" * 200, "b" * 200) for each in lines)
    if any(codes) or whole != 2 * _N_LINES:
        text = f"two processes: {whole} of {2 * _N_LINES} lines are whole"
        return warn("appending", text, "live records of parallel writers may be torn here")
    return ok("appending", "lines of two processes stay whole")


def _check_replacing(folder: Path) -> Check:
    old, new = folder / "history", folder / "history.new"
    old.write_text("old")
    with old.open() as reader:
        new.write_text("new")
        new.replace(old)
        seen = reader.read(), old.read_text()
    if seen != ("old", "new"):
        return fail("replacing", f"a reader saw {seen[0]!r}, then {seen[1]!r}", "keep histories on another file system")
    return ok("replacing", "a file is replaced at once, under its readers")


def _check_syncing(folder: Path) -> Check:
    with (folder / "sync").open("wb") as file:
        began = time.perf_counter()
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
        took = time.perf_counter() - began
    if took > _SLOW_SYNC_S:
        return warn("syncing", f"{took * 1000:.0f} ms for one small write", "fine for trials of seconds and more")
    return ok("syncing", f"{took * 1000:.1f} ms for one small write")


def _python(code: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-c", code, *arguments], timeout=_TIMEOUT_S, check=False).returncode


def _kind(path: Path) -> str:
    """Return the type of the file system, as far as this system tells."""
    real = path.resolve()
    best = ("", "unknown to this system")
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind, *_ = line.split()
            where = where.replace("\\040", " ")
            if real.is_relative_to(where) and len(where) >= len(best[0]):
                best = (where, f"{kind} at {where}")
    return best[1]
