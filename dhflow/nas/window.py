"""Operations that slide a window over time or over an image: convolutions and pooling.

Notation
--------
Sequences are (steps, features), images (rows, columns, channels).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from dhflow.errors import SpaceError
from dhflow.nas import shape as shapes
from dhflow.nas.elementary import split_activation
from dhflow.nas.operation import Operation
from dhflow.nas.shape import PADDINGS, Shape
from dhflow.space.value import plain, read_whole, show

_AXES = {1: "steps × features", 2: "rows × columns × channels"}

Sizes = int | tuple[int, ...]


class Window(Operation):
    """Base of what slides a window over the first one or two axes."""

    rank: ClassVar[int]
    """Axes that the window slides over."""

    def _sizes(self, name: str) -> None:
        value = plain(getattr(self, name))
        listed = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        sizes = tuple(read_whole(each, name) for each in listed)
        if min(sizes, default=0) < 1 or len(sizes) not in (1, self.rank):
            wanted = "a positive whole number" + (f", or {self.rank} of them" if self.rank > 1 else "")
            raise SpaceError(f"give {wanted}, not {show(value)}", name)
        self._set(name, sizes[0] if len(set(sizes)) == 1 else sizes)

    def _slid(self, shape: Shape, window: Sizes, stride: Sizes, padding: str) -> Shape:
        """Return the sizes of the axes that the window slides over."""
        shapes.need_rank(shape, self.rank + 1, self.label, _AXES[self.rank])
        return tuple(
            shapes.slid(length, width, step, padding, self.label)
            for length, width, step in zip(shape, self._each(window), self._each(stride), strict=False)
        )

    def _each(self, sizes: Sizes) -> tuple[int, ...]:
        return sizes if isinstance(sizes, tuple) else (sizes,) * self.rank

    def _area(self, sizes: Sizes) -> int:
        area = 1
        for each in self._each(sizes):
            area *= each
        return area


class _Convolution(Window):
    """What the convolutions share; the dataclasses name the fields."""

    paddings: ClassVar[tuple[str, ...]] = PADDINGS

    kernel_size: Sizes
    strides: Sizes
    padding: str
    activation: str
    use_bias: bool

    def _check(self) -> None:
        self._sizes("kernel_size")
        self._sizes("strides")
        self._one_of("padding", self.paddings)
        self._activation()
        self._flags("use_bias")

    def _convolved(self, shape: Shape, channels: int, dilation: Sizes = 1) -> Shape:
        sizes = zip(self._each(self.kernel_size), self._each(dilation), strict=True)
        window = tuple((each - 1) * rate + 1 for each, rate in sizes)
        shapes.features(shape, self.label)
        return (*self._slid(shape, window, self.strides, self.padding), channels)

    def parts(self) -> tuple[Operation, ...]:
        """Return the linear layer and its activation."""
        return split_activation(self)


@dataclass(frozen=True)
class _Plain(_Convolution):
    filters: int
    kernel_size: Sizes
    strides: Sizes = 1
    padding: str = "same"
    activation: str = "linear"
    use_bias: bool = True
    dilation_rate: Sizes = 1

    def _check(self) -> None:
        super()._check()
        self._whole("filters")
        self._sizes("dilation_rate")
        if self._area(self.dilation_rate) > 1 and self._area(self.strides) > 1:
            raise SpaceError("a dilated window has strides of 1", "dilation_rate")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the places of the window, and the filters last."""
        return self._convolved(shape, self.filters, self.dilation_rate)

    def parameter_count(self, shape: Shape) -> int:
        """Return a weight per filter, channel and place of the window, and a bias per filter."""
        channels = shapes.features(shape, self.label)
        return (self._area(self.kernel_size) * channels + self.use_bias) * self.filters


@dataclass(frozen=True)
class Conv1D(_Plain):
    """A convolution along time.

    Parameters
    ----------
    filters, kernel_size, strides, dilation_rate : int
    padding : {"same", "valid", "causal"}
        ``"causal"`` looks back only.
    activation : str
    use_bias : bool
    """

    rank: ClassVar[int] = 1
    paddings: ClassVar[tuple[str, ...]] = (*PADDINGS, "causal")


@dataclass(frozen=True)
class Conv2D(_Plain):
    """A convolution over an image.

    Parameters
    ----------
    filters : int
    kernel_size, strides, dilation_rate : int or pair of int
    padding : {"same", "valid"}
    activation : str
    use_bias : bool
    """

    rank: ClassVar[int] = 2


