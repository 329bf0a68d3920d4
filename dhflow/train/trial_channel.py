"""The channel of a trial's context: which form it has, and what it brings home. Loaded when there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from dhflow.monitor.keeper import Keeper
from dhflow.monitor.line import to_json
from dhflow.monitor.record import Reading, TimeLimit
from dhflow.train.channel import FileSink, HomeSink, Sink, WorkerChannel
from dhflow.train.context import TrialContext
from dhflow.train.curve import to_line
from dhflow.train.local_watch import LocalWatch
from dhflow.train.task import Task

Json = tuple[dict[str, Any], ...]


def make_channel(task: Task, context: TrialContext) -> WorkerChannel:
    """Return the channel of an attempt: over files where it has a directory, over a socket if the task names one."""
    keeper, watch = None, None
    if task.settings.channel is not None or task.directory is None:
        keeper = Keeper()
    if task.settings.channel is None and task.directory is None and task.settings.policy is not None:
        watch = LocalWatch(task, lambda: context.time_left_s, monotonic=context._monotonic)
    channel = WorkerChannel(
        _sink(task, context),
        lambda reading: context._take_report(reading.step, reading.time or context._clock(), dict(reading.values)),
        keeper,
        watch=watch,
        lock=context._lock,
        monotonic=context._monotonic,
    )
    left_s = context.time_left_s
    if task.settings.channel is not None and left_s is not None:
        channel.send([TimeLimit(context._clock(), left_s)])
    return channel


def _sink(task: Task, context: TrialContext) -> Sink:
    address, directory = task.settings.channel, task.directory
    if address is not None:
        # Without the socket the trial still runs, and what it records comes home with its result.
        with contextlib.suppress(OSError, KeyError, ValueError, ImportError):
            return _socket(address, task)
    if directory is not None and address is None:
        return FileSink(directory, lambda: context._records_file(directory))
    return HomeSink()


def _socket(address: Mapping[str, Any], task: Task) -> Sink:
    from dhflow.train.zmq_sink import ZmqSink

    return ZmqSink(address, task.trial_id, task.attempt)


def put_report(context: TrialContext, step: int, at: float, values: dict[str, float]) -> None:
    """Hand a report to the context's channel."""
    channel = context.channel
    if isinstance(channel, WorkerChannel):
        channel.put_report(Reading(step, values, at), to_line((step, at, values)))


def is_asked_to_stop(context: TrialContext) -> bool:
    """Tell whether a control asks for the trial's end."""
    channel = context.channel
    if not isinstance(channel, WorkerChannel):
        return False
    with context._lock:
        channel.poll()
    return channel.stop is not None


def close_channel(context: TrialContext) -> None:
    """Send what is left, and note whether the trial was asked to stop."""
    channel = context._channel
    if channel is not None:
        channel.close()
        context._was_asked_to_stop |= channel.stop is not None
        context._was_told_to_stop |= channel.stop is not None


def brought_home(channel: WorkerChannel) -> tuple[Json, Json]:
    """Return what comes home with the result: records beside the curve, and findings."""
    records = () if channel.keeper is None else tuple(to_json(each) for each in channel.keeper.brief())
    return records, () if channel.watch is None else channel.watch.findings()
