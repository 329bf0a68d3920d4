"""A channel in memory, for tests of what a trial sends and what it is asked to do."""

from __future__ import annotations

from collections.abc import Sequence

from dhflow.monitor.control import Control
from dhflow.monitor.record import Record, Records


class ListChannel:
    """A :class:`~dhflow.monitor.channel.Channel` that keeps what is sent.

    Parameters
    ----------
    asks : sequence of sequence of Control
        What each call of :meth:`controls` returns, in turn; then nothing.
    """

    def __init__(self, asks: Sequence[Sequence[Control]] = ()) -> None:
        self.sent: list[Record] = []
        self.is_closed = False
        self._asks = [list(each) for each in asks]

    @property
    def records(self) -> Records:
        """What was sent, as a run."""
        return Records.of(self.sent)

    def send(self, records: Sequence[Record]) -> None:
        """Keep the records."""
        self.sent.extend(records)

    def controls(self) -> Sequence[Control]:
        """Return what the next call is to return."""
        return self._asks.pop(0) if self._asks else []

    def close(self) -> None:
        """Note that the channel was closed."""
        self.is_closed = True
