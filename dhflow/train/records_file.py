"""``records.jsonl`` as its worker writes it: reports, and detail that makes room for newer detail.

A line that begins with ``{"record":`` and is no reading of an epoch and no fact is detail. When the file passes
`MAX_BYTES` it is written anew without the oldest detail, beside it, and put in its place: a reader sees another file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from dhflow.train.line_file import LineFile

MAX_BYTES = 8 << 20
KEPT_BYTES = 4 << 20
"""What is left of a file that has passed the limit, if its reports alone are not more."""

_DETAIL = (b'{"record":"tensor"', b'{"record":"machine"', b'{"record":"classes"', b'{"record":"worst"')
_READING = b'{"record":"reading"'
_BATCH = b'"per":"batch"'


def is_detail(line: bytes) -> bool:
    """Tell whether a line may be dropped for newer ones: it is no report and no fact."""
    return line.startswith(_DETAIL) or (line.startswith(_READING) and _BATCH in line)


class RecordsFile:
    """Appends lines; one writer.

    Parameters
    ----------
    path : str
    max_bytes, kept_bytes : int
    """

    def __init__(self, path: str, *, max_bytes: int = MAX_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
        self._file = LineFile(path)
        self._path = path
        self._max_bytes, self._kept_bytes = max_bytes, kept_bytes
        self._n_bytes: int | None = None

    def append(self, line: bytes) -> None:
        """Write one line; raises OSError if it cannot be written."""
        self._file.append(line)

    def append_detail(self, lines: Sequence[bytes]) -> None:
        """Write lines of detail in one go; raises OSError if they cannot be written."""
        data = b"".join(lines)
        if self._n_bytes is None:
            self._n_bytes = _size(self._path)
        if self._n_bytes + len(data) > self._max_bytes:
            self._compact()
        self._file.append(data)
        self._n_bytes += len(data)

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._file.close()

    def _compact(self) -> None:
        with open(self._path, "rb") as file:  # noqa: PTH123
            lines = file.read().splitlines(keepends=True)
        n_left = self._kept_bytes - sum(len(each) for each in lines if not is_detail(each))
        kept = []
        for line in reversed(lines):
            if is_detail(line):
                n_left -= len(line)
                if n_left < 0:
                    continue
            kept.append(line)
        data = b"".join(reversed(kept))
        aside = f"{self._path}.tmp"
        try:
            with open(aside, "wb") as file:  # noqa: PTH123
                file.write(data)
            self._file.close()
            os.replace(aside, self._path)  # noqa: PTH105
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(aside)  # noqa: PTH108
            raise
        self._n_bytes = len(data)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
