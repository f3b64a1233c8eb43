"""The kernel matrix in tiles of float64, made when they are asked for and remembered while there is room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shattering.kernels.functions import Kernel
from shattering.kernels.points import Points, Products


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """0 … n in pieces of ``size``; the last may be shorter."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


class Matrix(Protocol):
    """K + λI, symmetric, made of tiles; what `shattering.kernels.solve` solves with."""

    @property
    def ridge(self) -> float:
        """λ."""

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """First and last row (exclusive) of each row of tiles."""

    @property
    def device(self) -> torch.device:
        """Where tiles lie."""

    def row(self, i: int) -> Iterator[tuple[int, Tensor]]:
        """The tiles (i, 0) … (i, i), float64; not to be modified."""

    def fingerprint(self) -> str:
        """Tells this matrix from others; of the same bits in every process."""


@dataclass(eq=False)
class KernelMatrix:
    """K + λI for one set of points.

    Args:
        points: x₁ … xₙ.
        kernel: k.
        ridge: λ ≥ 0.
        size: side of a tile.
        room: bytes that remembered tiles may take. A remembered tile has the same bits as one made anew.
    """

    points: Points
    kernel: Kernel
    ridge: float
    size: int
    room: int = 0
    _remembered: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        return spans(len(self.points), self.size)

    @property
    def device(self) -> torch.device:
        return self.points.rows.device

    def row(self, i: int) -> Iterator[tuple[int, Tensor]]:
        low, high = self.blocks[i]
        squares = self.points.squares
        missing = [self.blocks[j] for j in range(i + 1) if (i, j) not in self._remembered]
        made = Products(self.points, self.points).tiles(low, high, iter(missing))
        for j in range(i + 1):
            if (i, j) in self._remembered:
                yield j, self._remembered[i, j]
                continue
            start, stop, products = next(made)
            tile = self.kernel.values(products, squares[low:high], squares[start:stop])
            if i == j:
                # The distance of a point to itself is 0, whatever rounding says.
                tile.diagonal().copy_(self.kernel.diagonal(squares[low:high]) + self.ridge)
            size = tile.numel() * tile.element_size()
            if size <= self.room:
                self.room -= size
                self._remembered[i, j] = tile
            yield j, tile

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.kernel!r} {self.ridge!r} {self.size}".encode())
        for tensor in (self.points.squares, self.points.rows):
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class GivenMatrix:
    """K + λI for a K that somebody else has made.

    Args:
        values: K, float64 ``[n, n]``, symmetric; what lies on and below the tiles of the diagonal is used.
        ridge: λ ≥ 0.
        size: side of a tile.
    """

    values: Tensor
    ridge: float
    size: int

    @property
    def blocks(self) -> list[tuple[int, int]]:
        return spans(len(self.values), self.size)

    @property
    def device(self) -> torch.device:
        return self.values.device

    def row(self, i: int) -> Iterator[tuple[int, Tensor]]:
        low, high = self.blocks[i]
        for j, (start, stop) in enumerate(self.blocks[: i + 1]):
            tile = self.values[low:high, start:stop]
            if i == j and self.ridge > 0:
                tile = tile.clone()
                tile.diagonal().add_(self.ridge)
            yield j, tile

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"given {self.ridge!r} {self.size}".encode())
        for low, high in self.blocks:
            digest.update(np.ascontiguousarray(self.values[low:high].cpu().numpy()).data)
        return digest.hexdigest()


def times(matrix: Matrix, vectors: Tensor, told: Callable[[int], None] = lambda rows: None) -> Tensor:
    """(K + λI) V in float64, each tile made once for both its places.

    Args:
        matrix: K + λI.
        vectors: V, float64 ``[n, columns]``.
        told: called with the number of finished rows of tiles.
    """
    # Columns lie in memory as rows: thin matrix products are several times as fast that way.
    given = vectors.T.contiguous()
    total = torch.zeros_like(given)
    blocks = matrix.blocks
    for i, (low, high) in enumerate(blocks):
        for j, tile in matrix.row(i):
            start, stop = blocks[j]
            total[:, low:high].addmm_(given[:, start:stop], tile.T)
            if i != j:
                total[:, start:stop].addmm_(given[:, low:high], tile)
        told(i + 1)
    return total.T.contiguous()
