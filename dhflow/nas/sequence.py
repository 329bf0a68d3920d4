"""Operations on sequences: recurrent layers, attention, and one operation at every step.

Notation
--------
Sequences are (steps, features).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dhflow.errors import SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.operation import Operation, Skip
from dhflow.nas.shape import Shape
from dhflow.space.value import show

_AXES = "steps × features"


@dataclass(frozen=True)
class _Recurrent(Operation):
    gates: ClassVar[int]
    biases: ClassVar[int] = 1
    """Per gate and unit."""

    units: int
    activation: str = "tanh"
    return_sequences: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def _check(self) -> None:
        self._whole("units")
        self._activation()
        self._flags("return_sequences")
        self._share("dropout", "recurrent_dropout")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the units: at every step, or at the last one alone."""
        shapes.need_rank(shape, 2, self.label, _AXES)
        shapes.features(shape, self.label)
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def parameter_count(self, shape: Shape) -> int:
        """Return for each gate the weights of input, state and bias."""
        return self.gates * self.units * (shapes.features(shape, self.label) + self.units + self.biases)


@dataclass(frozen=True)
class SimpleRNN(_Recurrent):
    """A recurrent layer without gates.

    Parameters
    ----------
    units : int
    activation : str
    return_sequences : bool
        Whether each step has an output, or the last one alone.
    dropout, recurrent_dropout : float
        Of the input and of the state.
    """

    gates: ClassVar[int] = 1


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997).

    Parameters
    ----------
    units, activation, return_sequences, dropout, recurrent_dropout
        As of :class:`SimpleRNN`.
    """

    gates: ClassVar[int] = 4


@dataclass(frozen=True)
class GRU(_Recurrent):
    """A gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as Keras has it.

    Parameters
    ----------
    units, activation, return_sequences, dropout, recurrent_dropout
        As of :class:`SimpleRNN`.
    """

    gates: ClassVar[int] = 3
    biases: ClassVar[int] = 2


@dataclass(frozen=True)
class Bidirectional(Operation):
    """A recurrent layer and its twin that reads backwards.

    Parameters
    ----------
    operation : SimpleRNN, LSTM or GRU
    merge : {"concatenate", "add"}
        How their outputs are joined.
    """

    operation: Operation
    merge: str = "concatenate"

    def _check(self) -> None:
        if not isinstance(self.operation, _Recurrent):
            raise SpaceError(f"takes a SimpleRNN, LSTM or GRU, not {show(self.operation)}", "operation")
        self._one_of("merge", ("concatenate", "add"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the layer's, with twice the units where they are concatenated."""
        *others, units = self.operation.output_shape(shape)
        return (*others, units * 2 if self.merge == "concatenate" and units is not None else units)

    def parameter_count(self, shape: Shape) -> int:
        """Return twice the layer's."""
        return 2 * self.operation.parameter_count(shape)


@dataclass(frozen=True)
class MultiHeadAttention(Operation):
    """Attention of a sequence to itself (Vaswani et al. 2017).

    Parameters
    ----------
    heads : int
    key_dim : int
        Length of each head's keys, queries and values.
    dropout : float
        Of the attention's weights.
    use_bias : bool
    """

    heads: int
    key_dim: int
    dropout: float = 0.0
    use_bias: bool = True

    def _check(self) -> None:
        self._whole("heads", "key_dim")
        self._share("dropout")
        self._flags("use_bias")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        shapes.need_rank(shape, 2, self.label, _AXES)
        shapes.features(shape, self.label)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        """Return those of queries, keys, values, and of the way back."""
        n_features, width = shapes.features(shape, self.label), self.heads * self.key_dim
        return 3 * (n_features + self.use_bias) * width + (width + self.use_bias) * n_features


@dataclass(frozen=True)
class TimeDistributed(Operation):
    """One operation, with the same weights, at every step of a sequence (of vectors, of images).

    Parameters
    ----------
    operation : Operation
    """

    operation: Operation

    def _check(self) -> None:
        if not isinstance(self.operation, Operation) or isinstance(self.operation, Skip):
            raise SpaceError(f"takes an operation on one tensor, not {show(self.operation)}", "operation")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the steps, and what the operation makes of each."""
        self._need_steps(shape)
        return (shape[0], *self.operation.output_shape(shape[1:]))

    def parameter_count(self, shape: Shape) -> int:
        """Return the operation's."""
        self._need_steps(shape)
        return self.operation.parameter_count(shape[1:])

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether the operation is."""
        return len(shape) > 1 and self.operation.is_identity(shape[1:])

    def parts(self) -> tuple[Operation, ...]:
        """Return the operation's parts, each at every step."""
        return tuple(replace(self, operation=each) for each in self.operation.parts())

    def _need_steps(self, shape: Shape) -> None:
        if len(shape) < 2:
            shapes.need_rank(shape, 2, self.label, "two axes or more, steps first,")
