"""Command templates: a training script as an objective.

``python train.py --lr {learning_rate} [--momentum {momentum}]`` names parameters in braces; a group in
brackets vanishes when a parameter in it is inactive. ``{{ }} [[ ]]`` stand for the characters
themselves. Values are quoted for the shell, so a placeholder stands outside quotes. Besides the
parameters there are ``{trial_id} {seed} {budget} {dir} {result}``; a parameter of the same name wins.

While it runs, a command reports by appending lines such as ``{"step": 3, "val_loss": 0.5}`` to the file that
``DHFLOW_RECORDS`` names. It should end when the file that ``DHFLOW_STOP`` names is there; what else is asked of it are
lines in ``DHFLOW_CONTROLS`` (:mod:`dhflow.monitor.control`).
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import shlex
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from dhflow.errors import ExecutionError, ObjectiveError
from dhflow.train.task import CommandSource

SPECIAL_NAMES = ("trial_id", "seed", "budget", "dir", "result")

_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{[^{}]*\}|[\[\]{}]|[^\[\]{}]+")
_WORDS = {True: "true", False: "false", None: "null"}
"""As JSON writes them, and thus as ``DHFLOW_CONFIG`` has them."""


class _Piece(NamedTuple):
    text: str
    name: str | None = None


class _Group(NamedTuple):
    pieces: tuple[_Piece, ...]
    is_optional: bool

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.pieces if each.name is not None]


def parse_command(
    template: str, names: Iterable[str], *, conditional: Collection[str] = (), cwd: str | os.PathLike[str] | None = None
) -> CommandSource:
    """Check a command template against a search space.

    Parameters
    ----------
    template : str
    names : iterable of str
        The parameters of the space.
    conditional : collection of str
        Those that are not active in every config; they must stand in a group.
    cwd : path, optional
        Where the command runs; this process's working directory without it.

    Raises
    ------
    ExecutionError
        If a name is unknown, a bracket or brace has no partner, a group holds no parameter, or a conditional
        parameter stands outside a group.

    Warns
    -----
    UserWarning
        If the template leaves out a parameter of the space.
    """
    known = list(names)
    groups = _parse(template)
    for group in groups:
        for name in group.names:
            if name not in known and name not in SPECIAL_NAMES:
                raise ExecutionError(_unknown(name, known))
            if name in conditional and not group.is_optional:
                raise ExecutionError(
                    f"the command uses {name!r}, which is not active in every config: put it into a group "
                    f"that vanishes with it, for example [--{name} {{{name}}}]"
                )
    used = {name for group in groups for name in group.names}
    unused = [name for name in known if name not in used]
    if unused:
        warnings.warn(
            f"the command does not use {', '.join(map(repr, unused))}: "
            f"it has to read the config from the file that DHFLOW_CONFIG names",
            UserWarning,
            stacklevel=2,
        )
    return CommandSource(template, os.path.abspath(cwd or "."))  # noqa: PTH100 - links stay as the user wrote them


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template in; a name that is missing or, of the special ones, None, counts as inactive.

    Raises
    ------
    ObjectiveError
        If an inactive parameter stands outside a group.
    """
    parts = []
    for group in _parse(template):
        inactive = [name for name in group.names if name not in values]
        if not inactive:
            parts += [each.text if each.name is None else _quote(values[each.name]) for each in group.pieces]
        elif not group.is_optional:
            raise ObjectiveError(
                f"the command uses {inactive[0]!r}, which is inactive in this config: put it into a group "
                f"that vanishes with it, for example [--{inactive[0]} {{{inactive[0]}}}]"
            )
    return "".join(parts)


@functools.lru_cache(maxsize=16)
def _parse(template: str) -> tuple[_Group, ...]:
    groups: list[_Group] = []
    pieces: list[_Piece] = []
    is_optional = False
    for match in _TOKEN.finditer(template):
        token = match[0]
        if token in ("{{", "}}", "[[", "]]"):
            pieces.append(_Piece(token[0]))
        elif token in ("[", "]"):
            if (token == "[") == is_optional:
                what = "a group within a group" if is_optional else "a ] without its ["
                raise ExecutionError(_misplaced(template, match.start(), what, token))
            groups.append(_Group(tuple(pieces), is_optional))
            if is_optional and not groups[-1].names:
                text = "".join(each.text for each in pieces)
                hint = f"write [[{text}]] for the brackets themselves"
                raise ExecutionError(f"the group [{text}] of the command holds no parameter; {hint}")
            pieces, is_optional = [], not is_optional
        elif token in ("{", "}"):
            raise ExecutionError(_misplaced(template, match.start(), f"a {token} without its partner", token))
        elif token.startswith("{"):
            pieces.append(_Piece("", token[1:-1].strip()))
        else:
            pieces.append(_Piece(token))
    if is_optional:
        raise ExecutionError(_misplaced(template, template.rindex("["), "a [ without its ]", "["))
    groups.append(_Group(tuple(pieces), is_optional=False))
    return tuple(groups)


def _quote(value: object) -> str:
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return shlex.quote(repr(value) if isinstance(value, float) else str(value))


def _misplaced(template: str, position: int, what: str, token: str) -> str:
    return (
        f"the command has {what} at character {position + 1}: …{template[max(0, position - 15) : position + 15]}…; "
        f"write {token * 2} for the character itself"
    )


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, [*known, *SPECIAL_NAMES], n=1)
    hint = f"did you mean {{{close[0]}}}?" if close else f"the space has: {', '.join(known)}"
    return f"the command uses {{{name}}}, no parameter of the space; {hint} (write {{{{ }}}} for braces themselves)"
