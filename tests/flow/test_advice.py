"""What is said of a trial: what holds now, and what was found earlier and went away."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhflow import Float, SearchSpace, TrialStatus, commands
from dhflow.cli.watching import advice_lines
from dhflow.errors import SearchError
from dhflow.flow import advice as advice_module
from dhflow.flow.advice import BOARD, advice_on, own_budget, space_of
from dhflow.flow.run_directory import run_path
from dhflow.history import History, load_record, write_run
from dhflow.history.event import AttemptEnded, AttemptSubmitted, StudyHeader, TrialCreated
from dhflow.history.monitor_event import FindingMade, RecordsKept
from dhflow.history.monitor_tables import to_lines
from dhflow.monitor import Context, Light, Reading, Records, judge
from dhflow.monitor.finding import Finding, Severity, Suggestion, finding_to_json
from dhflow.monitor.record import MachineRecord, Record
from dhflow.objective import Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialSource

SPACE = SearchSpace({"learning_rate": Float(1e-4, 10.0, log=True), "global_clipnorm": Float(0.01, 10.0)})
CONFIG = {"learning_rate": 0.03, "global_clipnorm": 5.0}
LOWER = Suggestion("lower_learning_rate", "change", "divide by 3", changes={"learning_rate": 0.01})
OSCILLATED = Finding("oscillation", Severity.WARNING, "it swung", suggestions=(LOWER,), family="divergence", step=3)
SMOOTH = [1.0 + 2.0 / step for step in range(1, 13)]


def made(
    path: Path, curve: list[float], findings: list[Finding], detail: list[Record] | None = None, *, attempt: int = 1
) -> Path:
    """Write a history of one trial that has ended, and of which these findings were recorded."""
    header = StudyHeader("0" * 16, SPACE.to_json(), (Objective("val_loss", "minimize"),), 0, 1.0)
    status = TrialStatus.COMPLETED
    rows = tuple(Measurement(step, float(step), "val_loss", value) for step, value in enumerate(curve, 1))
    end = AttemptEnded(0, Attempt(attempt, status, 1.0, 1.0, 2.0, 3.0), status, {"val_loss": 1.0}, (1.0,),
                       measurements=rows, outcome_number=0)  # fmt: skip
    with History.create(path, header, in_process=True) as history:
        history.append([TrialCreated(Trial(0, CONFIG)), AttemptSubmitted(0, 1, 1.0)])
        history.append([FindingMade(0, 1, 2.0, finding_to_json(each)) for each in findings])
        if detail:
            history.append([RecordsKept(0, attempt, to_lines(detail))])
        history.append([end])
    return path


def advised(path: Path, space: SearchSpace | None = SPACE) -> Any:
    return advice_on(path, load_record(path), 0, space)


def test_what_went_away_is_told_apart_from_what_holds(tmp_path: Path) -> None:
    path = made(tmp_path / "h.h5", SMOOTH, [OSCILLATED])
    advice = advised(path)
    assert advice.light is Light.GREEN
    assert "oscillation" not in {each.rule for each in advice.findings}
    assert advice.earlier == (OSCILLATED,)
    text = "\n".join(advice_lines(advice, path))
    before, after = text.split("found earlier, and holding no longer:")
    assert text.startswith("trial 0: green")
    assert "accept" not in before
    assert after == "\n  warning at step 3: it swung"


def test_what_holds_is_as_it_is_in_the_end(tmp_path: Path) -> None:
    curve = [*SMOOTH[:5], math.nan, math.nan]
    early = Finding("overflow", Severity.CRITICAL, "as it was at step 6", step=6)
    advice = advised(made(tmp_path / "h.h5", curve, [OSCILLATED, early]))
    assert (advice.light, advice.findings[0].rule, advice.findings[0].step) == (Light.RED, "overflow", 7)
    assert advice.findings[0].text != early.text
    assert [each.rule for each in advice.earlier] == ["oscillation"]


def test_detail_that_was_kept_is_judged_too(tmp_path: Path) -> None:
    slow = [MachineRecord(step, float(step), step_time_s=0.1, input_wait_s=0.05) for step in range(1, 9)]
    found = Finding("loading_bound", Severity.WARNING, "it waited", step=4)
    advice = advised(made(tmp_path / "a.h5", SMOOTH, [found], slow))
    assert (advice.light, advice.findings[0].rule, advice.earlier) == (Light.AMBER, "loading_bound", ())
    quick = [replace(each, input_wait_s=0.0) if each.step > 4 else each for each in slow]
    advice = advised(made(tmp_path / "b.h5", SMOOTH, [found], quick))
    assert (advice.light, advice.earlier) == (Light.GREEN, (found,))


def test_why_a_stopper_has_ended_a_trial_stays_true(tmp_path: Path) -> None:
    stopped = Finding("stopper:median", Severity.CRITICAL, "worse than the median", step=4)
    advice = advised(made(tmp_path / "h.h5", SMOOTH, [stopped]))
    assert (advice.findings[0], advice.earlier) == (stopped, ())


def test_a_stopped_trial_is_judged_by_the_budget_that_it_was_to_have(tmp_path: Path) -> None:
    path = tmp_path / "h.h5"
    budget = {"name": "epochs", "low": 1, "high": 60}
    header = StudyHeader("0" * 16, SPACE.to_json(), (Objective("val_loss", "minimize"),), 0, 1.0, budget=budget)
    rows = tuple(Measurement(step, float(step), "val_loss", 1.0 + math.exp(-2.0 * step)) for step in range(1, 13))
    stopped = Attempt(1, TrialStatus.STOPPED, 1.0, 1.0, 2.0, 3.0)
    end = AttemptEnded(0, stopped, TrialStatus.STOPPED, {"val_loss": 0.94}, (0.94,), measurements=rows,
                       outcome_number=0, budget=12.0)  # fmt: skip
    with History.create(path, header, in_process=True) as history:
        history.append([TrialCreated(Trial(0, CONFIG)), AttemptSubmitted(0, 1, 1.0), end])
    record = load_record(path)
    assert record.trials[0].budget == 12.0
    (found,) = (each for each in advised(path).findings if each.rule == "converged")
    assert found.evidence["epochs_left"] == 48
    assert own_budget(record.trials[0]) is None
    assert own_budget(Trial(1, {}, TrialStatus.COMPLETED, budget=9.0)) == 9.0


def test_a_finding_that_another_explains_has_not_gone(tmp_path: Path) -> None:
    part = Finding("divergence", Severity.WARNING, "it rose", step=4)
    worse = Finding("overflow", Severity.WARNING, "nearly", step=3)
    graver = Finding("bad_inputs", Severity.CRITICAL, "inputs", step=2)
    lighter = replace(graver, severity=Severity.WARNING, step=5)
    note = Finding("still_improving", Severity.NOTE, "on", step=1)
    path = made(tmp_path / "h.h5", [*SMOOTH[:5], math.nan], [note, graver, worse, part, lighter])
    assert advised(path).earlier == (graver,)


def test_of_a_trial_that_kept_nothing_all_that_was_found_is_shown(tmp_path: Path) -> None:
    advice = advised(made(tmp_path / "h.h5", [], [OSCILLATED]))
    assert (advice.findings, advice.earlier) == ((OSCILLATED,), ())


def test_suggestions_stay_those_that_the_searchs_own_space_has_checked(tmp_path: Path) -> None:
    early = Finding("overflow", Severity.CRITICAL, "overflow", suggestions=(LOWER,), step=6)
    path = made(tmp_path / "h.h5", [*SMOOTH[:5], math.nan], [early])
    assert advised(path, None).suggestions == (LOWER,)
    assert [each.name for each in advised(path).suggestions] != [LOWER.name]


def test_a_running_trial_is_as_its_watcher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice_module, "owner_of", lambda path: {"pid": 1})
    path = made(tmp_path / "h.h5", SMOOTH, [OSCILLATED])
    folder = run_path(path)
    folder.mkdir(parents=True, exist_ok=True)

    def show(attempt: int, *findings: Finding) -> Any:
        row = {"trial": 0, "attempt": attempt, "findings": [finding_to_json(each) for each in findings]}
        (folder / BOARD).write_text(json.dumps({"at": time.time(), "silent": 0, "ended": 0, "running": [row]}))
        return advised(path)

    gone = show(1)
    assert (gone.is_live, gone.light, gone.findings, gone.earlier) == (True, Light.GREEN, (), (OSCILLATED,))
    assert advice_lines(gone, path)[0] == "trial 0: green, running, nothing is found now"
    there = show(1, OSCILLATED)
    assert (there.light, there.findings, there.earlier) == (Light.AMBER, (OSCILLATED,), ())
    assert show(2).earlier == ()  # what an earlier attempt did


def test_advice_that_was_given_can_still_be_followed(tmp_path: Path) -> None:
    path = made(tmp_path / "h.h5", SMOOTH, [OSCILLATED])
    assert commands.accept(path, "0/lower_learning_rate") == 1
    trial = load_record(path).trials[1]
    assert (trial.source, trial.config["learning_rate"]) == (TrialSource.ADVICE, 0.01)
    with pytest.raises(SearchError, match="suggested: lower_learning_rate"):
        commands.accept(path, "0/more_layers")


def test_a_single_run_is_judged_by_what_its_own_rules_knew(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    curve = Records.of(Reading(n, {"loss": 1.0, "val_loss": 0.9}, float(n)) for n in range(1, 13))
    found = judge(curve, Context(metric="val_loss", baseline=0.1, full_budget=12.0)).findings
    assert "underfitting" in {each.rule for each in found}
    rows = [(1.0, OSCILLATED), *((9.0, each) for each in found)]
    write_run(path, curve, rows, budget=12.0, status=TrialStatus.COMPLETED)
    advice = advised(path, space_of(load_record(path)))
    assert {each.rule for each in advice.findings} == {each.rule for each in found}
    assert advice.earlier == (OSCILLATED,)
    write_run(path, curve, rows[:1], budget=12.0)
    assert [each.rule for each in advised(path, None).earlier] == ["oscillation"]