class _ByChannel(_Convolution):
    rank: ClassVar[int] = 2

    depth_multiplier: int

    def _check(self) -> None:
        super()._check()
        self._whole("depth_multiplier")
        if isinstance(self.strides, tuple):
            raise SpaceError(f"give one number, not {self.strides}", "strides")


@dataclass(frozen=True)
class SeparableConv2D(_ByChannel):
    """A convolution of each channel by itself, then one over the channels alone (Chollet 2017).

    Parameters
    ----------
    filters : int
    kernel_size : int or pair of int
    strides : int
        The same both ways, as TensorFlow wants it.
    padding : {"same", "valid"}
    activation : str
    use_bias : bool
    depth_multiplier : int
        Filters per channel of the first one.
    """

    filters: int
    kernel_size: Sizes
    strides: int = 1
    padding: str = "same"
    activation: str = "linear"
    use_bias: bool = True
    depth_multiplier: int = 1

    def _check(self) -> None:
        super()._check()
        self._whole("filters")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the places of the window, and the filters last."""
        return self._convolved(shape, self.filters)

    def parameter_count(self, shape: Shape) -> int:
        """Return those of both convolutions, and a bias per filter."""
        inner = shapes.features(shape, self.label) * self.depth_multiplier
        return self._area(self.kernel_size) * inner + (inner + self.use_bias) * self.filters


@dataclass(frozen=True)
class DepthwiseConv2D(_ByChannel):
    """A convolution of each channel by itself.

    Parameters
    ----------
    kernel_size : int or pair of int
    strides : int
        The same both ways, as TensorFlow wants it.
    padding : {"same", "valid"}
    activation : str
    use_bias : bool
    depth_multiplier : int
        Filters per channel.
    """

    kernel_size: Sizes
    strides: int = 1
    padding: str = "same"
    activation: str = "linear"
    use_bias: bool = True
    depth_multiplier: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        """Return the places of the window, and the channels last."""
        return self._convolved(shape, shapes.features(shape, self.label) * self.depth_multiplier)

    def parameter_count(self, shape: Shape) -> int:
        """Return a weight per place of the window for each filter, and its bias."""
        filters = shapes.features(shape, self.label) * self.depth_multiplier
        return (self._area(self.kernel_size) + self.use_bias) * filters


@dataclass(frozen=True)
class _Pool(Window):
    keeps_zero: ClassVar[bool] = True

    pool_size: Sizes = 2
    strides: Sizes | None = None
    padding: str = "same"

    def _check(self) -> None:
        self._sizes("pool_size")
        if self.strides is not None:
            self._sizes("strides")
        if self.strides == self.pool_size:
            self._set("strides", None)
        self._one_of("padding", PADDINGS)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the places of the window, and the channels as they are."""
        stride = self.pool_size if self.strides is None else self.strides
        return (*self._slid(shape, self.pool_size, stride, self.padding), shape[-1])

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether the window is one place wide and moves by one."""
        return self._area(self.pool_size) == 1 and self.strides is None


@dataclass(frozen=True)
class MaxPool1D(_Pool):
    """The largest number of each window along time.

    Parameters
    ----------
    pool_size : int
    strides : int, optional
        None is the pool's size.
    padding : {"same", "valid"}
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest number of each window of an image.

    Parameters
    ----------
    pool_size : int or pair of int
    strides : int or pair of int, optional
        None is the pool's size.
    padding : {"same", "valid"}
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class AvgPool1D(_Pool):
    """The mean of each window along time.

    Parameters
    ----------
    pool_size, strides, padding
        As of :class:`MaxPool1D`.
    """

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AvgPool2D(_Pool):
    """The mean of each window of an image.

    Parameters
    ----------
    pool_size, strides, padding
        As of :class:`MaxPool2D`.
    """

    rank: ClassVar[int] = 2


@dataclass(frozen=True)
class GlobalPool(Operation):
    """One number for each channel or feature of the whole sequence or image.

    Parameters
    ----------
    kind : {"average", "max"}
    """

    keeps_zero: ClassVar[bool] = True

    kind: str = "average"

    def _check(self) -> None:
        self._one_of("kind", ("average", "max"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the last axis."""
        return shape[-1:]

    def is_identity(self, shape: Shape) -> bool:
        """Tell whether there is one axis only."""
        return len(shape) == 1
