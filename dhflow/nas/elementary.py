"""Operations of most networks: dense layers, dropout, activations, norms, changes of shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dhflow.errors import ShapeMismatchError, SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.operation import Operation
from dhflow.nas.shape import Shape
from dhflow.space.value import plain, show


@dataclass(frozen=True)
class Dense(Operation):
    """A fully connected layer, on the last axis.

    Parameters
    ----------
    units : int
    activation : str
        One of :data:`ACTIVATIONS`.
    use_bias : bool
    """

    units: int
    activation: str = "linear"
    use_bias: bool = True

    def _check(self) -> None:
        self._whole("units")
        self._activation()
        self._flags("use_bias")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` with the units last."""
        shapes.features(shape, self.label)
        return (*shape[:-1], self.units)

    def parameter_count(self, shape: Shape) -> int:
        """Return a weight per feature and unit, and a bias per unit."""
        return (shapes.features(shape, self.label) + self.use_bias) * self.units

    def parts(self) -> tuple[Operation, ...]:
        """Return the linear layer and its activation."""
        return split_activation(self)


@dataclass(frozen=True)
class Dropout(Operation):
    """Sets a share of the numbers to zero while training.

    Parameters
    ----------
    rate : float
    """

    keeps_zero: ClassVar[bool] = True

    rate: float

    def _check(self) -> None:
        self._share("rate")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return shape

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether nothing is dropped."""
        return self.rate == 0.0


@dataclass(frozen=True)
class Activation(Operation):
    """A function of each number.

    Parameters
    ----------
    activation : str
        One of :data:`ACTIVATIONS`.
    """

    activation: str

    def _check(self) -> None:
        self._activation()

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return shape

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether it is linear."""
        return self.activation == "linear"


@dataclass(frozen=True)
class BatchNorm(Operation):
    """Batch normalisation of the last axis (Ioffe and Szegedy 2015).

    Parameters
    ----------
    momentum : float
        Of the moving averages.
    epsilon : float
    """

    momentum: float = 0.99
    epsilon: float = 1e-3

    def _check(self) -> None:
        self._share("momentum")
        self._positive("epsilon")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        shapes.features(shape, self.label)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        """Return four per feature: scale, offset, and two moving averages."""
        return 4 * shapes.features(shape, self.label)


@dataclass(frozen=True)
class LayerNorm(Operation):
    """Layer normalisation over the last axis (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    epsilon : float
    """

    epsilon: float = 1e-3

    def _check(self) -> None:
        self._positive("epsilon")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        shapes.features(shape, self.label)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        """Return a scale and an offset per feature."""
        return 2 * shapes.features(shape, self.label)


@dataclass(frozen=True)
class Flatten(Operation):
    """All axes in one."""

    keeps_zero: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        """Return one axis."""
        return (shapes.size(shape, "Flatten"),)

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether there is one axis only."""
        return len(shape) == 1


@dataclass(frozen=True)
class Reshape(Operation):
    """The same numbers on other axes.

    Parameters
    ----------
    shape : tuple
        One size may be -1: as many as are left.
    """

    keeps_zero: ClassVar[bool] = True

    shape: tuple[int, ...]

    def _check(self) -> None:
        given = plain(self.shape)
        listed = (given,) if isinstance(given, int) else given
        if not isinstance(listed, list | tuple) or list(listed).count(-1) > 1:
            raise SpaceError(f"give a tuple of sizes, at most one of them -1, not {show(self.shape)}", "shape")
        known = iter(shapes.read_shape([each for each in listed if each != -1] or [1], "shape"))
        if None in listed:
            raise SpaceError("write -1 for the size that is not known, not None", "shape")
        self._set("shape", tuple(-1 if each == -1 else next(known) for each in listed))

    def output_shape(self, shape: Shape) -> Shape:
        """Return its own shape with the open size filled in."""
        total = shapes.size(shape, self.label)
        given = 1
        for each in self.shape:
            given *= 1 if each == -1 else each
        is_open = -1 in self.shape
        if total % given or (not is_open and total != given):
            raise ShapeMismatchError(
                f"{self.label} cannot take a tensor of shape {shapes.text(shape)}: it has {total} numbers", got=shape
            )
        return tuple(total // given if each == -1 else each for each in self.shape)

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether the shape is that already."""
        return None not in shape and self.output_shape(shape) == shape


@dataclass(frozen=True)
class Embedding(Operation):
    """A vector for each whole number.

    Parameters
    ----------
    input_dim : int
        Numbers from 0 to below this one.
    output_dim : int
        Length of a vector.
    """

    input_dim: int
    output_dim: int

    def _check(self) -> None:
        self._whole("input_dim", "output_dim")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` with one axis more."""
        return (*shape, self.output_dim)

    def parameter_count(self, shape: Shape) -> int:
        """Return a vector for each number."""
        return self.input_dim * self.output_dim


@dataclass(frozen=True)
class NormalHead(Operation):
    """A normal distribution for each of several targets: the end of a regression that knows its own noise.

    Parameters
    ----------
    units : int
        Targets.
    min_std : float
        Least standard deviation, in units of the target.

    Notes
    -----
    Of its 2 × `units` numbers the first half are means and the second half standard deviations,
    ``min_std + softplus(…)``, of a dense layer. The loss is the negative log-likelihood (Nix and Weigend 1994).
    """

    units: int
    min_std: float = 1e-3

    def _check(self) -> None:
        self._whole("units")
        self._positive("min_std")

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` with means and standard deviations last."""
        shapes.features(shape, self.label)
        return (*shape[:-1], 2 * self.units)

    def parameter_count(self, shape: Shape) -> int:
        """Return those of a dense layer of 2 × `units`."""
        return (shapes.features(shape, self.label) + 1) * 2 * self.units


def split_activation(operation: Operation) -> tuple[Operation, ...]:
    """Return an operation without its activation, and the activation."""
    activation = getattr(operation, "activation", "linear")
    if activation == "linear":
        return (operation,)
    return replace(operation, activation="linear"), Activation(activation)  # type: ignore[type-var]
