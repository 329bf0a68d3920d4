"""What is advised about a trial of a history, and what accepting a suggestion means."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dhflow.errors import SearchError, SpaceError, UnknownTrialError
from dhflow.flow.run_directory import owner_of, run_path
from dhflow.flow.siblings import Siblings
from dhflow.history import read_findings, read_measurements, read_records
from dhflow.history.event import StudyRecord
from dhflow.history.monitor_event import CommandTaken
from dhflow.monitor.finding import (
    Finding,
    Light,
    Severity,
    Suggestion,
    by_severity,
    finding_from_json,
    is_graver,
    light_of,
)
from dhflow.monitor.record import Records
from dhflow.monitor.rules import Judgement, explained_by, judge
from dhflow.monitor.stopper import STOPPER
from dhflow.monitor.surroundings import context_of
from dhflow.monitor.trend.judgement import Trend
from dhflow.trial import Measurement, Trial, TrialStatus

if TYPE_CHECKING:
    from dhflow.space import SearchSpace

BOARD = "watch.json"
"""In the run directory: what the watcher shows of running trials."""

_STALE_S = 120.0


@dataclass(frozen=True)
class Advice:
    """What is found about one trial.

    Parameters
    ----------
    trial_id : int
    findings : tuple of Finding
        What holds now, the gravest first: the last judgement.
    trend : Trend, optional
    is_live : bool
        It runs, and its owner has said so just now.
    listens : bool
        It runs and has asked for controls: it can take another learning rate.
    earlier : tuple of Finding
        Warnings and critical findings of before that hold no longer, each as it was when it was found.
    """

    trial_id: int
    findings: tuple[Finding, ...]
    trend: Trend | None = None
    is_live: bool = False
    listens: bool = False
    earlier: tuple[Finding, ...] = ()

    @property
    def light(self) -> Light:
        """The traffic light."""
        return light_of(self.findings)

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What is suggested, the most promising first, each name once."""
        return suggestions_of(self.findings)

    @property
    def given(self) -> tuple[Finding, ...]:
        """All that was advised: what holds no longer may be followed too, by whoever wants to."""
        return (*self.findings, *self.earlier)


def suggestions_of(findings: Iterable[Finding]) -> tuple[Suggestion, ...]:
    """Return the suggestions of findings, each name once."""
    named: dict[str, Suggestion] = {}
    for each in findings:
        for suggestion in each.suggestions:
            named.setdefault(suggestion.name, suggestion)
    return tuple(named.values())


@dataclass(frozen=True)
class Board:
    """What the owner of a study shows.

    Parameters
    ----------
    running : list of dict
        Those running trials that have reported, as :meth:`dhflow.flow.watched.Watched.to_json` has them.
    n_silent : int
        Running trials that have not.
    n_ended : int
        Trials that have ended in this session.
    """

    running: list[dict[str, Any]]
    n_silent: int = 0
    n_ended: int = 0


def read_board(history: Path) -> Board | None:
    """Return what the owner of a study shows of its running trials; None if nobody owns it, or none has reported."""
    if owner_of(history) is None:
        return None
    try:
        data = json.loads((run_path(history) / BOARD).read_bytes())
        board = Board(list(data["running"]), int(data["silent"]), int(data["ended"]))
        return board if time.time() - data["at"] < _STALE_S else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def shown_of(history: Path, trial_id: int) -> dict[str, Any] | None:
    """Return what the owner of a study shows of one trial."""
    board = read_board(history)
    rows = [] if board is None else board.running
    return next((each for each in rows if each.get("trial") == trial_id), None)


