"""A whole search as one remote function, for people in a notebook whose machine is far away.

The search is started where an endpoint of Globus Compute runs (or on any executor), keeps its history
there, and goes on when the notebook is closed; progress and history are fetched by further small functions.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dhflow.api import load, what_to_search
from dhflow.errors import DhflowError, ExecutionError, HistoryError, SearchError
from dhflow.flow import globus
from dhflow.flow.preparation import is_parsl_app
from dhflow.flow.settings import DEFAULT_SITE
from dhflow.flow.site import check_site_arguments
from dhflow.history.disk import write_whole
from dhflow.problem import Problem
from dhflow.remote_worker import ask_to_stop, drop_copy, fetch_part, look, run_search
from dhflow.result import Result
from dhflow.study import Study
from dhflow.train.ship import make_source
from dhflow.train.user_module import modules_under, pickled_by_value, user_folder

if TYPE_CHECKING:
    from dhflow.space import SearchSpace

ANSWER_S = 60.0
"""An endpoint that is awake answers within a second or two; one whose workers have to start takes longer."""

POLL_S = 5.0

_LOCAL = ("observers", "progress")
"""Options of ``search`` for the process that calls it."""

_OF_STUDY = ("direction", "searcher", "searcher_options", "seed", "constraints", "budget")
"""Options of ``search`` that are its study's; ``resume`` is about the history on the other side."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a remote search is.

    Parameters
    ----------
    is_running : bool
        Whether a driver is at work there, as far as its machine can tell.
    n_trials, n_completed, n_failed, n_running : int
        Those that failed include those that were lost.
    best : float, optional
        In the user's sign; None before the first completed trial, and with several objectives.
    best_config : mapping
    reason : str
        Why the last session ended, or "".
    """

    is_running: bool
    n_trials: int = 0
    n_completed: int = 0
    n_failed: int = 0
    n_running: int = 0
    best: float | None = None
    best_config: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def submit_search(
    objective: Callable[..., Any] | str | Problem,
    space: SearchSpace | None = None,
    *,
    history: str,
    endpoint: str | None = None,
    executor: Executor | None = None,
    user_endpoint_config: Mapping[str, Any] | None = None,
    **options: Any,
) -> RemoteSearch:
    """Start a search on the endpoint's side; return once it is on its way.

    Parameters
    ----------
    objective, space
        As for :func:`dhflow.search`; functions travel with what they capture.
    history : str
        Path of the history on that side: absolute, or with ``~`` for the home there.
    endpoint : str, optional
        UUID of a Globus Compute endpoint. It needs two workers: one runs the search, the other answers.
    executor : concurrent.futures.Executor, optional
        In place of an endpoint; it is not closed here.
    user_endpoint_config : mapping, optional
        For the endpoint.
    **options
        Of :func:`dhflow.search`, meant for that side: ``site="inside_job"`` for the nodes of the job in which the
        endpoint's workers run, ``site="laptop"`` (the default) for the one machine, ``max_trials=…``, …; without
        ``observers`` and ``progress``, which are of this process.

    Returns
    -------
    RemoteSearch

    Raises
    ------
    SearchError, SiteError
        If an option is unknown, wrong or cannot travel, or `history` is no path that means the same everywhere there.
    ExecutionError
        If the objective cannot be sent.

    Examples
    --------
    ::

        run = submit_search(objective, space, endpoint="9a947ba5-…", history="~/searches/a.h5",
                            site="inside_job", max_trials=500)
        run.progress()
        result = run.result()
    """
    _check_path(history)
    options = _checked_options(objective, space, options)
    with_endpoint = _Connection.to(endpoint, executor, user_endpoint_config)
    try:
        packed = _packed(objective, space, options, globus.TASK_LIMIT_BYTES if with_endpoint.is_globus else None)
        future = with_endpoint.executor.submit(run_search, packed, history)
        globus.wait_until_sent(with_endpoint.executor, future, ANSWER_S)
        return RemoteSearch(history, with_endpoint, future)
    except BaseException:
        with_endpoint.close()
        raise


def find_search(
    history: str,
    *,
    endpoint: str | None = None,
    executor: Executor | None = None,
    user_endpoint_config: Mapping[str, Any] | None = None,
) -> RemoteSearch:
    """Return the handle of a search that was started before, perhaps from another notebook.

    Parameters
    ----------
    history, endpoint, executor, user_endpoint_config
        As for :func:`submit_search`.

    Raises
    ------
    SearchError
        As :func:`submit_search`.
    """
    _check_path(history)
    return RemoteSearch(history, _Connection.to(endpoint, executor, user_endpoint_config))


class RemoteSearch:
    """A search that runs elsewhere; made by :func:`submit_search` and :func:`find_search`.

    As a context manager it lets go of the endpoint at the end; the search goes on. A process that ends
    with a handle that was not closed waits for its search.

    Parameters
    ----------
    history : str
        Path on that side.
    connection : object
    future : Future, optional
        Of the search itself, where it was started from here.
    """

    def __init__(self, history: str, connection: _Connection, future: Future[dict[str, Any]] | None = None) -> None:
        self.history = history
        self._connection = connection
        self._future = future

    def __repr__(self) -> str:
        return f"RemoteSearch({self.history!r}, on {self._connection.name})"

    def __enter__(self) -> RemoteSearch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def progress(self, *, timeout_s: float = ANSWER_S) -> Progress:
        """Return how far the search is.

        Raises
        ------
        ExecutionError
            If no answer comes in time, or the search was lost before it began.
        HistoryError
            If the history there cannot be read.
        """
        progress = Progress(**self._connection.call(look, self.history, timeout_s=timeout_s))
        if progress.n_trials == 0 and self._future is not None and self._future.done():
            self._outcome(0.0)
        return progress

    def stop(self, *, timeout_s: float = ANSWER_S) -> None:
        """Ask the search to end, as Ctrl-C does; it does within seconds, and ``resume=True`` goes on from it.

        Nothing happens if it has ended.

        Raises
        ------
        ExecutionError
            If no answer comes in time, or the search has not begun yet.
        HistoryError
            If nothing runs there, and there is no history either.
        """
        is_on_its_way = self._future is not None and not self._future.done()
        found = self._connection.call(ask_to_stop, self.history, timeout_s=timeout_s)
        if found["is_running"]:
            return
        if is_on_its_way and self._future is not None and not self._future.done():
            raise ExecutionError(
                f"the search with {self.history} has not begun yet, and cannot be asked to end: try again when "
                "progress().is_running"
            )
        if not found["is_history"]:
            raise HistoryError(f"nothing runs with {self.history} there, and there is no such history")

    def fetch_history(self, path: str | Path, *, timeout_s: float = ANSWER_S) -> Path:
        """Bring a whole copy of the history here, up to the last trial that has ended; also while the search runs.

        Parameters
        ----------
        path : str or Path
            Here; a file there is replaced.
        timeout_s : float
            For each part of some megabytes.

        Returns
        -------
        Path

        Raises
        ------
        ExecutionError
            If no answer comes in time.
        HistoryError
            If there is no history there yet, it cannot be read, or the copy cannot be written.
        """
        name = uuid.uuid4().hex
        try:
            data = self._fetch(name, timeout_s)
        except HistoryError:  # which leaves no copy there
            raise
        except BaseException:
            self._connection.send(drop_copy, self.history, name)
            raise
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
        except OSError as error:
            raise HistoryError(f"{target} cannot be written: {error}") from error
        return target

    def _fetch(self, name: str, timeout_s: float) -> bytes:
        data, size = bytearray(), 1
        while len(data) < size:
            part = self._connection.call(fetch_part, self.history, name, len(data), timeout_s=timeout_s)
            data += part["data"]
            size = part["size"]
        return bytes(data)

    def done(self) -> bool:
        """Tell whether the search has ended; of one that was found, by asking."""
        if self._future is not None and not self._connection.is_closed:
            return self._future.done()
        return not self.progress().is_running

    def result(self, path: str | Path | None = None, *, timeout_s: float | None = None) -> Result:
        """Wait until the search has ended; fetch its history and return it.

        Parameters
        ----------
        path : str or Path, optional
            Where the history is kept here; a temporary folder by default.
        timeout_s : float, optional
            How long to wait.

        Returns
        -------
        Result

        Raises
        ------
        TimeoutError
            If it has not ended by then.
        ExecutionError
            If the worker that ran it was lost; what it had done lies in the history on that side.
        DhflowError
            What the search itself raised there.
        """
        if self._future is None or self._connection.is_closed:
            self._wait_by_asking(timeout_s)
        else:
            self._outcome(timeout_s)
        name = PurePosixPath(self.history).name
        return load(self.fetch_history(path or Path(tempfile.mkdtemp(prefix="dhflow-"), name)))

    def close(self) -> None:
        """Let go of the endpoint; the search there goes on, and :func:`find_search` gives another handle."""
        self._connection.close()

    def _outcome(self, timeout_s: float | None) -> None:
        """Wait for the search's own future; raise what it raised."""
        if self._future is None:
            return
        try:
            outcome = self._future.result(timeout_s)
        except FutureTimeoutError:
            raise TimeoutError(f"the search has not ended after {timeout_s:g} s") from None
        except Exception as error:
            globus.refuse_fatal(error)
            raise ExecutionError(
                f"the search was lost: {globus.text_of(error)}; what it had done lies in {self.history} there, "
                "and submit_search(..., resume=True) goes on from it"
            ) from error
        if isinstance(outcome.get("error"), DhflowError):
            raise outcome["error"]

    def _wait_by_asking(self, timeout_s: float | None) -> None:
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self.progress().is_running:
            if until is not None and time.monotonic() + POLL_S > until:
                raise TimeoutError(f"the search has not ended after {timeout_s:g} s")
            time.sleep(POLL_S)


