"""From a plan and a config to a network: operations chosen, tensors joined, and what changes nothing left out.

An identity leaves its input; zeros are no term of a sum, and what makes zeros of zeros makes zeros; what reaches no
output is dropped. Weights are shared under one key only where several nodes are left to share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dhflow.errors import ShapeMismatchError
from dhflow.nas import shape as shapes
from dhflow.nas.architecture import Architecture, ArchitectureNode, shape_of
from dhflow.nas.elementary import Activation
from dhflow.nas.layer import Layer
from dhflow.nas.merge import Add, Merge
from dhflow.nas.node import INPUT, OUTPUT, ZEROS, SpaceNode
from dhflow.nas.operation import AnyOperation, Input, Operation, Sequential, Zero
from dhflow.nas.plan import Plan
from dhflow.nas.shape import Shape


@dataclass(frozen=True)
class _Tensor:
    """What a node of the space makes: the network's node that holds it, or zeros that no node has made yet."""

    node: str | None
    shape: Shape


def frozen(plan: Plan, config: Mapping[str, Any], *, everything: bool = False) -> Architecture:
    """Return the network of a config.

    Parameters
    ----------
    plan : Plan
    config : mapping
        With every choice of the space.
    everything : bool
        Also look at what reaches no output, for its errors; it is not in the result.

    Raises
    ------
    ShapeMismatchError
        If tensors do not fit together; ``node`` is the node's path.
    """
    return _Freezer(plan, config, everything=everything).run()


class _Freezer:
    def __init__(self, plan: Plan, config: Mapping[str, Any], *, everything: bool) -> None:
        self._plan = plan
        self._config = config
        self._alive = [True] * len(plan.nodes) if everything else plan.alive(config)
        self._made: dict[str, ArchitectureNode] = {}
        self._shares: dict[str, str] = {}
        self._tensors: list[_Tensor | None] = [None] * len(plan.nodes)

    def run(self) -> Architecture:
        """Walk along the plan."""
        outputs: dict[str, str] = {}
        for at, planned in enumerate(self._plan.nodes):
            node = planned.node
            if node.kind == INPUT:
                self._tensors[at] = self._emit(node.name, Input(self._plan.input_shapes[node.name]))
            elif self._alive[at]:
                found = [self._tensors[source] for source in planned.present(self._config)]
                tensor = self._apply(node, planned.chosen(self._config), self._joined(node, [t for t in found if t]))
                self._tensors[at] = tensor
                if node.kind == OUTPUT:
                    self._check_output(node, tensor)
                    outputs[node.name] = self._held(tensor)
        # The plan may meet the outputs in another order than that of the space.
        ordered = {name: outputs[name] for name in self._plan.output_shapes}
        return Architecture(tuple(_with_keys(self._reaching(ordered.values()), self._shares)), ordered)

    # A node of the space

    def _joined(self, node: SpaceNode, tensors: list[_Tensor]) -> _Tensor:
        if len(tensors) == 1:
            return tensors[0]
        merge = node.merge
        first = tensors[0].shape
        target = shape_of(merge, [each.shape for each in tensors], node.name)
        if all(each.node is None for each in tensors):
            joined = _Tensor(None, target)
        else:
            joined = self._sum_or_row(node, merge, tensors, first, target)
        if isinstance(merge, Add) and merge.activation != "linear":
            joined = self._step(f"{node.name}.activation", Activation(merge.activation), joined)
        return joined

    def _sum_or_row(
        self, node: SpaceNode, merge: Merge, tensors: list[_Tensor], first: Shape, target: Shape
    ) -> _Tensor:
        is_sum = isinstance(merge, Add)
        fitted = []
        for place, each in enumerate(tensors):
            if is_sum and each.node is None:
                continue
            tensor = each
            operations = merge.fitted(each.shape, first, target)
            for i, operation in enumerate(operations):
                kind = type(operation).__name__.lower() if i + 1 < len(operations) else "fit"
                tensor = self._step(f"{node.name}.{kind}_{place}", operation, tensor, f"{node.share}.{kind}_{place}")
            fitted.append(tensor)
        if len(fitted) == 1:
            return fitted[0]
        plain = Add() if is_sum else merge
        return self._emit(f"{node.name}.{type(merge).__name__.lower()}", plain, fitted)

    def _apply(self, node: SpaceNode, number: int, tensor: _Tensor) -> _Tensor:
        operation = node.operations[number]
        if not isinstance(operation, Sequential):
            return self._step(node.name, operation, tensor, node.share)
        for i, part in enumerate(operation.operations):
            end = "" if i + 1 == len(operation.operations) else f".{i}"
            tensor = self._step(f"{node.name}{end}", part, tensor, f"{node.share}{end}")
        return tensor

    def _check_output(self, node: SpaceNode, tensor: _Tensor) -> None:
        wanted = self._plan.output_shapes[node.name]
        if wanted is not None and not _fits(tensor.shape, wanted):
            raise ShapeMismatchError(
                f"{node.name}: gets a tensor of shape {shapes.text(tensor.shape)}, and the space's output has "
                f"{shapes.text(wanted)}: end with a node that makes it",
                node.name,
                tensor.shape,
                wanted,
            )

    # Nodes of the network

    def _step(self, name: str, operation: AnyOperation, tensor: _Tensor, share: str | None = None) -> _Tensor:
        """Apply an operation, unless it changes nothing or makes zeros of zeros."""
        if isinstance(operation, Operation):
            if isinstance(operation, Zero) or (tensor.node is None and operation.keeps_zero):
                return _Tensor(None, shape_of(operation, [tensor.shape], name))
            if operation.is_identity(tensor.shape):
                return tensor
        return self._emit(name, operation, [tensor], share)

    def _emit(
        self, name: str, operation: AnyOperation, tensors: Iterable[_Tensor] = (), share: str | None = None
    ) -> _Tensor:
        given = list(tensors)
        inputs = tuple(map(self._held, given))
        sizes = tuple(each.shape for each in given)
        made = shape_of(operation, sizes, name)
        self._made[name] = ArchitectureNode(name, operation, inputs, sizes, made)
        if share is not None:
            self._shares[name] = share
        return _Tensor(name, made)

    def _held(self, tensor: _Tensor) -> str:
        """Return the node that holds a tensor; zeros hang on the first input, which tells them how many."""
        if tensor.node is not None:
            return tensor.node
        name = f"{ZEROS}." + "x".join(map(str, tensor.shape))
        if name not in self._made:
            first = self._made[next(iter(self._made))]
            self._made[name] = ArchitectureNode(
                name, Zero(tensor.shape), (first.name,), (first.output_shape,), tensor.shape
            )
        return name

    def _reaching(self, outputs: Iterable[str]) -> list[ArchitectureNode]:
        alive = set(outputs)
        for name, node in reversed(self._made.items()):
            if name in alive:
                alive.update(node.inputs)
        return [node for name, node in self._made.items() if name in alive or isinstance(node.operation, Input)]


