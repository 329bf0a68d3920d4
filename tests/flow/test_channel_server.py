"""ZeroMQ channels: keys, records, controls, and a driver that is not there."""

from __future__ import annotations

import json
import math
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from dhflow import Float, SearchSpace, Study, TrialStatus, load
from dhflow.errors import ExecutionError, SearchError
from dhflow.flow import watcher as watcher_module
from dhflow.flow import watching
from dhflow.flow.channel_server import PORTS, ChannelServer
from dhflow.flow.run_directory import run_path
from dhflow.history import read_findings, read_records
from dhflow.monitor.control import Control
from dhflow.monitor.finding import finding_from_json
from dhflow.monitor.line import to_line
from dhflow.monitor.record import MachineRecord, Reading, Record
from dhflow.train.zmq_sink import ZmqSink

SPACE = SearchSpace({"x": Float(0.0, 1.0)})
THREADS = {"site": "laptop", "site_set": {"executor": "threads", "workers": 2}}
LINE = to_line(Reading(1, {"loss": 0.5}))


@pytest.fixture(params=[True, False], ids=["files shared", "nothing shared"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChannelServer]:
    made = ChannelServer("127.0.0.1", tmp_path, shares_files=request.param)
    yield made
    made.close()
    made.close()


def heard(server: ChannelServer, is_enough: Callable[[dict[Any, list[Record]]], bool]) -> dict[Any, list[Record]]:
    found: dict[Any, list[Record]] = {}
    until = time.monotonic() + 10
    while not is_enough(found) and time.monotonic() < until:
        for key, records in server.look(0.05, 1.0):
            found.setdefault(key, []).extend(records)
    return found


def test_records_go_out_and_controls_come_back(server: ChannelServer, tmp_path: Path) -> None:
    address = json.loads(json.dumps(server.address))
    if "key_file" in address:
        assert stat.S_IMODE(Path(address["key_file"]).stat().st_mode) == 0o600
    server.send((3, 1), Control("learning_rate", 0.5))  # before it is there
    sink = ZmqSink(address, 3, 1)
    sink.write([LINE], [LINE])
    found = heard(server, lambda found: len(found.get((3, 1), ())) == 2)
    assert found == {(3, 1): [Reading(1, {"loss": 0.5})] * 2}
    server.send((3, 1), Control("stop", reason="red"))
    controls: list[Control] = []
    until = time.monotonic() + 10
    while len(controls) < 2 and time.monotonic() < until:
        controls += sink.controls()
        time.sleep(0.01)
    assert controls == [Control("learning_rate", 0.5), Control("stop", reason="red")]
    sink.close()
    server.forget((3, 1))


def test_a_client_with_another_key_is_not_heard(server: ChannelServer) -> None:
    public, secret = (each.decode() for each in zmq.curve_keypair())
    wrong = {name: value for name, value in server.address.items() if name != "key_file"} | {"keys": [public, secret]}
    stranger = ZmqSink(wrong, 1, 1)
    stranger.write([LINE], [])
    own = ZmqSink(server.address, 2, 1)
    own.write([LINE], [])
    assert set(heard(server, lambda found: bool(found.get((2, 1))))) == {(2, 1)}
    for _ in server.look(0.3, 1.0):
        pytest.fail("the stranger was heard")
    stranger.close()
    own.close()


def test_what_nobody_takes_is_refused_in_the_end() -> None:
    public, secret = (each.decode() for each in zmq.curve_keypair())
    address = {"endpoint": "tcp://127.0.0.1:9", "server_key": public, "keys": [public, secret]}
    sink = ZmqSink(address, 1, 1)

    def flood() -> None:
        for _ in range(1_000):
            sink.write([LINE], [])

    with pytest.raises(OSError, match="nobody"):
        flood()
    sink.close()


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"192\.0\.2\.1"):
        ChannelServer("192.0.2.1", tmp_path, shares_files=True)


def test_it_listens_on_the_ports_that_a_firewall_leaves_open(tmp_path: Path) -> None:
    usual = ChannelServer("127.0.0.1", tmp_path, shares_files=True)
    port = int(usual.address["endpoint"].rpartition(":")[2])
    assert PORTS[0] <= port < PORTS[1]
    with pytest.raises(ExecutionError, match=f"nothing can listen on 127.0.0.1, ports {port} to {port} "):
        ChannelServer("127.0.0.1", tmp_path, shares_files=True, ports=(port, port + 1))
    usual.close()
    same = ChannelServer("127.0.0.1", tmp_path, shares_files=True, ports=(port, port + 1))
    assert same.address["endpoint"] == f"tcp://127.0.0.1:{port}"
    same.close()


@pytest.mark.parametrize(
    ("channel", "named"),
    [
        ("zmq", ("", None)),
        ("zmq:10.1.2.3", ("10.1.2.3", None)),
        ("zmq:fe80::1", ("fe80::1", None)),
        ("zmq:57000-58000", ("", (57000, 58001))),
        ("zmq:10.1.2.3:57000-57000", ("10.1.2.3", (57000, 57001))),
        ("zmq:fe80::1:57000-58000", ("fe80::1", (57000, 58001))),
    ],
)
def test_an_address_and_ports_may_be_named(channel: str, named: tuple[str, tuple[int, int] | None]) -> None:
    assert watching._named(channel) == named


@pytest.mark.parametrize("channel", ["zmq:80-90", "zmq:10.1.2.3:58000-57000", "zmq:57000-99999"])
def test_ports_that_are_none_are_refused_before_anything_starts(channel: str) -> None:
    with pytest.raises(SearchError, match="ports must be 1024 to 65535"), Study(SPACE, searcher="random") as study:
        study.run(overflowing, channel=channel, max_trials=1, **THREADS)


def overflowing(config: dict[str, Any], trial: Any) -> float:
    until = time.monotonic() + 30
    for step in range(1, 10_000):
        trial.report(step, loss=math.nan if step > 3 else 1.0 / step)
        trial.channel.send([MachineRecord(step, time.time(), cpu_share=0.5)])
        if trial.should_stop():
            break
        time.sleep(0.01)
        assert time.monotonic() < until
    return math.nan


def test_a_search_over_sockets_stops_a_red_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "INTERVAL_S", 0.05)
    history = tmp_path / "h.h5"
    with Study(SPACE, searcher="random", seed=1, history=history) as study:
        study.run(overflowing, adapt="stop", channel="zmq", max_trials=2, abort_after=None, **THREADS)
    for trial in load(history).trials:
        assert trial.status is TrialStatus.STOPPED
        rules = [finding_from_json(each.finding).rule for each in read_findings(history, trial.trial_id)]
        assert "overflow" in rules
        machine = read_records(history, trial.trial_id).machine
        assert len(machine) > 1
        assert [each.step for each in machine] == sorted({each.step for each in machine})
    assert not (run_path(history) / "channel_keys.json").exists()
