"""Where commands are understood before the completion loop takes them: from files, and from this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dhflow.errors import DhflowError
from dhflow.flow.advice import accepting, advice_on, gone
from dhflow.flow.applying import applying, heard_by
from dhflow.flow.command_files import CommandInbox
from dhflow.flow.taking import control_in
from dhflow.flow.watched import Watched
from dhflow.history.event import StudyRecord
from dhflow.history.monitor_event import CommandTaken
from dhflow.monitor.finding import Finding
from dhflow.monitor.policy import Policy
from dhflow.objective import Objective
from dhflow.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from dhflow.space import SearchSpace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedStudy:
    """What the watcher knows of the study from the start.

    Parameters
    ----------
    record : StudyRecord
        As it was when the session began; only read, and only at the start.
    objectives : tuple of Objective
    space : SearchSpace, optional
    policy : Policy
    full_budget : float, optional
    target : float, optional
        Objective value that is good enough.
    history : Path, optional
        Whose earlier curves are siblings too.
    """

    record: StudyRecord
    objectives: tuple[Objective, ...]
    space: SearchSpace | None = None
    policy: Policy = field(default_factory=Policy)
    full_budget: float | None = None
    target: float | None = None
    history: Path | None = None


_HEARD = {"learning_rate": "another learning rate", "checkpoint": "a wish for a checkpoint"}
"""Controls that reach only a trial which asks for them; a stop reaches any that asks ``should_stop()``."""


class CommandDesk:
    """Checks commands, passes them on, and answers those that make no sense.

    Parameters
    ----------
    inbox : CommandInbox
    post : callable
        Takes a command that the loop can carry out.
    trials : mapping
        Every trial that is known, kept up to date by its owner.
    findings : mapping
        What holds of trials, as last judged in this session; likewise.
    recorded : mapping
        All that was found of them in this session; likewise.
    study : WatchedStudy
    watched : callable, optional
        From the number of a running trial to what it has recorded; None where nothing has come.
    """

    def __init__(
        self,
        inbox: CommandInbox,
        post: Callable[[CommandTaken], None],
        *,
        trials: Mapping[int, Trial],
        findings: Mapping[int, Sequence[Finding]],
        recorded: Mapping[int, Sequence[Finding]],
        study: WatchedStudy,
        watched: Callable[[int], Watched | None] = lambda _: None,
    ) -> None:
        self._inbox = inbox
        self._post = post
        self._trials = trials
        self._findings = findings
        self._recorded = recorded
        self._study = study
        self._watched = watched

    def look(self) -> None:
        """Take the commands that have come."""
        for each in self._inbox.take():
            self.obey(each)

    def obey(self, command: CommandTaken) -> None:
        """Pass a command on, or answer that it makes no sense."""
        try:
            self._post(self._checked(command))
        except (DhflowError, LookupError, TypeError, ValueError) as error:
            if command.command_id:
                self._inbox.reply(command.command_id, {"error": _text(error)})
            else:
                _log.warning("%s: %s", command.command, _text(error))

    def reply(self, command: CommandTaken) -> None:
        """Answer a command that has been carried out and recorded."""
        self._inbox.reply(command.command_id, command.reply)

    def refuse(self, command: CommandTaken) -> None:
        """Answer one that has come too late."""
        if command.command_id:
            self._inbox.reply(command.command_id, {"error": "the search is ending: try again when it has ended"})

    def close(self) -> None:
        """Answer those that come too late."""
        for each in self._inbox.take():
            self.refuse(each)

    def _checked(self, command: CommandTaken) -> CommandTaken:
        space = self._study.space
        if command.command == "accept":
            number = -1 if command.trial_id is None else command.trial_id
            if number not in self._trials:
                raise LookupError(f"there is no trial {command.trial_id}")
            name = str(command.arguments.get("suggestion", ""))
            trial = self._trials[number]
            if command.arguments.get("running"):
                holding = self._findings.get(number, ())
                made = applying(trial, name, holding, self._watched(number), origin=command.origin)
            else:
                made = accepting(trial, name, self._advised(trial), space, origin=command.origin)
            return replace(made, command_id=command.command_id)
        if command.command == "add":
            config = command.arguments["config"]
            valid = config if space is None else space.validate(config)
            return replace(command, arguments={**command.arguments, "config": dict(valid)})
        if command.command == "control":
            self._check_control(command)
        return command

    def _check_control(self, command: CommandTaken) -> None:
        """Refuse a control of which the trial would not hear; who does not run, the loop refuses."""
        trial = self._trials.get(-1 if command.trial_id is None else command.trial_id)
        what = _HEARD.get(str(command.arguments.get("control")))
        if trial is not None and trial.status is TrialStatus.RUNNING and what is not None:
            control_in(command)
            heard_by(trial, self._watched(trial.trial_id), what)

    def _advised(self, trial: Trial) -> list[Finding]:
        """Return what was found about a trial, what holds first: in this session, else as the history has it."""
        recorded = self._recorded.get(trial.trial_id, ())
        holding = self._findings.get(trial.trial_id)
        if holding is not None:
            return [*holding, *gone(recorded, holding)]
        if self._study.history is None:
            return list(recorded)
        record = StudyRecord(self._study.record.header, trials=dict(self._trials))
        return list(advice_on(self._study.history, record, trial.trial_id, self._study.space).given)


def _text(error: Exception) -> str:
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
