"""From what went wrong to the record of it: kind, message, and the user's line."""

from __future__ import annotations

import dis
import errno
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

from dhflow.errors import TrialLostError
from dhflow.train.user_code import is_user_file, is_worker_file
from dhflow.train.worker_notes import Start, host_name
from dhflow.trial import TrialFailure

MAX_MESSAGE_CHARS = 4_000
MAX_TRACEBACK_CHARS = 20_000
"""A history keeps every failure; an exception may carry a whole array in its message."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)


def describe(
    error: BaseException, *, last_step: int | None = None, location: str = "", kind: str = "", message: str = ""
) -> TrialFailure:
    """Turn an exception that a trial ended with into its failure.

    Parameters
    ----------
    error : BaseException
    last_step : int, optional
        The last step that the trial had reported.
    location : str
        Used when no frame of the traceback is the user's.
    kind, message : str
        In place of the exception's own.

    Returns
    -------
    TrialFailure
        With a traceback that begins at the user's own code, and the user's deepest own line.
    """
    for each in _chain(error):
        each.__traceback__ = _users_part(each.__traceback__)
    return TrialFailure(
        kind=kind or type(error).__name__,
        message=_middle_cut(message or message_of(error), MAX_MESSAGE_CHARS),
        traceback=_middle_cut(_format(error), MAX_TRACEBACK_CHARS),
        location=_users_line(error) or location,
        host=host_name(),
        last_step=last_step,
    )


def message_of(error: BaseException) -> str:
    """Return an exception's text; one whose ``__str__`` is broken has one too."""
    if isinstance(error, SystemExit):
        return f"the objective called sys.exit({'' if error.code is None else repr(error.code)})"
    try:
        return str(error) or repr(error)
    except Exception:  # noqa: BLE001 - the user's class may do anything
        return f"a {type(error).__name__} that cannot be printed"


def is_retryable(error: BaseException) -> bool:
    """Tell whether the trial is not to blame: a full disk or quota (also as a cause), or a worker in trouble."""
    return any(
        isinstance(each, TrialLostError) or (isinstance(each, OSError) and each.errno in _DISK_FULL)
        for each in _chain(error)
    )


def is_interrupt(error: BaseException) -> bool:
    """Tell whether a KeyboardInterrupt came from outside (Ctrl-C) and not from a ``raise`` in the objective."""
    if not isinstance(error, KeyboardInterrupt) or error.__traceback__ is None:
        return False
    deepest = error.__traceback__
    while deepest.tb_next is not None:
        deepest = deepest.tb_next
    return deepest.tb_frame.f_code.co_code[deepest.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def timeout_failure(text: str, start: Start, last_step: int | None) -> TrialFailure:
    """Return the failure of an attempt whose worker killed itself for the time limit.

    Parameters
    ----------
    text : str
        The tracebacks that it left: :meth:`dhflow.train.worker_notes.WorkerNotes.last_words`.
    start : Start
    last_step : int, optional
        The last step that the trial had reported.
    """
    return TrialFailure(
        kind="TrialTimeoutError",
        message="outlived its time limit and did not end when asked to; its worker was killed",
        traceback=_middle_cut(text, MAX_TRACEBACK_CHARS),
        location=_hung_line(text),
        host=start.host,
        last_step=last_step,
    )


def users_line_in_text(text: str) -> str:
    """Return ``file:line`` of the user's deepest line in a printed Python traceback, or ""."""
    lines = [f"{each['file']}:{each['line']}" for each in _FRAME.finditer(text) if is_user_file(each["file"])]
    return lines[-1] if lines else ""


def _hung_line(text: str) -> str:
    # faulthandler prints every thread, most recent call first; the trial is in the one that called us.
    for thread in text.split("\n\n"):
        frames = [(each["file"], each["line"]) for each in _FRAME.finditer(thread)]
        if any(is_worker_file(file) and file.endswith("evaluation.py") for file, _ in frames):
            own = [f"{file}:{line}" for file, line in frames if is_user_file(file)]
            return own[0] if own else ""
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and is_worker_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _users_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 0}"
    frames: list[tuple[str, int]] = []
    each: BaseException | None = error
    while each is not None and not frames:  # our own errors are raised from the user's
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(each.__traceback__)]
        each = each.__cause__
    own = [each for each in frames if is_user_file(each[0])] or frames
    return f"{own[-1][0]}:{own[-1][1]}" if own else ""


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - an exception's __str__ or __cause__ may do anything
        return "".join(traceback.format_tb(error.__traceback__))


def _middle_cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
