"""Any layer of a framework as an operation: a factory, and what is known of the shapes that it makes."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.operation import Operation
from dhflow.nas.shape import Shape
from dhflow.space.value import read_whole, show

_NOTHING: Mapping[str, Any] = MappingProxyType({})

SAME = "same"
"""The output has the input's shape."""


@dataclass(frozen=True, eq=False)
class Layer(Operation):
    """A layer that dhflow does not know.

    Parameters
    ----------
    factory : callable or str
        Returns a new layer: a class, a function, or where to import one: ``"keras.layers:GaussianNoise"``.
        Only a text can be written to JSON and read back.
    arguments : mapping
        JSON values that the factory is called with.
    shape : "same", tuple, callable, optional
        What the output's shape is; a callable gets the input's. None asks the layer itself, by its
        ``compute_output_shape``; that loads the framework wherever the space is checked.
    parameters : int or callable
        How many weights it has; a callable gets the input's shape.
    name : str, optional
        Its label; by default the factory's name with the arguments.

    Raises
    ------
    SpaceError
        If anything does not fit.
    """

    factory: Callable[..., Any] | str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shape: str | Shape | Callable[[Shape], Shape] | None = None
    parameters: int | Callable[[Shape], int] = 0
    name: str | None = None

    def _check(self) -> None:
        is_reference = isinstance(self.factory, str) and all(_reference(self.factory))
        if not is_reference and (isinstance(self.factory, str) or not callable(self.factory)):
            raise SpaceError(
                f'is a callable, or where to import one ("module:name"), not {show(self.factory)}', "factory"
            )
        if not isinstance(self.arguments, Mapping) or not all(isinstance(each, str) for each in self.arguments):
            raise SpaceError(f"is a mapping from names to values, not {show(self.arguments)}", "arguments")
        self._set("arguments", dict(self.arguments))
        if self.shape is not None and self.shape != SAME and not callable(self.shape):
            self._set("shape", shapes.read_shape(self.shape, "shape"))
        if not callable(self.parameters):
            self._set("parameters", read_whole(self.parameters, "parameters"))
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise SpaceError(f"a name is a string that is not empty, not {show(self.name)}", "name")

    @cached_property
    def label(self) -> str:
        """The given name, or the factory's with the arguments."""
        if self.name is not None:
            return self.name
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self._factory_name}({arguments})" if arguments else self._factory_name

    @property
    def description(self) -> str:
        """The label, the factory's place, and all else that was given: the same in every process."""
        return f"{self.label} {_place(self.factory)} {self.arguments} {_place(self.shape)} {_place(self.parameters)}"

    def output_shape(self, shape: Shape) -> Shape:
        """Return what was given, or what the layer says.

        Raises
        ------
        ShapeMismatchError
            If the layer cannot take such a tensor, or cannot say.
        """
        if self.shape == SAME:
            return shape
        if callable(self.shape):
            return shapes.read_shape(self.shape(shape), f"{self.label}.shape")
        if self.shape is not None:
            return tuple(self.shape)  # type: ignore[arg-type]
        return self._asked(shape)

    def parameter_count(self, shape: Shape) -> int:
        """Return what was given."""
        return self.parameters(shape) if callable(self.parameters) else self.parameters

    def layer(self) -> Any:
        """Return a new layer.

        Raises
        ------
        SpaceError
            If the factory cannot be imported.
        """
        return self._load()(**self.arguments)

    def to_json(self) -> dict[str, Any]:
        """Return the factory's place, the arguments, the label, and a shape and a count that are no functions.

        Raises
        ------
        SpaceError
            If the factory is no text.
        """
        if not isinstance(self.factory, str):
            raise SpaceError(
                f'JSON cannot hold the factory of {self.label}: name it as text, such as "module:{self._factory_name}"',
                "Layer.factory",
            )
        for each in ("shape", "parameters"):
            if callable(getattr(self, each)):
                raise SpaceError(f"{self.label} has a function there, which JSON cannot hold", f"Layer.{each}")
        return super().to_json() | ({"arguments": dict(self.arguments)} if self.arguments else {})

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in super()._given().items() if name != "arguments"}

    @property
    def _factory_name(self) -> str:
        if isinstance(self.factory, str):
            return self.factory.rpartition(":")[2].rpartition(".")[2]
        return getattr(self.factory, "__name__", type(self.factory).__name__)

    def _load(self) -> Callable[..., Any]:
        if not isinstance(self.factory, str):
            return self.factory
        module, name = _reference(self.factory)
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise SpaceError(f"cannot be imported: {error}", f"{self.label}.factory") from error
        return found  # type: ignore[no-any-return]

    def _asked(self, shape: Shape) -> Shape:
        layer = self.layer()
        ask = getattr(layer, "compute_output_shape", None)
        if ask is None:
            raise SpaceError(
                f'{type(layer).__name__} does not tell its shapes: give Layer(…, shape="same")', self.label
            )
        try:
            answer = ask((None, *shape))
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ShapeMismatchError(f"{self.label} cannot take {shapes.text(shape)}: {what}", got=shape) from error
        return shapes.read_shape(tuple(answer)[1:], self.label)


def _place(given: object) -> str:
    """Return where a function or a class is written; of a partial function also its arguments, of others the value."""
    if isinstance(given, functools.partial):
        return f"{_place(given.func)} {given.args} {sorted(given.keywords.items())}"
    if not callable(given):
        return repr(given)
    written = given if hasattr(given, "__qualname__") else type(given)
    line = getattr(getattr(written, "__code__", None), "co_firstlineno", 0)
    return f"{written.__module__}.{written.__qualname__}:{line}"


def _reference(text: str) -> tuple[str, str]:
    module, _, name = text.partition(":")
    is_good = all(part.isidentifier() for part in [*module.split("."), *name.split(".")])
    return (module, name) if is_good else ("", "")
