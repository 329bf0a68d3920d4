"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Off(enum.Enum):
    """What an option has that was switched off with "none"; one that was not given has None."""

    OFF = "none"


OFF = Off.OFF

DEFAULT_SITE = "laptop"
DEFAULT_SEARCHER = "auto"

LIMITS = ("max_trials", "max_budget", "wall_time_s", "node_hours", "target", "plateau")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


class Verb(click.Command):
    """A verb whose help ends with examples.

    Parameters
    ----------
    examples : sequence of str
        Command lines, without the leading ``dhflow``.
    """

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they stand, unwrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for each in self.examples:
                    formatter.write(f"  dhflow {each}\n")


class Duration(click.ParamType):
    """Seconds, from ``01:30:00`` (hours first), ``10:00`` (minutes first), ``90s``, ``10m``, ``1h30m`` or ``90``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | Off:
        """Return seconds, or OFF."""
        text = str(value).strip().lower()
        if value is OFF or text == OFF.value:
            return OFF
        seconds = parse_duration(text)
        if seconds is None:
            self.fail(f"{value!r} is no time: write 01:30:00, 90s, 10m or 1h30m", param, ctx)
        return seconds


class Number(click.ParamType):
    """A number, or "none"."""

    name = "number"

    def __init__(self, kind: type[int] | type[float], *, low: float | None = None) -> None:
        self._kind = kind
        self._low = low

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | Off:
        """Return the number, or OFF."""
        if value is OFF or str(value).lower() == OFF.value:
            return OFF
        try:
            number = self._kind(value)
        except ValueError:
            self.fail(f"{value!r} is no {'whole ' if self._kind is int else ''}number (or none)", param, ctx)
        if self._low is not None and not number >= self._low:
            self.fail(f"{value} is below {self._low:g}", param, ctx)
        return number

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what stands for the value in the help."""
        return "N" if self._kind is int else "NUMBER"


class Setting(click.ParamType):
    """``name=value``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the name and the text of the value."""
        if isinstance(value, tuple):
            return value
        name, sign, text = str(value).partition("=")
        if not sign or not name:
            self.fail(f"{value!r}: write name=value", param, ctx)
        return name.strip().replace("-", "_"), text


def parse_duration(text: str) -> float | None:
    """Return the seconds that a text stands for, or None if it stands for none."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if re.fullmatch(r"(\d+:)?\d+:\d\d(\.\d+)?", text):
        seconds = 0.0
        for part in text.split(":"):
            seconds = 60 * seconds + float(part)
        return seconds
    parts = _PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return None


def parse_scalar(text: str) -> Any:
    """Return the JSON scalar that a text is, ``True`` and ``None`` as Python writes them included, or the text."""
    known = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in known:
        return known[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict) else value


def scalars(settings: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return settings with their values read by :func:`parse_scalar`."""
    return {name: parse_scalar(text) for name, text in settings}


def limit_options(function: F) -> F:
    """Add the limits: when the search stops."""
    return _apply(
        function,
        click.option("--max-trials", type=Number(int, low=1), help="Stop after N trials, earlier sessions included."),
        click.option(
            "--wall-time", "wall_time_s", type=Duration(), help="Stop this session after that long: 01:30:00, 10m."
        ),
        click.option("--max-budget", type=Number(float, low=0), help="Stop after so many units of budget."),
        click.option("--node-hours", type=Number(float, low=0), help="Stop this session after nodes x hours."),
        click.option("--target", type=Number(float), help="Stop when the objective is as good as this."),
        click.option("--plateau", type=Number(int, low=1), help="Stop after N trials without a better value."),
    )


def run_options(function: F) -> F:
    """Add where trials run and how they are treated."""
    return _apply(
        function,
        click.option("--site", help="Site's name or path of a site file (dhflow sites).  [default: laptop]"),
        click.option("--site-set", multiple=True, type=Setting(), help="Argument of the site, e.g. workers=2."),
        click.option("--workers", type=click.IntRange(1), help="Trials at a time, where the site does not say."),
        click.option("--executors", help="Labels of the Parsl executors to use, with commas between."),
        click.option(
            "--resource",
            "resources",
            multiple=True,
            type=Setting(),
            help="What each trial asks of Parsl's executor, e.g. num_nodes=2; a parameter's name stands for its value.",
        ),
        click.option("--timeout", "timeout_s", type=Duration(), help="End a trial that runs longer: 90s, 10m."),
        click.option(
            "--abort-after",
            type=Number(int, low=1),
            help="Stop when the first N trials fail alike, or none.  [default: 3]",
        ),
        click.option(
            "--max-attempts", type=click.IntRange(1), help="Tries of a trial whose worker is lost.  [default: 3]"
        ),
        click.option(
            "--keep",
            type=click.Choice(["all", "failed", "none"]),
            help="Whose files stay beside the history.  [default: all]",
        ),
        click.option(
            "--plot", "figure", type=click.Path(dir_okay=False), help="Draw the result into this file at the end."
        ),
        click.option(
            "--adapt",
            type=click.Choice(["suggest", "stop", "auto"]),
            help="What to do about what is found in running trials: show it, stop red ones, try changes.  "
            "[default: suggest]",
        ),
        click.option("--max-auto", type=click.IntRange(0), help="Trials that --adapt auto may make.  [default: 10]"),
        click.option(
            "--stopper",
            "stoppers",
            multiple=True,
            type=click.Choice(["nan", "median", "extrapolation", "time"]),
            help="End trials that are not worth their time; may be given several times.",
        ),
        click.option(
            "--channel",
            help="How workers report: auto (files), zmq, zmq:ADDRESS or zmq:ADDRESS:PORT-PORT.  [default: auto]",
        ),
        click.option("--progress/--no-progress", default=True, help="Show the progress on standard error."),
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave; "none" becomes None."""
    return {name: None if value is OFF else value for name, value in values.items() if value not in (None, ())}


def run_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the options on the command line make, as JSON values."""
    settings = _given(options)
    if "site" in settings and settings["site"].endswith(".py"):
        settings["site"] = str(Path(settings["site"]).resolve())
    if "site_set" in settings:
        settings["site_set"] = dict(settings["site_set"])
    if "resources" in settings:
        settings["resources"] = scalars(settings["resources"])
    if "stoppers" in settings:
        settings["stoppers"] = list(settings["stoppers"])
    if "executors" in settings:
        settings["executors"] = [each.strip() for each in settings["executors"].split(",")]
    return settings


def _apply(function: F, *decorators: Callable[[F], F]) -> F:
    # click lists options in the order in which the decorators stand, which is the reverse of applying them.
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
