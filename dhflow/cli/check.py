"""One finding of ``dhflow doctor`` or ``dhflow sites check``, and how findings are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import click

from dhflow.flow.text import count

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


def show_checks(title: str, checks: Iterable[Check]) -> list[Check]:
    """Print findings under a title as they come, for a site may take minutes; return them."""
    click.secho(title, bold=True)
    found = []
    for each in checks:
        found.append(each)
        click.echo(f"  {click.style(each.level.ljust(4), fg=COLOURS[each.level])}  {each.name.ljust(18)}  {each.text}")
        if each.advice:
            click.echo(f"{' ' * 28}-> {each.advice}")
    click.echo()
    return found


def conclude(found: Sequence[Check], remark: str = "", *, well: str = "all is well") -> None:
    """Print what all findings come to, `well` if none is more than ok; exit with 1 if one failed."""
    n_failed = sum(each.level == "fail" for each in found)
    n_warned = sum(each.level == "warn" for each in found)
    if n_failed:
        click.echo(f"{n_failed} of {len(found)} checks failed")
        raise click.exceptions.Exit(1)
    verdict = f"no error was found, but {count(n_warned, 'warning')}" if n_warned else well
    click.echo(f"{verdict}; {remark}" if remark else verdict)
