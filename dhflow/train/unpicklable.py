"""Which captured variable cannot be pickled, or is too large: by trying every one alone."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_MAX_DEPTH = 8
"""How deep to follow one captured thing into another; a deeper one is named by what holds it."""

_GLOBAL_OPERATIONS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})


class Part(NamedTuple):
    """Something that is pickled along with another thing; `name` begins with ``.`` or ``[`` if it is no variable."""

    name: str
    value: Any


def find_unpicklable(value: object) -> tuple[str, object] | None:
    """Return the name and value of the innermost thing in `value` that cannot be pickled.

    Parameters
    ----------
    value : object
        Something that cloudpickle refused.

    Returns
    -------
    (name, value) or None
        The name as the user would write it, for example ``"lock"``, ``"self.lock"`` or
        ``"helper → cache['lock']"``; None if every part can be pickled alone.
    """
    found = _search(value, frozenset())
    return None if found is None else (_join(found[0]), found[1])


def largest_part(parts: Iterable[Part]) -> tuple[str, int] | None:
    """Return the name and pickled size in bytes of the largest of `parts`, or of most of what that one holds."""
    names: tuple[str, ...] = ()
    largest: tuple[int, Part] | None = None
    for _ in range(_MAX_DEPTH):
        sizes = [(_n_bytes(part.value), part) for part in parts if part.name and not part.name.startswith("[")]
        candidate = max(sizes, key=lambda each: each[0], default=None)
        if candidate is None or (largest is not None and candidate[0] < largest[0] // 2):
            break
        largest = candidate
        names = (*names, candidate[1].name)
        parts = parts_of(candidate[1].value)
    return None if largest is None else (_join(names), largest[0])


def parts_of(value: object) -> Iterator[Part]:
    """Yield what `value` takes along when it is pickled by value."""
    if isinstance(value, types.MethodType):
        yield from (Part(f"self{each.name}", each.value) for each in _attributes(value.__self__))
        yield from parts_of(value.__func__)
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, functools.partial):
        yield from parts_of(value.func)
        yield from (Part(f"argument {index}", each) for index, each in enumerate(value.args))
        yield from (Part(name, each) for name, each in value.keywords.items())
    elif isinstance(value, Mapping):
        yield from (Part(f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (Part(f"[{index}]", each) for index, each in enumerate(value))
    elif isinstance(value, staticmethod | classmethod):
        yield from parts_of(value.__func__)
    elif isinstance(value, property):
        yield from (Part("", each) for each in (value.fget, value.fset, value.fdel) if each is not None)
    else:
        yield from _attributes(value)
        if not isinstance(value, type | types.ModuleType):
            yield Part("", type(value))


def describe_type(value: object) -> str:
    """Return a type's name as the user knows it: ``_thread.lock``, ``socket.socket``, ``generator``."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _parts_of_function(function: types.FunctionType) -> Iterator[Part]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Part(name, cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    for name in _global_names(code):
        if name in function.__globals__:
            yield Part(name, function.__globals__[name])
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from (
        Part(name, each) for name, each in zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    )
    yield from (Part(name, each) for name, each in (function.__kwdefaults__ or {}).items())
    yield from (Part(f".{name}", each) for name, each in function.__dict__.items())


def _global_names(code: types.CodeType) -> dict[str, None]:
    names = {each.argval: None for each in dis.get_instructions(code) if each.opname in _GLOBAL_OPERATIONS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _attributes(value: object) -> Iterator[Part]:
    attributes = dict(getattr(value, "__dict__", None) or {})
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if hasattr(value, name):
                attributes[name] = getattr(value, name)
    hidden = ("__dict__", "__weakref__", "__builtins__") if isinstance(value, type | types.ModuleType) else ()
    yield from (Part(f".{name}", each) for name, each in attributes.items() if name not in hidden)


def _search(value: object, seen: frozenset[int]) -> tuple[tuple[str, ...], object] | None:
    if len(seen) >= _MAX_DEPTH:
        return None
    seen |= {id(value)}
    for part in parts_of(value):
        if id(part.value) in seen or _n_bytes(part.value) >= 0:
            continue
        inner = _search(part.value, seen)
        if inner is not None:
            return (part.name, *inner[0]), inner[1]
        if part.name:
            return (part.name,), part.value
    return None


def _n_bytes(value: object) -> int:
    import cloudpickle

    try:
        return len(cloudpickle.dumps(value))
    except Exception:  # noqa: BLE001 - any class may refuse in its own way
        return -1


def _join(names: tuple[str, ...]) -> str:
    text = ""
    for name in names:
        text += name if not text or not name or name[0] in ".[" else f" → {name}"
    return text.lstrip(".")
