"""Packing a user's function so that workers can run it, wherever it was defined."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from dhflow.errors import ExecutionError
from dhflow.train.command import parse_command
from dhflow.train.signature import CallForm, call_form, check_needs_nothing, name_of
from dhflow.train.task import CommandSource, FunctionSource
from dhflow.train.unpicklable import Part, describe_type, find_unpicklable, largest_part, parts_of
from dhflow.train.user_module import module_name, modules_under, pickled_by_value, user_folder

_Call = tuple[Callable[..., Any], dict[str, Any], CallForm]

LARGE_BLOB_BYTES = 10_000_000
"""Every worker reads the blob once; beyond this the user hears of it."""


def make_source(
    objective: Callable[..., Any] | str,
    *,
    names: Iterable[str] = (),
    conditional: Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
    per_worker: Callable[[], Any] | None = None,
    directory: str | Path | None = None,
    limit_bytes: int | None = None,
) -> FunctionSource | CommandSource:
    """Check an objective and make it ready to be sent to workers.

    Parameters
    ----------
    objective : callable or str
        A function, or a command template.
    names, conditional : iterable of str
        Of a command: see :func:`~dhflow.train.command.parse_command`.
    arguments : mapping, optional
        Of a function: extra keyword arguments given to every call.
    per_worker : callable, optional
        Of a function: called once per worker, without arguments; ``trial.prepared`` is what it returned.
    directory : str or Path, optional
        See :func:`pack_objective`.
    limit_bytes : int, optional
        The most that a trial can carry to a worker that shares no files.

    Raises
    ------
    ExecutionError
        If the objective cannot be run on a worker; says why and where. If it weighs more than `limit_bytes`;
        names the largest captured variable.
    """
    if isinstance(objective, str):
        for name, given in (("arguments", arguments), ("per_worker", per_worker)):
            if given:
                raise ExecutionError(f"{name} goes with a function, not with a command: write it into the command")
        return parse_command(objective, names, conditional=conditional)
    source = pack_objective(objective, arguments, directory, limit_bytes)
    if per_worker is None:
        return source
    left = None if limit_bytes is None else limit_bytes - len(source.blob or b"")
    return replace(source, per_worker=pack_per_worker(per_worker, directory, left))


def pack_objective(
    function: Callable[..., Any],
    arguments: Mapping[str, Any] | None = None,
    directory: str | Path | None = None,
    limit_bytes: int | None = None,
) -> FunctionSource:
    """Pickle an objective and its extra arguments once, for all trials of a study.

    Functions of ``__main__``, notebooks and problem files, lambdas, closures, partials, methods and
    callable objects work. Modules that lie in the objective's folder (see
    :func:`~dhflow.train.user_module.user_folder`) and are loaded go along by value, as they are now;
    if one of them cannot be pickled, the objective's own module alone does, and workers that see the
    folder import the others from there. They can also import what is first imported inside a function.

    Parameters
    ----------
    function : callable
        ``objective(config)`` or ``objective(config, trial)``.
    arguments : mapping, optional
        Extra keyword arguments given to every call.
    directory : str or Path, optional
        Where the blob is written, on a file system that workers share; it goes inline without one.
    limit_bytes : int, optional
        The most that it may weigh.

    Returns
    -------
    FunctionSource

    Raises
    ------
    ExecutionError
        If the function cannot be called in any of these forms, cannot be pickled or is too large; names the
        captured variable.

    Warns
    -----
    UserWarning
        If the blob is over 10 MB; names the largest captured variable.
    """
    if not callable(function):
        raise ExecutionError(f"the objective must be a function, not {type(function).__name__} {function!r:.80}")
    arguments = dict(arguments or {})
    form = call_form(function, arguments)
    return _pack("the objective", (function, arguments, form), directory, limit_bytes)


def pack_per_worker(
    function: Callable[[], Any], directory: str | Path | None = None, limit_bytes: int | None = None
) -> FunctionSource:
    """Pickle the function that prepares something once per worker; it is called without arguments.

    Raises
    ------
    ExecutionError
        As :func:`pack_objective`.
    """
    if not callable(function):
        raise ExecutionError(f"per_worker must be a function, not {type(function).__name__}")
    check_needs_nothing(function)
    return _pack("per_worker", (function, {}, CallForm()), directory, limit_bytes)


def _pack(role: str, call: _Call, directory: str | Path | None, limit_bytes: int | None) -> FunctionSource:
    function = call[0]
    folder = user_folder(function)
    siblings = [] if folder is None else modules_under(folder)
    blob = _pickle(role, call, siblings)
    if limit_bytes is not None and len(blob) > limit_bytes:
        raise ExecutionError(
            f"{_weight(role, call, len(blob), siblings)}; to workers that share no files with this machine a trial "
            f"carries at most {limit_bytes / 1e6:.1f} MB: put the data into a file where they can read it, "
            "and give its path instead"
        )
    if len(blob) > LARGE_BLOB_BYTES:
        warnings.warn(
            f"{_weight(role, call, len(blob), siblings)}; every worker has to read that. "
            "Load data inside the function, or once per worker with per_worker=",
            UserWarning,
            stacklevel=3,
        )
    sha256 = hashlib.sha256(blob).hexdigest()
    return FunctionSource(
        sha256=sha256,
        name=name_of(function),
        path=None if directory is None else _store(Path(directory), sha256, blob),
        blob=blob if directory is None else None,
        import_paths=() if folder is None else (str(folder),),
    )


def _pickle(role: str, call: _Call, siblings: list[ModuleType]) -> bytes:
    import cloudpickle

    own = [each for each in siblings if each.__name__ == module_name(call[0])]
    errors = []
    for by_value in (siblings, own):
        try:
            with pickled_by_value(by_value):
                blob: bytes = cloudpickle.dumps(call)
            if len(blob) <= LARGE_BLOB_BYTES:  # some things pickle and cannot be unpickled, as certain exceptions
                pickle.loads(blob)
        except Exception as error:  # noqa: BLE001 - any captured object may refuse in its own way
            errors.append(error)
        else:
            return blob
    with pickled_by_value(own):
        raise _refusal(role, call, errors[-1]) from errors[-1]


def _refusal(role: str, call: _Call, error: Exception) -> ExecutionError:
    function, arguments, _ = call
    found = find_unpicklable(function)
    if found is not None:
        name, value = found
        return ExecutionError(
            f"{role} captures {name!r} ({describe_type(value)}), which cannot be sent to a worker; "
            f"create it inside the function"
        )
    found = find_unpicklable(arguments)
    if found is not None:
        name, value = found
        return ExecutionError(f"the argument {name} ({describe_type(value)}) cannot be sent to a worker")
    return ExecutionError(f"{role} {name_of(function)} cannot be sent to a worker: {error}")


def _weight(role: str, call: _Call, n_bytes: int, by_value: list[ModuleType]) -> str:
    """Say how much a function captures, and what most of it is."""
    function, arguments, _ = call
    with pickled_by_value(by_value):
        largest = largest_part([*parts_of(function), *(Part(*each) for each in arguments.items())])
    what = "" if largest is None else f", most of it {largest[0]!r} ({largest[1] / 1e6:.0f} MB)"
    return f"{role} captures {n_bytes / 1e6:.0f} MB{what}"


def _store(directory: Path, sha256: str, blob: bytes) -> str:
    file = directory.absolute() / sha256
    temporary = file.with_name(f"{sha256}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.stat().st_size != len(blob):
            temporary.write_bytes(blob)
            temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ExecutionError(f"the objective cannot be written to {str(directory)!r}: {error}") from error
    return str(file)
