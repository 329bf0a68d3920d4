"""Spaces that others have searched, to start from; chains have a file of their own, :mod:`dhflow.nas.chain_space`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas.elementary import Activation, BatchNorm, Dense, NormalHead
from dhflow.nas.graph import Cell
from dhflow.nas.merge import Add
from dhflow.nas.node import SpaceNode
from dhflow.nas.operation import Identity, Operation, Sequential, Zero
from dhflow.nas.sequence import LSTM
from dhflow.nas.shape import read_shape, text
from dhflow.nas.space import ArchitectureSpace, units_of
from dhflow.nas.window import AvgPool2D, Conv2D, GlobalPool

NASBENCH201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The values of each edge of :func:`nasbench201`, in the order of its table."""

NASBENCH201_EDGES = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
"""The edges, in the order of its table; their parameters are ``cell.0->1``, …."""


def dense_with_skips(
    input_shape: Any,
    output_shape: Any,
    *,
    n_layers: int = 10,
    units: Sequence[int] = (16, 32, 48, 64, 80, 96),
    activations: Sequence[str] = ("linear", "swish", "relu", "tanh", "sigmoid"),
    n_skips: int = 3,
    output_activation: str = "linear",
) -> ArchitectureSpace:
    """Return the space for tabular data of AgEBO (Egele et al. 2021, sec. III-A).

    Parameters
    ----------
    input_shape, output_shape : tuple
        Of one axis.
    n_layers : int
        Variable nodes; each is an identity or a dense layer, so a network may be shorter.
    units, activations : sequence
        A node chooses among all combinations, 31 operations with the identity by default.
    n_skips : int
        A node (and the output) may also take the tensors of so many before the previous one; they are projected,
        added, and go through a relu.
    output_activation : str
        ``"softmax"`` for classes.
    """
    space = ArchitectureSpace(input_shape, output_shape)
    units_out = units_of(space.output_shapes[space.output.name], "output_shape")
    head = Dense(units_out, output_activation)
    _add_dense_layers(space, head, n_layers=n_layers, units=units, activations=activations, n_skips=n_skips)
    return space


def distribution_regression(
    input_shape: Any,
    n_targets: int | Sequence[int] = 1,
    *,
    n_layers: int = 4,
    units: Sequence[int] = (16, 32, 64, 128),
    activations: Sequence[str] = ("relu", "tanh"),
    n_skips: int = 2,
    min_std: float = 1e-3,
) -> ArchitectureSpace:
    """Return a space for regression whose networks end in a normal distribution for each target.

    Parameters
    ----------
    input_shape : tuple
        Of one axis.
    n_targets : int or tuple
        How many, or as a shape of one axis, such as ``(1,)``. The output has 2 × so many numbers, see
        :class:`~dhflow.nas.NormalHead`.
    n_layers, units, activations, n_skips
        As of :func:`dense_with_skips`.
    min_std : float
    """
    head = NormalHead(_size_of(n_targets), min_std)
    space = ArchitectureSpace(input_shape, (2 * head.units,))
    _add_dense_layers(space, head, n_layers=n_layers, units=units, activations=activations, n_skips=n_skips)
    return space


def _size_of(n_targets: int | Sequence[int]) -> int:
    """Return how many targets there are, of a number or a shape of one axis."""
    known = read_shape(n_targets, "n_targets")
    if len(known) != 1:
        raise SpaceError(f"give how many targets there are, or a shape of one axis, not {text(known)}", "n_targets")
    return units_of(known, "n_targets")


def stacked_lstm(
    input_shape: Any,
    output_shape: Any,
    *,
    n_layers: int = 5,
    units: Sequence[int] = tuple(range(16, 129, 16)),
    n_skips: int = 2,
) -> ArchitectureSpace:
    """Return the space of stacked LSTMs with skips of POD-LSTM (Maulik, Egele, Lusch and Balaprakash 2020).

    Parameters
    ----------
    input_shape : tuple
        Steps (or None) and features.
    output_shape : tuple
        Steps and features: a dense layer at every step; features alone: one on the mean over the steps.
    n_layers : int
        Variable nodes; each is an identity or an LSTM.
    units : sequence of int
    n_skips : int
        A node may also take the tensors of so many before the previous one, projected and added.
    """
    space = ArchitectureSpace(input_shape, output_shape)
    wanted = space.output_shapes[space.output.name]
    head = Dense(units_of(wanted, "output_shape"))
    operations = [Identity(), *(LSTM(each, return_sequences=True) for each in units)]
    row = [space.input]
    for i in range(1, n_layers + 1):
        node = space.variable(operations, name=f"lstm_{i}", default=operations[-1])
        _connect_with_skips(space, row, node, n_skips)
        row.append(node)
    is_pooled = wanted is not None and len(wanted) == 1
    end = space.constant(Sequential([GlobalPool(), head]) if is_pooled else head, name="head")
    space.connect(row[-1], end, space.output)
    return space


