"""Modules of the user that workers cannot import: problem files loaded by path, and what lies beside them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from dhflow.errors import ExecutionError
from dhflow.train.failure import describe
from dhflow.train.user_code import is_user_file

_PREFIX = "dhflow_file_"

_entered: set[str] = set()
"""The folders of all objectives that this worker has loaded."""


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file as it is now: Python's cache misses an edit within a second that leaves the length as it was."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the file's code."""
        del fullname
        return self.source_to_code(self.get_data(self.path), self.path)


def load_file_module(path: str | Path) -> ModuleType:
    """Load a user's Python file as a module of its own.

    The module's name follows from the file's full path, so that two files called ``problem.py`` do not
    meet. It is registered with cloudpickle for pickling by value: a worker cannot import it. The file's
    folder comes first on ``sys.path`` while the file is loaded and after everything else from then on, for
    imports inside functions. Loading a file again runs it again.

    Raises
    ------
    ExecutionError
        If there is no such file, or it cannot be loaded; says the user's line.
    """
    import cloudpickle

    file = Path(path).resolve()
    if not file.is_file():
        raise ExecutionError(f"there is no file {str(path)!r}")
    name = f"{_PREFIX}{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}_{_short_hash(str(file))}"
    if file.suffix != ".py":
        raise ExecutionError(f"{str(path)!r} is no Python file (its name must end with .py)")
    loader = _SourceLoader(name, str(file))
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None, "it has a loader"
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _first_on_path(str(file.parent)):
            loader.exec_module(module)
    except Exception as error:
        _put_back(name, before)
        failure = describe(error)
        where = f" at {failure.location}" if failure.location else ""
        raise ExecutionError(f"{str(path)!r} cannot be loaded: {failure.kind}: {failure.message}{where}") from error
    enter_folders([str(file.parent)], is_worker=False)
    cloudpickle.register_pickle_by_value(module)
    return module


def enter_folders(folders: Iterable[str], *, is_worker: bool) -> None:
    """Make the user's modules in `folders` importable; those that this machine has not are passed over.

    In a process of the user's own they come last, in a worker first, as they do for a script.
    """
    here = [each for each in folders if Path(each).is_dir()]
    if is_worker:
        _entered.update(here)
        sys.path[:] = [*here, *(each for each in sys.path if each not in here)]
    else:
        sys.path += [each for each in here if each not in sys.path]


def forget_user_modules(folders: Iterable[str]) -> None:
    """Have the user's modules in `folders` and in those of earlier studies imported anew.

    A worker may have seen them before they were edited, or others of the same names.
    """
    for folder in {*_entered, *folders}:
        for module in modules_under(Path(folder)):
            sys.modules.pop(module.__name__, None)
    importlib.invalidate_caches()


def user_folder(function: Callable[..., Any]) -> Path | None:
    """Return the folder from which a function's module was loaded, or None if it is an installed one's.

    For a script that is its folder, for a notebook the working directory, for a module of a package
    the folder that holds the package.
    """
    module = sys.modules.get(module_name(function))
    if module is None:
        return None
    file = getattr(module, "__file__", None)
    if file is None:
        return Path.cwd() if module.__name__ == "__main__" else None
    if not is_user_file(file):
        return None
    path = Path(file).resolve()
    depth = 0 if module.__name__.startswith(_PREFIX) else module.__name__.count(".") + (path.name == "__init__.py")
    return path.parents[min(depth, len(path.parents) - 1)]


def module_name(function: object) -> str:
    """Return the name of the module in which a function, or a callable object's class, was defined."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__module__", None)
    return name if isinstance(name, str) else type(function).__module__


def modules_under(folder: Path) -> list[ModuleType]:
    """Return the loaded modules of the user's whose files lie under `folder`."""
    found = []
    # A copy is made in one piece; a list of the items is not, and another thread may import meanwhile.
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if (
            isinstance(file, str)
            and isinstance(module, ModuleType)
            and module.__name__ == name
            and name not in ("__main__", "__mp_main__")
            and is_user_file(file)
            and folder in Path(file).parents
        ):
            found.append(module)
    return found


@contextlib.contextmanager
def pickled_by_value(modules: list[ModuleType]) -> Iterator[None]:
    """Have cloudpickle pickle what belongs to `modules` by value for a while."""
    import cloudpickle

    known = cloudpickle.list_registry_pickle_by_value()
    new = [each for each in modules if each.__name__ not in known]
    for each in new:
        cloudpickle.register_pickle_by_value(each)
    try:
        yield
    finally:
        for each in new:
            cloudpickle.unregister_pickle_by_value(each)


@contextlib.contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have changed sys.path itself
            sys.path.remove(folder)


def _put_back(name: str, module: ModuleType | None) -> None:
    if module is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
