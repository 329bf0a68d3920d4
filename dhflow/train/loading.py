"""The worker's side of shipping: a function is unpickled once per process and remembered by its hash."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dhflow.errors import TrialLostError
from dhflow.train.signature import CallForm
from dhflow.train.task import FunctionSource
from dhflow.train.timeout import is_worker_process
from dhflow.train.user_module import enter_folders, forget_user_modules

_MAX_REMEMBERED = 4
"""Functions and prepared data kept per process: a kernel of the user's may serve several studies at once."""


class Loaded(NamedTuple):
    """A function ready to be called."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    form: CallForm
    location: str
    """``file:line`` where it is defined, or ""."""

    def __call__(self, config: dict[str, Any], trial: Any) -> Any:
        """Call an objective in the form that its signature asks for."""
        return self.form.call(self.function, self.arguments, config, trial)


_functions: dict[str, Loaded] = {}
_kept: dict[str, Loaded] = {}
"""Of studies whose trials run in this process; never pushed out."""
_prepared: dict[str, Any] = {}
# Re-entrant: what is loaded or prepared may itself run a search in this thread.
_load_lock = threading.RLock()
_prepare_lock = threading.RLock()


def load(source: FunctionSource, *, is_new_study: bool = True) -> Loaded:
    """Return the function of `source`, from memory after the first time.

    Parameters
    ----------
    source : FunctionSource
    is_new_study : bool
        Whether, the first time, a worker imports the user's modules anew.

    Raises
    ------
    TrialLostError
        If the blob cannot be read, or is not what was written.
    Exception
        Whatever unpickling raises, for example ImportError for a package that the worker lacks.
    """
    loaded = _kept.get(source.sha256) or _functions.get(source.sha256)
    if loaded is None:
        with _load_lock:
            loaded = _functions.get(source.sha256)
            if loaded is None:
                if is_new_study and is_worker_process():
                    forget_user_modules(source.import_paths)
                loaded = _unpickle(source)
                _remember(_functions, source.sha256, loaded)
    return loaded


@contextlib.contextmanager
def keep(
    source: FunctionSource, function: Callable[..., Any], arguments: dict[str, Any], form: CallForm
) -> Iterator[None]:
    """Have :func:`load` find a function of this process under its source's name as long as the context lasts."""
    _kept[source.sha256] = Loaded(function, arguments, form, _location(function))
    try:
        yield
    finally:
        del _kept[source.sha256]
        _prepared.pop(source.sha256, None)


def prepare(source: FunctionSource | None) -> Any:
    """Return what the study's ``per_worker`` function returned, calling it the first time in this process.

    Raises
    ------
    Exception
        As :func:`load`, and whatever the function raises; it is then called again for the next trial.
    """
    if source is None:
        return None
    try:
        return _prepared[source.sha256]
    except KeyError:
        loaded = load(source, is_new_study=False)  # the objective that it prepares for is loaded already
    with _prepare_lock:
        if source.sha256 in _prepared:
            return _prepared[source.sha256]
        value = loaded.function()
        _remember(_prepared, source.sha256, value)
        return value


def location_of(source: FunctionSource) -> str:
    """Return ``file:line`` of a function that this process has loaded, else ""."""
    loaded = _kept.get(source.sha256) or _functions.get(source.sha256)
    return "" if loaded is None else loaded.location


def _unpickle(source: FunctionSource) -> Loaded:
    enter_folders(source.import_paths, is_worker=is_worker_process())
    blob = _read(source) if source.blob is None else source.blob
    if hashlib.sha256(blob).hexdigest() != source.sha256:
        raise TrialLostError(f"the objective {source.name!r} was damaged on its way to this worker")
    function, arguments, form = pickle.loads(blob)
    return Loaded(function, arguments, form, _location(function))


def _read(source: FunctionSource) -> bytes:
    try:
        return Path(source.path or "").read_bytes()
    except OSError as error:
        raise TrialLostError(f"this worker cannot read the objective {source.path!r}: {error}") from error


def _location(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    call_method = getattr(function, "__call__", None)  # noqa: B004 - the method itself is wanted
    code = getattr(function, "__code__", None) or getattr(call_method, "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _remember(cache: dict[str, Any], key: str, value: Any) -> None:
    while len(cache) >= _MAX_REMEMBERED:
        cache.pop(next(iter(cache)))
    cache[key] = value
