"""Sets the clock of each Python process that finds this on its path: ``time.time`` gives as much more as a file says.

The file, named by ``DHFLOW_TEST_CLOCK``, holds one double. libfaketime would do it for any process, but its 0.9.10
makes ``time.sleep`` of Python 3.11 fail (its issue 426), and the system's own clock is not a test's to set.
"""

import mmap
import os
import struct
import time


def _set() -> None:
    with open(os.environ["DHFLOW_TEST_CLOCK"], "rb") as file:  # noqa: PTH123 - pathlib is slow to load at each start
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    seconds, nanoseconds = time.time, time.time_ns

    def ahead_s() -> float:
        return float(struct.unpack("d", offset)[0])

    time.time = lambda: seconds() + ahead_s()
    time.time_ns = lambda: nanoseconds() + int(ahead_s() * 1e9)


if "DHFLOW_TEST_CLOCK" in os.environ:
    _set()
