"""The channel between a running trial and whoever watches it: records go out, controls come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dhflow.monitor.control import Control
from dhflow.monitor.record import Record


class Channel(Protocol):
    """One attempt's end of a channel, on its worker.

    No call raises for a driver, a file system or a network that is gone, and none blocks training: what cannot be
    sent is kept while there is room, then the oldest detail is dropped, readings and facts last of all.
    """

    def send(self, records: Sequence[Record]) -> None:
        """Take records in; they are on their way, not necessarily there, when this returns."""

    def controls(self) -> Sequence[Control]:
        """Return the controls that came since the last call, in their order."""

    def close(self) -> None:
        """Send what is left, within a second or so."""
