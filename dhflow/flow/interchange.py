"""Parsl's interchange with a clock that nobody sets; run as ``python -m dhflow.flow.interchange`` in its place."""

from __future__ import annotations

import runpy

from dhflow.flow.steady_clock import keep_time

if __name__ == "__main__":
    keep_time()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__", alter_sys=True)
