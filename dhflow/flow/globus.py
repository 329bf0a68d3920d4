"""What Globus Compute does differently: no shared files, limits on what travels, errors that come home as text."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any

from dhflow.errors import ExecutionError, MissingExtraError
from dhflow.train.packed import TOO_LARGE_ADVICE
from dhflow.trial import TrialFailure

TASK_LIMIT_BYTES = 7_000_000
"""A submission may weigh 10 MB (the service's limits page), and base64 makes four bytes of three."""

RESULT_LIMIT_BYTES = 7_500_000
"""The endpoint refuses results over 10 MiB, counted after the same base64."""

_DEAD = ("is shutdown; no new functions", "is shutdown; refusing to register")
"""What the SDK's executor says for ever after a submission that the service refused."""

_SERVICE = ("globus_sdk", "requests", "urllib3")
_MISSING = "No module named '"
_NEEDED = ("dhflow", "parsl", "cloudpickle")
_TOO_LARGE = "MaxResultSizeExceeded"


def is_globus(executor: object) -> bool:
    """Tell whether an executor, Parsl's or the SDK's own, sends its tasks through Globus Compute."""
    return any(
        each.__name__ == "GlobusComputeExecutor" or each.__module__.partition(".")[0] == "globus_compute_sdk"
        for each in type(executor).__mro__
    )


def sdk_executor(endpoint: uuid.UUID, user_endpoint_config: Mapping[str, Any] | None = None) -> Executor:
    """Return the SDK's own executor for an endpoint.

    Raises
    ------
    MissingExtraError
        If the SDK is not installed.
    """
    try:
        from globus_compute_sdk import Executor as SdkExecutor
    except ImportError:
        raise MissingExtraError('Globus Compute needs its SDK: pip install "dhflow[globus]"', "globus") from None
    made: Any = SdkExecutor(
        endpoint_id=endpoint,
        user_endpoint_config=dict(user_endpoint_config or {}),
        api_burst_limit=8,  # the most that the SDK allows; its defaults delay a fifth question by seconds
        api_burst_window_s=1,
    )
    # Else all executors of a process share one task group, and the end of one may lose results of the others.
    made.task_group_id = None
    sdk: Executor = made
    return sdk


def wait_until_sent(executor: Executor, future: Future[Any], timeout_s: float) -> None:
    """Wait until the service has a task that the SDK's executor was given; of other executors, not at all.

    Raises
    ------
    ExecutionError
        If it does not get it in time.
    """
    until = time.monotonic() + timeout_s
    # The SDK sends from a thread of its own, and says only by this attribute when it has. Futures of Parsl make a
    # task of every attribute that they do not have.
    while vars(future).get("task_id", "") is None and not future.done():
        if time.monotonic() > until:
            release(executor)
            raise ExecutionError(f"Globus Compute has not taken the search within {timeout_s:g} s")
        time.sleep(0.02)


def release(executor: Any) -> None:
    """Let go of one of the SDK's executors: what it has sent runs on, and this process does not wait for it."""
    executor.shutdown(wait=False, cancel_futures=True)
    executor._task_submitter.join(5.0)
    if executor.task_group_id is not None:
        # As Parsl's executor does: the thread that waits for results would keep the process from ending.
        executor._get_result_watcher().shutdown(wait=False, cancel_futures=True)


def refuse_fatal(error: BaseException) -> None:
    """Raise if an error of a task says that no other task will fare better.

    Raises
    ------
    ExecutionError
        If the service refuses submissions, or the endpoint's workers lack a package that every trial needs.
    """
    text = str(error)
    if type(error).__module__.partition(".")[0] in _SERVICE or any(each in text for each in _DEAD):
        raise ExecutionError(f"Globus Compute takes no more trials: {text_of(error) or repr(error)}") from error
    if type(error).__name__ != "TaskExecutionFailed":
        return
    for each in _NEEDED:
        if f"{_MISSING}{each}'" in text:
            raise ExecutionError(
                f"the endpoint's workers have no {each}: install dhflow in their environment, in the version that "
                "runs here, or activate one that has it with worker_init"
            ) from error


def too_large(error: BaseException) -> TrialFailure | None:
    """Return the failure of a trial whose result the endpoint refused for its size, else None."""
    if type(error).__name__ != "TaskExecutionFailed" or _TOO_LARGE not in str(error):
        return None
    return TrialFailure("ObjectiveError", f"{text_of(error)}; {TOO_LARGE_ADVICE}")


def text_of(error: BaseException) -> str:
    """Return what an error says; of a remote traceback, which comes as text, its last line."""
    # The SDK's own text appends advice about serialisation to every loss of a worker.
    remote = getattr(error, "remote_data", None)
    return _last_line(remote) if isinstance(remote, str) else str(error)


def _last_line(text: str) -> str:
    # Parsl draws a rule below the tracebacks of its own errors.
    return next((each.strip() for each in reversed(text.splitlines()) if any(map(str.isalnum, each))), "")
