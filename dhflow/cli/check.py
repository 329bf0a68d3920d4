"""One finding of ``dhflow doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]

COLOURS: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found.

    Parameters
    ----------
    level : {"ok", "warn", "fail"}
    name, text : str
    advice : str
        What to do about it, or "".
    """

    level: Level
    name: str
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Check:
    """Return a finding that is as it should be."""
    return Check("ok", name, text)


def warn(name: str, text: str, advice: str = "") -> Check:
    """Return one that dhflow can work with."""
    return Check("warn", name, text, advice)


def fail(name: str, text: str, advice: str = "") -> Check:
    """Return one that dhflow cannot work with."""
    return Check("fail", name, text, advice)