def advice_on(history: Path, record: StudyRecord, trial_id: int, space: SearchSpace | None = None) -> Advice:
    """Return what is advised about a trial: from its watcher while it runs, else from the history.

    A history says what was found and when, not that it went away: a trial that has ended is judged anew from what is
    kept of it.

    Raises
    ------
    UnknownTrialError
        If there is no such trial.
    HistoryError
        If the history cannot be read.
    """
    trial = known_trial(record, trial_id)
    kept = read_findings(history, trial_id)
    last = max((each.attempt for each in kept), default=0)
    recorded = [finding_from_json(each.finding) for each in kept if each.attempt == last]
    shown = shown_of(history, trial_id)
    if shown is not None:
        if shown.get("attempt") != last:
            recorded = []
        holding = _with_stops(map(finding_from_json, shown.get("findings", ())), recorded)
        listens = bool(shown.get("listens"))
        return Advice(trial_id, holding, is_live=True, listens=listens, earlier=gone(recorded, holding))
    records = read_records(history, trial_id)
    if not records.readings:  # nobody can tell what has become of it
        return Advice(trial_id, by_severity({each.rule: each for each in recorded}.values()))
    judgement = _judge(history, record, trial, records, space)
    found = judgement.findings
    if not has_space(record):
        found = _of_single_run(trial, recorded, records, found)
    elif space is None:
        # Suggestions that the search's own space has checked, and no others.
        checked = {each.rule: each for each in recorded}
        found = tuple(checked.get(each.rule, each) for each in found)
    holding = _with_stops(found, recorded)
    return Advice(trial_id, holding, judgement.trend, earlier=gone(recorded, holding))


