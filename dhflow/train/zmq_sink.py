"""A channel over a ZeroMQ socket of our own, for workers that share no file system with the driver.

The address is plain JSON in the task: ``{"endpoint": "tcp://10.1.2.3:50321", "server_key": …}`` and either the
session's client keys themselves (``"keys": [public, secret]``) or, where files are shared, the path of the file that
holds them (``"key_file"``). Messages to the driver have two parts, JSON that names the attempt and lines of
``records.jsonl``; those that come back are lines of :mod:`dhflow.monitor.control`.
"""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dhflow.monitor.control import Control, control_from_line

_MOST_WAITING = 200
"""Messages that wait for a driver that is not there; then they are refused, and the channel keeps the newest."""

_LINGER_MS = 1_000


class ZmqSink:
    """One attempt's socket.

    Parameters
    ----------
    address : mapping
    trial_id, attempt : int

    Raises
    ------
    OSError
        If there are no keys or no socket can be made.
    """

    def __init__(self, address: Mapping[str, Any], trial_id: int, attempt: int) -> None:
        import zmq

        public, secret = _keys(address)
        self._error = zmq.ZMQError
        self._socket = _context().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, _MOST_WAITING)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.curve_serverkey = address["server_key"].encode()
        self._socket.curve_publickey, self._socket.curve_secretkey = public.encode(), secret.encode()
        self._socket.connect(address["endpoint"])
        self._header = json.dumps({"trial": trial_id, "attempt": attempt}).encode()
        self._no_wait = zmq.NOBLOCK
        self.write((), ())  # so that the driver knows where to send controls

    def write(self, facts: Sequence[bytes], detail: Sequence[bytes]) -> None:
        """Hand the lines to ZeroMQ; raises OSError while too many wait."""
        try:
            self._socket.send_multipart([self._header, b"".join([*facts, *detail])], self._no_wait)
        except self._error as error:  # too many wait, or ZeroMQ itself is at its end
            raise OSError(errno.EAGAIN, "nobody takes the records") from error

    def controls(self) -> list[Control]:
        """Return the controls that have come."""
        found = []
        try:
            while True:
                control = control_from_line(self._socket.recv(self._no_wait))
                if control is not None:
                    found.append(control)
        except self._error:
            return found

    def close(self) -> None:
        """Let ZeroMQ send what waits, for at most a second, in its own thread."""
        self._socket.close()


def _keys(address: Mapping[str, Any]) -> tuple[str, str]:
    given = address.get("keys")
    public, secret = json.loads(Path(address["key_file"]).read_text())["client"] if given is None else given
    return public, secret


@functools.lru_cache(maxsize=1)
def _context() -> Any:
    # Not the process's own instance: Parsl's workers and threads have theirs.
    import zmq

    return zmq.Context(io_threads=1)