def _with_keys(nodes: list[ArchitectureNode], shares: Mapping[str, str]) -> list[ArchitectureNode]:
    """Give a weight-sharing key to nodes with weights of which several have it.

    Raises
    ------
    ShapeMismatchError
        If nodes of one key take different shapes.
    """
    groups: dict[str, list[ArchitectureNode]] = {}
    for node in nodes:
        if node.name in shares:
            groups.setdefault(shares[node.name], []).append(node)
    kept = {key for key, members in groups.items() if len(members) > 1 and _is_shared(members)}
    if not kept:
        return nodes
    return [replace(node, share=shares[node.name]) if shares.get(node.name) in kept else node for node in nodes]


def _is_shared(members: list[ArchitectureNode]) -> bool:
    first = members[0]
    if not (isinstance(first.operation, Layer) or not isinstance(first.operation, Operation) or first.parameter_count):
        return False
    for each in members:
        # The last axis, not all of it: a convolution's weights do not depend on the image's size.
        if each.parameter_count != first.parameter_count or len(each.input_shapes[0]) != len(first.input_shapes[0]):
            if ".fit_" in each.name or ".globalpool_" in each.name:
                return False
            raise ShapeMismatchError(
                f"{each.name}: has the weights of {first.name}, but takes {shapes.text(each.input_shapes[0])} "
                f"where that takes {shapes.text(first.input_shapes[0])}",
                each.name,
                each.input_shapes[0],
                first.input_shapes[0],
            )
    return True


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        each is None or need is None or each == need for each, need in zip(shape, wanted, strict=True)
    )
