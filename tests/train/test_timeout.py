from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator

import pytest

from dhflow.errors import TrialTimeoutError
from dhflow.train.timeout import TimeLimit, is_worker_process


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_sleep_is_interrupted() -> None:
    limit = TimeLimit(0.02)
    began = time.monotonic()
    limit.start()
    with pytest.raises(TrialTimeoutError, match=r"0\.02 s"):
        time.sleep(5)
    limit.stop()
    assert limit.fired
    assert time.monotonic() - began < 4


def test_a_python_loop_is_interrupted() -> None:
    limit = TimeLimit(0.02)
    limit.start()
    with pytest.raises(TrialTimeoutError):
        sum(1 for _ in itertools.count())
    limit.stop()


def test_nothing_is_raised_once_disarmed() -> None:
    limit = TimeLimit(0.01)
    limit.start()
    limit.disarm()
    time.sleep(0.03)
    limit.stop()
    assert not limit.fired


def test_it_strikes_once() -> None:
    limit = TimeLimit(0.01)
    limit.start()
    with pytest.raises(TrialTimeoutError):
        time.sleep(5)
    signal.raise_signal(signal.SIGALRM)
    limit.stop()


def test_the_hosts_own_handler_and_timer_come_back() -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    limit = TimeLimit(5)
    limit.start()
    limit.stop()
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 0.05
    deadline = time.monotonic() + 5
    while not rung and time.monotonic() < deadline:
        time.sleep(0.01)
    signal.signal(signal.SIGALRM, before)
    assert len(rung) == 1


def test_stop_twice_or_without_start_is_harmless() -> None:
    limit = TimeLimit(5)
    limit.stop()
    limit.start()
    limit.stop()
    limit.stop()


def test_the_test_process_is_no_worker(worker: object) -> None:
    assert not is_worker_process()
    assert worker.submit(is_worker_process).result()  # type: ignore[attr-defined]
