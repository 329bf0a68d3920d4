"""Point sequences that fill the unit cube evenly: pure functions of a seed and an index.

Notation
--------
d : dimensions;  a sequence is unbounded, point `i` depends on seed and `i` alone.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError
from dhflow.searcher.option import check_count

FloatArray = npt.NDArray[np.float64]

_ENGINE_BLOCK = 64
_SOBOL_MAX_DIMENSIONS = 21_201


class PointSequence(ABC):
    """Points of the unit cube, made in blocks, the last block being kept.

    Parameters
    ----------
    n_dimensions : int
    seed : int
    block_size : int
    """

    def __init__(self, n_dimensions: int, *, seed: int, block_size: int) -> None:
        check_count("block_size", block_size)
        self.n_dimensions = n_dimensions
        self.seed = seed
        self.block_size = block_size
        self._kept: tuple[int, FloatArray] = (-1, np.empty((0, n_dimensions)))

    def points(self, begin: int, n: int) -> FloatArray:
        """Return points `begin` to ``begin + n - 1``, (n, d), in [0, 1)."""
        parts = []
        index, end = begin, begin + n
        while index < end:
            block, offset = divmod(index, self.block_size)
            part = self._cached(block)[offset : offset + end - index]
            parts.append(part)
            index += len(part)
        return np.concatenate(parts) if parts else np.empty((0, self.n_dimensions))

    def _cached(self, block: int) -> FloatArray:
        if self._kept[0] != block:
            self._kept = (block, self._block(block))
        return self._kept[1]

    @abstractmethod
    def _block(self, block: int) -> FloatArray:
        """Return one block of points, (block_size, d)."""


class LatinHypercube(PointSequence):
    """Independent Latin hypercubes of `block_size` points, one after the other.

    Notes
    -----
    McKay, Beckman and Conover (1979): within a block every parameter takes one value in each
    of `block_size` equal slices of its range, in random order, at random inside the slice.
    """

    def _block(self, block: int) -> FloatArray:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 0x145, block]))
        slices = np.tile(np.arange(self.block_size, dtype=np.float64), (self.n_dimensions, 1))
        points: FloatArray = (rng.permuted(slices, axis=1).T + rng.random((self.block_size, self.n_dimensions))) / (
            self.block_size
        )
        return points


class EnginePoints(PointSequence):
    """Base of the sequences that one of scipy's engines makes, in blocks of 64.

    Parameters
    ----------
    n_dimensions : int
    seed : int
    """

    _engine_name: ClassVar[str]
    _stream: ClassVar[int]

    def __init__(self, n_dimensions: int, *, seed: int) -> None:
        super().__init__(n_dimensions, seed=seed, block_size=_ENGINE_BLOCK)
        self._engine: Any = None

    def _block(self, block: int) -> FloatArray:
        begin = block * self.block_size
        if self._engine is None or self._engine.num_generated > begin:
            self._engine = self._make_engine()
        if self._engine.num_generated < begin:
            self._engine.fast_forward(begin - self._engine.num_generated)
        points: FloatArray = self._engine.random(self.block_size)
        return points

    def _make_engine(self) -> Any:
        from scipy.stats import qmc

        engine = getattr(qmc, self._engine_name)
        # scipy renamed the argument in 1.15.
        keyword = "rng" if "rng" in inspect.signature(engine).parameters else "seed"
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, self._stream]))
        return engine(self.n_dimensions, scramble=True, **{keyword: generator})


class Sobol(EnginePoints):
    """Scrambled Sobol sequence.

    Notes
    -----
    Sobol (1967), directions by Joe and Kuo (2008), linear matrix scramble with a digital
    shift (Matoušek 1998), all as scipy provides. Blocks are powers of two, where the sequence
    is balanced; a sequence that goes on after a resume is the same sequence.
    """

    _engine_name = "Sobol"
    _stream = 0x50B

    def __init__(self, n_dimensions: int, *, seed: int) -> None:
        if n_dimensions > _SOBOL_MAX_DIMENSIONS:
            raise SearchError(f"Sobol sequences have at most {_SOBOL_MAX_DIMENSIONS} dimensions, not {n_dimensions}")
        super().__init__(n_dimensions, seed=seed)


class Halton(EnginePoints):
    """Scrambled Halton sequence.

    Notes
    -----
    Halton (1960): dimension j counts in the j-th prime, the digits mirrored; digits are permuted at random
    (Owen 2017, arXiv:1706.02808), as scipy provides.
    """

    _engine_name = "Halton"
    _stream = 0x4A1
