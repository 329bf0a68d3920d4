"""Chains of convolutions, pooling and fully connected layers in IBM's notation.

``C(3,32)+C(3,32)+P(3,3)+FC(64)+FC(6)``: ``C(k,n)`` is a convolution of n filters of k × k, ``P(k,s)`` maximum pooling
of k × k with a stride of s, ``FC(n)`` a fully connected layer of n units; the last one is the output.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas.architecture import Architecture, Step, assemble
from dhflow.nas.elementary import Dense, Flatten
from dhflow.nas.operation import Input, Operation
from dhflow.nas.shape import Shape, read_shape
from dhflow.nas.window import Conv1D, Conv2D, MaxPool1D, MaxPool2D
from dhflow.space.value import show

CONVOLUTION, POOLING, DENSE = "C", "P", "FC"

_PART = re.compile(r"([A-Za-z]+)\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_N_NUMBERS = {CONVOLUTION: 2, POOLING: 2, DENSE: 1}


@dataclass(frozen=True)
class Part:
    """One layer of a chain.

    Parameters
    ----------
    kind : {"C", "P", "FC"}
    numbers : tuple of int
        Kernel and filters; pool and stride; units.
    """

    kind: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.numbers))})"

    def operation(self, rank: int, activation: str = "linear") -> Operation:
        """Return the layer for images (`rank` 2) or sequences (1); pooling has no activation.

        Convolutions and pooling are padded, so that none is too wide for what pooling has left.
        """
        first, *rest = self.numbers
        if self.kind == DENSE:
            return Dense(first, activation)
        if self.kind == POOLING:
            return MaxPool2D(first, rest[0]) if rank == 2 else MaxPool1D(first, rest[0])
        make: type[Conv1D] | type[Conv2D] = Conv2D if rank == 2 else Conv1D
        return make(rest[0], first, activation=activation)


@dataclass(frozen=True)
class Chain:
    """Layers one after the other; ``str()`` writes them as :func:`parse_chain` reads them.

    Parameters
    ----------
    parts : tuple of Part
        Convolutions and pooling first, then fully connected layers.
    """

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def body(self) -> tuple[Part, ...]:
        """The convolutions and pooling."""
        return tuple(each for each in self.parts if each.kind != DENSE)

    @property
    def head(self) -> tuple[Part, ...]:
        """The fully connected layers."""
        return tuple(each for each in self.parts if each.kind == DENSE)

    def architecture(
        self, input_shape: Sequence[int | None], *, activation: str = "relu", output_activation: str = "softmax"
    ) -> Architecture:
        """Return the network on images (rows, columns, channels) or sequences (steps, features).

        Parameters
        ----------
        input_shape : tuple
        activation : str
            Of every layer with weights but the last.
        output_activation : str
            Of the last fully connected layer.

        Raises
        ------
        SpaceError, ShapeMismatchError
            If the input has another number of axes.
        """
        shape = read_shape(input_shape, "input_shape")
        rank = window_rank(shape, has_body=bool(self.body))
        operations = [each.operation(rank, activation) for each in self.body]
        if self.head:
            operations.append(Flatten())
            operations += [each.operation(rank, activation) for each in self.head[:-1]]
            operations.append(self.head[-1].operation(rank, output_activation))
        steps = [Step("input", Input(shape))]
        for i, operation in enumerate(operations, 1):
            steps.append(Step(f"layer_{i}", operation, (steps[-1].name,)))
        return assemble(steps, {"output": steps[-1].name})


def parse_chain(text: str) -> Chain:
    """Read a chain such as ``C(3,32)+P(2,2)+FC(6)``; spaces and the case of letters do not matter.

    Raises
    ------
    SpaceError
        If it is none; says which part.
    """
    if not isinstance(text, str) or not text.strip():
        raise SpaceError(f"a chain is a text such as C(3,32)+P(2,2)+FC(6), not {show(text)}", "chain")
    parts = [_read_part(each.strip(), i) for i, each in enumerate(text.split("+"))]
    for before, after in itertools.pairwise(parts):
        if before.kind == DENSE and after.kind != DENSE:
            raise SpaceError(f"{after} cannot follow {before}: after FC(n) comes FC(n) or nothing", "chain")
    return Chain(tuple(parts))


def chain_of(architecture: Architecture) -> Chain:
    """Return the chain that a network is, its activations, dropout and norms left out.

    Raises
    ------
    SpaceError
        If it branches, or has a layer that the notation has no letter for.
    """
    parts = []
    before: str | None = None
    for node in architecture.nodes:
        if len(node.inputs) > 1 or (before is not None and node.inputs != (before,)):
            raise SpaceError("is no link of a chain: the network branches there", node.name)
        before = node.name
        part = _part_of(node.operation, node.name)
        if part is not None:
            parts.append(part)
    return Chain(tuple(parts))


def window_rank(shape: Shape, *, has_body: bool = True) -> int:
    """Return how many axes a window slides over: 2 of images, 1 of sequences.

    Raises
    ------
    SpaceError
        If it is neither.
    """
    if len(shape) not in (2, 3) and has_body:
        raise SpaceError(f"a chain takes images (rows, columns, channels) or sequences, not {shape}", "input_shape")
    return len(shape) - 1


_SILENT = {"Input", "Flatten", "Dropout", "Activation", "BatchNorm", "LayerNorm"}


def _part_of(operation: Any, node: str) -> Part | None:
    kind, numbers = "", list[Any]()
    if isinstance(operation, Conv1D | Conv2D) and operation.strides == 1:
        kind, numbers = CONVOLUTION, [operation.kernel_size, operation.filters]
    elif isinstance(operation, MaxPool1D | MaxPool2D):
        kind, numbers = POOLING, [operation.pool_size, operation.strides or operation.pool_size]
    elif isinstance(operation, Dense):
        kind, numbers = DENSE, [operation.units]
    elif type(operation).__name__ in _SILENT:
        return None
    else:
        raise SpaceError(f"{operation.label} is none of C(k,n), P(k,s), FC(n)", node)
    if not all(isinstance(each, int) for each in numbers):
        raise SpaceError(f"{operation.label} is not square, and the notation has one number for both sides", node)
    return Part(kind, tuple(numbers))


def _read_part(text: str, place: int) -> Part:
    found = _PART.fullmatch(text)
    kind = found[1].upper() if found else ""
    numbers = tuple(int(each) for each in (found[2], found[3]) if each) if found else ()
    if kind not in _N_NUMBERS or len(numbers) != _N_NUMBERS[kind] or 0 in numbers:
        raise SpaceError(f"{show(text)} is none of C(k,n), P(k,s), FC(n), with numbers above 0", f"chain[{place}]")
    return Part(kind, numbers)
