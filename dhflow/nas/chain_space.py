"""The space of chains ``C(k,n) … P(k,s) … FC(n)`` between two others."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from dhflow.errors import SpaceError
from dhflow.nas.chain import CONVOLUTION, DENSE, POOLING, Chain, Part, parse_chain, window_rank
from dhflow.nas.elementary import Dense, Dropout, Flatten
from dhflow.nas.node import SpaceNode
from dhflow.nas.operation import AnyOperation, Identity, Operation
from dhflow.nas.space import ArchitectureSpace, units_of

_LEAST: Mapping[str, tuple[int, ...]] = {CONVOLUTION: (3, 16), POOLING: (2, 2)}
"""Of a kind of layer that the lower bound lacks."""


def cnn_chain(
    input_shape: Any,
    output_shape: Any,
    *,
    lower: str | Chain = "C(3,16)+FC(1)",
    upper: str | Chain = "C(5,128)+C(5,128)+P(3,3)+C(5,128)+C(5,128)+P(3,3)+FC(64)+FC(64)+FC(1)",
    activation: str = "relu",
    output_activation: str = "softmax",
    dropout: Sequence[float] = (),
) -> ArchitectureSpace:
    """Return the chains ``C(k,n) … P(k,s) … FC(n)`` between two others.

    Parameters
    ----------
    input_shape : tuple
        An image (rows, columns, channels) or a sequence (steps, features).
    output_shape : tuple
        Of one axis.
    lower, upper : str or Chain
        Bounds: how many convolutions and poolings together, and how many fully connected layers, there are at least
        and at most, and the least and greatest kernel, filters, pool, stride and units. Where the lower one has no
        pooling, the least is ``P(2,2)``; without units of its own it takes 16. The last ``FC`` is the output,
        whose units `output_shape` says. Kernels, pools and strides go up by one, filters and units by factors of two.
    activation, output_activation : str
    dropout : sequence of float
        Rates to choose from before the fully connected layers; empty: no dropout.

    Raises
    ------
    SpaceError
        If the bounds contradict each other.

    Notes
    -----
    Parameters are ``body_1``, …, where each may be any convolution, pooling or (beyond the least number) an
    identity, and ``dense_1``, …. :func:`chain_config` finds the config of a chain.
    """
    space = ArchitectureSpace(input_shape, output_shape)
    least, most = (parse_chain(each) if isinstance(each, str) else each for each in (lower, upper))
    rank = window_rank(space.input_shapes[space.input.name])
    body = [each.operation(rank, activation) for each in _body_parts(least, most)]
    dense = [each.operation(rank, activation) for each in _dense_parts(least, most)]
    row = [space.input]
    row += _row(space, "body", body, len(least.body), len(most.body))
    row.append(space.constant(Flatten(), name="flatten"))
    if dropout:
        rates = [Dropout(each) for each in dropout]
        row.append(space.variable(rates, name="dropout") if len(rates) > 1 else space.constant(rates[0], "dropout"))
    row += _row(space, "dense", dense, len(least.head) - 1, len(most.head) - 1)
    units = units_of(space.output_shapes[space.output.name], "output_shape")
    space.connect(*row, space.constant(Dense(units, output_activation), name="head"), space.output)
    return space


def chain_config(space: ArchitectureSpace, chain: str | Chain) -> dict[str, Any]:
    """Return the config of a :func:`cnn_chain` space that makes `chain`, such as a starting point; dropout at default.

    The last ``FC(n)`` is the output, so `n` must be the space's.

    Raises
    ------
    SpaceError
        If the chain does not lie in the space; says which part.
    """
    given = parse_chain(chain) if isinstance(chain, str) else chain
    config = space.decisions().default_config()
    rank = window_rank(space.input_shapes[space.input.name])
    for prefix, parts in (("body", given.body), ("dense", given.head[:-1])):
        nodes = [node for name, node in space.nodes.items() if name.startswith(f"{prefix}_")]
        if len(parts) > len(nodes):
            raise SpaceError(f"{given} has {len(parts)} layers where the space has {len(nodes)}", prefix)
        for i, node in enumerate(nodes):
            label = _label_of(node, parts[i], rank) if i < len(parts) else Identity().label
            if label not in node.labels:
                what = str(parts[i]) if i < len(parts) else "nothing"
                raise SpaceError(f"cannot be {what}, only one of {', '.join(node.labels)}", node.name)
            if node.choice is not None:
                config[node.choice] = label
    _check_output(space, given)
    return config


def _check_output(space: ArchitectureSpace, chain: Chain) -> None:
    """Refuse a chain whose output is not the space's: its config would make the network of another chain."""
    units = units_of(space.output_shapes[space.output.name], "output_shape")
    if not chain.head:
        raise SpaceError(f"{chain} has no FC(n): the last one is the output, FC({units}) in this space", "head")
    if chain.head[-1].numbers != (units,):
        raise SpaceError(f"{chain} ends in {chain.head[-1]}: the output of this space is FC({units})", "head")