def _with_stops(found: Iterable[Finding], recorded: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with those for which stoppers have ended the trial: they were acts, and stay true."""
    return by_severity([*(each for each in recorded if each.rule.startswith(STOPPER)), *found])


def _of_single_run(
    trial: Trial, recorded: Sequence[Finding], records: Records, judged: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Return what holds of a single run: its file has findings as they were last seen, by rules that knew more."""
    last = {each.rule: each for each in recorded if each.step >= records.last_step}
    if trial.is_finished and recorded:
        return tuple(last.values())
    return (*last.values(), *(each for each in judged if each.rule not in last))


def gone(recorded: Iterable[Finding], holding: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the gravest finding of each rule that holds no longer, or not as gravely, and is no part of another."""
    now, explained = {each.rule: each for each in holding}, explained_by(holding)
    found: dict[str, Finding] = {}
    for each in recorded:
        if each.severity is Severity.NOTE or each.rule in explained:
            continue
        if all(other is None or is_graver(each, other) for other in (now.get(each.rule), found.get(each.rule))):
            found[each.rule] = each
    return by_severity(found.values())


def judged_now(history: Path, record: StudyRecord, trial: Trial, space: SearchSpace | None = None) -> Advice:
    """Return what the rules say now about what a history keeps of a trial."""
    records = read_records(history, trial.trial_id)
    if not records.readings:
        return Advice(trial.trial_id, ())
    judgement = _judge(history, record, trial, records, space)
    return Advice(trial.trial_id, judgement.findings, judgement.trend)


def _judge(history: Path, record: StudyRecord, trial: Trial, records: Records, space: SearchSpace | None) -> Judgement:
    siblings = Siblings()
    for other, rows in curves_of(history):
        if other in record.trials:
            siblings.add_ended(record.trials[other], rows)
    return judge(records, _context(record, trial, records, siblings, space))


def curves_of(history: Path, n_newest: int = 200) -> list[tuple[int, list[Measurement]]]:
    """Return the learning curve of the last attempt of the newest trials that have one, in the order of their coming.

    Not of all: a history may hold millions of numbers, and a judgement compares with few trials.
    """
    rows = read_measurements(history)
    newest = np.unique(rows["trial_id"])[-n_newest:]
    found: dict[int, tuple[int, list[Measurement]]] = {}
    for trial_id, attempt, *rest in rows[np.isin(rows["trial_id"], newest)].tolist():
        if trial_id not in found or found[trial_id][0] < attempt:
            found.pop(trial_id, None)
            found[trial_id] = (attempt, [])
        found[trial_id][1].append(Measurement(*rest))
    return [(trial_id, rows) for trial_id, (_, rows) in found.items()]


def _context(record: StudyRecord, trial: Trial, records: Records, siblings: Siblings, space: SearchSpace | None) -> Any:
    header = record.header
    objectives = header.objectives if header else ()
    full = (header.budget or {}).get("high") if header else None
    context = context_of(
        records,
        objectives,
        config=trial.config,
        space=space,
        target=record.sessions[-1][0].info.get("limits", {}).get("target") if record.sessions else None,
        full_budget=own_budget(trial) or full,
    )
    return siblings.around(trial, context)


def own_budget(trial: Trial) -> float | None:
    """Return the budget that a trial was given; None for what the problem says.

    That of a stopped trial is how far it came: what it was given is not kept.
    """
    return None if trial.status is TrialStatus.STOPPED else trial.budget


def known_trial(record: StudyRecord, trial_id: int) -> Trial:
    """Return a trial; raises UnknownTrialError if there is none of that number."""
    if trial_id not in record.trials:
        there = f"there are trials 0 to {max(record.trials)}" if record.trials else "there are none yet"
        raise UnknownTrialError(f"there is no trial {trial_id}: {there}", trial_id)
    return record.trials[trial_id]


def space_of(record: StudyRecord) -> SearchSpace | None:
    """Return the search space of a history; None of a single run, and where a constraint is code that is not here."""
    from dhflow.space import SearchSpace

    if record.header is None or not has_space(record):
        return None
    space = SearchSpace.from_json(record.header.space)
    return None if space.constraints else space


def has_space(record: StudyRecord) -> bool:
    """Whether a history is of a search, and not of a single run."""
    return record.header is not None and bool(record.header.space.get("parameters"))


# Accepting ----------------------------------------------------------------------------------------------


def parse_suggestion(text: str) -> tuple[int, str]:
    """Return trial and suggestion of ``17/clip_gradients``.

    Raises
    ------
    SearchError
        If it is not written so.
    """
    number, slash, name = text.partition("/")
    if not slash or not number.isdecimal() or not name:
        raise SearchError(f"{text!r}: write TRIAL/SUGGESTION, for example 17/clip_gradients")
    return int(number), name


def offered(trial: Trial, name: str, findings: Sequence[Finding]) -> tuple[Suggestion, str]:
    """Return a suggestion by its name, and the text of the finding that it comes from.

    Raises
    ------
    SearchError
        If nothing of that name is suggested.
    """
    every = suggestions_of(findings)
    found = next((each for each in every if each.name == name), None)
    if found is None:
        listed = ", ".join(each.name for each in every) or "nothing"
        raise SearchError(f"{name!r} is not suggested for trial {trial.trial_id}; suggested: {listed}")
    return found, next((each.text for each in findings if found in each.suggestions), "")


def accepting(
    trial: Trial, name: str, findings: Sequence[Finding], space: SearchSpace | None, *, origin: str
) -> CommandTaken:
    """Return the command that accepting a suggestion comes to.

    Raises
    ------
    SearchError
        If nothing of that name is suggested, or a machine cannot do it.
    SpaceError
        If the changed config does not lie in the space.
    """
    found, reason = offered(trial, name, findings)
    if found.action == "stop":
        return CommandTaken(time.time(), "stop", trial.trial_id, origin, {"suggestion": name, "text": reason})
    if found.action != "change":
        raise SearchError(f"{name!r} is advice for you, which no machine can follow: {found.text}")
    config = found.applied_to(trial.config)
    if space is not None:
        try:
            config = dict(space.validate(config))
        except SpaceError as error:
            raise SearchError(f"{name!r}: the changed config does not lie in the space: {error}") from error
    arguments: dict[str, Any] = {"suggestion": name, "changes": dict(found.changes), "config": config, "text": reason}
    budget = own_budget(trial)
    if budget is not None:
        arguments["budget"] = budget
    return CommandTaken(time.time(), "accept", trial.trial_id, origin, arguments)
