from __future__ import annotations

import pytest

from dhflow.searcher import make_searcher
from dhflow.space import Float, Integer, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import TrialStatus

LINE = SearchSpace({"x": Float(0.0, 1.0)})


def test_every_worker_is_refilled_at_once() -> None:
    # Worker A's trials take 1, worker B's first takes 2.5: it is told third.
    study = run_simulated(
        make_searcher("random", LINE), lambda c: c["x"], n_trials=5, n_workers=2, durations=[1.0, 2.5, 1.0, 1.0, 1.0]
    )
    outcomes = sorted(study.trials.values(), key=lambda each: each.outcome_number or 0)
    assert [each.trial_id for each in outcomes] == [0, 2, 1, 3, 4]
    assert [each.ask_saw for each in study.trials.values()] == [0, 0, 1, 2, 3]
    assert [each.ask_number for each in study.trials.values()] == [0, 1, 2, 3, 4]
    assert study.losses() == [each.losses[0] for each in outcomes]


@pytest.mark.parametrize("n_workers", [1, 3, 50])
def test_as_many_trials_as_wanted(n_workers: int) -> None:
    study = run_simulated(make_searcher("random", LINE), lambda c: c["x"], n_trials=20, n_workers=n_workers)
    assert (len(study.trials), len(study.losses()), study.pending) == (20, 20, [])


def test_an_exhausted_space_ends_the_run() -> None:
    space = SearchSpace({"n": Integer(1, 6)})
    study = run_simulated(make_searcher("random", space), lambda c: c["n"], n_trials=20, n_workers=4)
    assert sorted(study.losses()) == [1, 2, 3, 4, 5, 6]


def test_the_books_are_kept() -> None:
    study = SimulatedStudy(make_searcher("random", LINE))
    first, second = study.ask(2)
    assert study.tell(first, None).status is TrialStatus.FAILED
    assert study.tell(second, 1.5, TrialStatus.STOPPED).losses == (1.5,)
    added = study.add({"x": 0.5}, 0.25)
    assert (added.trial_id, added.ask_number, added.status) == (2, None, TrialStatus.COMPLETED)
    assert study.n_told == 3
    assert study.pending == []
