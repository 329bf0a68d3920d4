"""The driver's end of ZeroMQ channels: one CURVE socket of our own, for workers that share no file system.

Keys are made for each session. Only clients with the session's own key are let in. The server's keys stay in this
process; the clients' lie in a file that only its owner may read, or travel in the tasks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dhflow.errors import ExecutionError
from dhflow.flow.confidential import keep_private
from dhflow.flow.run_directory import KEYS
from dhflow.flow.tail import chosen
from dhflow.monitor.control import Control, control_to_line
from dhflow.monitor.line import from_lines
from dhflow.monitor.record import Record

_MOST_WAITING = 2_000
_MOST_BYTES = 4 << 20
_ZAP = "inproc://zeromq.zap.01"

PORTS = (56000, 57000)
"""The first port that is tried and the one after the last: beside those of Parsl, 54000 to 56000."""

Key = tuple[int, int]
"""Trial and attempt."""


class ChannelServer:
    """Listens for workers; used by one thread after it is made.

    Parameters
    ----------
    host : str
        Address of the interface to listen on.
    folder : Path
        Of the run directory: for the clients' keys.
    shares_files : bool
        Whether workers can read that file; else their keys travel with the tasks.
    ports : tuple of int
        The first port to try, and the one after the last.

    Raises
    ------
    ExecutionError
        If nothing can listen there.
    """

    def __init__(self, host: str, folder: Path, *, shares_files: bool, ports: tuple[int, int] = PORTS) -> None:
        import zmq
        from zmq.utils import z85

        self._zmq = zmq
        server_public, server_secret = zmq.curve_keypair()
        client_public, client_secret = zmq.curve_keypair()
        self._client_key: bytes = z85.decode(client_public)
        self._context = zmq.Context(io_threads=1)
        self._gate = self._context.socket(zmq.REP)
        self._gate.bind(_ZAP)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVHWM, _MOST_WAITING)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MOST_BYTES)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._socket.zap_domain = b"dhflow"
        self._socket.curve_server = True
        self._socket.curve_secretkey, self._socket.curve_publickey = server_secret, server_public
        try:
            port = self._socket.bind_to_random_port(f"tcp://{host}", *ports, max_tries=10 * (ports[1] - ports[0]))
        except (zmq.ZMQError, zmq.ZMQBindError) as error:
            self.close()
            raise ExecutionError(
                f'channel="zmq": nothing can listen on {host}, ports {ports[0]} to {ports[1] - 1} ({error}); name an '
                'address of this machine that workers reach, and free ports: channel="zmq:10.1.2.3:57000-58000"'
            ) from error
        self.address: dict[str, Any] = {"endpoint": f"tcp://{host}:{port}", "server_key": server_public.decode()}
        keys = [client_public.decode(), client_secret.decode()]
        if shares_files:
            self.address["key_file"] = str(_write_keys(folder, keys))
        else:
            self.address["keys"] = keys
        self._peers: dict[Key, bytes] = {}
        self._waiting: dict[Key, list[Control]] = {}

    def look(self, timeout_s: float, budget_s: float) -> Iterator[tuple[Key, list[Record]]]:
        """Wait for `timeout_s`, let clients in, and give what they send.

        Parameters
        ----------
        timeout_s : float
        budget_s : float
            What reading may cost, in seconds; beyond it messages wait, and in the end their senders drop detail.
        """
        until = time.monotonic() + timeout_s
        poller = self._zmq.Poller()
        poller.register(self._gate, self._zmq.POLLIN)
        poller.register(self._socket, self._zmq.POLLIN)
        while (left_s := until - time.monotonic()) > 0:
            ready = dict(poller.poll(int(left_s * 1e3) + 1))
            if self._gate in ready:
                self._let_in()
            if self._socket not in ready:
                continue
            began = time.perf_counter()
            found = self._take(self._socket.recv_multipart())
            if found is not None:
                yield found
            budget_s -= time.perf_counter() - began
            if budget_s < 0:
                poller.unregister(self._socket)
                budget_s = timeout_s

    def send(self, key: Key, control: Control) -> None:
        """Send a control to an attempt, as soon as it is there."""
        peer = self._peers.get(key)
        if peer is None:
            self._waiting.setdefault(key, []).append(control)
            return
        try:
            self._socket.send_multipart([peer, control_to_line(control)], self._zmq.NOBLOCK)
        except self._zmq.ZMQError:  # it has gone
            self._waiting.setdefault(key, []).append(control)

    def forget(self, key: Key) -> None:
        """Let go of an attempt that has ended."""
        self._peers.pop(key, None)
        self._waiting.pop(key, None)

    def close(self) -> None:
        """Stop listening; may be called again."""
        if not self._context.closed:
            self._socket.close()
            self._gate.close(0)
            self._context.term()

    def _let_in(self) -> None:
        # The authentication protocol of ZeroMQ (RFC 27): the last part of a CURVE request is the client's key.
        version, number, domain, _, _, mechanism, *keys = self._gate.recv_multipart()
        is_ours = domain == b"dhflow" and mechanism == b"CURVE" and keys[:1] == [self._client_key]
        verdict = (b"200", b"OK") if is_ours else (b"400", b"unknown key")
        self._gate.send_multipart([version, number, *verdict, b"", b""])

    def _take(self, parts: list[bytes]) -> tuple[Key, list[Record]] | None:
        try:
            peer, header, lines = parts
            named = json.loads(header)
            key = int(named["trial"]), int(named["attempt"])
        except (ValueError, TypeError, KeyError):
            return None
        self._peers[key] = peer
        for control in self._waiting.pop(key, []):
            self.send(key, control)
        return key, from_lines(chosen(lines.splitlines()))


def _write_keys(folder: Path, keys: list[str]) -> Path:
    path = folder / KEYS
    keep_private(path, {"client": keys})
    return path
