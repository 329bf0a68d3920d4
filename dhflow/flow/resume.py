"""Taking a study up again: results that workers had already written are harvested, the searcher learns the past."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from dhflow.flow.outcome import ended_by, given_up
from dhflow.flow.run_directory import attempt_path, run_path, workers_path
from dhflow.history.event import Event, SessionEnded, StudyRecord
from dhflow.history.monitor_event import RecordsKept
from dhflow.monitor.line import to_json
from dhflow.objective import Objective
from dhflow.searcher.base import Searcher
from dhflow.train import WorkerNotes, read_measurements
from dhflow.train.attempt_directory import read_detail
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
        The history file; what its workers noted lies beside it.
    objectives : tuple of Objective
    """
    events: list[Event] = []
    n_outcomes = record.n_outcomes
    now = time.time()
    running = {each.trial_id: each for each in record.trials.values() if each.status is TrialStatus.RUNNING}
    notes = WorkerNotes(workers_path(run_path(history)))
    notes.refresh({trial_id: len(trial.attempts) for trial_id, trial in running.items()})
    for trial_id in sorted(running):
        trial, number = running[trial_id], len(running[trial_id].attempts)
        directory = attempt_path(run_path(history), trial_id, number)
        result, measurements = notes.result(trial_id, number), read_measurements(directory)
        if result is None or result.status is TrialStatus.LOST:
            notes.save_output(trial_id, number, directory)
            why = "the driver of its session ended before it came home"
            events.append(given_up(trial, why, now, measurements))
            continue
        result = replace(result, measurements=measurements)
        events.append(ended_by(trial, result, objectives, outcome_number=n_outcomes, received_at=now))
        n_outcomes += 1
        detail = read_detail(directory)
        if detail:
            events.append(RecordsKept(trial_id, number, tuple(to_json(each) for each in detail)))
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
