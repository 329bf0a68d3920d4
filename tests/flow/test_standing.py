from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dhflow.constraint import Constraint
from dhflow.flow.standing import ParetoStanding, Standing, standing_of
from dhflow.flow.utilisation import utilisation
from dhflow.history.event import SessionStarted, StudyRecord
from dhflow.objective import Objective
from dhflow.pareto import non_dominated
from dhflow.trial import Attempt, Trial, TrialStatus


def trial(trial_id: int, loss: float | None, budget: float | None = None, **known: Any) -> Trial:
    status = TrialStatus.FAILED if loss is None else TrialStatus.COMPLETED
    losses = () if loss is None else (loss,)
    return Trial(trial_id, {}, known.pop("status", status), budget, losses=losses, outcome_number=trial_id, **known)


def test_the_best_is_the_lowest_loss_and_the_earlier_of_equals() -> None:
    standing = Standing(Objective(), [trial(0, 2.0), trial(1, 1.0), trial(2, 1.0), trial(3, None)])
    assert standing.best is not None
    assert standing.best.trial_id == 1
    assert (standing.n_completed, standing.n_since_best) == (3, 2)


def test_values_are_in_the_users_sign() -> None:
    standing = Standing(Objective("accuracy", "maximize"), [trial(0, -0.9)])
    assert standing.value == 0.9
    assert standing.has_reached(0.9)
    assert not standing.has_reached(0.95)


def test_only_the_highest_completed_budget_competes() -> None:
    standing = Standing(Objective(), [trial(0, 0.1, 1.0), trial(1, 0.5, 9.0), trial(2, 0.2, 3.0)])
    assert standing.best is not None
    assert standing.best.trial_id == 1
    standing.add(trial(3, 0.7))
    assert standing.best.trial_id == 3, "a trial without a budget of its own had the full one"


def test_stopped_and_failed_trials_do_not_compete() -> None:
    standing = Standing(Objective(), [trial(0, 0.1, status=TrialStatus.STOPPED), trial(1, None)])
    assert standing.best is None
    assert standing.value is None
    assert standing.n_since_best == 2


def point(trial_id: int, *losses: float, budget: float | None = None) -> Trial:
    return Trial(trial_id, {}, TrialStatus.COMPLETED, budget, losses=losses, outcome_number=trial_id)


def test_of_several_objectives_the_set_is_followed() -> None:
    standing = standing_of((Objective("a"), Objective("b")), [point(0, 3.0, 3.0)])
    assert isinstance(standing, ParetoStanding)
    steps = [
        (point(1, 1.0, 5.0), [0, 1], 0),
        (point(2, 4.0, 4.0), [0, 1], 1),
        (trial(3, None), [0, 1], 2),
        (point(4, 3.0, 3.0), [0, 1, 4], 3),
        (point(5, 2.0, 2.0), [1, 5], 0),
        (point(6, 1.0, 1.0), [6], 0),
    ]
    for each, members, n_since in steps:
        standing.add(each)
        assert [member.trial_id for member in standing.members] == members
        assert standing.n_since_best == n_since, "twins join and are no news"
    assert standing.newest is not None
    assert (standing.newest.trial_id, standing.n_completed, len(standing)) == (6, 6, 1)
    assert standing.worst == (4.0, 5.0)


def test_a_higher_budget_makes_a_new_set() -> None:
    standing = ParetoStanding(2, [point(0, 1.0, 1.0, budget=1.0), point(1, 9.0, 9.0, budget=3.0)])
    standing.add(point(2, 0.0, 0.0, budget=2.0))
    assert [each.trial_id for each in standing.members] == [1]
    assert standing.worst == (9.0, 9.0)
    assert standing.n_since_best == 1


def test_the_set_is_that_of_all_losses_at_once() -> None:
    losses = np.random.default_rng(1).integers(0, 12, (300, 3)).astype(float)
    standing = ParetoStanding(3, [point(i, *row) for i, row in enumerate(losses.tolist())])
    assert {each.trial_id for each in standing.members} == set(np.flatnonzero(non_dominated(losses)).tolist())


SIZE = (Constraint("size", "<=", 1.0),)


def test_an_infeasible_trial_is_completed_and_never_the_best() -> None:
    large, small = {"metrics": {"size": 2.0}}, {"metrics": {"size": 1.0}}
    standing = Standing(Objective(), [trial(0, 1.0, **large), trial(1, 5.0, **small)], SIZE)
    standing.add(trial(2, 0.5, **large))
    assert standing.best is not None
    assert standing.best.trial_id == 1
    assert (standing.n_completed, standing.n_infeasible, standing.n_since_best) == (3, 2, 1)
    assert not standing.has_reached(1.0)


def test_an_infeasible_trial_of_a_higher_budget_changes_nothing() -> None:
    large, small = {"metrics": {"size": 2.0}}, {"metrics": {"size": 1.0}}
    standing = Standing(Objective(), [trial(0, 1.0, 3.0, **small), trial(1, 0.5, 9.0, **large)], SIZE)
    assert standing.best is not None
    assert standing.best.trial_id == 0


def test_the_set_and_its_corner_are_of_feasible_trials() -> None:
    constraints = (Constraint("a", "<=", 3.0),)
    trials = [replace(point(i, *each), values=dict(zip("ab", each, strict=True))) for i, each in
              enumerate([(1.0, 5.0), (9.0, 0.0), (3.0, 3.0)])]  # fmt: skip
    standing = standing_of((Objective("a"), Objective("b")), trials, constraints)
    assert isinstance(standing, ParetoStanding)
    assert [each.trial_id for each in standing.members] == [0, 2]
    assert (standing.worst, standing.n_infeasible) == ((3.0, 5.0), 1)


def busy(trial_id: int, submitted: float, started: float, ended: float) -> Trial:
    attempt = Attempt(1, TrialStatus.COMPLETED, submitted, started, ended, ended)
    return trial(trial_id, 1.0, attempts=(attempt,))


def test_utilisation_leaves_start_up_and_tail_out() -> None:
    trials = [busy(0, 0.0, 2.0, 6.0), busy(1, 0.0, 2.0, 4.0), busy(2, 5.0, 5.0, 8.0), busy(3, 10.0, 10.0, 13.0)]
    record = StudyRecord(trials={each.trial_id: each for each in trials})
    record.sessions.append((SessionStarted(0, 0.0, {"n_slots": 2}), None))
    used = utilisation(record)
    assert used is not None
    assert (used.startup_s, used.steady_s, used.tail_s) == (2.0, 8.0, 3.0)
    assert used.share == pytest.approx((4 + 2 + 3) / (2 * 8))


def test_without_attempts_there_is_no_utilisation() -> None:
    assert utilisation(StudyRecord()) is None
    record = StudyRecord(trials={0: trial(0, 1.0)})
    record.sessions.append((SessionStarted(0, 0.0, {"n_slots": 2}), None))
    assert utilisation(record) is None
