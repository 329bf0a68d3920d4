"""From what came back of an attempt to the event that the history keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dhflow.history.event import AttemptEnded
from dhflow.objective import Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialFailure, TrialResult, TrialStatus

INTERRUPTED = "Interrupted"
"""Kind of failure of an attempt that was given up when its session ended; it does not count against the trial."""


def attempt_of(trial: Trial, result: TrialResult, received_at: float) -> Attempt:
    """Return the running attempt of `trial` completed by what its worker said."""
    running = trial.attempts[-1]
    return Attempt(  # written out: dataclasses.replace takes five times as long
        number=running.number,
        status=result.status,
        submitted_at=running.submitted_at,
        started_at=result.started_at,
        ended_at=result.ended_at,
        received_at=received_at,
        host=result.host,
        worker=result.worker,
        failure=result.failure,
    )


def losses_of(values: dict[str, float] | None, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """Return objective values, given in the user's sign, minimised and in the objectives' order."""
    return tuple(each.to_loss(values[each.name]) for each in objectives if values and each.name in values)


def ended_by(
    trial: Trial, result: TrialResult, objectives: Iterable[Objective], *, outcome_number: int, received_at: float
) -> AttemptEnded:
    """Return the event with which a result ends its trial."""
    return AttemptEnded(
        trial_id=trial.trial_id,
        attempt=attempt_of(trial, result, received_at),
        trial_status=result.status,
        values=result.values,
        losses=losses_of(dict(result.values), objectives),
        metrics=result.metrics,
        measurements=result.measurements,
        outcome_number=outcome_number,
        budget=result.budget,
    )


def given_up(trial: Trial, reason: str, received_at: float, measurements: tuple[Measurement, ...] = ()) -> AttemptEnded:
    """Return the event with which a running attempt is given up; its trial will run again."""
    failure = TrialFailure(INTERRUPTED, reason)
    attempt = replace(trial.attempts[-1], status=TrialStatus.LOST, received_at=received_at, failure=failure)
    return AttemptEnded(trial.trial_id, attempt, TrialStatus.PENDING, measurements=measurements)


def count_losses(attempts: Iterable[Attempt]) -> int:
    """Return how many attempts lost their worker (those given up at a session's end left out)."""
    return sum(
        each.status is TrialStatus.LOST and (each.failure is None or each.failure.kind != INTERRUPTED)
        for each in attempts
    )
