from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dhflow.errors import ObjectiveError, TrialLostError, TrialTimeoutError
from dhflow.train import failure as module
from dhflow.train.failure import describe, is_interrupt, is_retryable, timeout_failure, users_line_in_text
from dhflow.train.user_code import is_user_file
from dhflow.train.worker_notes import Start

HERE = str(Path(__file__))


def caught(function: object, *arguments: object) -> BaseException:
    try:
        function(*arguments)  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise ValueError("bad learning rate")


def fail_in_library() -> None:
    Path("/nowhere/at/all").read_text()


def test_the_users_deepest_line_is_named() -> None:
    failure = describe(caught(fail), last_step=4)
    assert failure.kind == "ValueError"
    assert failure.message == "bad learning rate"
    assert failure.location == f"{HERE}:{fail.__code__.co_firstlineno + 1}"
    assert failure.traceback.endswith("ValueError: bad learning rate\n")
    assert failure.last_step == 4
    assert failure.host


def test_library_frames_below_the_users_are_passed_over() -> None:
    failure = describe(caught(fail_in_library))
    assert failure.location == f"{HERE}:{fail_in_library.__code__.co_firstlineno + 1}"
    assert "pathlib" in failure.traceback


def test_without_a_traceback_the_given_location_counts() -> None:
    assert describe(ObjectiveError("NaN"), location="f.py:3").location == "f.py:3"


def test_an_error_raised_from_the_users_names_the_users_line() -> None:
    error = TrialTimeoutError("too late")
    error.__cause__ = caught(fail)
    assert describe(error).location == f"{HERE}:{fail.__code__.co_firstlineno + 1}"


def test_a_syntax_error_names_its_own_line() -> None:
    error = caught(compile, "x = (\n", "/home/me/model.py", "exec")
    assert describe(error).location == "/home/me/model.py:1"


def test_endless_texts_are_cut_in_the_middle() -> None:
    failure = describe(ValueError("x" * 10_000_000 + "end"))
    assert len(failure.message) < module.MAX_MESSAGE_CHARS + 100
    assert failure.message.endswith("end")
    assert len(failure.traceback) < module.MAX_TRACEBACK_CHARS + 100


def test_endless_recursion_has_a_line_too() -> None:
    def down() -> None:
        down()

    failure = describe(caught(down))
    assert failure.kind == "RecursionError"
    assert failure.location == f"{HERE}:{down.__code__.co_firstlineno + 1}"


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_that_cannot_be_printed_is_described() -> None:
    failure = describe(caught(raise_it, UnprintableError()))
    assert failure.kind == "UnprintableError"
    assert "cannot be printed" in failure.message
    assert failure.location.startswith(HERE)


def raise_it(error: BaseException) -> None:
    raise error


def test_sys_exit_says_so() -> None:
    assert describe(SystemExit(3)).message == "the objective called sys.exit(3)"
    assert describe(SystemExit()).message == "the objective called sys.exit()"
    assert describe(KeyError()).message == "KeyError()"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_retryable_also_as_a_cause(number: int) -> None:
    full = OSError(number, os.strerror(number))
    assert is_retryable(full)
    assert is_retryable(TrialLostError("worker"))
    assert not is_retryable(OSError(errno.ENOENT, "gone"))
    assert not is_retryable(ValueError())

    def save() -> None:
        try:
            raise full
        except OSError:
            raise RuntimeError("cannot save")  # noqa: B904 - as users do

    def save_quietly() -> None:
        try:
            raise full
        except OSError:
            raise RuntimeError("cannot save") from None

    assert is_retryable(caught(save))
    assert not is_retryable(caught(save_quietly))


def test_ctrl_c_is_told_from_a_raised_keyboard_interrupt() -> None:
    assert not is_interrupt(caught(raise_it, KeyboardInterrupt()))
    assert not is_interrupt(caught(fail))

    def wait() -> None:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(5)

    assert is_interrupt(caught(wait))


DUMP = f"""Timeout (0:00:01)!
Thread 0x00007f (most recent call first):
  File "{os.__file__}", line 10 in sleep
  File "/home/me/other.py", line 4 in idle

Thread 0x00007e (most recent call first):
  File "{os.__file__}", line 12 in walk
  File "/home/me/train.py", line 33 in step
  File "/home/me/train.py", line 50 in objective
  File "{Path(module.__file__).with_name("evaluation.py")}", line 99 in evaluate
"""


def test_a_killed_trial_names_the_line_where_it_hung() -> None:
    failure = timeout_failure(DUMP, Start("node7", 3, 1.0), 5)
    assert failure.kind == "TrialTimeoutError"
    assert failure.location == "/home/me/train.py:33"
    assert (failure.host, failure.last_step) == ("node7", 5)
    assert failure.traceback == DUMP


def test_the_users_line_in_a_scripts_output() -> None:
    text = f'Traceback:\n  File "/home/me/train.py", line 7, in <module>\n  File "{os.__file__}", line 1, in x\n'
    assert users_line_in_text(text) == "/home/me/train.py:7"
    assert users_line_in_text("no traceback") == ""


def test_whose_code_is_it() -> None:
    assert is_user_file(HERE)
    assert is_user_file("/tmp/ipykernel_12/3456.py")
    assert is_user_file("<stdin>")
    assert not is_user_file(os.__file__)
    assert not is_user_file(pytest.__file__)
    assert not is_user_file(module.__file__)
    assert not is_user_file("<frozen importlib._bootstrap>")
