"""What is done about findings: only shown, acted on by stopping, or tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dhflow.errors import SearchError
from dhflow.monitor.context import Context
from dhflow.monitor.finding import Finding, Light, Severity, Suggestion
from dhflow.monitor.record import Records
from dhflow.monitor.rules import Judgement
from dhflow.monitor.stopper import Stopper, first_stop

Adapt = Literal["suggest", "stop", "auto"]
ADAPT: tuple[Adapt, ...] = get_args(Adapt)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a study lets the monitor do.

    Parameters
    ----------
    adapt : {"suggest", "stop", "auto"}
        Only show findings; also stop red trials; also try the first change that is suggested for a red trial, or for
        an amber one that has ended, as a new trial.
    stoppers : tuple of Stopper
        They stop trials whatever `adapt` says.
    max_auto : int
        At most so many trials are made by ``"auto"``; the study's own limits hold for them too.

    Raises
    ------
    SearchError
        If `adapt` is none of these, or `max_auto` is negative.
    """

    adapt: Adapt = "suggest"
    stoppers: tuple[Stopper, ...] = ()
    max_auto: int = 10

    def __post_init__(self) -> None:
        if self.adapt not in ADAPT:
            raise SearchError(f"adapt must be one of {', '.join(ADAPT)}, not {self.adapt!r}")
        if self.max_auto < 0:
            raise SearchError(f"max_auto must not be negative, it is {self.max_auto}")

    def reason_to_stop(self, judgement: Judgement, records: Records, context: Context) -> Finding | None:
        """Return the finding for which a running trial is to stop, or None."""
        stopped = first_stop(self.stoppers, records, context)
        if stopped is not None or self.adapt == "suggest" or judgement.light is not Light.RED:
            return stopped
        return next((each for each in judgement.findings if each.severity is Severity.CRITICAL), None)

    def change_to_try(self, findings: Sequence[Finding], *, is_over: bool) -> tuple[Finding, Suggestion] | None:
        """Return the first change that ``"auto"`` would try, and the finding that it is for."""
        if self.adapt != "auto":
            return None
        grave = (Severity.CRITICAL, Severity.WARNING) if is_over else (Severity.CRITICAL,)
        for finding in findings:
            if finding.severity in grave:
                for suggestion in finding.suggestions:
                    if suggestion.action == "change":
                        return finding, suggestion
        return None
