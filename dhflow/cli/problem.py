"""Problems as a command line names them: ``problem.py``, ``problem.py:other``, ``package.module:name``."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dhflow.errors import ExecutionError, SearchError

if TYPE_CHECKING:
    from types import ModuleType

    from dhflow.problem import Problem

DEFAULT_NAME = "problem"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a problem is found; what a history keeps of it.

    Parameters
    ----------
    name : str
        Of the module-level variable.
    file : str
        Absolute path of the Python file, or "".
    module : str
        Dotted name of an importable module, or "".
    sha256 : str
        Of the file's content when it was used, or "" when it has not been read.
    """

    name: str = DEFAULT_NAME
    file: str = ""
    module: str = ""
    sha256: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what the user wrote.

        Raises
        ------
        SearchError
            If it is neither a Python file nor ``module:name``.
        """
        where, colon, name = text.rpartition(":")
        if not colon:
            where, name = text, DEFAULT_NAME
        if name.isidentifier() and where.endswith(".py"):
            return cls(name=name, file=str(Path(where).resolve()))
        if name.isidentifier() and colon and all(part.isidentifier() for part in where.split(".")):
            return cls(name=name, module=where)
        raise SearchError(f"{text!r} is no problem: give a Python file, problem.py or problem.py:name, or module:name")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reference:
        """Return the reference that :meth:`to_json` wrote; what a newer version added is left out."""
        return cls(**{key: str(data.get(key, "")) for key in ("name", "file", "module", "sha256")})

    def to_json(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"name": self.name, "file": self.file, "module": self.module, "sha256": self.sha256}

    @property
    def stem(self) -> str:
        """What a history of this problem is called by default."""
        return Path(self.file).stem if self.file else self.module.rpartition(".")[2]

    def __str__(self) -> str:
        if self.module:
            return f"{self.module}:{self.name}"
        file = Path(self.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return str(shown) if self.name == DEFAULT_NAME else f"{shown}:{self.name}"


def load_problem(reference: Reference) -> tuple[Problem, Reference]:
    """Load a problem; return it with its reference completed by the file's hash.

    Raises
    ------
    ExecutionError
        If the file or module cannot be loaded; says the user's line.
    SearchError
        If it has no problem of that name.
    """
    from dhflow.problem import Problem

    module = load_module(reference)
    found = getattr(module, reference.name, None)
    if not isinstance(found, Problem):
        raise SearchError(_no_problem(module, reference, found))
    file = reference.file or getattr(module, "__file__", None) or ""
    return found, Reference(reference.name, reference.file, reference.module, _sha256(file))


def find_again(reference: Reference, history: Path) -> Reference | None:
    """Return where a history's problem is now: where it was, beside the history, or here; None if it is nowhere."""
    if not reference.file:
        return reference if reference.module else None
    name = Path(reference.file).name
    for path in (Path(reference.file), history.absolute().parent / name, Path.cwd() / name):
        if path.is_file():
            return Reference(reference.name, str(path), "", reference.sha256)
    return None


def warn_if_changed(before: Reference, now: Reference) -> None:
    """Say so when the file is no longer what the earlier sessions ran."""
    if before.sha256 and now.sha256 and before.sha256 != now.sha256:
        click.echo(
            f"dhflow: {now} has changed since the last session; the search goes on with it as it is now", err=True
        )


def load_module(reference: Reference) -> ModuleType:
    """Load the module or file that a reference names.

    Raises
    ------
    ExecutionError
        If it cannot be loaded; says the user's line.
    """
    if reference.file:
        from dhflow.train import load_file_module

        return load_file_module(reference.file)
    # As `python -m` does; the console script's own folder comes first otherwise.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(reference.module)
    except ModuleNotFoundError as error:
        if error.name is not None and reference.module.startswith(error.name):
            raise ExecutionError(f"there is no module {error.name!r} to import, from {here} either") from error
        raise ExecutionError(f"{reference.module} cannot be imported: {error}") from error
    except Exception as error:
        raise ExecutionError(f"{reference.module} cannot be imported: {type(error).__name__}: {error}") from error


def _no_problem(module: ModuleType, reference: Reference, found: object) -> str:
    from dhflow.problem import Problem

    where = reference.file or reference.module
    others = [name for name, value in vars(module).items() if isinstance(value, Problem)]
    if others:
        return f"{where} has no problem {reference.name!r}; it has: {', '.join(others)} (say {where}:{others[0]})"
    if found is not None:
        return f"{reference.name!r} in {where} is a {type(found).__name__}, not a dhflow.Problem"
    return f'{where} has no problem: it needs a line such as problem = Problem(space, objective, direction="maximize")'


def _sha256(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    except OSError:
        return ""
