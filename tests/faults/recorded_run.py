"""A driver that keeps a history and says what was acknowledged; made to be killed.

``python recorded_run.py HISTORY N_TRIALS [INTERPRETER]``: each line of the output, ``created 3`` or ``ended 3``,
is written when the history has taken the event. Helpers run under INTERPRETER, if it is given.
"""

from __future__ import annotations

import os
import sys

from dhflow.history import History
from dhflow.history.event import AttemptEnded, AttemptSubmitted, StudyHeader, TrialCreated
from dhflow.objective import Objective
from dhflow.trial import Attempt, Measurement, Trial, TrialStatus

HEADER = StudyHeader("f00d", {"version": 1, "parameters": []}, (Objective("loss"),), 1, 2.0)


def created(number: int) -> list[TrialCreated | AttemptSubmitted]:
    """Return the events of a trial that is handed to a worker."""
    return [TrialCreated(Trial(number, {"x": number / 7, "opt": "sgd"})), AttemptSubmitted(number, 1, 1.0)]


def ended(number: int) -> list[AttemptEnded]:
    """Return the event of a trial that comes home."""
    curve = tuple(Measurement(step, 2.0 + step, "loss", 1.0 / (step + 1)) for step in range(5))
    attempt = Attempt(1, TrialStatus.COMPLETED, 1.0, 2.0, 3.0, 4.0, "nid1", "17.0")
    values = {"loss": number / 3}
    return [
        AttemptEnded(number, attempt, TrialStatus.COMPLETED, values, (number / 3,), {}, curve, outcome_number=number)
    ]


def main(path: str, n_trials: str) -> None:
    """Run the recorded trials, with two checkpoints on the way."""
    n = int(n_trials)
    history = History.create(path, HEADER)
    for number in range(n):
        history.append(created(number))
        os.write(1, f"created {number}\n".encode())
        history.append(ended(number))
        os.write(1, f"ended {number}\n".encode())
        if number == n // 3:
            history.checkpoint()  # goes on while the helper is at work
        if number == 2 * n // 3:
            history.checkpoint(wait=True)
    history.close()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.executable = sys.argv[3]
    main(*sys.argv[1:3])