def _row(
    space: ArchitectureSpace, prefix: str, operations: Sequence[Operation], n_least: int, n_most: int
) -> list[SpaceNode]:
    """Add nodes one after the other, those beyond the least number with an identity among their operations."""
    nodes = []
    for i in range(1, n_most + 1):
        listed: list[AnyOperation] = [*operations] if i <= n_least else [Identity(), *operations]
        name = f"{prefix}_{i}"
        nodes.append(space.variable(listed, name) if len(listed) > 1 else space.constant(listed[0], name))
    return nodes


def _body_parts(lower: Chain, upper: Chain) -> list[Part]:
    """Return the convolutions and poolings between two chains."""
    if len(lower.body) > len(upper.body) or not upper.body:
        raise SpaceError(f"{upper} has fewer convolutions and poolings than {lower}, or none", "upper")
    convolution, pooling = (_bounds(lower, upper, kind) for kind in (CONVOLUTION, POOLING))
    parts = []
    if convolution is not None:
        (kernel, filters), (top_kernel, top_filters) = convolution
        sizes = _doubled(filters, top_filters)
        parts += [Part(CONVOLUTION, (k, n)) for k in range(kernel, top_kernel + 1) for n in sizes]
    if pooling is not None:
        (pool, stride), (top_pool, top_stride) = pooling
        pools = itertools.product(range(pool, top_pool + 1), range(stride, top_stride + 1))
        # A stride beyond the window would leave numbers out.
        parts += [Part(POOLING, (k, s)) for k, s in pools if s <= k]
    return parts


def _dense_parts(lower: Chain, upper: Chain) -> list[Part]:
    """Return the fully connected layers between two chains, the output left out."""
    for name, each in (("lower", lower), ("upper", upper)):
        if not each.head:
            raise SpaceError(f"{each} has no FC(n): the last one is the output", name)
    if len(lower.head) > len(upper.head):
        raise SpaceError(f"{upper} has fewer fully connected layers than {lower}", "upper")
    tops = [each.numbers[0] for each in upper.head[:-1]]
    least = [each.numbers[0] for each in lower.head[:-1]] or [min(16, *tops)] if tops else []
    return [Part(DENSE, (n,)) for n in _doubled(min(least), max(tops))] if tops else []


def _bounds(lower: Chain, upper: Chain, kind: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the least and the greatest numbers of one kind of layer; None where the upper chain has none."""
    tops = [each.numbers for each in upper.body if each.kind == kind]
    lows = [each.numbers for each in lower.body if each.kind == kind]
    if not tops:
        if lows:
            raise SpaceError(f"{lower} has a {kind}, and {upper} has none", "upper")
        return None
    most = tuple(map(max, zip(*tops, strict=True)))
    least = tuple(map(min, zip(*lows, strict=True))) if lows else tuple(map(min, _LEAST[kind], most))
    if any(low > high for low, high in zip(least, most, strict=True)):
        raise SpaceError(f"the least {kind} is {least}, above the greatest, {most}", "lower")
    return least, most


def _doubled(low: int, high: int) -> list[int]:
    if low > high:
        raise SpaceError(f"{low} units are more than {high}", "lower")
    sizes = [low]
    while sizes[-1] * 2 <= high:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == high else [*sizes, high]


def _label_of(node: SpaceNode, part: Part, rank: int) -> str:
    plain = part.operation(rank)
    same = [each.label for each in node.operations if isinstance(each, Operation) and each.parts()[0] == plain]
    return same[0] if same else plain.label
