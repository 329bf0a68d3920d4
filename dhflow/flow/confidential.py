"""What of a search's settings a history may keep: it is a file that people share, and some settings hold secrets.

What is withheld lies in the run directory, in a file that only its owner may read: ``dhflow resume`` needs it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dhflow.errors import SearchError

WITHHELD = "<withheld>"
"""What stands in a history in place of a value that may hold a secret."""

SITE_SET = "site_set.json"
"""In the run directory: the arguments of the site that the history does not keep."""

_SECRET_NAME = r"(?i:key|token|secret|passw|credential|auth)"
_FREE_TEXT_NAME = re.compile(rf"(^|_)(init|options|overrides|command|script|env|environment)$|{_SECRET_NAME}")
# One word of what schedulers call things: queues, node lists, paths, times, addresses. Shell is never one.
_WORD = re.compile(r"[\w.,:/@+\-&|*%\[\]()~]*")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KNOWN_SECRET = re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abps]-|AKIA|eyJ)\w{6,}|://[^/\s]*:[^/\s]*@")
_LONG_MIXED = re.compile(r"(?=[A-Za-z_\-]*\d)(?=[\d_\-]*[A-Za-z])[\w\-]{20,}")

# In a command: NAME=value, --name value and --name=value, where the name speaks of a secret. A parameter is none.
_ASSIGNED = re.compile(
    rf"(?P<name>[\w\-]*{_SECRET_NAME}[\w\-]*)(?P<sign>=|\s+)(?P<value>'[^']*'|\"[^\"]*\"|[^\s'\"{{]+)"
)


def for_history(site_set: Mapping[str, Any]) -> dict[str, Any]:
    """Return a site's arguments with :data:`WITHHELD` for each that is free text or looks like a secret."""
    return {name: value if _is_harmless(name, value) else WITHHELD for name, value in site_set.items()}


def keep_withheld(site_set: Mapping[str, Any], run_directory: Path) -> None:
    """Write what :func:`for_history` leaves out where :func:`restored` finds it."""
    held = {name: value for name, value in site_set.items() if not _is_harmless(name, value)}
    if held:
        keep_private(run_directory / SITE_SET, held)
    else:
        (run_directory / SITE_SET).unlink(missing_ok=True)


def without_secrets(command: str) -> str:
    """Return a command without the values that its names call secrets, and without words that look like one."""

    def hide(found: re.Match[str]) -> str:
        # "key" in a sentence is no option.
        is_said = found["sign"] == "=" or found["name"].startswith("-")
        return f"{found['name']}{found['sign']}{WITHHELD}" if is_said else found[0]

    words = re.split(r"(\s+)", _ASSIGNED.sub(hide, command))
    return "".join(WITHHELD if _looks_secret(each) else each for each in words)


def keep_private(path: Path, data: object) -> None:
    """Write JSON into a file that only its owner may read; an older one is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(data, file, default=str)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may open."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # somebody else's, or a file system without modes
        folder.chmod(0o700)


@contextmanager
def config_not_logged() -> Iterator[None]:
    """Keep a kernel that starts from writing its whole configuration, shell of the user included, into Parsl's log."""
    logger = logging.getLogger("parsl.dataflow.dflow")
    logger.addFilter(_shorten)
    try:
        yield
    finally:
        logger.removeFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    first, _, more = record.getMessage().partition("\n")
    if more and first.endswith("with config"):
        record.msg, record.args = f"{first} (left out: it may hold secrets)", ()
    return True


def restored(site_set: Mapping[str, Any], run_directory: Path) -> dict[str, Any]:
    """Return a site's arguments as they were before :func:`for_history`.

    Raises
    ------
    SearchError
        Naming an argument whose value is nowhere to be had.
    """
    file = run_directory / SITE_SET
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text())
    for name, value in site_set.items():
        if value == WITHHELD and name not in known:
            raise SearchError(
                f"the history does not keep the value of {name}, which may hold a secret, and {file} does not either: "
                f'give it again, --site-set {name}="…"'
            )
    return {name: known[name] if value == WITHHELD else value for name, value in site_set.items()}


def _is_harmless(name: str, value: object) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if _FREE_TEXT_NAME.search(name):
        return value == ""
    if isinstance(value, list | tuple):
        return all(_is_harmless(name, each) for each in value)
    if isinstance(value, Path):
        value = str(value)
    return isinstance(value, str) and _WORD.fullmatch(value) is not None and not _looks_secret(value)


def _looks_secret(text: str) -> bool:
    if _KNOWN_SECRET.search(text):
        return True
    # Of a path or a list each part is looked at: none of them is long in itself.
    parts = re.split(r"[/,:.@]", text)
    return any(_LONG_MIXED.fullmatch(each) and not _UUID.fullmatch(each) for each in parts)
