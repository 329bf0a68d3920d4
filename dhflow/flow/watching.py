"""How a session is watched: its channel and its watcher, from the options."""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import TYPE_CHECKING, Any

from dhflow.errors import SearchError
from dhflow.flow.command_desk import WatchedStudy
from dhflow.flow.parts import StudyParts
from dhflow.flow.pool import Pool
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.settings import RunSettings
from dhflow.flow.watcher import Watcher
from dhflow.monitor.stopper import FULL_BUDGET, TIME_LIMIT, lacking

if TYPE_CHECKING:
    from dhflow.flow.channel_server import ChannelServer
    from dhflow.flow.driver import Driver

_log = logging.getLogger(__name__)

# An address may hold colons itself.
_CHANNEL = re.compile(r"zmq(?::(?P<host>[^\-]*?))??:(?P<low>\d+)-(?P<high>\d+)")


def open_server(settings: RunSettings, pool: Pool, directory: RunDirectory) -> ChannelServer | None:
    """Listen for workers, if that is asked for.

    Raises
    ------
    SearchError
        If it is not known where workers reach this machine, or the ports are none.
    ExecutionError
        If nothing can listen there.
    """
    if settings.channel == "auto":
        return None
    from dhflow.flow.channel_server import PORTS, ChannelServer

    named, ports = _named(settings.channel)
    host = named or _address_of(pool)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise SearchError(
            f'channel="zmq": it is not known at which address workers reach this machine ({host!r} is none): '
            'say it, channel="zmq:10.1.2.3", or give the executor an address'
        ) from None
    return ChannelServer(host, directory.path, shares_files=pool.shares_files, ports=ports or PORTS)


def _named(channel: str) -> tuple[str, tuple[int, int] | None]:
    """Return the address and the ports that a ``channel`` names, the last one made exclusive."""
    found = _CHANNEL.fullmatch(channel)
    if found is None or found["low"] is None:
        return channel.partition(":")[2], None
    low, high = int(found["low"]), int(found["high"])
    if not 1024 <= low <= high < 65536:
        raise SearchError(f'channel="{channel}": ports must be 1024 to 65535, the lower one first')
    return found["host"] or "", (low, high + 1)


def _address_of(pool: Pool) -> str:
    """Return the address that the pool's own workers use."""
    if pool.kernel is None and pool.shares_files:
        return "127.0.0.1"
    for executor in pool.parsl_executors:
        address = getattr(executor, "address", None)
        if address:
            return str(address)
        if hasattr(executor, "max_threads") or _is_local(executor):
            return "127.0.0.1"
    return ""


def _is_local(executor: Any) -> bool:
    return type(getattr(executor, "provider", None)).__name__ == "LocalProvider"


def make_watcher(
    driver: Driver,
    *,
    parts: StudyParts,
    settings: RunSettings,
    directory: RunDirectory,
    server: ChannelServer | None,
) -> Watcher:
    """Return the watcher of a driver's session; warn of stoppers that cannot act in it."""
    known = () if parts.full_budget is None else (FULL_BUDGET,)
    limits = (settings.timeout_s, settings.wall_time_s, settings.node_hours)
    if any(each is not None for each in limits):
        known = (*known, TIME_LIMIT)
    for text in lacking(settings.policy.stoppers, known):
        _log.warning(text)
    study = WatchedStudy(
        record=parts.record.copy(),
        objectives=parts.objectives,
        space=parts.space,
        policy=settings.policy,
        full_budget=parts.full_budget,
        target=settings.target,
        history=parts.history_path,
    )
    return Watcher(
        study,
        directory,
        driver.post,
        trials=driver.loop.record.trials,
        deadline=driver.seconds_left,
        server=server,
        reads_files=driver.pool.shares_files,
    )
