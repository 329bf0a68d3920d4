"""What a search says when it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dhflow.cli.run import resume_command
from dhflow.flow.run_directory import run_path
from dhflow.flow.text import count, format_config, format_duration, format_value

if TYPE_CHECKING:
    from dhflow.flow.utilisation import Utilisation
    from dhflow.result import Result
    from dhflow.trial import Trial

_MAX_METRICS = 10
"""An objective may return a hundred numbers; `dhflow show` has them all."""
_MAX_MEMBERS = 10
"""Of a large Pareto set; `dhflow show --top` shows as many as one likes."""


def report(result: Result, history: Path, *, keep: str = "all", figure: str | None = None) -> None:
    """Print the best config beside the default one, how the session went, and where everything lies.

    With several objectives the Pareto set takes the place of the best config.

    Raises
    ------
    SearchError
        If no trial that meets the constraints has completed; all the rest is printed first.
    """
    has_best = bool(result.pareto)
    if has_best:
        lines = best_lines(result) if len(result.objectives) == 1 else pareto_lines(result)
        click.echo("\n".join(["", *lines, ""]))
    facts = [
        ("trials", trial_counts(result)),
        ("constraints", constraints_text(result)),
        ("workers", utilisation_text(result.utilisation)),
        ("ended", result.reason),
        ("history", str(history)),
        ("logs", f"{run_path(history)}/trials/TRIAL/ATTEMPT/output.log" if keep != "none" else ""),
        ("figure", figure or ""),
        ("look", f"dhflow show {history}"),
        ("go on", resume_command(history, "--max-trials", str(2 * max(1, len(result))))),
    ]
    click.echo("\n".join(columns([each for each in facts if each[1]])))
    if not has_best:
        click.echo()
        raise result.without_best()


def best_lines(result: Result) -> list[str]:
    """Return the best trial's objective, config and metrics, beside the default's where there is one."""
    best, default = result.best, result.default
    objective = result.objectives[0]
    beside = default if default is not None and default.trial_id != best.trial_id else None
    head = [click.style(f"best: trial {best.trial_id}", bold=True), ""]
    rows = [(objective.name, *_values(best, beside))]
    names = [*best.config, *(each for each in (beside.config if beside else ()) if each not in best.config)]
    rows += [(name, *_settings(name, best, beside)) for name in names]
    if best.budget is not None:
        rows.append(("budget", format_value(best.budget), *([_budget(beside)] if beside else [])))
    # What a constraint is on comes first: it must not fall behind the last one shown.
    metrics = [*dict.fromkeys([*(each.name for each in result.constraints), *best.metrics])]
    shown = [name for name in metrics if name in best.metrics][:_MAX_METRICS]
    rows += [(name, *_metrics(name, best, beside)) for name in shown]
    title = ("", "best", _with_mark(result, beside, "default")) if beside else ("", "best")
    lines = [*head[:1], *(f"  {each}" for each in columns([title, *rows] if beside else rows))]
    if default is not None and default.trial_id == best.trial_id:
        lines.append("  no trial was better than the default config")
    return lines


def pareto_lines(result: Result) -> list[str]:
    """Return the Pareto set's objectives and configs, the most spread trials of a large one, and the default's."""
    members, default = result.pareto, result.default
    shown = spread(members, _MAX_MEMBERS)
    if default is not None and default.trial_id not in {each.trial_id for each in shown}:
        shown.append(default)
    rows = [(_label(result, each), *objective_cells(result, each), format_config(each.config)) for each in shown]
    names = [each.name for each in result.objectives]
    table = columns([("trial", *names, "config"), *rows])
    return [click.style(pareto_title(members, len(result), _MAX_MEMBERS), bold=True), *(f"  {each}" for each in table)]


def pareto_title(members: Sequence[Trial], n_trials: int, top: int) -> str:
    """Return how many trials the Pareto set has, and how many of them are shown."""
    shown = f"; the {top} that lie furthest apart" if len(members) > top else ""
    return f"Pareto set: {len(members)} of {count(n_trials, 'trial')}{shown}"


def spread(members: Sequence[Trial], top: int) -> list[Trial]:
    """Return at most `top` trials of a Pareto set, those with the most room around them, in their order."""
    from dhflow.pareto import crowding_distances  # here: numpy is too heavy for a --help

    if len(members) <= top:
        return list(members)
    distances = crowding_distances([each.losses for each in members])
    chosen = sorted(range(len(members)), key=lambda i: -distances[i])[:top]
    return [members[i] for i in sorted(chosen)]


def objective_cells(result: Result, trial: Trial) -> list[str]:
    """Return a trial's value of each objective."""
    return [
        format_value(trial.values[each.name]) if each.name in trial.values else trial.status.value
        for each in result.objectives
    ]


def trial_counts(result: Result) -> str:
    """Return how many trials there are, by status."""
    counts: dict[str, int] = {}
    for each in result.trials:
        counts[each.status.value] = counts.get(each.status.value, 0) + 1
    order = ("completed", "failed", "lost", "stopped", "running", "pending")
    texts = {each: f"{counts[each]} {each}" for each in order if each in counts}
    n_infeasible = result.n_infeasible
    if n_infeasible:
        texts["completed"] += f" ({n_infeasible} infeasible)"
    return f"{len(result)}: {', '.join(texts.values())}" if texts else "none"


def constraints_text(result: Result) -> str:
    """Return what a trial must meet, or ""."""
    return "; ".join(each.text for each in result.constraints)


def is_marked_infeasible(result: Result, trial: Trial) -> bool:
    """Tell whether a trial has values, and these violate a constraint."""
    return bool(trial.values) and not result.is_feasible(trial)


def utilisation_text(found: Utilisation | None) -> str:
    """Return how busy the workers of the last session were."""
    if found is None:
        return ""
    return (
        f"{count(found.n_workers, 'worker')}, {found.share:.0%} busy over {format_duration(found.steady_s)}; "
        f"start-up {format_duration(found.startup_s)}, tail {format_duration(found.tail_s)}"
    )


def columns(rows: Iterable[Sequence[str]], gap: int = 2) -> list[str]:
    """Return rows of cells as aligned lines."""
    table = [list(row) for row in rows]
    if not table:
        return []
    widths = [max(len(row[i]) for row in table if i < len(row)) for i in range(max(map(len, table)))]
    return [
        (" " * gap).join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in table
    ]


def _label(result: Result, trial: Trial) -> str:
    if trial.source.value != "default":
        return str(trial.trial_id)
    return f"{trial.trial_id} ({'default, infeasible' if is_marked_infeasible(result, trial) else 'default'})"


def _with_mark(result: Result, trial: Trial, title: str) -> str:
    return f"{title} (infeasible)" if is_marked_infeasible(result, trial) else title


def _values(best: Trial, beside: Trial | None) -> list[str]:
    shown = [best] if beside is None else [best, beside]
    return [each.status.value if each.objective is None else format_value(each.objective) for each in shown]


def _settings(name: str, best: Trial, beside: Trial | None) -> list[str]:
    shown = [best] if beside is None else [best, beside]
    return [format_value(each.config[name]) if name in each.config else "-" for each in shown]


def _metrics(name: str, best: Trial, beside: Trial | None) -> list[str]:
    shown = [best] if beside is None else [best, beside]
    return [format_value(each.metrics[name]) if name in each.metrics else "-" for each in shown]


def _budget(trial: Trial) -> str:
    return "full" if trial.budget is None else format_value(trial.budget)
