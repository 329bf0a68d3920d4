"""A history for a person: tables on a terminal, the same text without colours in a pipe."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.cli import describe
from dhflow.cli.report import (
    columns,
    constraints_text,
    is_marked_infeasible,
    objective_cells,
    pareto_title,
    trial_counts,
    utilisation_text,
)
from dhflow.constraint import violations
from dhflow.flow.text import count, format_config, format_duration, format_value
from dhflow.trial import TrialSource

if TYPE_CHECKING:
    from dhflow.history.event import SessionEnded, SessionStarted
    from dhflow.history.monitor_event import CommandTaken
    from dhflow.result import Result
    from dhflow.trial import Attempt, Trial, TrialFailure

_INDENT = "  "
_PIPE_WIDTH = 200
_LOG_TAIL_LINES = 20
_CURVE_TAIL = 10


def study(result: Result, *, top: int) -> None:
    """Print the overview."""
    click.echo("\n".join(columns(_facts(result))))
    best = describe.best_trials(result, top)
    if best:
        _heading(_best_title(result, best, top))
        names = [each.name for each in result.objectives]
        _table(["trial", *names, "time", "", "config"], [_best_row(result, each) for each in best])
    groups = describe.failure_groups(result)
    if groups:
        _heading("failures")
        for group in groups:
            click.echo(f"  {_group_title(group)}")
        click.echo(f"  tracebacks: {shlex.join(['dhflow', 'show', str(result.history), '--failed'])}")
    if len(result.record.sessions) > 1:
        _heading("sessions")
        _table(
            ["session", "began", "lasted", "host", "site", "workers", "trials", "ended"],
            [_session_row(result, *each) for each in result.record.sessions],
        )


def failures(result: Result) -> None:
    """Print every kind of failure with a traceback."""
    groups = describe.failure_groups(result)
    if not groups:
        click.echo(f"nothing failed in {result.history} ({trial_counts(result)})")
    for i, group in enumerate(groups):
        if i:
            click.echo()
        click.secho(_group_title(group), bold=True)
        _failure_text(group.example)
        if group.trial_ids:
            more = shlex.join(["dhflow", "show", str(result.history), "--trial", str(group.trial_ids[0])])
            click.echo(f"  config and output: {more}")


def one_trial(result: Result, trial: Trial) -> None:
    """Print all about one trial."""
    facts = [
        ("trial", f"{trial.trial_id} of {result.history}"),
        ("status", trial.status.value),
        *((name, format_value(value)) for name, value in trial.values.items()),
        *((name, format_value(value)) for name, value in trial.metrics.items()),
        *_constraint_facts(result, trial),
        ("from", _source_text(trial)),
        ("budget", "" if trial.budget is None else format_value(trial.budget)),
        ("seed", str(trial.seed)),
        ("created", _when(trial.created_at)),
    ]
    click.echo("\n".join(columns([each for each in facts if each[1]])))
    _heading("config")
    click.echo("\n".join(f"  {line}" for line in columns((n, format_value(v)) for n, v in trial.config.items())))
    for attempt in trial.attempts:
        _attempt(result, trial, attempt)
    _findings(result, trial)
    _commands(result, trial)
    _curve(result, trial)


def _facts(result: Result) -> list[tuple[str, str]]:
    header = result.record.header
    info: dict[str, Any] = result.record.sessions[-1][0].info if result.record.sessions else {}
    searcher = info.get("searcher", {})
    names = [each["name"] for each in header.space.get("parameters", [])] if header else []
    directions = [f"{each.name}, to {each.direction}" for each in result.objectives]
    facts = [
        ("history", f"{result.history}, since {_when(header.created_at)}" if header else str(result.history)),
        ("objective" if len(directions) == 1 else "objectives", "; ".join(directions)),
        ("constraints", constraints_text(result)),
        ("best", _best_fact(result)),
        ("trials", trial_counts(result)),
        ("space", f"{count(len(names), 'parameter')}: {', '.join(names)}"),
        ("searcher", " ".join([str(searcher.get("name", "")), f"seed={header.seed if header else ''}"]).strip()),
        ("site", str(info.get("site", ""))),
        ("workers", utilisation_text(result.utilisation)),
        ("ended", _ended(result)),
    ]
    return [each for each in facts if each[1]]


def _best_fact(result: Result) -> str:
    """Return the best value; with several objectives the best of each, which seldom belong to one trial."""
    members, default = result.pareto, result.default
    if not members:
        return "none yet"
    facts = []
    for at, objective in enumerate(result.objectives):
        best = min(members, key=lambda each: each.losses[at])
        name = f"{objective.name} " if len(result.objectives) > 1 else ""
        facts.append(f"{name}{format_value(best.values[objective.name])} (trial {best.trial_id})")
        if default is not None and objective.name in default.values:
            facts[-1] += f", the default config's {format_value(default.values[objective.name])}"
    return "; ".join(facts)


def _ended(result: Result) -> str:
    owner = describe.owner(result)
    if owner is not None:
        return f"not yet: process {owner.get('pid')} on {owner.get('host')} runs it"
    sessions = result.record.sessions
    if sessions and sessions[-1][1] is None:
        return "its driver died; resume goes on with it"
    return result.reason


def _constraint_facts(result: Result, trial: Trial) -> list[tuple[str, str]]:
    """Return for each constraint whether a trial with values meets it, or by how much not."""
    if not trial.values:
        return []
    by = zip(result.constraints, violations(trial, result.constraints), strict=True)
    return [("constraint", f"{each.text}: {f'violated by {format_value(far)}' if far else 'met'}") for each, far in by]


def _best_title(result: Result, best: list[Trial], top: int) -> str:
    if len(result.objectives) > 1:
        return pareto_title(result.pareto, len(result), top)
    return f"best {count(len(best), 'trial')}" if len(best) < len(result) else "trials, best first"


def _best_row(result: Result, trial: Trial) -> list[str]:
    marks = [] if trial.source is TrialSource.SEARCHER else [trial.source.value]
    if is_marked_infeasible(result, trial):
        marks.append("infeasible")
    if trial.budget is not None:
        marks.append(f"budget {format_value(trial.budget)}")
    duration = "" if trial.duration_s is None else format_duration(trial.duration_s)
    return [
        str(trial.trial_id),
        *objective_cells(result, trial),
        duration,
        ", ".join(marks),
        format_config(trial.config),
    ]


def _session_row(result: Result, began: SessionStarted, end: SessionEnded | None) -> list[str]:
    until = float("inf") if end is None else end.at
    times = [each.submitted_at for trial in result.trials for each in trial.attempts]
    info = began.info
    return [
        str(began.session),
        _when(began.at),
        "" if end is None else format_duration(end.at - began.at),
        str(info.get("host", "")),
        str(info.get("site", "")),
        str(info.get("n_slots", "")),
        str(sum(began.at <= each <= until for each in times)),
        "" if end is None else str(end.info.get("reason", "")),
    ]


def _group_title(group: describe.FailureGroup) -> str:
    failure = group.example
    parts = []
    if group.trial_ids:
        ids = ", ".join(map(str, group.trial_ids[:10])) + (", …" if len(group.trial_ids) > 10 else "")
        parts.append(f"{'trial' if len(group.trial_ids) == 1 else 'trials'} {ids}")
    if group.n_retried:
        parts.append(f"{count(group.n_retried, 'attempt')} made again")
    where = f" at {_short(failure.location)}" if failure.location else ""
    message = failure.message.partition("\n")[0]
    message = message if len(message) <= 100 else message[:99] + "…"
    return f"{len(group.trial_ids) + group.n_retried} × {failure.kind}: {message}{where} ({'; '.join(parts)})"


def _failure_text(failure: TrialFailure) -> None:
    for label, value in (
        ("host", failure.host),
        ("signal", failure.signal),
        ("last step", "" if failure.last_step is None else str(failure.last_step)),
    ):
        if value:
            click.echo(f"  {label}: {value}")
    for line in (failure.traceback or f"{failure.kind}: {failure.message}").rstrip().splitlines():
        click.echo(f"  {line}")


def _attempt(result: Result, trial: Trial, attempt: Attempt) -> None:
    _heading(f"attempt {attempt.number}: {attempt.status.value}")
    facts = [
        ("submitted", _when(attempt.submitted_at)),
        ("waited", _between(attempt.submitted_at, attempt.started_at)),
        ("ran", _between(attempt.started_at, attempt.ended_at)),
        ("host", f"{attempt.host} (worker {attempt.worker})" if attempt.host else ""),
    ]
    where = describe.attempt_directory(result, trial, attempt)
    if where is not None:
        facts.append(("files", str(where)))
    click.echo("\n".join(f"  {line}" for line in columns(each for each in facts if each[1])))
    if attempt.failure is not None:
        click.echo()
        _failure_text(attempt.failure)
    if where is not None:
        _output(where / "output.log")


def _output(log: Path) -> None:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    if lines:
        click.echo(f"\n  end of its output, {count(len(lines), 'line')}:")
        for line in lines[-_LOG_TAIL_LINES:]:
            click.echo(f"  | {line}")


def _findings(result: Result, trial: Trial) -> None:
    from dhflow.history import read_findings

    found = [] if result.history is None else read_findings(result.history, trial.trial_id)
    if found:
        _heading(f"what the monitor found, {count(len(found), 'finding')}")
        for each in found:
            click.echo(f"  {each.finding['severity']}, step {each.finding.get('step', 0)}: {each.finding['text']}")
        click.echo(f"  advice: {shlex.join(['dhflow', 'advise', str(result.history), '--trial', str(trial.trial_id)])}")


def _commands(result: Result, trial: Trial) -> None:
    from dhflow.history import read_commands

    every = [] if result.history is None else read_commands(result.history)
    mine = [each for each in every if each.trial_id == trial.trial_id]
    if mine:
        _heading("what was asked of it")
        for each in mine:
            click.echo(f"  {_when(each.at)} {_asked(each)}, by {each.origin}: {_became(each.reply)}")


def _asked(command: CommandTaken) -> str:
    arguments = command.arguments
    what = command.command
    if what == "control":
        what = " ".join([str(arguments.get("control", "")), format_value(arguments.get("value", ""))]).rstrip()
    if what == "accept":
        what = "a new trial with " + format_config(arguments.get("changes", {}))
    suggestion = arguments.get("suggestion")
    return what if suggestion is None else f"{what} ({suggestion})"


def _became(reply: dict[str, Any]) -> str:
    if "error" in reply:
        return f"refused, {reply['error']}"
    return f"trial {reply['trial']}" if "trial" in reply else "sent"


def _curve(result: Result, trial: Trial) -> None:
    rows = result.measurements(trial.trial_id)
    if not rows:
        return
    names = list(dict.fromkeys(each.name for each in rows))
    steps: dict[int, dict[str, float]] = {}
    for each in rows:
        steps.setdefault(each.step, {})[each.name] = each.value
    _heading(f"learning curve, {count(len(steps), 'step')}")
    shown = sorted(steps)[-_CURVE_TAIL:]
    table = [[str(step), *(format_value(steps[step].get(name, "")) for name in names)] for step in shown]
    click.echo("\n".join(f"  {line}" for line in columns([["step", *names], *table])))


def _source_text(trial: Trial) -> str:
    advice = trial.meta.get("advice", {})
    text = {
        "searcher": "the searcher",
        "default": "the defaults",
        "user": "you (enqueue)",
        "advice": f"the monitor's advice {advice.get('trial')}/{advice.get('suggestion')} (by {advice.get('by')})",
        "added": "loaded",
    }
    source = text[trial.source.value]
    if trial.ask_number is not None:
        source += f", ask {trial.ask_number}, which had seen {count(trial.ask_saw or 0, 'outcome')}"
    return source if trial.parent_id is None else f"{source}, continuing trial {trial.parent_id}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that wraps its last column to the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for i, title in enumerate(titles):
        is_last = i == len(titles) - 1
        table.add_column(title, no_wrap=not is_last, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    width = shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(highlight=False, width=width - len(_INDENT))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(f"{_INDENT}{line.rstrip()}")


def _heading(text: str) -> None:
    click.echo()
    click.secho(text, bold=True)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _between(begin: float | None, end: float | None) -> str:
    if begin is None:
        return ""
    return format_duration(end - begin) if end is not None else f"{format_duration(time.time() - begin)} so far"


def _short(location: str) -> str:
    return location.removeprefix(f"{Path.cwd()}{os.sep}")
