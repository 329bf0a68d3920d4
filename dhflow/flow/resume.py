"""Taking a study up again: results that workers had already written are harvested, the searcher learns the past."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from dhflow.flow.outcome import ended_by, given_up
from dhflow.flow.run_directory import run_path
from dhflow.history.event import Event, SessionEnded, StudyRecord
from dhflow.objective import Objective
from dhflow.searcher.base import Searcher
from dhflow.train import read_measurements, read_result
from dhflow.trial import Trial, TrialStatus


def recovered(record: StudyRecord, history: Path, objectives: tuple[Objective, ...]) -> list[Event]:
    """Return the events that a driver which died did not write.

    A running attempt whose worker had written its result ends with it; any other is given up,
    and its trial will run again.

    Parameters
    ----------
    record : StudyRecord
        As read; not changed.
    history : Path
        The history file; the attempts' directories lie beside it.
    objectives : tuple of Objective
    """
    events: list[Event] = []
    n_outcomes = record.n_outcomes
    now = time.time()
    for trial_id in sorted(record.trials):
        trial = record.trials[trial_id]
        if trial.status is not TrialStatus.RUNNING:
            continue
        directory = run_path(history) / "trials" / str(trial_id) / str(len(trial.attempts))
        result = read_result(directory)
        if result is None or result.status is TrialStatus.LOST:
            why = "the driver of its session ended before it came home"
            events.append(given_up(trial, why, now, read_measurements(directory)))
            continue
        events.append(ended_by(trial, result, objectives, outcome_number=n_outcomes, received_at=now))
        n_outcomes += 1
    if record.sessions and record.sessions[-1][1] is None:
        last = record.sessions[-1][0].session
        events.append(
            SessionEnded(last, now, {"reason": "its driver died", "harvested": n_outcomes - record.n_outcomes})
        )
    return events


def replay(searcher: Searcher, record: StudyRecord) -> None:
    """Bring a fresh searcher to where the record left off: the same tells between the same asks, nothing computed."""
    outcomes = in_order_of_outcome(record)
    made = [each for each in record.trials.values() if each.ask_number is not None]
    sizes = Counter(each.ask_number for each in made)
    saw = {each.ask_number: each.ask_saw or 0 for each in made}
    n_told = 0
    for number in sorted(each for each in sizes if each is not None):
        searcher.tell(outcomes[n_told : saw[number]])
        n_told = max(n_told, saw[number])
        searcher.replayed(number, sizes[number])
    searcher.tell(outcomes[n_told:])


def in_order_of_outcome(record: StudyRecord) -> list[Trial]:
    """Return the finished trials in the order in which they were told."""
    finished = [each for each in record.trials.values() if each.outcome_number is not None]
    return sorted(finished, key=lambda each: each.outcome_number or 0)
