"""What accepting a suggestion comes to, of trials that ended in different ways."""

from __future__ import annotations

import pytest

from dhflow.flow.advice import accepting
from dhflow.monitor import Finding, Severity, Suggestion
from dhflow.trial import Trial, TrialStatus

FINDING = Finding(
    "overflow",
    Severity.CRITICAL,
    "overflow",
    suggestions=(Suggestion("clip", "change", "clip", changes={"clip": 0.1}),),
)


@pytest.mark.parametrize(
    ("status", "budget"), [(TrialStatus.COMPLETED, 27.0), (TrialStatus.FAILED, 27.0), (TrialStatus.STOPPED, None)]
)
def test_a_changed_trial_has_the_budget_of_the_first_but_not_that_at_which_it_was_stopped(status, budget):
    trial = Trial(3, {"clip": 0.0}, status, budget=27.0)
    command = accepting(trial, "clip", [FINDING], None, origin="test")
    assert command.arguments["config"] == {"clip": 0.1}
    assert command.arguments.get("budget") == budget
