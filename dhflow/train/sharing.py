"""Objectives for trials that run in threads of the driver's own process: shared with it, not pickled."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from dhflow.train.loading import keep
from dhflow.train.signature import CallForm, call_form, check_needs_nothing, name_of
from dhflow.train.task import FunctionSource

_numbers = itertools.count()


@contextmanager
def shared_objective(
    function: Callable[..., Any],
    arguments: Mapping[str, Any] | None = None,
    per_worker: Callable[[], Any] | None = None,
) -> Iterator[FunctionSource]:
    """Name an objective for this process's threads as long as the context lasts.

    What the function captures is the caller's own: a lock works, and a list that it appends to fills.

    Parameters
    ----------
    function, arguments, per_worker
        As for :func:`~dhflow.train.ship.make_source`.

    Raises
    ------
    ExecutionError
        If one of the functions cannot be called in its place.
    """
    arguments = dict(arguments or {})
    form = call_form(function, arguments)
    source = _new_source(function)
    with ExitStack() as stack:
        stack.enter_context(keep(source, function, arguments, form))
        if per_worker is not None:
            check_needs_nothing(per_worker)
            prepare = _new_source(per_worker)
            stack.enter_context(keep(prepare, per_worker, {}, CallForm()))
            source = replace(source, per_worker=prepare)
        yield source


def _new_source(function: Callable[..., Any]) -> FunctionSource:
    return FunctionSource(f"shared:{os.getpid()}:{next(_numbers)}", name_of(function))
