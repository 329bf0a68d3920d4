"""The history of a study: an append-only journal while it is open, one HDF5 file for good.

``FORMAT.md`` in this folder states both for people who write a reader of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.history.comparison import check_same_study as check_same_study
    from dhflow.history.copying import copy_history as copy_history
    from dhflow.history.export import export_history as export_history
    from dhflow.history.reader import exists as exists
    from dhflow.history.reader import load_header as load_header
    from dhflow.history.reader import load_record as load_record
    from dhflow.history.reader import read_commands as read_commands
    from dhflow.history.reader import read_curve as read_curve
    from dhflow.history.reader import read_findings as read_findings
    from dhflow.history.reader import read_measurements as read_measurements
    from dhflow.history.reader import read_records as read_records
    from dhflow.history.recovery import recover as recover
    from dhflow.history.run_file import write_run as write_run
    from dhflow.history.store import History as History

# Loaded on first use: the helper process needs other parts than the driver, and the core needs only the events.
_HOMES = {
    "check_same_study": "comparison",
    "copy_history": "copying",
    "exists": "reader",
    "export_history": "export",
    "History": "store",
    "load_header": "reader",
    "load_record": "reader",
    "read_records": "reader",
    "read_findings": "reader",
    "read_commands": "reader",
    "read_curve": "reader",
    "read_measurements": "reader",
    "recover": "recovery",
    "write_run": "run_file",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
