"""Whether events can follow those that a history holds; so that no writer puts in what no reader takes."""

from __future__ import annotations

from collections.abc import Iterable

from dhflow.errors import HistoryCorruptError
from dhflow.history.event import (
    AttemptEnded,
    AttemptSubmitted,
    Event,
    SessionEnded,
    SessionStarted,
    StudyHeader,
    StudyRecord,
    TrialCreated,
)
from dhflow.history.monitor_event import FindingMade, RecordsKept


class EventOrder:
    """What a writer must know of the past to check what comes: far less than a record.

    Parameters
    ----------
    record : StudyRecord
        The past; read, not kept.
    """

    def __init__(self, record: StudyRecord) -> None:
        self._trial_ids = set(record.trials)
        self._session = record.sessions[-1][0].session if record.sessions else None

    def check(self, events: Iterable[Event]) -> None:
        """Tell whether `events` can follow, in their order; takes no note of them.

        Raises
        ------
        HistoryCorruptError
            If one contradicts what came before it.
        """
        created: set[int] = set()
        session = self._session
        for event in events:
            match event:
                case TrialCreated(trial):
                    if trial.trial_id in self._trial_ids or trial.trial_id in created:
                        raise HistoryCorruptError(f"not recorded: trial {trial.trial_id} is created a second time")
                    created.add(trial.trial_id)
                case AttemptSubmitted() | AttemptEnded() | RecordsKept() | FindingMade():
                    if event.trial_id not in self._trial_ids and event.trial_id not in created:
                        raise HistoryCorruptError(f"not recorded: trial {event.trial_id} was never created")
                case SessionStarted():
                    session = event.session
                case SessionEnded():
                    if event.session != session:
                        raise HistoryCorruptError(f"not recorded: session {event.session} ends without having started")
                case StudyHeader():
                    raise HistoryCorruptError("not recorded: the study has a header already")

    def take(self, events: Iterable[Event]) -> None:
        """Take note of events that are in the history now."""
        for event in events:
            match event:
                case TrialCreated(trial):
                    self._trial_ids.add(trial.trial_id)
                case SessionStarted():
                    self._session = event.session
