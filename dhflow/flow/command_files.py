"""Commands from other processes: a file in ``commands/`` of the run directory, and its reply beside it.

``<id>.json`` holds ``{"command", "trial", "origin", "arguments"}``; it is written aside and renamed, so that nobody
reads half of it. The owner of the study removes it when the command is recorded, and leaves ``<id>.reply``.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from dhflow.history.monitor_event import CommandTaken

FOLDER = "commands"
_REPLY = ".reply"
_COMMAND = ".json"
_MOST_BYTES = 1 << 20
_POLL_S = 0.1
_FORGET_S = 3_600.0
"""A reply that nobody has read after so long is removed."""


def give(folder: Path, command: CommandTaken) -> str:
    """Leave a command for the owner of a study; return its id.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command_id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    data = {
        "command": command.command,
        "trial": command.trial_id,
        "origin": command.origin or who(),
        "arguments": command.arguments,
    }
    _write(folder / f"{command_id}{_COMMAND}", data)
    return command_id


def wait_for_reply(folder: Path, command_id: str, timeout_s: float) -> dict[str, Any] | None:
    """Return the reply to a command, or None if none has come in time: then the command is taken back."""
    until = time.monotonic() + timeout_s
    while True:
        found = _read(folder / f"{command_id}{_REPLY}")
        if found is not None:
            (folder / f"{command_id}{_REPLY}").unlink(missing_ok=True)
            return found
        if time.monotonic() >= until:
            break
        time.sleep(_POLL_S)
    try:
        (folder / f"{command_id}{_COMMAND}").unlink()
    except FileNotFoundError:  # it was taken at the last moment
        return _read(folder / f"{command_id}{_REPLY}")
    return None


def who() -> str:
    """Return who gives commands: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class CommandInbox:
    """The owner's end.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._cleaned_at = 0.0

    def take(self) -> list[CommandTaken]:
        """Return new commands, in the order in which they were given; what is no command is answered at once."""
        try:
            names = sorted(each.name for each in os.scandir(self._folder))
        except OSError:
            return []
        if names and time.monotonic() - self._cleaned_at > _FORGET_S:
            self._clean(names)
        new = [each.removesuffix(_COMMAND) for each in names if each.endswith(_COMMAND)]
        commands = (self._read(each) for each in new if each not in self._taken)
        return [each for each in commands if each is not None]

    def _read(self, command_id: str) -> CommandTaken | None:
        self._taken.add(command_id)
        data = _read(self._folder / f"{command_id}{_COMMAND}") or {}
        try:
            trial_id = None if data.get("trial") is None else int(data["trial"])
            arguments = dict(data.get("arguments") or {})
            origin = str(data.get("origin", ""))
            return CommandTaken(time.time(), str(data["command"]), trial_id, origin, arguments, {}, command_id)
        except (KeyError, TypeError, ValueError) as error:
            self.reply(command_id, {"error": f"the file is no command: {error!r}"})
            return None

    def reply(self, command_id: str, reply: dict[str, Any]) -> None:
        """Leave the reply, and remove the command; whoever waits is told nothing if that cannot be written."""
        with contextlib.suppress(OSError):
            _write(self._folder / f"{command_id}{_REPLY}", reply)
        with contextlib.suppress(OSError):
            (self._folder / f"{command_id}{_COMMAND}").unlink(missing_ok=True)
            self._taken.discard(command_id)

    def _clean(self, names: list[str]) -> None:
        self._cleaned_at = time.monotonic()
        for each in names:
            with contextlib.suppress(OSError):
                path = self._folder / each
                if not each.endswith(_COMMAND) and time.time() - path.stat().st_mtime > _FORGET_S:
                    path.unlink()


def _write(path: Path, data: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(data))
    aside.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
