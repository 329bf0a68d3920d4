"""How busy the workers were, as a record tells it."""

from __future__ import annotations

from dataclasses import dataclass

from dhflow.history.event import StudyRecord


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Busy worker time over available worker time, start-up and tail apart.

    Parameters
    ----------
    share : float
        Busy time divided by workers times the time from the first worker ready to the last submission.
    n_workers : int
    startup_s : float
        From the session's start to the first trial on a worker.
    steady_s : float
        From there to the last submission.
    tail_s : float
        From there to the last trial's end.
    """

    share: float
    n_workers: int
    startup_s: float
    steady_s: float
    tail_s: float


def utilisation(record: StudyRecord) -> Utilisation | None:
    """Return the utilisation of a record's last session, or None when nothing ran in it.

    The first worker counts as ready when the first trial starts on it.
    """
    if not record.sessions:
        return None
    session = record.sessions[-1][0]
    attempts = [
        each
        for trial in record.trials.values()
        for each in trial.attempts
        if each.started_at is not None and each.submitted_at >= session.at
    ]
    if not attempts:
        return None
    first = min(each.started_at or 0.0 for each in attempts)
    last_submission = max(each.submitted_at for each in attempts)
    ends = [(each.started_at or 0.0, each.ended_at or each.received_at or last_submission) for each in attempts]
    n_workers = int(session.info.get("n_slots", 1))
    # With no more trials than workers all are submitted at once, and there is no steady part: the whole run counts.
    until = last_submission if last_submission > first else max(end for _, end in ends)
    busy = sum(max(0.0, min(end, until) - start) for start, end in ends)
    return Utilisation(
        share=busy / (n_workers * (until - first)) if until > first else 1.0,
        n_workers=n_workers,
        startup_s=first - session.at,
        steady_s=until - first,
        tail_s=max(0.0, max(end for _, end in ends) - until),
    )
