"""Cholesky factor of a kernel matrix in place, row by row of tiles, of which each is final once it is made.

A row of tiles is made from the kernel, reduced by the rows above it with one matrix product a tile, and never touched
again: rows can be kept one by one, and only the triangle is stored, n²/2 numbers in float32. In that precision it is
not the answer but a preconditioner; see `shattering.kernels.solve`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shattering.kernels.matrix import Matrix
from shattering.kernels.work import Work

STRIPS = 8
"""Strips of columns in which a symmetric tile is reduced, each from its diagonal on."""

LEAF = 256
"""Side of the triangles that are inverted whole."""


@dataclass(frozen=True, eq=False)
class Factor:
    """L with L Lᵀ = K + λI + E: E is rounding, and what had to be added on the diagonal for a root to exist.

    Args:
        rows: per row of tiles, ``[height, columns to the diagonal's end]``.
        inverses: of the tiles on the diagonal; products with them take the place of triangular solves, at several
            times the speed.
        blocks: first and last row (exclusive) of each.
        shift: the greatest number that was added on the diagonal; 0 where none was.
    """

    rows: tuple[Tensor, ...]
    inverses: tuple[Tensor, ...]
    blocks: tuple[tuple[int, int], ...]
    shift: float

    def solve(self, targets: Tensor) -> Tensor:
        """(L Lᵀ)⁻¹ B for float64 B ``[n, columns]``, to the precision of L, each column scaled by itself."""
        scale = torch.linalg.vector_norm(targets, dim=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        # Columns lie in memory as rows: thin matrix products are several times as fast that way.
        solution = (targets / scale).to(self.rows[0].dtype).T.contiguous()
        tiles = list(zip(self.blocks, self.rows, self.inverses, strict=True))
        for (low, high), row, inverse in tiles:
            part = solution[:, low:high]
            part.addmm_(solution[:, :low], row[:, :low].T, alpha=-1)
            part.copy_(part @ inverse.T)
        for (low, high), row, inverse in reversed(tiles):
            part = solution[:, low:high]
            part.copy_(part @ inverse)
            solution[:, :low].addmm_(part, row[:, :low], alpha=-1)
        solved: Tensor = solution.T.double() * scale
        return solved

    def times(self, vectors: Tensor) -> Tensor:
        """L Lᵀ V for float64 V ``[n, columns]``, to the precision of L."""
        given = vectors.to(self.rows[0].dtype).T.contiguous()
        inner = torch.zeros_like(given)
        for (low, high), row in zip(self.blocks, self.rows, strict=True):
            inner[:, :high].addmm_(given[:, low:high], row)
        outer = torch.empty_like(given)
        for (low, high), row in zip(self.blocks, self.rows, strict=True):
            outer[:, low:high] = inner[:, :high] @ row.T
        return outer.T.double()


def factorise(matrix: Matrix, dtype: torch.dtype, work: Work, name: str, told: Callable[[int], None]) -> Factor:
    """The Cholesky factor of ``matrix``.

    A diagonal tile that rounding has made indefinite gets the least power of ten (times the unit roundoff and the
    greatest diagonal entry) added to its diagonal that gives it a root.

    Args:
        matrix: K + λI, symmetric, positive definite but for rounding.
        dtype: float32 or float64.
        work: where finished rows are kept.
        name: under which they are kept.
        told: called with the number of the finished tiles' products of each row of tiles.
    """
    blocks = matrix.blocks
    rows: list[Tensor] = []
    inverses: list[Tensor] = []
    shift = 0.0
    for i, (low, high) in enumerate(blocks):
        row = torch.empty(high - low, high, dtype=dtype, device=matrix.device)
        found = _kept_row(work, f"{name}-{i:05d}", row)
        if found is not None:
            shift = max(shift, found)
            rows.append(row)
            inverses.append(_inverse(row[:, low:]))
            told(i)
            continue
        for j, tile in matrix.row(i):
            start, stop = blocks[j]
            row[:, start:stop] = tile
        for j, above in enumerate(rows):
            start, stop = blocks[j]
            part = row[:, start:stop]
            part.addmm_(row[:, :start], above[:, :start].T, alpha=-1)
            part.copy_(part @ inverses[j].T)
            if j % 8 == 7:
                told(-1)
        part = row[:, low:]
        _reduce(part, row[:, :low])
        root, added = _root(part)
        part.copy_(root)
        shift = max(shift, added)
        rows.append(row)
        inverses.append(_inverse(root))
        _keep_row(work, f"{name}-{i:05d}", row, added)
        told(i)
    return Factor(tuple(rows), tuple(inverses), tuple(blocks), shift)


def _reduce(tile: Tensor, above: Tensor) -> None:
    """Subtracts R Rᵀ from the lower triangle of ``tile``, and from some of the rest."""
    width = -(-len(tile) // STRIPS)
    for start in range(0, len(tile), width):
        strip = slice(start, start + width)
        tile[start:, strip].addmm_(above[start:], above[strip].T, alpha=-1)


def _root(tile: Tensor) -> tuple[Tensor, float]:
    """The lower root of a symmetric tile, of which the lower triangle is read, and what was added to its diagonal."""
    root, info = torch.linalg.cholesky_ex(tile)
    added = 0.0
    scale = max(float(tile.diagonal().abs().max()), torch.finfo(tile.dtype).tiny)
    factor = torch.finfo(tile.dtype).eps
    while int(info) > 0 or not bool(torch.isfinite(root).all()):
        factor *= 10
        added = factor * scale
        shifted = tile.clone()
        shifted.diagonal().add_(added)
        root, info = torch.linalg.cholesky_ex(shifted)
    return root, added


def _inverse(root: Tensor) -> Tensor:
    """Of a lower triangle, rounded once."""
    # Columns lie in memory one after another, which is the order that thin products with the transpose read them in.
    exact = torch.zeros(root.shape, dtype=torch.float64, device=root.device).T
    _invert(root.double(), exact)
    return exact.to(root.dtype)


def _invert(root: Tensor, out: Tensor) -> None:
    """Fills the lower triangle of ``out``, by halves: a triangular solve of the whole would compute the zeros too."""
    if len(root) <= LEAF:
        out.copy_(torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False))
        return
    half = len(root) // 2
    _invert(root[:half, :half], out[:half, :half])
    _invert(root[half:, half:], out[half:, half:])
    torch.mm(out[half:, half:], root[half:, :half] @ out[:half, :half], out=out[half:, :half]).neg_()


def _keep_row(work: Work, name: str, row: Tensor, added: float) -> None:
    if added > 0:
        work.keep(f"{name}-shift", np.array([added]))
    work.keep(name, row.cpu().numpy())


def _kept_row(work: Work, name: str, row: Tensor) -> float | None:
    """Fills ``row`` with what was kept of it, and returns its shift; none where nothing was."""
    found = work.kept(name)
    if found is None or found.shape != tuple(row.shape):
        return None
    row.copy_(torch.from_numpy(found))
    added = work.kept(f"{name}-shift")
    return 0.0 if added is None else float(added[0])
