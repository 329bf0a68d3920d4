"""Queues between processes outlive whoever is killed while waiting at them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import queues
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from dhflow.flow.queue_lock import QueueLock, outlive_killed_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks of files in memory are Linux's")
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(queues.Queue, "__init__", queues.Queue.__init__)
    outlive_killed_workers()
    made = SPAWN.Queue()
    yield made
    made.close()
    made.join_thread()


def take_and_say(tasks: Any, results: Any) -> None:
    while True:
        results.send((os.getpid(), tasks.get()))


def started(tasks: Any) -> tuple[BaseProcess, Any]:
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=take_and_say, args=(tasks, sender), daemon=True)
    process.start()
    return process, receiver


def answer(receiver: Any) -> tuple[int, Any]:
    assert receiver.poll(30), "nobody takes a task"
    found: tuple[int, Any] = receiver.recv()
    return found


def wait_until_taken(lock: Any) -> None:
    """Wait until somebody waits for a task, and holds the lock for that."""
    until = time.monotonic() + 30
    while lock.acquire(block=False):
        lock.release()
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_worker_that_is_killed_as_it_waits_keeps_no_other_from_a_task(queue: Any) -> None:
    first, results = started(queue)
    queue.put("one")
    assert answer(results) == (first.pid, "one")
    wait_until_taken(queue._rlock)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    second, results = started(queue)
    queue.put("two")
    assert answer(results) == (second.pid, "two")
    second.kill()
    second.join()


def test_the_lock_of_multiprocessing_stays_taken() -> None:
    """What the above is for; if this fails, Python mends it by itself."""
    plain = SPAWN.Queue()
    first, results = started(plain)
    plain.put("one")
    answer(results)
    wait_until_taken(plain._rlock)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    assert not plain._rlock.acquire(block=True, timeout=0.5)
    plain.close()
    plain.join_thread()


def test_a_lock_is_to_be_had_once() -> None:
    lock = QueueLock()
    other = QueueLock.__new__(QueueLock)
    other.__setstate__(lock.__getstate__())
    with lock:
        assert not other.acquire(block=False)
        began = time.monotonic()
        assert not other.acquire(timeout=0.1)
        assert time.monotonic() - began >= 0.1
    assert other.acquire(timeout=0.1)
    other.release()