@dataclass(slots=True)
class _Connection:
    """An executor on the other side, and whether it is ours to close."""

    executor: Executor
    name: str
    owns: bool = False
    is_closed: bool = False

    @classmethod
    def to(
        cls, endpoint: str | None, executor: Executor | None, user_endpoint_config: Mapping[str, Any] | None
    ) -> _Connection:
        if (endpoint is None) == (executor is None):
            raise SearchError("say where the search is to run: endpoint=UUID, or executor=")
        if executor is not None:
            return cls(executor, type(executor).__name__)
        try:
            identifier = uuid.UUID(str(endpoint))
        except ValueError:
            raise SearchError(f"endpoint must be the UUID of an endpoint, not {endpoint!r}") from None
        return cls(globus.sdk_executor(identifier, user_endpoint_config), f"endpoint {identifier}", owns=True)

    @property
    def is_globus(self) -> bool:
        return globus.is_globus(self.executor)

    def call(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
        if self.is_closed:
            raise SearchError("this handle is closed: find_search(history, endpoint=...) gives another")
        future = self.executor.submit(function, *arguments)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise ExecutionError(
                f"{self.name} does not answer within {timeout_s:g} s: it is offline, still starting its workers, or "
                "the search has its only one (it needs a second, to answer)"
            ) from None
        except DhflowError:
            raise
        except Exception as error:
            globus.refuse_fatal(error)
            raise _error_of(error, self.name) from error

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function there if that can still be done; nobody waits for it."""
        if not self.is_closed:
            with suppress(Exception):
                self.executor.submit(function, *arguments)

    def close(self) -> None:
        if self.owns and not self.is_closed:
            self.is_closed = True
            globus.release(self.executor)


def _error_of(error: Exception, name: str) -> DhflowError:
    text = globus.text_of(error)
    history = text.partition("HistoryError: ")[2]
    return HistoryError(history) if history else ExecutionError(f"{name} cannot answer: {text or repr(error)}")


def _check_path(history: str) -> None:
    if not isinstance(history, str) or not history.startswith(("/", "~")) or history.endswith("/"):
        raise SearchError(f"history must be an absolute path on the other side, or begin with ~, not {history!r}")


def _checked_options(
    objective: Callable[..., Any] | str | Problem, space: SearchSpace | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options to send, after the errors that the search there would raise of them."""
    for name in _LOCAL:
        if options.get(name):
            raise SearchError(f"{name} cannot be sent along: ask with progress()")
    sent = {name: value for name, value in options.items() if name not in _LOCAL}
    _check_site(sent.get("site", DEFAULT_SITE), sent.get("site_set") or {})
    what, function = what_to_search(objective, space)
    of_study = {name: value for name, value in sent.items() if name in _OF_STUDY}
    of_run: Any = {name: value for name, value in sent.items() if name not in (*_OF_STUDY, "resume")}
    with Study(what, **of_study) as study:
        study.open_session(function, of_run)
    return sent


def _check_site(site: object, arguments: Mapping[str, Any]) -> None:
    if isinstance(site, str) and PurePosixPath(site).suffix != ".py":
        check_site_arguments(site, arguments)
    elif isinstance(site, Executor) or type(site).__name__ == "DataFlowKernel":
        raise SearchError(
            f"site cannot be a {type(site).__name__}, whose workers are this process's: give a site's name, the path "
            "of a site file on the other side, or a parsl.Config"
        )


def _packed(
    objective: Callable[..., Any] | str | Problem,
    space: SearchSpace | None,
    options: Mapping[str, Any],
    limit_bytes: int | None,
) -> bytes:
    import cloudpickle

    function = objective.objective if isinstance(objective, Problem) else objective
    if is_parsl_app(function):
        raise SearchError("a Parsl app cannot be sent along: pass the plain function")
    if callable(function):
        # For its errors, which name what cannot travel; the search there packs its own.
        make_source(
            function,
            arguments=options.get("arguments"),
            per_worker=options.get("per_worker"),
            limit_bytes=limit_bytes,
        )
    folder = user_folder(function) if callable(function) else None
    try:
        with pickled_by_value([] if folder is None else modules_under(folder)):
            packed: bytes = cloudpickle.dumps((objective, space, dict(options)))
    except Exception as error:
        raise ExecutionError(f"the search cannot be sent: {error}") from error
    if limit_bytes is not None and len(packed) > limit_bytes:
        raise ExecutionError(
            f"the search weighs {len(packed) / 1e6:.1f} MB, and at most {limit_bytes / 1e6:g} MB can be sent: put "
            "data into files on the other side, and give their paths instead"
        )
    return packed
