"""What the machine does while a model trains: processor, memory, network, GPU, and waiting for input."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dhflow.monitor.record import MachineRecord

_STATM = Path("/proc/self/statm")
_NETWORK = Path("/proc/self/net/dev")


class MachineClock:
    """Counts what a process used between two records.

    Parameters
    ----------
    clock : callable, optional
        A clock that never jumps.
    cpu_clock : callable, optional
        Seconds of processor time of this process.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._gpu = Gpu()
        self._at, self._cpu, self._network = clock(), cpu_clock(), network_bytes()

    def record(
        self, step: int, at: float, *, step_time_s: float, input_wait_s: float, epoch_time_s: float
    ) -> MachineRecord:
        """Return the record of the time since the last one."""
        now, cpu, network = self._clock(), self._cpu_clock(), network_bytes()
        passed = max(now - self._at, 1e-9)
        found = MachineRecord(
            step,
            at,
            step_time_s=step_time_s,
            input_wait_s=input_wait_s,
            epoch_time_s=epoch_time_s,
            cpu_share=(cpu - self._cpu) / passed / n_cores(),
            memory_bytes=memory_bytes(),
            gpu_share=self._gpu.share(),
            gpu_memory_bytes=self._gpu.memory_bytes(),
            network_bytes=network - self._network,
        )
        self._at, self._cpu, self._network = now, cpu, network
        return found


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> float:
    """Return the resident memory of this process; NaN where Linux does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    return math.nan


def network_bytes() -> float:
    """Return the bytes that the node has received and sent, its own loop left out; NaN where Linux does not say."""
    total = 0
    try:
        for line in _NETWORK.read_text().splitlines()[2:]:
            name, _, numbers = line.partition(":")
            if name.strip() != "lo":
                columns = numbers.split()
                total += int(columns[0]) + int(columns[8])
    except (OSError, ValueError, IndexError):
        return math.nan
    return float(total)


class Gpu:
    """The first GPU that this process sees, through NVML where ``pynvml`` is installed."""

    def __init__(self) -> None:
        self._library: Any = None
        self._device: Any = None
        with contextlib.suppress(Exception):  # no package, no driver, no device: nothing is measured
            pynvml: Any = importlib.import_module("pynvml")

            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByIndex(_first_visible())
            self._library = pynvml

    def share(self) -> float:
        """Return the share of the last second in which the GPU computed."""
        with contextlib.suppress(Exception):
            return float(self._library.nvmlDeviceGetUtilizationRates(self._device).gpu) / 100.0
        return math.nan

    def memory_bytes(self) -> float:
        """Return the memory in use on the GPU."""
        with contextlib.suppress(Exception):
            return float(self._library.nvmlDeviceGetMemoryInfo(self._device).used)
        return math.nan


def _first_visible() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return int(visible) if visible.isdigit() else 0


class EpochClock:
    """The times of one epoch after another, as a callback hears of them.

    Parameters
    ----------
    clock : callable, optional
        A clock that never jumps.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_first_step = True
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Note that an epoch begins."""
        self._began = self._steps_began = self._clock()
        self._until: float | None = None
        self._n_timed = self.n_steps = 0
        self._left_out_s = self._left_out_of_steps_s = 0.0

    def begin_step(self) -> float:
        """Note that a step begins; return the seconds of the very first one when it is over, else 0."""
        traced_s = self._end_first_step() if self._is_first_step and self.n_steps == 1 else 0.0
        if self.n_steps == 0:
            self._steps_began = self._clock()
        self.n_steps += 1
        self._n_timed += 1
        return traced_s

    def end_steps(self) -> float:
        """Note that the steps of an epoch are over; return the seconds of the very first one if that was all."""
        if self._until is not None:
            return 0.0
        self._until = self._clock()
        return self._end_first_step() if self._is_first_step and self.n_steps else 0.0

    def leave_out(self, seconds: float) -> None:
        """Leave out of the epoch what watching took."""
        self._left_out_s += seconds
        if self._until is None:
            self._left_out_of_steps_s += seconds

    def _end_first_step(self) -> float:
        """TensorFlow traces in it: it tells nothing about the others."""
        self._is_first_step = False
        now = self._clock()
        traced_s = now - self._steps_began
        self._steps_began, self._n_timed, self._left_out_of_steps_s = now, 0, 0.0
        self._left_out_s += traced_s
        return traced_s

    @property
    def step_time_s(self) -> float:
        """Seconds per step of the epoch; NaN where the very first was its only one."""
        if not self._n_timed:
            return math.nan
        until = self._clock() if self._until is None else self._until
        return max(until - self._steps_began - self._left_out_of_steps_s, 0.0) / self._n_timed

    @property
    def epoch_time_s(self) -> float:
        """Seconds since the epoch began, without tracing and watching."""
        return max(self._clock() - self._began - self._left_out_s, 0.0)
