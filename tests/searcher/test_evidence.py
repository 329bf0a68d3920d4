from __future__ import annotations

import math

import pytest

from dhflow.searcher.evidence import FULL_BUDGET, highest_budget, read_evidence
from dhflow.trial import Trial, TrialStatus


def trial(status: TrialStatus, loss: float | None = None, budget: float | None = None) -> Trial:
    return Trial(0, {}, status, budget, losses=() if loss is None else (loss,))


COMPLETED, FAILED, STOPPED, LOST = (
    TrialStatus.COMPLETED,
    TrialStatus.FAILED,
    TrialStatus.STOPPED,
    TrialStatus.LOST,
)


@pytest.mark.parametrize(
    ("given", "loss", "censored"),
    [
        (trial(COMPLETED, 1.5), 1.5, False),
        (trial(COMPLETED, math.nan), None, False),
        (trial(COMPLETED, math.inf), None, False),
        (trial(COMPLETED), None, False),
        (trial(FAILED), None, False),
        (trial(FAILED, budget=3.0), None, False),
        (trial(STOPPED, 2.0, budget=1.0), 2.0, True),
        # Stopped because there was no finite value: the config does not work.
        (trial(STOPPED), None, False),
        (trial(STOPPED, math.nan), None, False),
    ],
)
def test_what_a_trial_says(given: Trial, loss: float | None, censored: bool) -> None:
    (found,) = read_evidence([given], FULL_BUDGET)
    assert (found.place, found.is_censored) == (0, censored)
    assert math.isnan(found.loss) if loss is None else found.loss == loss


@pytest.mark.parametrize("given", [trial(LOST), trial(COMPLETED, 1.0, 3.0)])
def test_trials_that_say_nothing(given: Trial) -> None:
    assert read_evidence([given], FULL_BUDGET) == []


def test_places_are_those_in_the_batch() -> None:
    batch = [trial(LOST), trial(COMPLETED, 1.0), trial(LOST), trial(FAILED)]
    assert [each.place for each in read_evidence(batch, FULL_BUDGET)] == [1, 3]


def test_the_highest_budget_is_one_that_completed() -> None:
    assert highest_budget([]) == 0.0
    assert highest_budget([trial(FAILED), trial(STOPPED, 1.0, 9.0), trial(COMPLETED, 1.0, 3.0)]) == 3.0
    assert highest_budget([trial(COMPLETED, 1.0, 3.0)], at_least=5.0) == 5.0
    assert highest_budget([trial(COMPLETED, 1.0), trial(COMPLETED, 1.0, 3.0)]) == FULL_BUDGET
