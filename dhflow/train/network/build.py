"""From an architecture to a Keras model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dhflow.errors import BuildError, DhflowError
from dhflow.nas import Add, Architecture, ArchitectureNode, Concatenate, Embedding, Input, Merge
from dhflow.train.network.framework import is_out_of_memory, load_keras
from dhflow.train.network.layers import make_layer

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16", "float64")


def build(architecture: Architecture, *, precision: str = "float32", name: str = "network") -> Any:
    """Return the Keras model of an architecture, not compiled, its weights drawn at random.

    Parameters
    ----------
    architecture : Architecture
        From ``space.freeze(config)``.
    precision : {"float32", "mixed_float16", "mixed_bfloat16", "float64"}
        What the layers compute in. Of mixed ones the outputs are float32 all the same.
    name : str

    Returns
    -------
    keras.Model
        With the architecture's names: a layer has that of its node, of nodes that share weights that of the first.
        With several inputs (or outputs) it takes (or returns) a mapping from names.

    Raises
    ------
    BuildError
        If a layer cannot be made, or its weights do not fit in memory; says which node.
    MissingExtraError
        Without Keras.

    Notes
    -----
    Weights come from Keras's own generator, one per process: ``keras.utils.set_random_seed`` before this call.

    Examples
    --------
    >>> from dhflow.nas import ArchitectureSpace, Dense, Dropout
    >>> from dhflow.train import build
    >>> space = ArchitectureSpace(input_shape=(64,), output_shape=(10,))
    >>> block = space.variable([Dense(32, "relu"), Dropout(0.2)], name="block")
    >>> space.connect(space.input, block, space.constant(Dense(10, "softmax"), name="head"), space.output)
    >>> model = build(space.freeze({"block": "Dense(32, relu)"}))  # doctest: +SKIP
    >>> [layer.name for layer in model.layers]  # doctest: +SKIP
    ['input', 'block', 'head']
    """
    if precision not in PRECISIONS:
        raise BuildError(f"there is no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    keras = load_keras()
    tensors: dict[str, Any] = {}
    shared: dict[str, Callable[[Any], Any]] = {}
    whole = set(architecture.outputs.values())
    for node in architecture.nodes:
        of_node = "float32" if node.name in whole and precision.startswith("mixed") else precision
        with _explained(node), _computing_in(of_node):
            if isinstance(node.operation, Input):
                tensors[node.name] = keras.Input(node.operation.shape, name=node.name, dtype=_dtype(architecture, node))
            else:
                tensors[node.name] = _output(node, [tensors[each] for each in node.inputs], shared)
    inputs = _one_or_named({each: tensors[each] for each in architecture.inputs})
    outputs = _one_or_named({each: tensors[node] for each, node in architecture.outputs.items()})
    return keras.Model(inputs, outputs, name=name)


def load_model(path: str | Path) -> Any:
    """Return a model that a search has kept as a ``.keras`` file, ready to predict.

    Raises
    ------
    BuildError
        If it cannot be read.
    """
    keras = load_keras()
    from dhflow.train.network import custom  # noqa: F401 - registers dhflow's own layers

    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(f"{path} cannot be read: {error}") from error


def _output(node: ArchitectureNode, tensors: list[Any], shared: dict[str, Callable[[Any], Any]]) -> Any:
    if isinstance(node.operation, Merge):
        return _merged(node.operation, tensors, node.name)
    if node.share is None:
        return make_layer(node.operation, node.input_shapes[0], node.name)(tensors[0])
    if node.share not in shared:
        shared[node.share] = make_layer(node.operation, node.input_shapes[0], node.name)
    return shared[node.share](tensors[0])


def _merged(merge: Merge, tensors: list[Any], name: str) -> Any:
    layers = load_keras().layers
    if len(tensors) == 1:
        return tensors[0]
    if isinstance(merge, Concatenate):
        return layers.Concatenate(name=name)(tensors)
    if not isinstance(merge, Add):
        raise BuildError(f"{name}: there is no Keras layer for {merge.label}")
    if merge.activation == "linear":
        return layers.Add(name=name)(tensors)
    return layers.Activation(merge.activation, name=name)(layers.Add(name=f"{name}.sum")(tensors))


def _dtype(architecture: Architecture, node: ArchitectureNode) -> str | None:
    """Return the type of an input: whole numbers stay whole where half precision would blur them."""
    takers = [each for each in architecture.nodes if node.name in each.inputs]
    return "int32" if takers and all(isinstance(each.operation, Embedding) for each in takers) else None


def _one_or_named(tensors: Mapping[str, Any]) -> Any:
    return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)


@contextlib.contextmanager
def _explained(node: ArchitectureNode) -> Iterator[None]:
    try:
        yield
    except DhflowError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            message = (
                f"{node.name}: the {node.parameter_count:,} weights of {node.operation.label} do not fit in memory"
            )
        else:
            message = f"{node.name}: {node.operation.label} cannot be built: {type(error).__name__}: {error}"
        raise BuildError(message) from error


@contextlib.contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Let layers compute so, those of a user's factory too; the process's own setting comes back."""
    config = load_keras().config
    before = config.dtype_policy()
    if before.name == precision:
        yield
        return
    config.set_dtype_policy(precision)
    try:
        yield
    finally:
        config.set_dtype_policy(before)