def nasbench201(
    input_shape: Any = (32, 32, 3),
    n_classes: int = 10,
    *,
    n_channels: int = 16,
    n_cells: int = 5,
) -> ArchitectureSpace:
    """Return the space of NAS-Bench-201 (Dong and Yang 2020): one cell of six edges and five operations, many times.

    Parameters
    ----------
    input_shape : tuple
        An image.
    n_classes : int
    n_channels : int
        Of the first stage; each of the three has twice those of the one before.
    n_cells : int
        In each stage.

    Notes
    -----
    The parameters are ``cell.0->1``, …, with the values :data:`NASBENCH201_OPERATIONS`: a row of the published
    table is a config. 15,625 configs make fewer different networks.
    """
    space = ArchitectureSpace(input_shape, (n_classes,))
    before: Any = space.constant(_convolution(n_channels, 3, relu=False), name="stem")
    space.connect(space.input, before)
    for stage in range(3):
        if stage:
            before = _reduction(space, before, n_channels * 2**stage, stage)
        cell = _nasbench201_cell(n_channels * 2**stage)
        for i in range(n_cells):
            place = space.nest(cell, f"stage_{stage + 1}_{i + 1}", choices="shared")
            space.connect(before, place)
            before = place
    operations = [BatchNorm(), Activation("relu"), GlobalPool(), Dense(n_classes, "softmax")]
    space.connect(before, space.constant(Sequential(operations), name="head"), space.output)
    return space


def _add_dense_layers(
    space: ArchitectureSpace,
    head: Operation,
    *,
    n_layers: int,
    units: Sequence[int],
    activations: Sequence[str],
    n_skips: int,
) -> None:
    layers = [Dense(size, activation) for size, activation in itertools.product(units, activations)]
    operations = [Identity(), *layers]
    row = [space.input]
    for i in range(1, n_layers + 1):
        node = space.variable(operations, name=f"layer_{i}", merge=Add(activation="relu"), default=layers[-1])
        _connect_with_skips(space, row, node, n_skips)
        row.append(node)
    end = space.constant(head, name="head", merge=Add(activation="relu"))
    _connect_with_skips(space, row, end, n_skips)
    space.connect(end, space.output)


def _connect_with_skips(space: ArchitectureSpace, row: Sequence[SpaceNode], node: SpaceNode, n_skips: int) -> None:
    space.connect(row[-1], node)
    for each in row[:-1][::-1][:n_skips]:
        space.optional_connect(each, node)


def _convolution(n_channels: int, kernel: int, *, strides: int = 1, relu: bool = True, name: str = "") -> Sequential:
    parts = [Conv2D(n_channels, kernel, strides, use_bias=False), BatchNorm()]
    return Sequential([Activation("relu"), *parts] if relu else parts, name or None)


def _nasbench201_cell(n_channels: int) -> Cell:
    cell = Cell(name="cell")
    operations = [
        Sequential([Zero()], "none"),
        Sequential([Identity()], "skip_connect"),
        _convolution(n_channels, 1, name="nor_conv_1x1"),
        _convolution(n_channels, 3, name="nor_conv_3x3"),
        Sequential([AvgPool2D(3, 1)], "avg_pool_3x3"),
    ]
    sums = {"0": cell.input, "1": cell.constant(Identity(), "1"), "2": cell.constant(Identity(), "2"), "3": cell.output}
    for name in NASBENCH201_EDGES:
        start, _, end = name.partition("->")
        cell.connect(sums[start], cell.variable(operations, name), sums[end])
    return cell


def _reduction(space: ArchitectureSpace, before: Any, n_channels: int, number: int) -> SpaceNode:
    """Add the residual block that halves the image between two stages."""
    main = space.constant(
        Sequential([*_convolution(n_channels, 3, strides=2).operations, *_convolution(n_channels, 3).operations]),
        name=f"reduction_{number}",
    )
    shortcut = space.constant(
        Sequential([AvgPool2D(2), Conv2D(n_channels, 1, use_bias=False)]), name=f"shortcut_{number}"
    )
    end = space.constant(Identity(), name=f"stage_{number}_end", merge=Add("equal"))
    space.connect(before, main, end)
    space.connect(before, shortcut, end)
    return end
