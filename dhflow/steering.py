"""What can be asked of a study while it runs, from its own process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dhflow.errors import SearchError
from dhflow.history.monitor_event import CommandTaken

if TYPE_CHECKING:
    from dhflow.flow.session import Session


class Steered:
    """A study whose running session takes commands."""

    _session: Session | None

    def accept(self, suggestion: str, *, running: bool = False) -> None:
        """Do what the monitor suggested for a trial of the running session, such as ``"17/clip_gradients"``.

        With `running` the trial itself goes on with the suggested learning rate, in place of a new trial.
        Returns at once; what cannot be done is logged. From another process, or of a study that does not run:
        :func:`dhflow.commands.accept`.

        Raises
        ------
        SearchError
            If no session runs, or the text is no ``TRIAL/NAME``.
        """
        from dhflow.flow.advice import parse_suggestion

        trial_id, name = parse_suggestion(suggestion)
        arguments = {"suggestion": name, "running": True} if running else {"suggestion": name}
        self._command(CommandTaken(time.time(), "accept", trial_id, "study", arguments))

    def stop_trial(self, trial_id: int) -> None:
        """Ask one running trial to end, and go on with the search; safe from any thread and from an observer.

        Raises
        ------
        SearchError
            If no session runs.
        """
        self._command(CommandTaken(time.time(), "stop", trial_id, "study"))

    def _command(self, command: CommandTaken) -> None:
        if self._session is None or not self._session.command(command):
            raise SearchError(f"{command.command}: the study is not running")
