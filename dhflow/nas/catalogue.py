"""Operations to and from JSON: those that dhflow knows, and a user's own classes where they are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas import elementary, merge, operation, sequence, window
from dhflow.nas.layer import Layer
from dhflow.nas.operation import AnyOperation, Operation, UserOperation
from dhflow.space.value import show

_ROOMS = (operation, elementary, window, sequence, merge)

OPERATIONS: dict[str, type[Operation]] = {
    name: each
    for room in _ROOMS
    for name, each in vars(room).items()
    if not name.startswith("_") and isinstance(each, type) and issubclass(each, Operation) and is_dataclass(each)
} | {"Layer": Layer}
"""Name to class of every operation that dhflow knows."""


def operation_to_json(given: AnyOperation) -> dict[str, Any]:
    """Return an operation as JSON values: its type, and the arguments that are not the usual ones.

    Raises
    ------
    SpaceError
        If it is a :class:`~dhflow.nas.Layer` of a function, or a user's own class that is no dataclass.
    """
    if isinstance(given, operation.Sequential):
        listed = [operation_to_json(each) for each in given.operations]
        return {**given.to_json(), "operations": listed}
    if isinstance(given, Operation):
        return given.to_json()
    own: Any = given
    if not is_dataclass(own):
        raise SpaceError(
            f"{given.label} cannot be written to JSON: make its class a frozen dataclass", type(given).__name__
        )
    return {"type": type(given).__name__, **{each.name: getattr(own, each.name) for each in fields(own)}}


def operation_from_json(data: object, own: Iterable[type] = ()) -> AnyOperation:
    """Return the operation of :func:`operation_to_json`.

    Parameters
    ----------
    data : mapping
    own : iterable of type
        The user's own classes that may occur.

    Raises
    ------
    SpaceError
        If `data` is no operation, or one of a class that is not known.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise SpaceError(f"{show(data)} is no operation")
    known: dict[str, Any] = OPERATIONS | {each.__name__: each for each in own}
    make = known.get(data["type"])
    if make is None:
        raise SpaceError(f"there is no operation {data['type']!r}; a class of your own is given as own=[…]")
    arguments = {name: _argument(value, own) for name, value in data.items() if name != "type"}
    try:
        return make(**arguments)  # type: ignore[no-any-return]
    except TypeError as error:
        raise SpaceError(f"{show(data)}: {error}", data["type"]) from None


def _argument(value: Any, own: Iterable[type]) -> Any:
    if isinstance(value, Mapping) and "type" in value:
        return operation_from_json(value, own)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return tuple(operation_from_json(each, own) for each in value)
    return tuple(value) if isinstance(value, list) else value


def read_operation(value: object, path: str) -> AnyOperation:
    """Return an operation, or say what is wrong with it.

    Raises
    ------
    SpaceError
        If it is neither an operation nor a class of the user's own with all that one needs.
    """
    if isinstance(value, Operation) and not isinstance(value, merge.Merge | operation.Input):
        return value
    if isinstance(value, type) and issubclass(value, Operation):
        raise SpaceError(f"is the class {value.__name__}: write {value.__name__}(…)", path)
    if isinstance(value, UserOperation):
        return value
    if isinstance(value, merge.Merge | operation.Input):
        raise SpaceError(
            f'{value.label} is no choice: a node joins its inputs by merge="add", "pad", "concatenate"', path
        )
    needs = ("label", "output_shape", "parameter_count", "layer")
    missing = [each for each in needs if not hasattr(value, each)]
    raise SpaceError(f"{show(value)} is no operation: it has no {', '.join(missing)}", path)
