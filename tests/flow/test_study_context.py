"""What the rules know of the study around a trial: its target, and what its config has come to before."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from dhflow import Budget, Float, SearchSpace, Study, TrialStatus, commands
from dhflow.flow import watcher as watcher_module
from dhflow.flow.siblings import Siblings
from dhflow.history import read_findings
from dhflow.monitor.finding import finding_from_json
from dhflow.trial import Measurement, Trial

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
ONE: dict[str, Any] = {"site": "laptop", "site_set": {"executor": "threads", "workers": 1}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watcher_module, "LEAST_AGE_S", 0.0)


def rules_of(history: Path, trial_id: int) -> set[str]:
    return {finding_from_json(each.finding).rule for each in read_findings(history, trial_id)}


@pytest.mark.parametrize(("target", "is_behind"), [(0.1, True), (1.2, False)])
def test_a_run_that_converges_behind_the_study_s_target_underfits(
    tmp_path: Path, target: float, is_behind: bool
) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        for step in range(1, 31):
            trial.report(step, val_error=1.0 + math.exp(-step))
        return 1.0 + math.exp(-30)

    history, direction = tmp_path / "h.h5", {"val_error": "minimize"}
    budget = Budget("epochs", 1, 40)
    with Study(SPACE, direction=direction, searcher="random", seed=1, history=history, budget=budget) as study:
        study.run(objective, target=target, max_trials=1, **ONE)
    assert ("underfitting" in rules_of(history, 0)) is is_behind
    advised = commands.advise(history, 0).findings
    assert [each.evidence.get("target") for each in advised if each.rule == "underfitting"] == [target] * is_behind


def test_repeats_of_a_config_that_differ_strongly_are_said(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Any) -> float:
        value = 1.0 + 0.5 * (trial.trial_id % 3) * config["x"]
        for step in range(1, 11):
            trial.report(step, val_loss=value + 1.0 / step)
        return value

    history = tmp_path / "h.h5"
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.enqueue(*[{"x": 0.5}] * 4, *[{"x": 0.0}] * 4)
        study.run(objective, max_trials=8, **ONE)
    said = [trial_id for trial_id in range(8) if "unstable_splits" in rules_of(history, trial_id)]
    # The fourth one knows three others, and so do those before it that are judged later; at x = 0 all are alike.
    assert 3 in said
    assert set(said) <= {0, 1, 2, 3}
    (found,) = (each for each in commands.advise(history, 3).findings if each.rule == "unstable_splits")
    assert found.evidence["n_repeats"] == 3


def test_a_repeat_has_the_same_config_and_budget_and_has_been_completed() -> None:
    siblings = Siblings()
    done, config = TrialStatus.COMPLETED, {"x": 0.5}
    others = [
        Trial(1, config, done),
        Trial(2, config, TrialStatus.STOPPED),
        Trial(3, {"x": 0.6}, done),
        Trial(4, config, done, budget=3.0),
        Trial(5, config, done, parent_id=1),  # goes on from where another ended
        Trial(6, dict(config), done),
    ]
    for each in others:
        siblings.add_ended(each, [Measurement(step, 0.0, "loss", 10.0 * each.trial_id + step) for step in (1, 2)])
    assert siblings.repeats_of(Trial(0, config), "loss") == (12.0, 62.0)
    assert siblings.repeats_of(others[0], "loss") == (62.0,)
    assert siblings.repeats_of(Trial(0, config), "accuracy") == ()
