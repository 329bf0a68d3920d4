"""Reading ``records.jsonl`` as it grows, however fast: all that a rule must see, and of a flood a sample."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dhflow.monitor.line import from_lines
from dhflow.monitor.record import Record
from dhflow.train.records_file import is_detail

READ_BYTES = 2 << 20
"""Read at one look; of a file that has grown more, the end."""

MOST_REPORTS, MOST_DETAIL = 400, 400
"""Lines that are parsed of one look."""

_FACTS = tuple(b'{"record":"%s"' % each for each in (b"network", b"data", b"listening", b"time_limit"))
_NOT_FINITE = (b"nan", b"inf", b"NaN", b"Inf")
_MOST_ODD = 40


class Tail:
    """One growing file of lines.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self._file_id: tuple[int, int] | None = None
        self.was_replaced = False
        """Whether the last look found another file than the one before, and read it from its beginning."""

    def read(self) -> list[Record]:
        """Return what has been written since the last time; nothing while the file is not there."""
        self.was_replaced = False
        try:
            status = os.stat(self._path)  # noqa: PTH116
        except OSError:
            return []
        file_id = (status.st_dev, status.st_ino)
        if self._file_id not in (None, file_id) or status.st_size < self._offset:
            self.was_replaced, self._offset = True, 0
        self._file_id = file_id
        if status.st_size == self._offset:
            return []
        return from_lines(chosen(self._lines(status.st_size)))

    def _lines(self, size: int) -> list[bytes]:
        start = max(self._offset, size - READ_BYTES)
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                file.seek(start)
                data = file.read(READ_BYTES)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if not end and start > self._offset:  # one line longer than all that is read
            self._offset = size
            return []
        lines = data[:end].split(b"\n")[:-1]
        if start > self._offset:
            del lines[0]  # its beginning was not read
        self._offset = start + end
        return lines


def chosen(lines: Sequence[bytes]) -> list[bytes]:
    """Return those of many lines that are worth parsing, in their order.

    All of few; else an even sample of the reports with the last one and the first that are not finite, and the newest
    facts and detail.
    """
    if len(lines) <= min(MOST_REPORTS, MOST_DETAIL):
        return list(lines)
    are_detail = [is_detail(each) for each in lines]
    detail = [i for i, each in enumerate(are_detail) if each][-MOST_DETAIL:]
    reports = [i for i, each in enumerate(are_detail) if not each]
    if len(reports) > MOST_REPORTS:
        odd = [i for i in reports if any(word in lines[i] for word in _NOT_FINITE)][:_MOST_ODD]
        odd += [i for i in reports if lines[i].startswith(_FACTS)][-_MOST_ODD:]
        stride = -(-len(reports) // MOST_REPORTS)
        reports = [*reports[::stride], reports[-1], *odd]
    return [lines[i] for i in sorted({*detail, *reports})]
