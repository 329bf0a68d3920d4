"""What the verbs about running trials print: a line per trial, and the evidence of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhflow.flow.advice import has_space, judged_now, read_board, shown_of, suggestions_of
from dhflow.flow.applying import changes_rate_only
from dhflow.flow.text import format_value
from dhflow.history import load_record, read_records
from dhflow.history.run_file import is_written
from dhflow.monitor.finding import Finding, Light, finding_from_json, light_of
from dhflow.trial import TrialStatus

if TYPE_CHECKING:
    from rich.table import Table

    from dhflow.flow.advice import Advice
    from dhflow.history.event import StudyRecord
    from dhflow.trial import Trial

_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 20
_COLOURS = {Light.GREEN: "green", Light.AMBER: "yellow", Light.RED: "bold red"}
_MOST_JUDGED = 20
"""Trials that a view without an owner judges itself."""


@dataclass(frozen=True)
class Line:
    """One running trial as the view shows it.

    Parameters
    ----------
    trial_id : int
    light : Light, optional
        None while it has reported nothing.
    progress : str
    curve : sequence of float
    metric, verdict, advice : str
    """

    trial_id: int
    light: Light | None
    progress: str
    curve: Sequence[float] = ()
    metric: str = ""
    verdict: str = ""
    advice: str = ""


def running_lines(history: Path) -> tuple[list[Line], str]:
    """Return a line for each running trial, and what is to be said of the others.

    While somebody runs the study the lines are what its watcher shows; of a single run they are judged here.
    """
    board = read_board(history)
    if board is not None:
        silent = f"running without reports: {board.n_silent}; " if board.n_silent else ""
        return [_from_board(each) for each in board.running], f"{silent}ended in this session: {board.n_ended}"
    record = load_record(history)
    running = [each for each in record.trials.values() if each.status is TrialStatus.RUNNING]
    n_ended = sum(each.is_finished for each in record.trials.values())
    if has_space(record):
        lines = [Line(each.trial_id, None, "", verdict="no reports yet") for each in running]
    else:
        lines = [_judged(history, record, each) for each in running[:_MOST_JUDGED]]
        if any(not is_written(history, each) for each in running):
            return lines, f"it runs no longer: its process has not closed {history}, and is gone"
    return lines, f"ended: {n_ended}" if lines else f"no trial of {history} runs now; ended: {n_ended}"


def trial_line(history: Path, record: StudyRecord, trial: Trial) -> Line:
    """Return the line of one trial, running or not."""
    found = shown_of(history, trial.trial_id)
    return _judged(history, record, trial) if found is None else _from_board(found)


def _from_board(data: dict[str, Any]) -> Line:
    findings = tuple(map(finding_from_json, data.get("findings", ())))
    step, budget = data.get("step", 0), data.get("budget")
    verdict = data.get("verdict") or "too early to say"
    if data.get("probability") is not None:
        verdict = f"{verdict} ({100 * data['probability']:.0f} %)"
    return Line(
        data["trial"],
        Light(data["light"]),
        f"{step}/{budget:g}" if budget is not None else str(step),
        [float(each) for each in data.get("curve", ())],
        data.get("metric", ""),
        "stopping" if data.get("stopping") else verdict,
        advice_text(findings),
    )


def _judged(history: Path, record: StudyRecord, trial: Trial) -> Line:
    from dhflow.monitor.surroundings import metric_of

    records = read_records(history, trial.trial_id)
    if not records.readings:
        return Line(trial.trial_id, None, "", verdict="no reports")
    advice = judged_now(history, record, trial)
    metric = metric_of(records.metric_names, record.header.objectives[0]) if record.header else "loss"
    verdict = "too early to say"
    if advice.trend is not None:
        verdict = f"{advice.trend.verdict.value} ({100 * advice.trend.probability:.0f} %)"
    series = records.series(metric)
    return Line(
        trial.trial_id,
        light_of(advice.findings),
        f"{records.last_step}/{trial.budget:g}" if trial.budget is not None else str(records.last_step),
        series.values.tolist(),
        metric,
        verdict,
        advice_text(advice.findings),
    )


def advice_text(findings: Sequence[Finding]) -> str:
    """Return the gravest finding and what to do first, in a few words."""
    if not findings:
        return ""
    names = [each.name for each in suggestions_of(findings)][:3]
    return findings[0].text + (f" → {', '.join(names)}" if names else "")


def sparkline(values: Iterable[float], width: int = _SPARK_WIDTH) -> str:
    """Return a curve as blocks of eight heights; ``!`` stands for what is not finite."""
    every = list(values)
    n = min(len(every), width)
    shown = [every[round(i * (len(every) - 1) / max(n - 1, 1))] for i in range(n)]
    finite = [each for each in shown if abs(each) < float("inf")]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(each, low, high) for each in shown)


def _block(value: float, low: float, high: float) -> str:
    if not abs(value) < float("inf"):
        return "!"
    share = 0.0 if high <= low else (value - low) / (high - low)
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def table_of(lines: Sequence[Line]) -> Table:
    """Return the view as a table for rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("trial", "light", "step", "curve", "", "verdict"):
        table.add_column(title, no_wrap=True)
    table.add_column("advice", overflow="ellipsis", ratio=1)
    for each in lines:
        light = Text(
            "…" if each.light is None else each.light.value, "" if each.light is None else _COLOURS[each.light]
        )
        last = f"{each.metric} {format_value(round(each.curve[-1], 6))}" if each.curve else each.metric
        table.add_row(
            str(each.trial_id), light, each.progress, sparkline(each.curve), last, each.verdict, Text(each.advice)
        )
    return table


def advice_lines(advice: Advice, history: Path) -> list[str]:
    """Return all that is found about a trial, with its evidence and how to follow the advice."""
    running = ", running" if advice.is_live else ""
    lines = [f"trial {advice.trial_id}: {advice.light.value}{running}"]
    if not advice.findings:
        lines[0] += ", nothing is found now" if advice.earlier else ", nothing was found"
    for finding in advice.findings:
        lines += ["", f"{finding.severity.value}: {finding.text}"]
        evidence = ", ".join(f"{name} {_plain(value)}" for name, value in finding.evidence.items() if value != [])
        where = [f"  evidence: {evidence}" if evidence else "", f"  rule: {finding.rule} ({finding.source})"]
        lines += [each for each in where if each]
        for each in finding.suggestions:
            lines.append(f"  suggested: {each.text}" + (f" - {each.expected}" if each.expected else ""))
            # Only what runs can be stopped.
            if each.action == "change" or (each.action == "stop" and advice.is_live):
                accept = f"    dhflow accept {history} {advice.trial_id}/{each.name}"
                lines.append(accept)
                if advice.listens and changes_rate_only(each):
                    lines.append(f"{accept} --running   (the trial itself, from its next epoch on)")
    if advice.earlier:
        lines += ["", "found earlier, and holding no longer:"]
        lines += [f"  {each.severity.value} at step {each.step}: {each.text}" for each in advice.earlier]
    return lines


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else format_value(value)
